// SPDX-License-Identifier: Apache-2.0
// The scrub engine as a DMA device of DPDK 22.11: a virtual device `dma_sluice`, out of DPDK's tree. What a driver must
// do stands in "DMA Device Library" of DPDK's programmer's guide; the headers for drivers are no public API, hence the
// check of the version.
#include <bus_vdev_driver.h>
#include <fmt/format.h>
#include <rte_dmadev_pmd.h>
#include <rte_eal.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_version.h>
#include <sched.h>

#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <type_traits>
#include <vector>

#include "pmd_arguments.hpp"
#include "rte_pmd_sluice.h"
#include "sluice/compose/engine_choice.hpp"
#include "sluice/engine/engine_registry.hpp"

RTE_LOG_REGISTER_DEFAULT(sluice_logtype, NOTICE);

namespace sluice::inline pmd {
namespace {

void log_error(const std::string& text) {
  ::rte_log(RTE_LOG_ERR, static_cast<std::uint32_t>(sluice_logtype), "dma_sluice: %s\n", text.c_str());
}

// Any virtual address may be given (SVA). Nothing is ever mapped below, and a process has no more.
constexpr std::uintptr_t kLowest = 64 << 10;
constexpr std::uintptr_t kEnd = (1ULL << 47) - 4096;
constexpr std::uint16_t kMinDescriptors = 32;
constexpr std::uint16_t kMaxDescriptors = 4096;

/// The one channel of a device: operations in their order, over an engine that may end them in any.
class Channel {
 public:
  explicit Channel(Arguments arguments) : arguments_(std::move(arguments)) {}

  [[nodiscard]] bool strict() const { return arguments_.strict; }
  void set_up(std::uint16_t descriptors) { ring_.resize(std::bit_ceil<std::size_t>(descriptors)); }

  int start() {
    if (ring_.empty()) return -EINVAL;
    // DPDK has pinned this thread, and the engine's workers take their CPUs from the one that makes them.
    cpu_set_t mine;
    ::sched_getaffinity(0, sizeof mine, &mine);
    cpu_set_t all;
    std::memset(&all, 0xFF, sizeof all);
    ::sched_setaffinity(0, sizeof all, &all);
    const MemorySpan window(reinterpret_cast<std::byte*>(kLowest), kEnd - kLowest);
    auto engine = guarded([&] { return registry_.create(arguments_.engine, {&window, 1}); });
    ::sched_setaffinity(0, sizeof mine, &mine);
    if (!engine) {
      log_error(engine.error().message);
      return -EIO;
    }
    engine_ = std::move(*engine);
    failed_ = false;
    prepared_ = doorbell_ = issued_ = reaped_ = 0;
    waiting_ = 0;
    counters_ = {};
    stats_ = {};
    return 0;
  }
  /// Returns when the engine writes no more. What was given and has not ended is answered as never tried.
  void stop() {
    give_up(RTE_DMA_STATUS_USER_ABORT);
    doorbell_ = prepared_;
    progress();
  }

  int prepare(bool is_copy, std::uint64_t source, std::uint64_t to, std::uint32_t length, std::uint64_t flags) {
    if (is_copy && strict()) return -ENOTSUP;
    if (engine_ == nullptr && !failed_) return -EINVAL;  // not started
    if (prepared_ - reaped_ == ring_.size()) return -ENOSPC;
    const bool fence = (flags & RTE_DMA_OP_FLAG_FENCE) != 0;
    at(prepared_) = {source, to, length, is_copy, fence, false, RTE_DMA_STATUS_NOT_ATTEMPTED};
    const auto index = static_cast<std::uint16_t>(prepared_++);
    if ((flags & RTE_DMA_OP_FLAG_SUBMIT) != 0) submit();
    return index;
  }
  void submit() {
    stats_.submitted += prepared_ - doorbell_;
    doorbell_ = prepared_;
    progress();
  }

  std::uint16_t completed(std::uint16_t most, std::uint16_t* last, bool* has_error) {
    progress();
    std::uint16_t count = 0;
    while (count < most && reaped_ != issued_ && at(reaped_).ended) {
      if (at(reaped_).status != RTE_DMA_STATUS_SUCCESSFUL) {
        *has_error = true;
        break;
      }
      ++reaped_;
      ++count;
    }
    return finish(count, last);
  }
  std::uint16_t completed_status(std::uint16_t most, std::uint16_t* last, enum rte_dma_status_code* codes) {
    progress();
    std::uint16_t count = 0;
    while (count < most && reaped_ != issued_ && at(reaped_).ended) {
      codes[count] = at(reaped_).status;
      if (codes[count] != RTE_DMA_STATUS_SUCCESSFUL) ++stats_.errors;
      ++reaped_;
      ++count;
    }
    return finish(count, last);
  }

  [[nodiscard]] std::uint16_t capacity() const {
    if (engine_ == nullptr && !failed_) return 0;
    const std::size_t room = ring_.size() - (prepared_ - reaped_);
    return static_cast<std::uint16_t>(room);
  }
  [[nodiscard]] bool idle() {
    progress();
    return waiting_ == 0 && issued_ == doorbell_;
  }
  [[nodiscard]] const rte_pmd_sluice_counters& counters() const { return counters_; }
  [[nodiscard]] rte_dma_stats& stats() { return stats_; }
  [[nodiscard]] std::string text() const {
    return fmt::format("engine {}{}: {} fills of {} bytes; by software {} copies of {} bytes\n", arguments_.engine.text,
                       strict() ? ", strict" : "", counters_.fills, counters_.filled_bytes, counters_.copies,
                       counters_.copied_bytes);
  }

 private:
  struct Slot {
    std::uint64_t source = 0;  ///< The pattern of a fill.
    std::uint64_t to = 0;
    std::uint32_t length = 0;
    bool is_copy = false;
    bool fence = false;
    bool ended = false;
    enum rte_dma_status_code status = RTE_DMA_STATUS_NOT_ATTEMPTED;
  };

  Slot& at(std::uint64_t number) { return ring_[number & (ring_.size() - 1)]; }

  std::uint16_t finish(std::uint16_t count, std::uint16_t* last) {
    stats_.completed += count;
    *last = static_cast<std::uint16_t>(reaped_ - 1);
    return count;
  }

  void progress() {
    collect();
    while (issued_ != doorbell_) {
      Slot& slot = at(issued_);
      if (slot.fence && waiting_ > 0) return;
      if (engine_ == nullptr) {
        end(slot, failed_ ? RTE_DMA_STATUS_DEV_LINK_ERROR : RTE_DMA_STATUS_NOT_ATTEMPTED);
      } else if (const auto refused = check(slot)) {
        end(slot, *refused);
      } else if (slot.is_copy) {
        std::memcpy(reinterpret_cast<void*>(slot.to), reinterpret_cast<const void*>(slot.source), slot.length);
        ++counters_.copies;
        counters_.copied_bytes += slot.length;
        end(slot, RTE_DMA_STATUS_SUCCESSFUL);
      } else if (!fill(slot)) {
        return;
      }
      ++issued_;
    }
  }

  static std::optional<enum rte_dma_status_code> check(const Slot& slot) {
    const auto inside = [&slot](std::uint64_t address) { return address >= kLowest && address < kEnd - slot.length; };
    if (slot.length == 0) return RTE_DMA_STATUS_INVALID_LENGTH;
    if (slot.is_copy && !inside(slot.source)) return RTE_DMA_STATUS_INVALID_SRC_ADDR;
    if (!inside(slot.to)) return RTE_DMA_STATUS_INVALID_DST_ADDR;
    return std::nullopt;
  }

  static void end(Slot& slot, enum rte_dma_status_code status) {
    slot.status = status;
    slot.ended = true;
  }

  /// An engine that throws is given up: no exception may reach DPDK, which is C.
  template <class Work>
  static std::invoke_result_t<Work> guarded(Work work) {
    try {
      return work();
    } catch (const std::exception& error) {
      return Error{DriverErrc::EngineFailed, error.what()};
    }
  }

  /// The engine goes, and what it had ends with this status.
  void give_up(enum rte_dma_status_code status) {
    engine_.reset();
    for (std::uint64_t number = reaped_; number != issued_; ++number) {
      if (!at(number).ended) end(at(number), status);
    }
    waiting_ = 0;
  }
  void fail(const Error& error) {
    log_error(error.message);
    failed_ = true;
    give_up(RTE_DMA_STATUS_DEV_LINK_ERROR);
  }

  /// False: the engine takes no more now.
  bool fill(Slot& slot) {
    ScrubJob job;
    job.memory = MemorySpan(reinterpret_cast<std::byte*>(slot.to), slot.length);
    // DPDK's pattern begins at the first byte, ours at multiples of 8.
    job.pattern = std::rotl(slot.source, static_cast<int>(slot.to % 8 * 8));
    job.cookie = issued_;
    JobId id;
    const auto taken = guarded([&] { return engine_->submit({&job, 1}, {&id, 1}); });
    if (taken) {
      ++waiting_;
      return true;
    }
    if (taken.error().code == DriverErrc::Busy) return false;
    log_error(taken.error().message);
    end(slot, RTE_DMA_STATUS_DEV_LINK_ERROR);
    return true;
  }

  void collect() {
    if (waiting_ == 0) return;
    std::array<Completion, 64> some;
    const auto count = guarded([&]() -> Result<std::size_t> { return engine_->poll(some); });
    if (!count) {
      fail(count.error());
      return;
    }
    for (std::size_t index = 0; index < *count; ++index) {
      const Completion& completion = some[index];
      counters_.filled_bytes += completion.bytes_zeroed.value();
      ++counters_.fills;
      end(at(completion.cookie), status_of(completion));
      --waiting_;
    }
  }

  static enum rte_dma_status_code status_of(const Completion& completion) {
    if (completion.outcome == Outcome::Zeroed) return RTE_DMA_STATUS_SUCCESSFUL;
    if (completion.outcome == Outcome::Cancelled) return RTE_DMA_STATUS_USER_ABORT;
    switch (completion.cause) {
      case FailureCause::BadDescriptor:
        return RTE_DMA_STATUS_INVALID_LENGTH;
      case FailureCause::OutsideWindow:
      case FailureCause::DecodeError:
        return RTE_DMA_STATUS_INVALID_DST_ADDR;
      case FailureCause::SlaveError:
        return RTE_DMA_STATUS_BUS_WRITE_ERROR;
      case FailureCause::Timeout:
      case FailureCause::EngineFault:
        return RTE_DMA_STATUS_DEV_LINK_ERROR;
      case FailureCause::Mismatch:
      case FailureCause::None:
        break;
    }
    return RTE_DMA_STATUS_ERROR_UNKNOWN;
  }

  Arguments arguments_;
  EngineRegistry registry_ = make_plain_registry();
  std::unique_ptr<Engine> engine_;  // none: not started, stopped, or failed
  bool failed_ = false;
  std::vector<Slot> ring_;
  // Numbers of operations since the start: reaped_ <= issued_ <= doorbell_ <= prepared_.
  std::uint64_t prepared_ = 0;
  std::uint64_t doorbell_ = 0;
  std::uint64_t issued_ = 0;
  std::uint64_t reaped_ = 0;
  std::uint64_t waiting_ = 0;  // given to the engine, and not ended
  rte_pmd_sluice_counters counters_{};
  rte_dma_stats stats_{};
};

/// All that were made. DPDK keeps pointers to them in memory of its own, where no leak checker looks; they end when
/// DPDK closes their devices, which a program need not do before it ends.
std::vector<std::unique_ptr<Channel>>& channels() {
  static auto& all = *new std::vector<std::unique_ptr<Channel>>;
  return all;
}

Channel& channel_of(const void* device_private) { return **static_cast<Channel* const*>(device_private); }
Channel& channel_of(const rte_dma_dev* device) { return channel_of(device->data->dev_private); }

int info_get(const rte_dma_dev* device, rte_dma_info* info, std::uint32_t /*size*/) {
  info->dev_capa = RTE_DMA_CAPA_MEM_TO_MEM | RTE_DMA_CAPA_SVA | RTE_DMA_CAPA_HANDLES_ERRORS | RTE_DMA_CAPA_OPS_FILL;
  if (!channel_of(device).strict()) info->dev_capa |= RTE_DMA_CAPA_OPS_COPY;
  info->max_vchans = 1;
  info->min_desc = kMinDescriptors;
  info->max_desc = kMaxDescriptors;
  return 0;
}
int configure(rte_dma_dev* /*device*/, const rte_dma_conf* /*conf*/, std::uint32_t /*size*/) { return 0; }
int vchan_setup(rte_dma_dev* device, std::uint16_t /*vchan*/, const rte_dma_vchan_conf* conf, std::uint32_t /*size*/) {
  channel_of(device).set_up(conf->nb_desc);
  return 0;
}
int start(rte_dma_dev* device) { return channel_of(device).start(); }
int stop(rte_dma_dev* device) {
  channel_of(device).stop();
  return 0;
}
int close(rte_dma_dev* device) {
  std::erase_if(channels(), [device](const auto& channel) { return channel.get() == &channel_of(device); });
  return 0;
}
int stats_get(const rte_dma_dev* device, std::uint16_t /*vchan*/, rte_dma_stats* stats, std::uint32_t /*size*/) {
  *stats = channel_of(device).stats();
  return 0;
}
int stats_reset(rte_dma_dev* device, std::uint16_t /*vchan*/) {
  channel_of(device).stats() = {};
  return 0;
}
int vchan_status(const rte_dma_dev* device, std::uint16_t /*vchan*/, enum rte_dma_vchan_status* status) {
  *status = channel_of(device).idle() ? RTE_DMA_VCHAN_IDLE : RTE_DMA_VCHAN_ACTIVE;
  return 0;
}
int dump(const rte_dma_dev* device, std::FILE* file) {
  return std::fputs(("  " + channel_of(device).text()).c_str(), file) < 0 ? -EIO : 0;
}

constexpr rte_dma_dev_ops make_operations() {
  rte_dma_dev_ops operations{};
  operations.dev_info_get = info_get;
  operations.dev_configure = configure;
  operations.dev_start = start;
  operations.dev_stop = stop;
  operations.dev_close = close;
  operations.vchan_setup = vchan_setup;
  operations.stats_get = stats_get;
  operations.stats_reset = stats_reset;
  operations.vchan_status = vchan_status;
  operations.dev_dump = dump;
  return operations;
}
constinit const rte_dma_dev_ops kOperations = make_operations();

int copy(void* device, std::uint16_t /*vchan*/, rte_iova_t from, rte_iova_t to, std::uint32_t length,
         std::uint64_t flags) {
  return channel_of(device).prepare(true, from, to, length, flags);
}
int fill(void* device, std::uint16_t /*vchan*/, std::uint64_t pattern, rte_iova_t to, std::uint32_t length,
         std::uint64_t flags) {
  return channel_of(device).prepare(false, pattern, to, length, flags);
}
int submit(void* device, std::uint16_t /*vchan*/) {
  channel_of(device).submit();
  return 0;
}
std::uint16_t completed(void* device, std::uint16_t /*vchan*/, const std::uint16_t most, std::uint16_t* last,
                        bool* error) {
  return channel_of(device).completed(most, last, error);
}
std::uint16_t completed_status(void* device, std::uint16_t /*vchan*/, const std::uint16_t most, std::uint16_t* last,
                               enum rte_dma_status_code* codes) {
  return channel_of(device).completed_status(most, last, codes);
}
std::uint16_t burst_capacity(const void* device, std::uint16_t /*vchan*/) { return channel_of(device).capacity(); }

int probe(rte_vdev_device* vdev) {
  if (::rte_version_year() != RTE_VER_YEAR || ::rte_version_month() != RTE_VER_MONTH) {
    log_error(
        fmt::format("this driver was built for DPDK {}.{:02}, and the program runs {}.{:02}: build it again with "
                    "that one's headers",
                    RTE_VER_YEAR, RTE_VER_MONTH, ::rte_version_year(), ::rte_version_month()));
    return -ENOTSUP;
  }
  const char* const name = ::rte_vdev_device_name(vdev);
  if (::rte_eal_process_type() != RTE_PROC_PRIMARY) {  // the engine and its rings are memory of the primary alone
    log_error(
        fmt::format("{}: only DPDK's primary process can use this device: give the secondary one of its own", name));
    return -ENOTSUP;
  }
  const char* const text = ::rte_vdev_device_args(vdev);
  auto arguments = Arguments::parse(text == nullptr ? "" : text);
  if (!arguments) {
    log_error(fmt::format("{}: {}", name, arguments.error().message));
    return -EINVAL;
  }
  rte_dma_dev* const device = ::rte_dma_pmd_allocate(name, static_cast<int>(::rte_socket_id()), sizeof(Channel*));
  if (device == nullptr) return -ENOMEM;
  channels().push_back(std::make_unique<Channel>(std::move(*arguments)));
  *static_cast<Channel**>(device->data->dev_private) = channels().back().get();
  device->device = &vdev->device;
  device->dev_ops = &kOperations;
  rte_dma_fp_object* const fast = device->fp_obj;
  fast->dev_private = device->data->dev_private;
  fast->copy = copy;
  fast->fill = fill;
  fast->submit = submit;
  fast->completed = completed;
  fast->completed_status = completed_status;
  fast->burst_capacity = burst_capacity;
  device->state = RTE_DMA_DEV_READY;
  return 0;
}

int remove(rte_vdev_device* vdev) {
  if (::rte_eal_process_type() != RTE_PROC_PRIMARY) return 0;  // it was refused
  const char* const name = ::rte_vdev_device_name(vdev);
  if (const int id = ::rte_dma_get_dev_id_by_name(name); id >= 0) ::rte_dma_stop(static_cast<std::int16_t>(id));
  return ::rte_dma_pmd_release(name);
}

rte_vdev_driver sluice_driver = {
    .next = {},
    .driver = {},
    .probe = probe,
    .remove = remove,
    .dma_map = nullptr,
    .dma_unmap = nullptr,
    .drv_flags = RTE_VDEV_DRV_NEED_IOVA_AS_VA,
};

}  // namespace
}  // namespace sluice::inline pmd

extern "C" int rte_pmd_sluice_counters_get(std::int16_t dev_id, rte_pmd_sluice_counters* counters) {
  if (!::rte_dma_is_valid(dev_id) || rte_dma_fp_objs[dev_id].fill != sluice::fill) return -EINVAL;
  *counters = sluice::channel_of(rte_dma_fp_objs[dev_id].dev_private).counters();
  return 0;
}

using sluice::sluice_driver;
RTE_PMD_REGISTER_VDEV(dma_sluice, sluice_driver);
RTE_PMD_REGISTER_PARAM_STRING(dma_sluice, "strict=<0|1> engine=<NAME[:OPTIONS]>");
