/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SLUICE_CLIENT_H
#define SLUICE_CLIENT_H

/// @file
/// How a virtual machine monitor gets a VM's memory from sluiced. C11, no dependencies but the C library.
///
/// A lease is the memory of one VM: bricks, each a descriptor to map MAP_SHARED from offset 0, which nobody else has.
/// It lives as long as the process that took it, also across exec: sluiced sees the process end, makes sure that
/// nobody has the memory any more, and scrubs it, or keeps it for the VM if that reboots.
///
/// A function that can fail returns 0, or -1 with sluice_client_error(). One client is used by one thread at a time, in
/// the process that has connected. An answer that cannot be believed ends the connection, and all calls fail then.

// Names as C has them.
// NOLINTBEGIN(readability-identifier-naming,modernize-deprecated-headers)

#include <sluice/protocol.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sluice_client sluice_client;

/// Connects to sluiced. `path` NULL: what the environment has in SLUICE_SOCKET, else SLUICE_DEFAULT_SOCKET. The
/// connection is not inherited by exec. NULL: no memory. A connection that failed is returned too: all calls fail then,
/// and sluice_client_error() says why.
sluice_client* sluice_client_connect(const char* path);
void sluice_client_close(sluice_client* client);
/// What was wrong with the last call that failed, and what to do. Valid until the next call.
const char* sluice_client_error(const sluice_client* client);
/// SLUICE_REFUSED_*, if sluiced has refused the last call that failed; 0: it never got that far.
int sluice_client_reason(const sluice_client* client);

/// Gives up, for all threads of this process and for all that it starts or becomes, the system calls by which pages can
/// be kept beyond the end of their mappings (EPERM): vmsplice, splice, sendfile, sends with MSG_ZEROCOPY, the set-up of
/// AF_XDP sockets, io_uring, process_vm_readv, process_vm_writev, process_madvise and ptrace's attachment. It also sets
/// no_new_privs, and no program of another architecture (32 bits, x32) runs any more. sluice_client_acquire() of this
/// client says so to sluiced; memory of a process without this is replaced by the kernel when its VM ends, which costs
/// time. Errors: the kernel has no seccomp filters, a thread has one of its own, or the machine is no x86-64.
int sluice_client_filter(sluice_client* client);

struct sluice_request {
  uint8_t vm[16];     ///< The VM's UUID.
  const char* name;   ///< For people, at most 63 bytes; NULL: none.
  uint64_t customer;  ///< 0: the one that sluiced gives to VMs without one.
  uint64_t group;     ///< A trust group; 0: none.
  uint64_t pool;      ///< A dedicated pool; 0: the shared pool.
  uint64_t size;      ///< In bricks that sluiced chooses, together exactly that; 0: as `bricks` says. bytes
  int node;           ///< NUMA node, below SLUICE_MOST_NODES; -1: any.
  unsigned brick_count;
  const uint64_t* bricks;  ///< The length of each brick. bytes
  int wants_monitor;       ///< Not 0: a listening socket for a QMP monitor is wanted.
};

struct sluice_brick {
  int fd;             ///< Not inherited by exec. The caller closes it.
  uint64_t length;    ///< bytes
  uint32_t number;    ///< For sluice_client_shrink().
  uint32_t recycled;  ///< 1: it was not scrubbed, and may hold what this VM, its group or its pool had there.
};

struct sluice_lease {
  struct sluice_lease_id id;
  unsigned brick_count;
  struct sluice_brick bricks[SLUICE_MOST_BRICKS];
  int monitor_fd;  ///< Listens; not inherited by exec; the caller closes it. -1: none.
};

/// The memory of a VM that starts, or comes back after a reboot. Waits until there is memory that nobody else can have
/// any more; signals do not end the wait. On an error nothing is held and no descriptor is open.
int sluice_client_acquire(sluice_client* client, const struct sluice_request* request, struct sluice_lease* lease);
/// More memory for a running VM; `more` gets the new bricks only.
int sluice_client_grow(sluice_client* client, struct sluice_lease_id lease, const uint64_t* bricks,
                       unsigned brick_count, struct sluice_lease* more);
/// Gives bricks back, which the caller has unmapped and closed.
int sluice_client_shrink(sluice_client* client, struct sluice_lease_id lease, const uint32_t* numbers, unsigned count);
/// SLUICE_EVENT_*, by a VMM without a monitor.
int sluice_client_notify(sluice_client* client, struct sluice_lease_id lease, uint32_t event);
/// What sluiced knows of a VM.
int sluice_client_status(sluice_client* client, const uint8_t vm[16], struct sluice_state* state);
/// The VM has ended, and this process lives on: it has unmapped and closed everything.
int sluice_client_release(sluice_client* client, struct sluice_lease_id lease);
/// Closes what a lease has open in this process.
void sluice_lease_close(struct sluice_lease* lease);

#ifdef __cplusplus
}
#endif

// NOLINTEND(readability-identifier-naming,modernize-deprecated-headers)

#endif
