/* SPDX-License-Identifier: Apache-2.0 */
/* The calls. */
#include <string.h>
#include <unistd.h>

#include "connection.h"

const char* sluice_client_error(const sluice_client* client) {
  if (client == NULL) return "there is no client: sluice_client_connect() had no memory";
  return client->error;
}

int sluice_client_reason(const sluice_client* client) { return client == NULL ? 0 : client->reason; }

void sluice_lease_close(struct sluice_lease* lease) {
  if (lease == NULL) return;
  for (unsigned at = 0; at < lease->brick_count && at < SLUICE_MOST_BRICKS; ++at) {
    if (lease->bricks[at].fd >= 0) close(lease->bricks[at].fd);
    lease->bricks[at].fd = -1;
  }
  if (lease->monitor_fd >= 0) close(lease->monitor_fd);
  lease->monitor_fd = -1;
  lease->brick_count = 0;
}

static void start_call(sluice_client* client) {
  client->reason = 0;
  client->error[0] = 0;
}

/* Nothing is held after an error. Before sluice_client_acquire() there was nothing; grown bricks are given back by
 * number. */
static void give_back(sluice_client* client, const struct sluice_lease_message* message, int grown) {
  char error[sizeof client->error];
  memcpy(error, client->error, sizeof error);
  if (!grown) {
    sluice_client_release(client, message->lease);
  } else {
    uint32_t numbers[SLUICE_MOST_BRICKS];
    for (uint32_t at = 0; at < message->brick_count; ++at) numbers[at] = message->bricks[at].number;
    sluice_client_shrink(client, message->lease, numbers, message->brick_count);
  }
  start_call(client);
  memcpy(client->error, error, sizeof error);
}

/* Whether a lease is the one that was asked for. `size` 0: as `bricks` say. */
static int check_answer(sluice_client* client, const struct sluice_lease_message* message, uint64_t size,
                        const uint64_t* bricks, unsigned count) {
  uint64_t sum = 0;
  for (uint32_t at = 0; at < message->brick_count; ++at) {
    sum += message->bricks[at].length;
    if (size == 0 && (at >= count || message->bricks[at].length != bricks[at])) {
      return sluice_fail(client, "brick %u of the lease, of %llu bytes, is not what was asked for: see sluiced's log",
                         at, (unsigned long long)message->bricks[at].length);
    }
  }
  if (size == 0 ? message->brick_count == count : sum == size) return 0;
  return sluice_fail(client,
                     "the lease has %u bricks of %llu bytes in all, which is not what was asked for: see sluiced's log",
                     message->brick_count, (unsigned long long)sum);
}

static void fill_lease(struct sluice_lease* lease, const struct sluice_received* received) {
  const struct sluice_lease_message* const message = &received->reply.lease;
  lease->id = message->lease;
  lease->brick_count = message->brick_count;
  for (uint32_t at = 0; at < message->brick_count; ++at) {
    const struct sluice_lease_brick* const brick = &message->bricks[at];
    const struct sluice_brick given = {
        .fd = received->fds[at], .length = brick->length, .number = brick->number, .recycled = brick->recycled};
    lease->bricks[at] = given;
  }
  lease->monitor_fd = message->monitor != 0 ? received->fds[message->brick_count] : -1;
}

int sluice_client_acquire(sluice_client* client, const struct sluice_request* request, struct sluice_lease* lease) {
  memset(lease, 0, sizeof *lease);
  lease->monitor_fd = -1;
  if (client == NULL) return -1;
  start_call(client);
  if (sluice_check_request(client, request) != 0) return -1;
  struct sluice_acquire acquire;
  memset(&acquire, 0, sizeof acquire);
  memcpy(acquire.vm, request->vm, sizeof acquire.vm);
  if (request->name != NULL) memcpy(acquire.name, request->name, strlen(request->name));
  acquire.customer = request->customer;
  acquire.group = request->group;
  acquire.pool = request->pool;
  acquire.size = request->size;
  acquire.node = request->node < 0 ? SLUICE_ANY_NODE : (uint32_t)request->node;
  acquire.flags = (client->filtered ? SLUICE_FILTERED : 0u) | (request->wants_monitor ? SLUICE_WANTS_MONITOR : 0u);
  acquire.brick_count = request->brick_count;
  if (request->brick_count > 0)
    memcpy(acquire.bricks, request->bricks, request->brick_count * sizeof request->bricks[0]);
  const struct sluice_expected expected = {.type = SLUICE_LEASE, .to = "acquire memory"};
  struct sluice_received received;
  if (sluice_transact(client, &acquire.message, SLUICE_ACQUIRE, sizeof acquire, expected, &received) != 0) return -1;
  const struct sluice_lease_message* const message = &received.reply.lease;
  int good = sluice_check_descriptors(client, &received) == 0 &&
             check_answer(client, message, request->size, request->bricks, request->brick_count) == 0;
  if (good && message->monitor != 0 && !request->wants_monitor) {
    good = 0;
    sluice_fail(client, "sluiced has sent a monitor's socket that nobody asked for: see its log");
  }
  if (!good) {
    sluice_close_received(&received);
    give_back(client, message, 0);
    return -1;
  }
  fill_lease(lease, &received);
  return 0;
}

int sluice_client_grow(sluice_client* client, struct sluice_lease_id lease, const uint64_t* bricks,
                       unsigned brick_count, struct sluice_lease* more) {
  memset(more, 0, sizeof *more);
  more->monitor_fd = -1;
  if (client == NULL) return -1;
  start_call(client);
  if (brick_count == 0) return sluice_fail(client, "brick_count is 0: give the lengths of the bricks that are wanted");
  if (sluice_check_bricks(client, bricks, brick_count) != 0) return -1;
  struct sluice_grow grow;
  memset(&grow, 0, sizeof grow);
  grow.lease = lease;
  grow.brick_count = brick_count;
  memcpy(grow.bricks, bricks, brick_count * sizeof bricks[0]);
  const struct sluice_expected expected = {.type = SLUICE_LEASE, .to = "grow a VM"};
  struct sluice_received received;
  if (sluice_transact(client, &grow.message, SLUICE_GROW, sizeof grow, expected, &received) != 0) return -1;
  const struct sluice_lease_message* const message = &received.reply.lease;
  int good =
      sluice_check_descriptors(client, &received) == 0 && check_answer(client, message, 0, bricks, brick_count) == 0;
  if (good && (message->monitor != 0 || message->lease.vm != lease.vm || message->lease.epoch != lease.epoch)) {
    good = 0;
    sluice_fail(client, "sluiced has answered with bricks of another lease, or with a monitor: see its log");
  }
  if (!good) {
    sluice_close_received(&received);
    give_back(client, message, 1);
    return -1;
  }
  fill_lease(more, &received);
  return 0;
}

int sluice_client_shrink(sluice_client* client, struct sluice_lease_id lease, const uint32_t* numbers, unsigned count) {
  if (client == NULL) return -1;
  start_call(client);
  if (count == 0 || count > SLUICE_MOST_BRICKS || numbers == NULL) {
    return sluice_fail(client, "%u bricks%s: give the numbers of 1 to %u", count, numbers == NULL ? " at NULL" : "",
                       SLUICE_MOST_BRICKS);
  }
  struct sluice_shrink shrink;
  memset(&shrink, 0, sizeof shrink);
  shrink.lease = lease;
  shrink.brick_count = count;
  for (unsigned at = 0; at < count; ++at) {
    for (unsigned before = 0; before < at; ++before) {
      if (numbers[before] == numbers[at])
        return sluice_fail(client, "brick %u is there twice: give it once", numbers[at]);
    }
    shrink.bricks[at] = numbers[at];
  }
  const struct sluice_expected expected = {.type = SLUICE_DONE, .to = "shrink a VM"};
  struct sluice_received received;
  return sluice_transact(client, &shrink.message, SLUICE_SHRINK, sizeof shrink, expected, &received);
}

int sluice_client_notify(sluice_client* client, struct sluice_lease_id lease, uint32_t event) {
  if (client == NULL) return -1;
  start_call(client);
  if (event < SLUICE_EVENT_RESET || event > SLUICE_EVENT_PANIC) {
    return sluice_fail(client, "event %u: give one of SLUICE_EVENT_*", event);
  }
  struct sluice_notify notify;
  memset(&notify, 0, sizeof notify);
  notify.lease = lease;
  notify.event = event;
  const struct sluice_expected expected = {.type = SLUICE_DONE, .to = "take note of a VM's event"};
  struct sluice_received received;
  return sluice_transact(client, &notify.message, SLUICE_NOTIFY, sizeof notify, expected, &received);
}

int sluice_client_status(sluice_client* client, const uint8_t vm[16], struct sluice_state* state) {
  memset(state, 0, sizeof *state);
  if (client == NULL) return -1;
  start_call(client);
  struct sluice_status_request status;
  memset(&status, 0, sizeof status);
  memcpy(status.vm, vm, sizeof status.vm);
  const struct sluice_expected expected = {.type = SLUICE_STATE, .to = "tell the state of a VM"};
  struct sluice_received received;
  if (sluice_transact(client, &status.message, SLUICE_STATUS, sizeof status, expected, &received) != 0) return -1;
  *state = received.reply.state;
  return 0;
}

int sluice_client_release(sluice_client* client, struct sluice_lease_id lease) {
  if (client == NULL) return -1;
  start_call(client);
  struct sluice_release release;
  memset(&release, 0, sizeof release);
  release.lease = lease;
  const struct sluice_expected expected = {.type = SLUICE_DONE, .to = "release a VM's memory"};
  struct sluice_received received;
  return sluice_transact(client, &release.message, SLUICE_RELEASE, sizeof release, expected, &received);
}
