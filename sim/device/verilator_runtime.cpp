// SPDX-License-Identifier: Apache-2.0
// CMake wants one source that is not generated; it also makes sure that the runtime's headers are there.
#include <verilated.h>
