// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "sluice/memory/error.hpp"

namespace sluice::inline vmm {

/// Sole access to a brick's file: nobody but this process has it open or mapped, and nobody can open it. It rests on
/// the file leases of fcntl(2) (F_SETLEASE with F_WRLCK), which the kernel refuses while the inode has another open
/// file description, that of a mapping too. Tested on memfds and tmpfs.
///
/// Three things it does not see. Duplicates of the same description (dup, fork, SCM_RIGHTS) count as one: so a brick's
/// own descriptor never leaves this process, and whoever is to have the memory gets one from open_again(). A
/// description as memfd_create(2) made it does not count: FileMemory closes it at once. And pages that the kernel holds
/// on somebody's behalf (vmsplice into a pipe, io_uring's buffers) outlive all descriptors: a process that may do that
/// must not be given memory that is scrubbed in place for another tenant.
///
/// All functions may be called from any thread, for one descriptor by one at a time.

/// Takes it. Others who open the file wait from then on, or get EWOULDBLOCK with O_NONBLOCK, until it ends or the
/// kernel's lease-break-time is over; this process is told by SIGURG, which does nothing by default. Taken already: no
/// error. Errors: WrongState (somebody has it; the message names whom /proc shows), InvalidArgument (not open, no
/// regular file, or what memfd_create(2) returned, which the kernel does not count), NoResources (the kernel has no
/// file leases: fs.leases-enable).
[[nodiscard]] Result<void> take_sole_access(int fd);

/// The same, but false where somebody has it, whom nobody looks for: microseconds.
[[nodiscard]] Result<bool> try_sole_access(int fd);

/// Ends it. Nothing, where it was not taken.
void end_sole_access(int fd);

/// Another description of the same file, to read and write, for somebody else: not inherited by exec. Ends sole access.
/// Close it here once it was passed on. Errors: NoResources.
[[nodiscard]] Result<int> open_again(int fd);

}  // namespace sluice::inline vmm
