/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SLUICE_PROTOCOL_H
#define SLUICE_PROTOCOL_H

/// @file
/// The messages between sluiced and the VMMs that it gives memory to: docs/PROTOCOL.md.
///
/// They go over a unix socket of type SOCK_SEQPACKET. Each packet is one of the structs below, in the byte order of the
/// machine, exactly as long as the struct; what is reserved is 0, and so is what a count or the end of a text leaves
/// unused. A VMM asks and sluiced answers each request once,
/// with the serial of the request, and not always in their order. Descriptors come with a packet as SCM_RIGHTS.

// Names as C has them.
// NOLINTBEGIN(readability-identifier-naming,modernize-deprecated-headers)

#include <stdint.h>

#define SLUICE_PROTOCOL_MAGIC 0x43494c53u /* "SLIC" */
#define SLUICE_PROTOCOL_VERSION 1u
#define SLUICE_DEFAULT_SOCKET "/run/sluice/sluiced.sock"
/// A VM holds at most so many bricks: QEMU has 128 NUMA nodes.
#define SLUICE_MOST_BRICKS 128u
/// NUMA nodes are numbered below this.
#define SLUICE_MOST_NODES 1024u
/// No node of its own.
#define SLUICE_ANY_NODE 0xffffffffu

/// sluice_message.type
enum {
  // From a VMM.
  SLUICE_ACQUIRE = 1,  ///< sluice_acquire, and perhaps a pidfd -> SLUICE_LEASE, when there is memory
  SLUICE_GROW = 2,     ///< sluice_grow -> SLUICE_LEASE with the new bricks only
  SLUICE_SHRINK = 3,   ///< sluice_shrink -> SLUICE_DONE
  SLUICE_NOTIFY = 4,   ///< sluice_notify -> SLUICE_DONE
  SLUICE_STATUS = 5,   ///< sluice_status_request -> SLUICE_STATE
  SLUICE_RELEASE = 6,  ///< sluice_release -> SLUICE_DONE
  // From sluiced.
  SLUICE_LEASE = 16,    ///< sluice_lease_message, with a descriptor for each brick, and then the monitor's socket
  SLUICE_DONE = 17,     ///< sluice_message alone
  SLUICE_STATE = 18,    ///< sluice_state
  SLUICE_REFUSED = 19,  ///< sluice_refused: the answer to any request; nothing has changed
};

struct sluice_message {
  uint32_t magic;
  uint16_t version;
  uint16_t type;
  uint32_t length;  ///< Of the packet, with this. bytes
  uint32_t serial;  ///< Chosen by the VMM.
};

enum {
  /// The process has given up the system calls by which pages can be kept beyond its end: sluice_client_filter().
  SLUICE_FILTERED = 1u,
  /// A listening socket for a QMP monitor is wanted, by which sluiced follows the VM's life.
  SLUICE_WANTS_MONITOR = 2u,
};

/// The VM is there under this id from now on, or was rebooting and comes back.
struct sluice_acquire {
  struct sluice_message message;
  uint8_t vm[16];     ///< A UUID; not all zeros.
  char name[64];      ///< For people. UTF-8, ends with a 0.
  uint64_t customer;  ///< 0: the one that sluiced gives to VMs without one.
  uint64_t group;     ///< A trust group; 0: none.
  uint64_t pool;      ///< A dedicated pool; 0: the shared pool.
  uint64_t size;      ///< In bricks that sluiced chooses, together exactly that; 0: as `bricks` says. bytes
  uint32_t node;      ///< NUMA node, or SLUICE_ANY_NODE.
  uint32_t flags;     ///< SLUICE_FILTERED, SLUICE_WANTS_MONITOR
  uint32_t brick_count;
  uint32_t reserved;
  uint64_t bricks[SLUICE_MOST_BRICKS];  ///< The length of each. bytes
};

/// What one VM holds. A lease ends with its VM's process; its epoch is another one after that.
struct sluice_lease_id {
  uint64_t vm;  ///< As sluiced numbers VMs; not 0.
  uint64_t epoch;
};

struct sluice_grow {
  struct sluice_message message;
  struct sluice_lease_id lease;
  uint32_t brick_count;
  uint32_t reserved;
  uint64_t bricks[SLUICE_MOST_BRICKS];  ///< bytes
};

/// Bricks that the VMM has closed and unmapped.
struct sluice_shrink {
  struct sluice_message message;
  struct sluice_lease_id lease;
  uint32_t brick_count;
  uint32_t reserved;
  uint32_t bricks[SLUICE_MOST_BRICKS];  ///< By their number in sluice_lease_brick, each once.
};

/// What a VM without a monitor does.
enum {
  SLUICE_EVENT_RESET = 1,      ///< It reboots, in this process and with the memory that it has.
  SLUICE_EVENT_REBOOT = 2,     ///< The process ends so that a new one boots the VM again.
  SLUICE_EVENT_SHUT_DOWN = 3,  ///< It ends for good.
  SLUICE_EVENT_PANIC = 4,      ///< It ends for good, after a fault of the guest.
};

struct sluice_notify {
  struct sluice_message message;
  struct sluice_lease_id lease;
  uint32_t event;
  uint32_t reserved;
};

struct sluice_status_request {
  struct sluice_message message;
  uint8_t vm[16];
};

/// The VM has ended although this process lives: it has closed and unmapped everything.
struct sluice_release {
  struct sluice_message message;
  struct sluice_lease_id lease;
};

struct sluice_lease_brick {
  uint64_t length;    ///< bytes
  uint32_t number;    ///< Of this brick, while it exists; no other of the lease has it.
  uint32_t recycled;  ///< 1: it was not scrubbed, and may hold what the VM, or its group or pool, had there. 0: zeros.
};

struct sluice_lease_message {
  struct sluice_message message;
  struct sluice_lease_id lease;
  uint32_t monitor;  ///< 1: the last descriptor is the monitor's listening socket.
  uint32_t brick_count;
  struct sluice_lease_brick bricks[SLUICE_MOST_BRICKS];
};

enum {
  SLUICE_STATE_NONE = 0,         ///< No such VM.
  SLUICE_STATE_WAITING = 1,      ///< For memory.
  SLUICE_STATE_RUNNING = 2,      ///< It holds memory.
  SLUICE_STATE_ENDING = 3,       ///< Its process has ended, and is asked whether anybody else has the memory.
  SLUICE_STATE_QUARANTINED = 4,  ///< Its process has ended, and somebody still has the memory: `holders`.
  SLUICE_STATE_RESERVED = 5,     ///< It reboots: its memory waits for it.
};

#define SLUICE_MOST_HOLDERS 16u

struct sluice_state {
  struct sluice_message message;
  struct sluice_lease_id lease;
  uint32_t state;
  uint32_t brick_count;
  uint64_t size;          ///< bytes
  uint32_t holder_count;  ///< Of all that are known; more than SLUICE_MOST_HOLDERS are not in `holders`.
  uint32_t holders[SLUICE_MOST_HOLDERS];  ///< Processes.
  uint32_t reserved;
};

/// Why a request was refused.
enum {
  SLUICE_REFUSED_BAD_MESSAGE = 1,  ///< Its version, length, type or a field; the connection is closed then.
  SLUICE_REFUSED_NOT_PERMITTED = 2,
  SLUICE_REFUSED_UNKNOWN = 3,      ///< A VM, customer, group, pool or brick.
  SLUICE_REFUSED_WRONG_STATE = 4,  ///< For example: the VM runs already, or its memory is in quarantine.
  SLUICE_REFUSED_SIZE = 5,         ///< No bricks of that length; the text says which there are.
  SLUICE_REFUSED_NO_MEMORY = 6,
  SLUICE_REFUSED_STOPPING = 7,  ///< sluiced ends, or cannot scrub any more.
  SLUICE_REFUSED_BUSY = 8,      ///< Too many requests wait; try again.
};

struct sluice_refused {
  struct sluice_message message;
  uint32_t reason;
  uint32_t reserved;
  char text[496];  ///< What was wrong with the value, and what to do. UTF-8, ends with a 0.
};

// NOLINTEND(readability-identifier-naming,modernize-deprecated-headers)

#endif
