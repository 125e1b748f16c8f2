/* A generated training step: the text is made for each loss. */
#include "made.h"
