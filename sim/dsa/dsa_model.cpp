// SPDX-License-Identifier: Apache-2.0
// A model of one dedicated work queue of Intel's Data Streaming Accelerator, for programs that drive it from user
// space, such as DPDK's unmodified idxd driver: preloaded (or linked before the C library), it stands behind the
// queue's portal. A program opens DSA_DEV_PATH/wqD.Q, maps a page of it, and writes descriptors there with MOVDIR64B;
// here that write faults, and the fault is the submission. Done as "Intel Data Streaming Accelerator Architecture
// Specification" (341204) says, with the names of linux/idxd.h: no-op, drain, memory move, memory fill and batches of
// these, fences in batches, completion records, page faults without block-on-fault, refused operations and sizes. One
// engine: descriptors are done in the order of their submission.
//
// DSA_SYSFS_PATH/wqD.Q/ holds the queue's size, max_batch_size and max_transfer_size (2 MiB if it is not there), as in
// Linux. DSA_MODEL_STOP_AFTER=N: the engine stops for good after N descriptors.
#include <linux/idxd.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <climits>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <optional>
#include <string>
#include <thread>

namespace {

constexpr std::uint64_t kPage = 4096;
constexpr std::size_t kMostQueued = 4096;

struct Limits {
  std::uint32_t size = 16;
  std::uint32_t max_batch = 32;
  std::uint32_t max_transfer = 2 << 20;
  std::uint64_t stop_after = UINT64_MAX;
};

struct Ended {
  std::uint8_t status = DSA_COMP_SUCCESS;
  std::uint32_t bytes = 0;  ///< done, or descriptors of a batch
  std::uint64_t fault_address = 0;
};

std::byte* memory_at(std::uint64_t address) { return reinterpret_cast<std::byte*>(address); }

/// The first byte of [address, address + length) on a page that is not present: the device has no way to bring it in.
std::optional<std::uint64_t> first_absent(std::uint64_t address, std::uint64_t length) {
  for (std::uint64_t page = address / kPage * kPage; page < address + length; page += kPage) {
    unsigned char present = 0;
    if (::mincore(memory_at(page), kPage, &present) != 0 || (present & 1U) == 0) return std::max(page, address);
  }
  return std::nullopt;
}

class WorkQueue {
 public:
  WorkQueue(std::byte* portal, const Limits& limits) : portal_(portal), limits_(limits) {
    std::thread([this] { run(); }).detach();  // the queue is there until the process ends
  }

  [[nodiscard]] const std::byte* portal() const { return portal_; }

  /// Called from a signal handler. A dedicated queue that is full loses what is written to it (SWERROR): then nobody
  /// would ever end the descriptor, and the program has broken the device's rules.
  void submit(const void* descriptor) {
    const std::uint64_t tail = tail_.load(std::memory_order_relaxed);
    if (tail - head_.load(std::memory_order_acquire) >= limits_.size) {
      static constexpr char kText[] = "dsa model: a descriptor was written to a queue that is full\n";
      static_cast<void>(!::write(STDERR_FILENO, kText, sizeof kText - 1));
      std::abort();
    }
    std::memcpy(&queue_[tail % kMostQueued], descriptor, sizeof(dsa_hw_desc));
    tail_.store(tail + 1, std::memory_order_release);
    tail_.notify_one();
  }

 private:
  void run() {
    // DPDK has pinned the thread that opened the queue; a device has no CPU to share with it.
    cpu_set_t all;
    std::memset(&all, 0xFF, sizeof all);
    ::sched_setaffinity(0, sizeof all, &all);
    for (std::uint64_t head = 0;; ++head) {
      while (tail_.load(std::memory_order_acquire) == head) tail_.wait(head, std::memory_order_acquire);
      const dsa_hw_desc descriptor = queue_[head % kMostQueued];
      const Ended ended = descriptor.opcode == DSA_OPCODE_BATCH ? do_batch(descriptor) : do_one(descriptor);
      // An entry is free again when its descriptor has ended.
      head_.store(head + 1, std::memory_order_release);
      complete(descriptor, ended);
    }
  }

  Ended do_batch(const dsa_hw_desc& batch) {
    if (batch.desc_count < 2 || batch.desc_count > limits_.max_batch) return {DSA_COMP_DESC_CNT_ERANGE};
    if (batch.desc_list_addr % sizeof(dsa_hw_desc) != 0) return {DSA_COMP_DESCLIST_ALIGN};
    if (const auto absent = first_absent(batch.desc_list_addr, batch.desc_count * sizeof(dsa_hw_desc))) {
      return {DSA_COMP_BATCH_PAGE_FAULT, 0, *absent};
    }
    bool failed = false;
    std::uint32_t done = 0;
    for (; done < batch.desc_count; ++done) {
      dsa_hw_desc descriptor;
      std::memcpy(&descriptor, memory_at(batch.desc_list_addr) + done * sizeof descriptor, sizeof descriptor);
      if ((descriptor.flags & IDXD_OP_FLAG_FENCE) != 0 && failed) break;
      const Ended ended = descriptor.opcode == DSA_OPCODE_BATCH ? Ended{DSA_COMP_BAD_OPCODE} : do_one(descriptor);
      failed = failed || ended.status != DSA_COMP_SUCCESS;
      complete(descriptor, ended);
    }
    return {failed ? std::uint8_t{DSA_COMP_BATCH_FAIL} : std::uint8_t{DSA_COMP_SUCCESS}, done};
  }

  Ended do_one(const dsa_hw_desc& descriptor) {
    if (done_++ >= limits_.stop_after) {
      for (;;) ::pause();
    }
    switch (descriptor.opcode) {
      case DSA_OPCODE_NOOP:
      case DSA_OPCODE_DRAIN:
        return {};
      case DSA_OPCODE_MEMMOVE:
      case DSA_OPCODE_MEMFILL:
        break;
      default:
        return {DSA_COMP_BAD_OPCODE};
    }
    if (descriptor.xfer_size == 0 || descriptor.xfer_size > limits_.max_transfer) return {DSA_COMP_XFER_ERANGE};
    const bool moves = descriptor.opcode == DSA_OPCODE_MEMMOVE;
    std::uint64_t length = descriptor.xfer_size;
    Ended ended{DSA_COMP_SUCCESS, descriptor.xfer_size};
    const auto cut = [&](std::uint64_t from) {
      if (const auto absent = first_absent(from, length)) {
        length = *absent - from;
        ended = {DSA_COMP_PAGE_FAULT_NOBOF, static_cast<std::uint32_t>(length), *absent};
      }
    };
    if (moves) cut(descriptor.src_addr);
    cut(descriptor.dst_addr);
    std::byte* const to = memory_at(descriptor.dst_addr);
    if (moves) {
      std::memmove(to, memory_at(descriptor.src_addr), length);
    } else {
      const std::uint64_t pattern = descriptor.pattern;
      for (std::uint64_t index = 0; index < length; ++index) {
        to[index] = static_cast<std::byte>(pattern >> (8 * (index % 8)));
      }
    }
    return ended;
  }

  /// A record is written where there is an address for it, if it was asked for or if there was an error.
  static void complete(const dsa_hw_desc& descriptor, const Ended& ended) {
    const bool wanted = (descriptor.flags & IDXD_OP_FLAG_RCR) != 0 || ended.status != DSA_COMP_SUCCESS;
    if ((descriptor.flags & IDXD_OP_FLAG_CRAV) == 0 || !wanted) return;
    auto* const record = reinterpret_cast<dsa_completion_record*>(descriptor.completion_addr);
    record->result = 0;
    record->bytes_completed = ended.bytes;
    record->fault_addr = ended.fault_address;
    std::atomic_ref(*const_cast<std::uint8_t*>(&record->status)).store(ended.status, std::memory_order_release);
  }

  std::byte* portal_;
  Limits limits_;
  std::array<dsa_hw_desc, kMostQueued> queue_{};
  std::atomic<std::uint64_t> head_{0};
  std::atomic<std::uint64_t> tail_{0};
  std::uint64_t done_ = 0;
};

std::atomic<WorkQueue*> the_queue{nullptr};
struct sigaction before_segv;
struct sigaction before_ill;

/// MOVDIR64B [rax], [rdx], as DPDK writes it. A CPU that has it faults on the page, another one on the instruction.
void on_fault(int signal, siginfo_t* info, void* context) {
  static constexpr unsigned char kMovdir64b[] = {0x66, 0x0F, 0x38, 0xF8, 0x02};
  greg_t* const registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  WorkQueue* const queue = the_queue.load();
  const bool ours =
      queue != nullptr && memory_at(static_cast<std::uint64_t>(registers[REG_RAX])) == queue->portal() &&
      (signal == SIGILL || info->si_addr == queue->portal()) &&
      std::memcmp(memory_at(static_cast<std::uint64_t>(registers[REG_RIP])), kMovdir64b, sizeof kMovdir64b) == 0;
  if (ours) {
    queue->submit(memory_at(static_cast<std::uint64_t>(registers[REG_RDX])));
    registers[REG_RIP] += sizeof kMovdir64b;
    return;
  }
  // Somebody else's: it happens again, under the old handler.
  ::sigaction(signal, signal == SIGILL ? &before_ill : &before_segv, nullptr);
}

std::string folder_of(const char* variable, const char* fallback) {
  const char* const value = std::getenv(variable);
  return value == nullptr ? fallback : value;
}

void read_number(const std::string& file, std::uint32_t& number) {
  std::ifstream in(file);
  std::uint32_t read = 0;
  if (in >> read) number = read;
}

/// The name of the queue that `fd` has open, if it is one.
std::optional<std::string> queue_of(int fd) {
  char link[64];
  std::snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  std::array<char, PATH_MAX> path{};
  if (::readlink(link, path.data(), path.size() - 1) <= 0) return std::nullopt;
  std::array<char, PATH_MAX> folder{};
  if (::realpath(folder_of("DSA_DEV_PATH", "/dev/dsa").c_str(), folder.data()) == nullptr) return std::nullopt;
  const std::string prefix = std::string(folder.data()) + "/wq";
  const std::string text = path.data();
  if (!text.starts_with(prefix)) return std::nullopt;
  return text.substr(prefix.size() - 2);
}

void* map_portal(const std::string& name) {
  const std::string sysfs = folder_of("DSA_SYSFS_PATH", "/sys/bus/dsa/devices") + "/" + name + "/";
  Limits limits;
  read_number(sysfs + "size", limits.size);
  read_number(sysfs + "max_batch_size", limits.max_batch);
  read_number(sysfs + "max_transfer_size", limits.max_transfer);
  limits.size = std::min<std::uint32_t>(limits.size, kMostQueued);
  if (const char* const after = std::getenv("DSA_MODEL_STOP_AFTER"))
    limits.stop_after = std::strtoull(after, nullptr, 10);
  auto* const portal =
      reinterpret_cast<std::byte*>(::syscall(SYS_mmap, nullptr, kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  the_queue = new WorkQueue(portal, limits);
  struct sigaction action {};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO;
  ::sigaction(SIGSEGV, &action, &before_segv);
  ::sigaction(SIGILL, &action, &before_ill);
  return portal;
}

}  // namespace

/// Found before the C library's.
extern "C" void* mmap(void* address, std::size_t length, int protection, int flags, int fd, off_t offset) noexcept {
  if (fd >= 0 && the_queue.load() == nullptr) {
    if (const auto name = queue_of(fd)) return map_portal(*name);
  }
  return reinterpret_cast<void*>(::syscall(SYS_mmap, address, length, protection, flags, fd, offset));
}
extern "C" void* mmap64(void* address, std::size_t length, int protection, int flags, int fd, off64_t offset) noexcept {
  return mmap(address, length, protection, flags, fd, offset);
}
