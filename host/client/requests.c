/* SPDX-License-Identifier: Apache-2.0 */
/* Whether sluiced could take a request, so that the caller's mistake does not end the connection. */
#include <string.h>

#include "connection.h"

/* How many bytes the first letter has; 0: it is none. Neither a longer form than necessary, nor a surrogate, nor what
 * lies beyond Unicode. */
static size_t letter_length(const unsigned char* text) {
  const unsigned char first = text[0];
  if (first < 0x80) return 1;
  const size_t length = first >= 0xc2 && first <= 0xdf   ? 2
                        : (first & 0xf0) == 0xe0         ? 3
                        : first >= 0xf0 && first <= 0xf4 ? 4
                                                         : 0;
  for (size_t at = 1; at < length; ++at) {
    if ((text[at] & 0xc0) != 0x80) return 0;
  }
  if ((first == 0xe0 && text[1] < 0xa0) || (first == 0xed && text[1] > 0x9f)) return 0;
  if ((first == 0xf0 && text[1] < 0x90) || (first == 0xf4 && text[1] > 0x8f)) return 0;
  return length;
}

static int is_utf8(const char* text) {
  const unsigned char* at = (const unsigned char*)text;
  while (*at != 0) {
    const size_t length = letter_length(at);
    if (length == 0) return 0;
    at += length;
  }
  return 1;
}

int sluice_check_bricks(sluice_client* client, const uint64_t* bricks, unsigned count) {
  if (count > SLUICE_MOST_BRICKS) {
    return sluice_fail(client, "%u bricks: a VM holds at most %u; ask for longer ones", count, SLUICE_MOST_BRICKS);
  }
  if (count > 0 && bricks == NULL)
    return sluice_fail(client, "%u bricks, but bricks is NULL: give their lengths", count);
  uint64_t sum = 0;
  for (unsigned at = 0; at < count; ++at) {
    if (bricks[at] == 0 || bricks[at] > INT64_MAX - sum) {
      return sluice_fail(client, "brick %u has %llu bytes: give a length above 0, and less than 2^63 bytes in all", at,
                         (unsigned long long)bricks[at]);
    }
    sum += bricks[at];
  }
  return 0;
}

int sluice_check_request(sluice_client* client, const struct sluice_request* request) {
  static const uint8_t no_vm[sizeof request->vm] = {0};
  if (memcmp(request->vm, no_vm, sizeof no_vm) == 0) {
    return sluice_fail(client, "the VM's UUID is all zeros: give it one of its own");
  }
  const size_t most = sizeof((struct sluice_acquire*)0)->name - 1;
  if (request->name != NULL && strlen(request->name) > most) {
    return sluice_fail(client, "the VM's name has %zu bytes: give at most %zu", strlen(request->name), most);
  }
  if (request->name != NULL && !is_utf8(request->name)) {
    return sluice_fail(client, "the VM's name is not UTF-8: give one that is, or none");
  }
  if (request->node < -1 || request->node >= (int)SLUICE_MOST_NODES) {
    return sluice_fail(client, "NUMA node %d: give a number below %u, or -1 for any", request->node, SLUICE_MOST_NODES);
  }
  if ((request->size != 0) == (request->brick_count != 0)) {
    return sluice_fail(client, "size is %llu and brick_count is %u: give one of them, and 0 for the other",
                       (unsigned long long)request->size, request->brick_count);
  }
  if (request->size > INT64_MAX) {
    return sluice_fail(client, "size is %llu: give less than 2^63 bytes", (unsigned long long)request->size);
  }
  return sluice_check_bricks(client, request->bricks, request->brick_count);
}
