/* SPDX-License-Identifier: Apache-2.0 */
/* The system calls by which pages can be kept beyond the end of their mappings: into a pipe, a socket or a ring, which
 * somebody else may hold and read when the memory has its next owner. No lease on a file and no list of mappings shows
 * such pages. */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "connection.h"

#ifdef __x86_64__

enum {
  X32_BIT = 0x40000000,  // NOLINT(readability-identifier-naming)
  XDP_LEVEL = 283,       // NOLINT(readability-identifier-naming): SOL_XDP, which old headers do not have
};

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)offsetof(struct seccomp_data, field))
/* The low half of an argument: what the kernel takes from a register for an int. */
#define LOAD_ARGUMENT(number) \
  BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)(offsetof(struct seccomp_data, args) + sizeof(uint64_t) * (number)))
#define REFUSE BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (EPERM & SECCOMP_RET_DATA))
#define ALLOW BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define REFUSE_CALL(call) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (call), 0, 1), REFUSE
/* A call with one of these bits, or with this value, in an argument. */
#define REFUSE_BITS(call, argument, bits)                                     \
  BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (call), 0, 4), LOAD_ARGUMENT(argument), \
      BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, (unsigned)(bits), 0, 1), REFUSE, ALLOW
#define REFUSE_VALUE(call, argument, value)                                   \
  BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (call), 0, 4), LOAD_ARGUMENT(argument), \
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)(value), 0, 1), REFUSE, ALLOW

static int set_filter(sluice_client* client) {
  struct sock_filter calls[] = {
      LOAD(arch),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
      REFUSE,
      LOAD(nr),
      BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 0, 1),
      REFUSE,
      // Pages into a pipe or a socket.
      REFUSE_CALL(SYS_vmsplice),
      REFUSE_CALL(SYS_splice),
      REFUSE_CALL(SYS_sendfile),
      REFUSE_BITS(SYS_sendto, 3, MSG_ZEROCOPY),
      REFUSE_BITS(SYS_sendmsg, 2, MSG_ZEROCOPY),
      REFUSE_BITS(SYS_sendmmsg, 3, MSG_ZEROCOPY),
      REFUSE_VALUE(SYS_setsockopt, 1, XDP_LEVEL),
      // Pages into a ring, also one that somebody else has made.
      REFUSE_CALL(SYS_io_uring_setup),
      REFUSE_CALL(SYS_io_uring_enter),
      REFUSE_CALL(SYS_io_uring_register),
      // Pages of another process.
      REFUSE_CALL(SYS_process_vm_readv),
      REFUSE_CALL(SYS_process_vm_writev),
      REFUSE_CALL(SYS_process_madvise),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ptrace, 1, 0),
      ALLOW,
      LOAD_ARGUMENT(0),
      REFUSE_CALL(PTRACE_ATTACH),
      REFUSE_CALL(PTRACE_SEIZE),
      ALLOW,
  };
  const struct sock_fprog program = {.len = sizeof calls / sizeof calls[0], .filter = calls};
  const unsigned action = SECCOMP_RET_ERRNO;
  if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) != 0) {
    return sluice_fail(client,
                       "the kernel has no seccomp filters: %s; go on without one, or use a kernel that has them",
                       strerror(errno));
  }
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    return sluice_fail(client, "no_new_privs cannot be set: %s; go on without the filter", strerror(errno));
  }
  const long other = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
  if (other > 0) {
    return sluice_fail(client, "thread %ld has a seccomp filter of its own: call this before it gets one", other);
  }
  if (other < 0)
    return sluice_fail(client, "the kernel does not take the filter: %s; go on without it", strerror(errno));
  return 0;
}

#else

static int set_filter(sluice_client* client) {
  return sluice_fail(client, "there is a filter for x86-64 only: go on without one");
}

#endif

int sluice_client_filter(sluice_client* client) {
  if (client == NULL) return -1;
  client->reason = 0;
  client->error[0] = 0;
  if (client->filtered) return 0;
  if (set_filter(client) != 0) return -1;
  client->filtered = 1;
  return 0;
}
