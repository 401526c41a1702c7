#include "dataplane/net/tuple.h"
