/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SLUICE_H
#define SLUICE_H

/// @file
/// The memory manager for C.
///
/// Objects are opaque and belong to whoever made them. Destroy them in the order manager, ledger, engine, memory; each
/// engine, ledger and memory serves one manager at a time. A function that can fail returns a code, and
/// sluice_last_message() explains it. A call that fails has changed nothing, and no exception leaves a call. NULL where
/// an object or a handler is needed is SLUICE_INVALID_ARGUMENT; functions without a code then do nothing and return 0
/// or -1. Identifiers are never 0 and never used again. Lengths are in bytes and are multiples of the page length.
///
/// Threads: a manager, its engine, ledger and memory are used by one thread at a time. Handlers are called by
/// sluice_manager_poll() and sluice_manager_destroy() only, on the caller's thread, when no other function of the
/// manager is running: a handler may call every function here, and may destroy the manager.

// Names and headers as C has them.
// NOLINTBEGIN(readability-identifier-naming,modernize-deprecated-headers)

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// The result of a call.
enum {
  SLUICE_OK = 0,
  SLUICE_INVALID_ARGUMENT = 1,   ///< For example a length that is not a multiple of the page length.
  SLUICE_UNKNOWN_ID = 2,         ///< A VM, pool or trust group that was never created, or has ended.
  SLUICE_ID_USED_BEFORE = 3,     ///< Identifiers are never used again.
  SLUICE_FOREIGN_CUSTOMER = 4,   ///< A pool or trust group of another customer.
  SLUICE_WRONG_STATE = 5,        ///< The call does not fit what the VM or pool is doing now.
  SLUICE_NOT_HELD = 6,           ///< Memory that the VM does not hold.
  SLUICE_OUT_OF_MEMORY = 7,      ///< Not enough memory that could be granted.
  SLUICE_SCRUB_UNAVAILABLE = 8,  ///< The claim needs a scrub, and the engine has failed or refuses it.
  SLUICE_ABANDONED = 9,          ///< The claim was given up by its caller.
  SLUICE_NO_RESOURCES = 10,      ///< The operating system refused memory, descriptors or room on a disk.
  SLUICE_NOT_PERMITTED = 11,     ///< The caller may not do that.
  SLUICE_ENGINE = 12,            ///< An engine could not be made.
  SLUICE_INTERNAL = 13           ///< Something that should not happen.
};

/// The version of the library, as "0.1.0".
const char* sluice_version(void);
/// A few words for a code.
const char* sluice_error_text(int code);
/// The message of the last call of this thread that failed: what was wrong with the value, and what to do.
const char* sluice_last_message(void);

/// How long the pages of memory are.
enum {
  SLUICE_PAGES_SMALL = 0,  ///< 4 KiB
  SLUICE_PAGES_2MIB = 1,   ///< 2 MiB
  SLUICE_PAGES_1GIB = 2    ///< 1 GiB
};

/// The pool's memory.
typedef struct sluice_memory sluice_memory;
/// A contiguous piece of memory.
typedef struct sluice_piece {
  void* base;       ///< Aligned to its pages.
  uint64_t length;  ///< bytes
  int fd;           ///< The file whose offset 0 is `base`; -1: none, which excludes a ledger.
  int pages;        ///< SLUICE_PAGES_...
  uint32_t node;    ///< NUMA node
  int whole;        ///< Not 0: it has one holder at a time, and no part of it changes hands.
} sluice_piece;

/// Memory from the kernel in `bricks` memfds.
int sluice_memory_create(uint64_t brick_length, uint32_t bricks, int pages, sluice_memory** memory);
/// The same in files of a folder on tmpfs or hugetlbfs, which outlive the process and are found again. One owner has a
/// folder at a time: SLUICE_WRONG_STATE for a second. On ext4 or xfs, in small pages, memory counts as clean when its
/// zeros are on the disk, for which sluice_manager_poll() waits; other file systems are SLUICE_INVALID_ARGUMENT.
int sluice_memory_open(const char* folder, uint64_t brick_length, uint32_t bricks, int pages, sluice_memory** memory);
/// Each piece has one holder at a time, as whoever has its file reaches all of it. Before a manager or a ledger is made
/// of the memory; not for memory that was wrapped, whose pieces say so themselves.
int sluice_memory_keep_whole(sluice_memory* memory);
/// Memory that the caller owns and keeps mapped until the object is destroyed. No byte may be in two pieces, by address
/// or by file.
int sluice_memory_wrap(const sluice_piece* pieces, size_t count, sluice_memory** memory);
/// The i-th piece; SLUICE_INVALID_ARGUMENT after the last.
int sluice_memory_piece(const sluice_memory* memory, size_t index, sluice_piece* piece);
void sluice_memory_destroy(sluice_memory* memory);

/// Whatever does the writing.
typedef struct sluice_engine sluice_engine;
/// Memory to fill with a pattern: byte (address mod 8) of it, little endian.
typedef struct sluice_job {
  void* base;
  uint64_t length;  ///< bytes
  uint64_t pattern;
  int urgent;       ///< A VM waits for it.
  uint64_t number;  ///< Names the job: give it back in its completion.
} sluice_job;
/// How a job ended.
enum {
  SLUICE_ZEROED = 1,     ///< All bytes were written, and the memory has acknowledged them.
  SLUICE_CANCELLED = 2,  ///< It was asked to stop. The engine will not touch the memory again.
  SLUICE_FAILED = 3      ///< The memory goes into quarantine.
};
/// Exactly one for each job that was accepted.
typedef struct sluice_completion {
  uint64_t number;  ///< Of the job.
  int outcome;      ///< SLUICE_ZEROED, SLUICE_CANCELLED, SLUICE_FAILED
  uint64_t bytes;   ///< Written, from the start; all of the job if it was SLUICE_ZEROED.
} sluice_completion;
/// An engine that the caller owns. Each function gets the `context` of sluice_engine_wrap() and must not throw. An
/// engine whose answers cannot be true is given up: its jobs fail, and their memory goes into quarantine.
typedef struct sluice_engine_operations {
  const char* name;
  size_t max_jobs;          ///< Accepted and not yet returned by poll.
  uint64_t max_job_length;  ///< bytes
  /// Accepts the first n of `count` jobs and returns n; 0: busy.
  size_t (*submit)(void* context, const sluice_job* jobs, size_t count);
  /// Asks for a job to stop. It may still end in any way.
  void (*cancel)(void* context, uint64_t number);
  /// Writes at most `room` completions and returns how many. Never waits.
  size_t (*poll)(void* context, sluice_completion* completions, size_t room);
  /// Why it accepts no more jobs, ever again; NULL: it accepts jobs.
  const char* (*fault)(void* context);
} sluice_engine_operations;

/// An engine by its name and options, as "cpu" or "cpu:threads=2,store=avx2". It may write `memory` and nothing else.
int sluice_engine_open(const char* name, const sluice_memory* memory, sluice_engine** engine);
/// `operations` is copied.
int sluice_engine_wrap(const sluice_engine_operations* operations, void* context, sluice_engine** engine);
void sluice_engine_destroy(sluice_engine* engine);

/// A record of which memory is clean, which is held, and which is in dedicated pools, in a file that outlives the
/// process.
typedef struct sluice_ledger sluice_ledger;
/// Opens or creates a file on tmpfs, used by one process at a time.
int sluice_ledger_open(const char* path, const sluice_memory* memory, sluice_ledger** ledger);
/// Why an old file was ignored; "": it was used, or there was none.
const char* sluice_ledger_rejected(const sluice_ledger* ledger);
void sluice_ledger_destroy(sluice_ledger* ledger);

/// Gives memory to VMs and takes it back.
typedef struct sluice_manager sluice_manager;
/// How scrubs are done in the background. All zero: the defaults.
typedef struct sluice_config {
  uint32_t max_jobs;               ///< In flight; 0: 32.
  uint64_t background_job_length;  ///< bytes; longer extents are scrubbed in pieces; 0: 64 MiB.
  uint64_t clean_target;           ///< bytes kept clean, the rest when nobody has claimed memory; 0: all.
  uint64_t idle_after_ns;          ///< Since the last claim; 0: 1 s.
  double background_rate;          ///< bytes/s; 0: as the engine can.
} sluice_config;
/// `ledger` and `config` may be NULL.
int sluice_manager_create(const sluice_memory* memory, sluice_engine* engine, sluice_ledger* ledger,
                          const sluice_config* config, sluice_manager** manager);
/// Handlers of pending claims are called with SLUICE_ABANDONED first, each once.
void sluice_manager_destroy(sluice_manager* manager);
/// Submits scrubs, handles completions, calls handlers. Call it while sluice_manager_has_work().
void sluice_manager_poll(sluice_manager* manager);
int sluice_manager_has_work(const sluice_manager* manager);
/// A descriptor that is readable when the engine has something for sluice_manager_poll(); -1: this engine has none, so
/// poll while sluice_manager_has_work().
int sluice_manager_fd(const sluice_manager* manager);
/// Time until the next scheduled scrub, in ns; -1: none is scheduled.
int64_t sluice_manager_next_scheduled_ns(const sluice_manager* manager);

/// One run of granted memory.
typedef struct sluice_range {
  void* base;
  uint64_t length;     ///< bytes
  int fd;              ///< Its file; -1: none.
  uint64_t fd_offset;  ///< bytes
  int recycled;        ///< Handed over as it was. Otherwise filled with `pattern`.
  uint64_t pattern;
} sluice_range;
/// Called once for each claim that was started, with a code and, if that is SLUICE_OK, the memory that the claim was
/// granted (none for a pool's claim). The ranges are valid until it returns. Until it has been called, its VM cannot be
/// terminated or rebooted.
typedef void (*sluice_handler)(void* context, uint64_t claim, int code, const sluice_range* ranges, size_t count);

/// What a VM allows to be recycled. Flags are 0 or not.
typedef struct sluice_recycling {
  int enable;  ///< 0: nothing is recycled, whatever the others say.
  int recycle_on_reboot;
  int recycle_within_vm;
  int recycle_within_dedicated_pool;
  int recycle_within_trust_group;
  int force_new_memory;      ///< It gets none of the memory that it had since this was set, or has then.
  int retain_memory;         ///< Memory that it does not need after a reboot stays reserved for it.
  int grow_pool_on_reboot;   ///< What it holds beyond its dedicated pool joins that when it reboots.
  int lend_reserved_memory;  ///< Its trust group may have what is reserved for it while it reboots.
  uint64_t reservation_ns;   ///< How long memory is reserved for it during a reboot; 0: for ever.
} sluice_recycling;
/// When memory is scrubbed.
enum {
  SLUICE_AFTER_RELEASE = 0,
  SLUICE_BEFORE_GRANT = 1,
  SLUICE_BOTH = 2,
  SLUICE_SCHEDULED = 3  ///< After the release and `delay_ns`.
};
/// What it is filled with.
enum {
  SLUICE_FILL_ZEROS = 0,
  SLUICE_FILL_ONES = 1,
  SLUICE_FILL_PATTERN = 2,
  SLUICE_FILL_RANDOM = 3,
  SLUICE_FILL_ERASE = 4
};
/// A VM, from its creation on.
typedef struct sluice_vm {
  size_t size;  ///< Of this structure: set by sluice_vm_init().
  uint64_t vm;
  uint64_t customer;
  uint64_t pool;   ///< 0: the shared pool.
  uint64_t group;  ///< 0: none.
  sluice_recycling recycling;
  int scrub_timing;  ///< SLUICE_AFTER_RELEASE and so on
  uint64_t scrub_delay_ns;
  int fill;  ///< SLUICE_FILL_...
  uint64_t fill_pattern;
  int pages;            ///< SLUICE_PAGES_...; -1: its pool's, or the smallest.
  int64_t node;         ///< NUMA node; -1: any.
  int only_node;        ///< No other node.
  uint64_t unit;        ///< Where pieces change hands as a whole, their length; 0: its pool's, or the shortest. bytes
  uint64_t contiguous;  ///< Preferred least length of a range. bytes
} sluice_vm;
/// The defaults: the shared pool, no group, everything recycled, zeros after the release.
void sluice_vm_init(sluice_vm* vm);

int sluice_group_create(sluice_manager* manager, uint64_t group, uint64_t customer, uint64_t inside);
int sluice_group_enable(sluice_manager* manager, uint64_t group, int enabled);
int sluice_group_destroy(sluice_manager* manager, uint64_t group);

/// The pool can be used when the handler was called with SLUICE_OK. `shares`: its VMs may have each other's memory as
/// it is (not 0), or what a VM leaves behind is dirty for the others (0). `claim` may be NULL.
int sluice_pool_create(sluice_manager* manager, uint64_t pool, uint64_t customer, uint64_t length, int shares,
                       sluice_handler handler, void* context, uint64_t* claim);
int sluice_pool_grow(sluice_manager* manager, uint64_t pool, uint64_t length, sluice_handler handler, void* context,
                     uint64_t* claim);
int sluice_pool_shrink(sluice_manager* manager, uint64_t pool, uint64_t length);
/// How sluice_manager_poll() has a pool follow what its VMs use. All in bytes.
typedef struct sluice_pool_rule {
  uint64_t least_free;  ///< With less free it grows, by scrubbed memory that the shared pool can do without ...
  uint64_t most_free;   ///< ... and with more it shrinks. At least `least_free` and a step.
  uint64_t step;        ///< By so much at once, or as much as the limits leave.
  uint64_t smallest;    ///< It shrinks no further, by calls neither ...
  uint64_t largest;     ///< ... and grows no further, by calls or reboots neither.
} sluice_pool_rule;
/// NULL: the pool is resized by calls only, as at first.
int sluice_pool_change_rule(sluice_manager* manager, uint64_t pool, const sluice_pool_rule* rule);
int sluice_pool_partition(sluice_manager* manager, uint64_t pool, uint64_t part, uint64_t length);
int sluice_pool_merge(sluice_manager* manager, uint64_t pool, uint64_t other);
/// Without VMs, or not adopted.
int sluice_pool_destroy(sluice_manager* manager, uint64_t pool);

int sluice_vm_create(sluice_manager* manager, const sluice_vm* vm);
/// Recycling, scrubs and placement as in `vm`; its pool and its customer stay, its group changes if it is another.
int sluice_vm_change(sluice_manager* manager, const sluice_vm* vm);
/// The VM's own choice, instead of its settings: 0 means that it accepts only scrubbed memory.
int sluice_vm_switch_recycling(sluice_manager* manager, uint64_t vm, int on);
/// The same only for its own memory after a reboot.
int sluice_vm_switch_reboot_recycling(sluice_manager* manager, uint64_t vm, int on);
/// More memory, as when its balloon deflates. `claim` may be NULL.
int sluice_vm_allocate(sluice_manager* manager, uint64_t vm, uint64_t length, sluice_handler handler, void* context,
                       uint64_t* claim);
/// Gives memory back, as when its balloon inflates. All mappings of it in the VM and in its hypervisor, and all DMA to
/// it, must have ended before: what still reaches it can read and write the next holder's data. The same is true of
/// sluice_vm_terminate(), and of sluice_vm_begin_reboot() for memory that is not kept.
int sluice_vm_release(sluice_manager* manager, uint64_t vm, void* base, uint64_t length);
int sluice_vm_begin_reboot(sluice_manager* manager, uint64_t vm);
int sluice_vm_finish_reboot(sluice_manager* manager, uint64_t vm, uint64_t length, sluice_handler handler,
                            void* context, uint64_t* claim);
int sluice_vm_terminate(sluice_manager* manager, uint64_t vm);
/// 1: the claim was pending, its handler gets SLUICE_ABANDONED.
int sluice_claim_abandon(sluice_manager* manager, uint64_t claim);

/// In a hunt for bad memory: nobody (`vm` 0), or not this VM, gets this memory until sluice_absolve(). Whoever holds it
/// keeps it. SLUICE_WRONG_STATE: some of it is being scrubbed or granted.
int sluice_suspect(sluice_manager* manager, uint64_t vm, void* base, uint64_t length);
/// Everything that was suspect for this VM (0: for all) is as good as other memory again.
int sluice_absolve(sluice_manager* manager, uint64_t vm);
/// What is suspect for this VM (0: for all). bytes
uint64_t sluice_suspect_bytes(const sluice_manager* manager, uint64_t vm);
/// A run of memory.
typedef struct sluice_span {
  void* base;
  uint64_t length;  ///< bytes
} sluice_span;
/// What a test of suspect memory has found.
typedef struct sluice_suspect_report {
  uint64_t tested;            ///< Held each pattern, or is among `failed`. bytes
  uint64_t not_tested;        ///< Suspect as well, and in use when the test began. bytes
  const sluice_span* failed;  ///< Held something else, or took no stores, and is in quarantine.
  size_t failed_count;
} sluice_suspect_report;
/// Called once for each test that was started. `report`: only with SLUICE_OK, and valid until it returns.
typedef void (*sluice_report_handler)(void* context, uint64_t claim, int code, const sluice_suspect_report* report);
/// Fills all free memory that is suspect for this VM (0: for all) with each of the patterns (`count` 0: 0x55 and 0xAA
/// in all bytes, then 0) and reads it back. Nobody gets any of it meanwhile. `claim` may be NULL. SLUICE_WRONG_STATE:
/// such a test runs. SLUICE_OUT_OF_MEMORY: no such memory is free.
int sluice_suspect_test(sluice_manager* manager, uint64_t vm, const uint64_t* patterns, size_t count,
                        sluice_report_handler handler, void* context, uint64_t* claim);

/// VMs that held memory before a crash and that have been neither adopted nor terminated since: writes at most `room`
/// ids, returns how many there are.
size_t sluice_manager_unadopted(const sluice_manager* manager, uint64_t* vms, size_t room);
/// The same of dedicated pools that had memory. Nobody is granted that before the pool is adopted or destroyed.
size_t sluice_manager_unadopted_pools(const sluice_manager* manager, uint64_t* pools, size_t room);
/// Such a pool is there again, with its memory. Call it before its VMs are adopted.
int sluice_pool_adopt(sluice_manager* manager, uint64_t pool, uint64_t customer, int shares);
/// Such a VM is still running. The handler is called at once with all memory that the VM holds.
int sluice_vm_adopt(sluice_manager* manager, const sluice_vm* vm, sluice_handler handler, void* context);

// NOLINTEND(readability-identifier-naming,modernize-deprecated-headers)

#ifdef __cplusplus
}
#endif

#endif
