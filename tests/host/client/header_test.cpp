// SPDX-License-Identifier: Apache-2.0
// The client's headers in C++17, as other people's programs have it, and before anything else that they could lean on.
#include <sluice/sluice_client.h>

static_assert(__cplusplus == 201703L);
static_assert(sizeof(sluice_acquire) == 1168 && sizeof(sluice_lease_message) == 2088, "the protocol");

extern "C" unsigned sluice_header_test() {
  const sluice_request request{};
  return SLUICE_PROTOCOL_VERSION + request.brick_count;
}
