#include "dataplane/net/checksum.h"
