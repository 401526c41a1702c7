#include "dataplane/route/route_table.h"
