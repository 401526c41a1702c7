// What nf_conntrack_log_invalid says of a packet, in the kernel's words.
#pragma once

#include <string>

#include "dataplane/pipeline/io.h"

namespace postern::control {

// "nf_ct_proto_6: invalid rst ": what stands before the fields of the LOG line. Empty for a record
// that a rule made.
std::string InvalidText(const pipeline::LogRecord& record);

}  // namespace postern::control
