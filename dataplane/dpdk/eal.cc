#include <rte_eal.h>
