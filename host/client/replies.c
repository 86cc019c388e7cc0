/* SPDX-License-Identifier: Apache-2.0 */
/* What is believed of an answer. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "connection.h"

/* All packets are for programs of other compilers too. */
_Static_assert(sizeof(struct sluice_message) == 16, "no padding");
_Static_assert(sizeof(struct sluice_acquire) == 144 + 8 * SLUICE_MOST_BRICKS, "no padding");
_Static_assert(sizeof(struct sluice_grow) == 40 + 8 * SLUICE_MOST_BRICKS, "no padding");
_Static_assert(sizeof(struct sluice_shrink) == 40 + 4 * SLUICE_MOST_BRICKS, "no padding");
_Static_assert(sizeof(struct sluice_notify) == 40, "no padding");
_Static_assert(sizeof(struct sluice_status_request) == 32, "no padding");
_Static_assert(sizeof(struct sluice_release) == 32, "no padding");
_Static_assert(sizeof(struct sluice_lease_message) == 40 + 16 * SLUICE_MOST_BRICKS, "no padding");
_Static_assert(sizeof(struct sluice_state) == 56 + 4 * SLUICE_MOST_HOLDERS, "no padding");
_Static_assert(sizeof(struct sluice_refused) == 520, "no padding");

/* 0: no answer has this type. */
static size_t length_of(uint16_t type) {
  switch (type) {
    case SLUICE_LEASE:
      return sizeof(struct sluice_lease_message);
    case SLUICE_DONE:
      return sizeof(struct sluice_message);
    case SLUICE_STATE:
      return sizeof(struct sluice_state);
    case SLUICE_REFUSED:
      return sizeof(struct sluice_refused);
    default:
      return 0;
  }
}

static int all_zeros(const void* bytes, size_t length) {
  const unsigned char* const at = bytes;
  for (size_t byte = 0; byte < length; ++byte) {
    if (at[byte] != 0) return 0;
  }
  return 1;
}

/* What was wrong with a well-framed answer; NULL: nothing. */
static const char* fault_of_lease(const struct sluice_lease_message* lease) {
  if (lease->lease.vm == 0) return "a lease of no VM";
  if (lease->monitor > 1) return "a monitor that is neither there nor not";
  if (lease->brick_count == 0 || lease->brick_count > SLUICE_MOST_BRICKS) return "a lease of 0 or too many bricks";
  uint64_t sum = 0;
  for (uint32_t at = 0; at < lease->brick_count; ++at) {
    const struct sluice_lease_brick* const brick = &lease->bricks[at];
    if (brick->length == 0) return "a brick of 0 bytes";
    if (brick->length > INT64_MAX - sum) return "bricks longer than any file";
    if (brick->recycled > 1) return "a brick that is neither recycled nor not";
    sum += brick->length;
    for (uint32_t before = 0; before < at; ++before) {
      if (lease->bricks[before].number == brick->number) return "two bricks of one number";
    }
  }
  const size_t unused = (SLUICE_MOST_BRICKS - lease->brick_count) * sizeof lease->bricks[0];
  if (!all_zeros(lease->bricks + lease->brick_count, unused)) return "bricks beyond their count";
  return NULL;
}

static const char* fault_of_state(const struct sluice_state* state) {
  if (state->state > SLUICE_STATE_RESERVED) return "a state that this client does not know";
  if (state->brick_count > SLUICE_MOST_BRICKS) return "too many bricks";
  if (state->reserved != 0) return "a reserved field that is not 0";
  const uint32_t named = state->holder_count < SLUICE_MOST_HOLDERS ? state->holder_count : SLUICE_MOST_HOLDERS;
  const size_t unused = (SLUICE_MOST_HOLDERS - named) * sizeof state->holders[0];
  if (!all_zeros(state->holders + named, unused)) return "holders beyond their count";
  return NULL;
}

static const char* fault_of(const union sluice_reply* reply) {
  switch (reply->message.type) {
    case SLUICE_LEASE:
      return fault_of_lease(&reply->lease);
    case SLUICE_STATE:
      return fault_of_state(&reply->state);
    case SLUICE_REFUSED:
      if (reply->refused.reason == 0 || reply->refused.reserved != 0) return "a refusal without a reason";
      if (memchr(reply->refused.text, 0, sizeof reply->refused.text) == NULL) return "a text without an end";
      return NULL;
    default:
      return NULL;
  }
}

static int bad(sluice_client* client, const char* to, const char* what) {
  return sluice_lose(client,
                     "the answer to the request to %s cannot be believed: %s; see that sluiced and this program fit",
                     to, what);
}

int sluice_check_reply(sluice_client* client, const struct sluice_received* received, uint32_t serial,
                       struct sluice_expected expected) {
  const struct sluice_message* const message = &received->reply.message;
  if (received->length < sizeof *message) return bad(client, expected.to, "it is too short");
  if (received->too_long) return bad(client, expected.to, "it is too long");
  if (message->magic != SLUICE_PROTOCOL_MAGIC) return bad(client, expected.to, "it does not begin with SLIC");
  if (message->type != SLUICE_REFUSED && message->version != SLUICE_PROTOCOL_VERSION) {
    return bad(client, expected.to, "it is of another version");
  }
  if (message->type != SLUICE_REFUSED && message->type != expected.type) {
    return bad(client, expected.to, "it is of another type");
  }
  if (message->length != received->length || received->length != length_of(message->type)) {
    return bad(client, expected.to, "it is not as long as its type");
  }
  if (message->serial != serial) return bad(client, expected.to, "it has the serial of another request");
  if (message->type != SLUICE_LEASE && (received->fd_count != 0 || received->fds_lost)) {
    return bad(client, expected.to, "descriptors came with it");
  }
  const char* const fault = fault_of(&received->reply);
  return fault == NULL ? 0 : bad(client, expected.to, fault);
}

int sluice_check_descriptors(sluice_client* client, const struct sluice_received* received) {
  const struct sluice_lease_message* const lease = &received->reply.lease;
  const unsigned expected = lease->brick_count + lease->monitor;
  if (received->fds_lost && received->fd_count < expected) {
    return sluice_fail(
        client, "only %u of the lease's %u descriptors could be received: raise the limit of open files (ulimit -n)",
        received->fd_count, expected);
  }
  if (received->fds_lost || received->fd_count != expected) {
    return sluice_fail(client,
                       "sluiced has sent %u%s descriptors for a lease with %u: see that it and this program fit",
                       received->fd_count, received->fds_lost ? " and more" : "", expected);
  }
  for (unsigned at = 0; at < expected; ++at) {
    struct stat file;
    if (fstat(received->fds[at], &file) != 0) return sluice_fail(client, "descriptor %u: %s", at, strerror(errno));
    if (at == lease->brick_count) {
      if (!S_ISSOCK(file.st_mode))
        return sluice_fail(client, "the monitor's descriptor is no socket: see sluiced's log");
    } else if (!S_ISREG(file.st_mode) || file.st_size < 0 || (uint64_t)file.st_size < lease->bricks[at].length) {
      return sluice_fail(client, "the descriptor of brick %u is no file of %llu bytes: see sluiced's log",
                         lease->bricks[at].number, (unsigned long long)lease->bricks[at].length);
    }
  }
  return 0;
}
