// SPDX-License-Identifier: Apache-2.0
#include "sluice/xrt/xrt_card.hpp"

#include <experimental/xrt_ip.h>
#include <experimental/xrt_xclbin.h>
#include <fmt/format.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <xrt/xrt_bo.h>
#include <xrt/xrt_device.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <optional>
#include <thread>

#include "sluice/base/descriptor.hpp"
#include "sluice/base/units.hpp"

namespace sluice::inline xrt {
namespace {

constexpr std::uint32_t kNothingThere = 0xFFFFFFFF;
constexpr std::size_t kPage = kPageSize.value();

struct Buffer {
  ::xrt::bo bo;
  DmaBuffer dma;
  bool spare = false;
};

/// XRT's emulation prints to standard output, which belongs to the program: as long as this lives, that is standard
/// error.
class StandardOutputAside {
 public:
  explicit StandardOutputAside(bool wanted) {
    if (!wanted) return;
    std::fflush(stdout);
    output_ = above_standard(::dup(STDOUT_FILENO));
    ::dup2(STDERR_FILENO, STDOUT_FILENO);
  }
  StandardOutputAside(const StandardOutputAside&) = delete;
  StandardOutputAside& operator=(const StandardOutputAside&) = delete;
  ~StandardOutputAside() {
    if (output_ < 0) return;
    std::fflush(stdout);
    std::cout.flush();
    ::dup2(output_, STDOUT_FILENO);
    ::close(output_);
  }

 private:
  int output_ = -1;
};

/// What XRT holds for us. Buffers go first, the device last.
struct Handles {
  ::xrt::device device;
  ::xrt::ip ip;
  std::uint32_t host_memory = 0;  // its group in the xclbin
  std::vector<Buffer> buffers;
};

/// Waits for a card's interrupts on a thread of its own, and passes them on as an eventfd.
class Interrupts {
 public:
  /// Throws what XRT throws if the card has none.
  explicit Interrupts(::xrt::ip& ip) : notify_(ip.create_interrupt_notify()) {
    waiter_ = std::thread([this] {
      while (!stop_) {
        if (notify_.wait(kLook) == std::cv_status::no_timeout) ::eventfd_write(fd_, 1);
      }
    });
  }
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;
  ~Interrupts() {
    stop_ = true;
    waiter_.join();
    ::close(fd_);
  }
  [[nodiscard]] int fd() const { return fd_; }

 private:
  static constexpr std::chrono::milliseconds kLook{100};
  ::xrt::ip::interrupt notify_;
  int fd_ = above_standard(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  std::atomic<bool> stop_{false};
  std::thread waiter_;
};

class Card final : public XrtCard {
 public:
  Card(std::unique_ptr<Handles> handles, std::function<bool()> alive, bool interrupts)
      : handles_(std::move(handles)), alive_(std::move(alive)) {
    if (!interrupts || alive_) return;
    try {
      interrupts_ = std::make_unique<Interrupts>(handles_->ip);
    } catch (const std::exception&) {  // polled, then
    }
  }
  ~Card() override {
    interrupts_.reset();
    if (alive_) static_cast<void>(alive_());  // so that somebody answers XRT if the device process has died
    const StandardOutputAside aside(static_cast<bool>(alive_));
    handles_.reset();
  }

  [[nodiscard]] Result<DmaBuffer> allocate(ByteCount length) override {
    const std::size_t bytes = (length.value() + kPage - 1) / kPage * kPage;
    const auto refuse = [bytes](const char* why) {
      return Error{DriverErrc::NoResources,
                   fmt::format("XRT gives no host memory of {} bytes: {}; reserve more for the card with xbutil's "
                               "configure --host-mem, or ask for less",
                               bytes, why)};
    };
    if (gone()) return refuse("the device is gone");
    const auto spare = std::find_if(handles_->buffers.begin(), handles_->buffers.end(), [bytes](const Buffer& buffer) {
      return buffer.spare && buffer.dma.memory.size() == bytes;
    });
    if (spare != handles_->buffers.end()) {
      spare->spare = false;
      std::memset(spare->dma.memory.data(), 0, bytes);
      return spare->dma;
    }
    try {
      ::xrt::bo bo(handles_->device, bytes, ::xrt::bo::flags::host_only, handles_->host_memory);
      auto* const memory = bo.map<std::byte*>();
      std::memset(memory, 0, bytes);
      handles_->buffers.push_back({bo, {MemorySpan(memory, bytes), Iova(bo.address())}});
    } catch (const std::exception& error) {
      return refuse(error.what());
    }
    return handles_->buffers.back().dma;
  }

  void give_back(const DmaBuffer& buffer) override {
    for (Buffer& known : handles_->buffers) {
      if (known.dma.memory.data() == buffer.memory.data()) known.spare = true;
    }
  }

  [[nodiscard]] Result<Iova> find(MemorySpan memory) const override {
    for (const Buffer& buffer : handles_->buffers) {
      const MemorySpan known = buffer.dma.memory;
      if (memory.data() >= known.data() && memory.data() + memory.size() <= known.data() + known.size()) {
        return buffer.dma.iova + ByteCount(static_cast<std::uint64_t>(memory.data() - known.data()));
      }
    }
    return Error{DriverErrc::InvalidArgument,
                 fmt::format("a window of {} bytes at {} is no memory that XRT has allocated, and the card reaches no "
                             "other: take the pool's memory from the engine (EngineRegistry::allocate)",
                             memory.size(), static_cast<const void*>(memory.data()))};
  }

  [[nodiscard]] std::uint32_t read_register(std::uint32_t offset) override {
    if (gone()) return kNothingThere;
    try {
      return handles_->ip.read_register(offset);
    } catch (const std::exception&) {
      failed_ = true;
      return kNothingThere;
    }
  }

  void write_register(std::uint32_t offset, std::uint32_t value) override {
    if (gone()) return;
    try {
      handles_->ip.write_register(offset, value);
    } catch (const std::exception&) {
      failed_ = true;
    }
  }

  [[nodiscard]] int interrupt_fd() const override { return interrupts_ ? interrupts_->fd() : -1; }

 private:
  [[nodiscard]] bool gone() {
    failed_ = failed_ || (alive_ && !alive_());
    return failed_;
  }

  std::unique_ptr<Handles> handles_;
  std::function<bool()> alive_;
  std::unique_ptr<Interrupts> interrupts_;
  bool failed_ = false;
};

/// The group of memory from which the card reaches the host's.
std::optional<std::uint32_t> host_memory_of(const ::xrt::xclbin& xclbin) {
  for (const auto& memory : xclbin.get_mems()) {
    if (memory.get_tag().starts_with("HOST")) return static_cast<std::uint32_t>(memory.get_index());
  }
  return std::nullopt;
}

}  // namespace

Result<std::unique_ptr<XrtCard>> XrtCard::open(const XrtOptions& options) {
  const StandardOutputAside aside(static_cast<bool>(options.alive));
  auto handles = std::make_unique<Handles>();
  try {
    const ::xrt::xclbin xclbin(options.xclbin);
    const auto host_memory = host_memory_of(xclbin);
    if (!host_memory) {
      return Error{
          DriverErrc::DeviceMissing,
          fmt::format("{} connects no kernel to host memory: link it with sp=scrub_1.m00_axi:HOST[0]", options.xclbin)};
    }
    handles->host_memory = *host_memory;
    handles->device = ::xrt::device(options.device);
    const ::xrt::uuid uuid = handles->device.load_xclbin(xclbin);
    handles->ip = ::xrt::ip(handles->device, uuid, options.instance);
  } catch (const std::exception& error) {
    return Error{DriverErrc::DeviceMissing,
                 fmt::format("XRT does not open card {} with {}: {}; `sluice engines` lists what there is",
                             options.device, options.xclbin, error.what())};
  }
  return std::unique_ptr<XrtCard>(std::make_unique<Card>(std::move(handles), options.alive, options.interrupts));
}

}  // namespace sluice::inline xrt
