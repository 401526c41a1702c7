#include "dataplane/rules/model.h"
