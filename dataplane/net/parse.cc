#include "dataplane/net/parse.h"
