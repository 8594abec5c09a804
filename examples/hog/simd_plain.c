/* The vector loop for whatever every processor of this architecture has. */
#define HOG_SIMD hog_simd_plain
#include "simd.h"
