#include "dataplane/net/flow_hash.h"
