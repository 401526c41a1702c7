#include "ctrack/connection.h"
