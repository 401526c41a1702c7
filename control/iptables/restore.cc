#include "control/iptables/restore.h"
