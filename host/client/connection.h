/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SLUICE_CLIENT_CONNECTION_H
#define SLUICE_CLIENT_CONNECTION_H

/// @file
/// Inside the client library: a connection to sluiced, and what is believed of that which comes over it.

// Names as C has them.
// NOLINTBEGIN(readability-identifier-naming,modernize-deprecated-headers)

#include <sluice/sluice_client.h>
#include <stddef.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(hidden)

/// A brick each, and the monitor.
#define SLUICE_MOST_DESCRIPTORS (SLUICE_MOST_BRICKS + 1)

struct sluice_client {
  int fd;         ///< -1: closed, and `lost` says why.
  pid_t process;  ///< That connected: a lease is bound to it.
  int filtered;
  int reason;
  uint32_t serial;   ///< Of the last request.
  char lost[640];    ///< Why there is no connection any more.
  char error[1280];  ///< With room for `lost`.
};

union sluice_reply {
  struct sluice_message message;
  struct sluice_lease_message lease;
  struct sluice_state state;
  struct sluice_refused refused;
};

/// One packet from sluiced.
struct sluice_received {
  union sluice_reply reply;
  size_t length;  ///< Of the packet, or of as much of it as fits into `reply`. bytes
  int too_long;
  int fds_lost;  ///< More descriptors came than the process or the message has room for.
  unsigned fd_count;
  int fds[SLUICE_MOST_DESCRIPTORS];
};

/// What one request is answered with.
struct sluice_expected {
  uint16_t type;
  const char* to;  ///< For messages: "acquire memory".
};

/// A client of a socket that is connected already, which it closes. NULL: no memory; `fd` is still the caller's.
sluice_client* sluice_client_adopt(int fd);

/// Keeps the message for sluice_client_error(). -1.
int sluice_fail(sluice_client* client, const char* format, ...) __attribute__((format(printf, 2, 3)));
/// The same, and the connection is closed: whatever comes next over it cannot be told apart.
int sluice_lose(sluice_client* client, const char* format, ...) __attribute__((format(printf, 2, 3)));

/// Sends a request and receives its answer: `expected`, well formed, with the request's serial and no descriptor but
/// those of a lease. The caller closes these. On an error none is open.
int sluice_transact(sluice_client* client, struct sluice_message* request, uint16_t type, size_t length,
                    struct sluice_expected expected, struct sluice_received* received);
void sluice_close_received(struct sluice_received* received);

/// Whether a packet is an answer to `serial`, as long as its type says, and well formed. Looks at no descriptor.
int sluice_check_reply(sluice_client* client, const struct sluice_received* received, uint32_t serial,
                       struct sluice_expected expected);
/// Whether the descriptors are those that a well-formed lease message speaks of.
int sluice_check_descriptors(sluice_client* client, const struct sluice_received* received);

/// Whether sluiced could take it: a request that it does not take ends the connection.
int sluice_check_bricks(sluice_client* client, const uint64_t* bricks, unsigned count);
int sluice_check_request(sluice_client* client, const struct sluice_request* request);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

// NOLINTEND(readability-identifier-naming,modernize-deprecated-headers)

#endif
