#include "nat/binding.h"
