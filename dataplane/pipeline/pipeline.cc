#include "dataplane/pipeline/pipeline.h"
