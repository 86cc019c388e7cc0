// SPDX-License-Identifier: Apache-2.0
#include "sluice/dmadev/rte_device.hpp"

#include <dlfcn.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <rte_dev.h>
#include <rte_dmadev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_memory.h>
#include <rte_version.h>
#include <sched.h>

#include <array>
#include <bit>
#include <cstring>
#include <optional>
#include <sstream>
#include <thread>

#include "sluice/base/enforce.hpp"
#include "sluice/base/parse.hpp"
#include "sluice/base/units.hpp"
#include "sluice/dmadev/physical_pages.hpp"

namespace sluice::inline dmadev {
namespace {

constexpr std::uint16_t kChannel = 0;
constexpr std::size_t kPage = kPageSize.value();

/// The CPUs that this process may use, so that DPDK pins nothing: its one logical core floats over all of them.
std::string all_cpus() {
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  ::sched_getaffinity(0, sizeof cpus, &cpus);
  std::vector<int> usable;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &cpus)) usable.push_back(cpu);
  }
  return fmt::format("{}", fmt::join(usable, ","));
}

/// Starts DPDK, which a process can do once. What we started it with is kept, so that a different wish is refused.
Result<void> start_eal(const std::string& wish) {
  static std::optional<std::string> started;
  if (started == wish) return {};
  if (started) {
    return Error{DriverErrc::InvalidArgument,
                 fmt::format("DPDK runs in this process already with '{}': give the same eal options, not '{}'",
                             *started, wish)};
  }
  if (::rte_lcore_count() > 0) {  // a program that runs DPDK itself has started it as it likes
    started = wish;
    return {};
  }
  std::vector<std::string> words = {"sluice", "--lcores", fmt::format("0@({})", all_cpus()), "--log-level", "error"};
  std::istringstream stream(wish);
  for (std::string word; stream >> word;) words.push_back(word);
  std::vector<char*> arguments;
  arguments.reserve(words.size() + 1);
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  int result = 0;
  int error = 0;
  // On a thread of its own: DPDK takes the thread that starts it for its logical core.
  std::thread([&] {
    result = ::rte_eal_init(static_cast<int>(words.size()), arguments.data());
    error = rte_errno;
  }).join();
  if (result >= 0) {
    started = wish;
    return {};
  }
  return Error{DriverErrc::NoResources,
               fmt::format("{} did not start with '{}': {}; run the program with eal=--log-level=debug in the "
                           "engine's options to see why",
                           ::rte_version(), wish, ::rte_strerror(error))};
}

DmaStatus status_of(enum rte_dma_status_code code) {
  switch (code) {
    case RTE_DMA_STATUS_SUCCESSFUL:
      return DmaStatus::Done;
    case RTE_DMA_STATUS_USER_ABORT:
    case RTE_DMA_STATUS_NOT_ATTEMPTED:
      return DmaStatus::NotAttempted;
    case RTE_DMA_STATUS_INVALID_SRC_ADDR:
    case RTE_DMA_STATUS_INVALID_DST_ADDR:
    case RTE_DMA_STATUS_INVALID_ADDR:
      return DmaStatus::BadAddress;
    case RTE_DMA_STATUS_INVALID_LENGTH:
    case RTE_DMA_STATUS_INVALID_OPCODE:
      return DmaStatus::BadOperation;
    case RTE_DMA_STATUS_BUS_READ_ERROR:
    case RTE_DMA_STATUS_BUS_WRITE_ERROR:
    case RTE_DMA_STATUS_BUS_ERROR:
    case RTE_DMA_STATUS_DATA_POISION:
      return DmaStatus::AccessFailed;
    case RTE_DMA_STATUS_PAGE_FAULT:
      return DmaStatus::PageFault;
    case RTE_DMA_STATUS_DESCRIPTOR_READ_ERROR:
    case RTE_DMA_STATUS_DEV_LINK_ERROR:
    case RTE_DMA_STATUS_ERROR_UNKNOWN:
      return DmaStatus::DeviceFailed;
  }
  return DmaStatus::DeviceFailed;
}

DmaLimits limits_of(const rte_dma_info& info, std::uint32_t descriptors) {
  return {info.dev_name, (info.dev_capa & RTE_DMA_CAPA_OPS_FILL) != 0, (info.dev_capa & RTE_DMA_CAPA_OPS_COPY) != 0,
          descriptors};
}

bool virtual_addresses(const rte_dma_info& info) {
  return (info.dev_capa & RTE_DMA_CAPA_SVA) != 0 || ::rte_eal_iova_mode() == RTE_IOVA_VA;
}

/// The device of DPDK's with this name, on whatever bus; null: it has none, as a driver may.
rte_device* find_bus_device(const char* name) {
  for (const char* bus : {"bus=pci", "bus=dsa", "bus=vdev"}) {
    rte_dev_iterator iterator;
    rte_device* device = nullptr;
    RTE_DEV_FOREACH(device, bus, &iterator) {
      if (std::strcmp(::rte_dev_name(device), name) == 0) return device;
    }
  }
  return nullptr;
}

class RteDevice final : public DmaDevice {
 public:
  RteDevice(std::int16_t id, DmaLimits limits, bool sees_all_memory)
      : id_(id), limits_(std::move(limits)), sees_all_memory_(sees_all_memory) {}
  ~RteDevice() override {
    if (!given_up_) ::rte_dma_stop(id_);
    rte_device* const device = mapped_.empty() ? nullptr : find_bus_device(limits_.name.c_str());
    for (const MemorySpan memory : mapped_) {
      ::rte_dev_dma_unmap(device, memory.data(), iova(memory.data()), memory.size());
    }
    for (const MemorySpan memory : registered_) ::rte_extmem_unregister(memory.data(), memory.size());
  }

  [[nodiscard]] const DmaLimits& limits() const override { return limits_; }

  /// Tells DPDK of the memory where it keeps such a list: whole pages that it does not know yet. A device that does not
  /// see the process's memory as it is needs it mapped in the IOMMU as well, or its physical addresses.
  [[nodiscard]] Result<void> map(MemorySpan memory) override {
    if (limits_.boundary != 0) {
      const auto lookup = [](const std::byte* at) -> std::optional<std::uint64_t> {
        const rte_iova_t physical = ::rte_mem_virt2phy(at);
        if (physical == RTE_BAD_IOVA) return std::nullopt;
        return physical;
      };
      return physical_.add(memory, limits_.boundary, lookup);
    }
    const bool whole_pages = reinterpret_cast<std::uintptr_t>(memory.data()) % kPage == 0 && memory.size() % kPage == 0;
    if (!whole_pages && sees_all_memory_) return {};  // DPDK can register whole pages only
    const int result = ::rte_extmem_register(memory.data(), memory.size(), nullptr,
                                             static_cast<unsigned>(memory.size() / kPage), kPage);
    if (result == 0) {
      registered_.push_back(memory);
    } else if (rte_errno != EEXIST) {
      return refuse(memory, "register", "give whole pages, and fewer windows (it takes about 125)");
    }
    return sees_all_memory_ ? Result<void>{} : map_on_bus(memory);
  }

  [[nodiscard]] bool fill(std::uint64_t pattern, MemorySpan to) override {
    return room() && ::rte_dma_fill(id_, kChannel, pattern, iova(to.data()), length_of_operation(to), 0) >= 0;
  }
  [[nodiscard]] bool copy(const std::byte* from, MemorySpan to) override {
    return room() && ::rte_dma_copy(id_, kChannel, iova(from), iova(to.data()), length_of_operation(to), 0) >= 0;
  }
  void doorbell() override { ::rte_dma_submit(id_, kChannel); }

  std::size_t completed(std::span<DmaStatus> out) override {
    const auto most = static_cast<std::uint16_t>(std::min<std::size_t>(out.size(), codes_.size()));
    bool failed = false;
    std::uint16_t last = 0;
    std::size_t count = ::rte_dma_completed(id_, kChannel, most, &last, &failed);
    std::fill_n(out.begin(), count, DmaStatus::Done);
    if (!failed || count == most) return count;
    const std::uint16_t more =
        ::rte_dma_completed_status(id_, kChannel, static_cast<std::uint16_t>(most - count), &last, codes_.data());
    for (std::size_t index = 0; index < more; ++index) out[count++] = status_of(codes_[index]);
    return count;
  }

  [[nodiscard]] bool halted() override {
    enum rte_dma_vchan_status status = RTE_DMA_VCHAN_IDLE;
    return ::rte_dma_vchan_status(id_, kChannel, &status) == 0 && status == RTE_DMA_VCHAN_HALTED_ERROR;
  }

  void give_up() override {
    given_up_ = true;
    ::rte_dma_stop(id_);
  }

 private:
  [[nodiscard]] static std::uint32_t length_of_operation(MemorySpan to) {
    enforce(to.size() <= 0xFFFFFFFF, "no operation of DPDK is longer than its 32 bits say");
    return static_cast<std::uint32_t>(to.size());
  }
  [[nodiscard]] rte_iova_t iova(const std::byte* address) const {
    return limits_.boundary != 0 ? physical_.address(address) : reinterpret_cast<std::uintptr_t>(address);
  }

  /// What is prepared goes out as one batch, and a device may limit that: idxd takes more, and then all of it fails.
  [[nodiscard]] bool room() const {
    if (::rte_dma_burst_capacity(id_, kChannel) > 0) return true;
    ::rte_dma_submit(id_, kChannel);
    return ::rte_dma_burst_capacity(id_, kChannel) > 0;
  }

  static Error refuse(MemorySpan memory, const char* what, const char* way_out) {
    return {DriverErrc::NoResources, fmt::format("DPDK cannot {} a window of {} bytes: {}; {}", what, memory.size(),
                                                 ::rte_strerror(rte_errno), way_out)};
  }

  [[nodiscard]] Result<void> map_on_bus(MemorySpan memory) {
    rte_device* const device = find_bus_device(limits_.name.c_str());
    if (device == nullptr) return {};
    if (::rte_dev_dma_map(device, memory.data(), iova(memory.data()), memory.size()) == 0) {
      mapped_.push_back(memory);
      return {};
    }
    if (rte_errno == ENOTSUP) return {};  // a bus that needs no mapping
    return refuse(memory, "map", "raise the limit of locked memory (ulimit -l)");
  }

  std::int16_t id_;
  DmaLimits limits_;
  bool sees_all_memory_;
  PhysicalPages physical_;
  std::vector<MemorySpan> registered_;
  std::vector<MemorySpan> mapped_;
  std::array<enum rte_dma_status_code, 64> codes_{};
  bool given_up_ = false;
};

/// Makes a virtual device if there is none of that name. -1: neither is possible.
int find_or_make(const std::string& name, const std::string& arguments) {
  const int id = ::rte_dma_get_dev_id_by_name(name.c_str());
  if (id >= 0 || !name.starts_with("dma_")) return id;
  if (::rte_eal_hotplug_add("vdev", name.c_str(), arguments.c_str()) != 0) return -1;
  return ::rte_dma_get_dev_id_by_name(name.c_str());
}

}  // namespace

Result<std::unique_ptr<DmaDevice>> open_rte_device(const std::string& name, const RteOptions& options) {
  // It registers itself. DPDK's own way, its option -d, works before its start only, and in no folder below one that
  // all may write.
  if (!options.driver.empty() && ::dlopen(options.driver.c_str(), RTLD_NOW) == nullptr) {
    return Error{DriverErrc::DeviceMissing,
                 fmt::format("the driver of DMA device {} cannot be loaded: {}; build it, or name "
                             "another with driver=",
                             in_quotes(name), ::dlerror())};
  }
  if (auto started = start_eal(options.eal); !started) return started.error();
  const int found = find_or_make(name, options.arguments);
  if (found < 0) {
    return Error{DriverErrc::DeviceMissing,
                 fmt::format("DPDK has no DMA device {}: `sluice engines` lists those that it finds; a virtual one is "
                             "named after its driver, like dma_skeleton",
                             in_quotes(name))};
  }
  const auto id = static_cast<std::int16_t>(found);
  const auto refuse = [&](const char* what, int error) {
    return Error{DriverErrc::DeviceMissing, fmt::format("DMA device {} cannot be {}: {}; is it in use?",
                                                        in_quotes(name), what, ::rte_strerror(-error))};
  };
  rte_dma_info info{};
  if (const int error = ::rte_dma_info_get(id, &info); error != 0) return refuse("asked what it can", error);
  if (!virtual_addresses(info) && (options.page < ByteCount(kPage) || !std::has_single_bit(options.page.value()))) {
    return Error{
        DriverErrc::InvalidArgument,
        fmt::format("DMA device {} works with physical addresses, and pages of {} bytes are none: give page=2MiB "
                    "or page=1GiB, as the pool has them",
                    in_quotes(name), options.page.value())};
  }
  rte_dma_conf configuration{};
  configuration.nb_vchans = 1;
  if (const int error = ::rte_dma_configure(id, &configuration); error != 0) return refuse("configured", error);
  rte_dma_vchan_conf channel{};
  channel.direction = RTE_DMA_DIR_MEM_TO_MEM;
  channel.nb_desc =
      static_cast<std::uint16_t>(std::clamp<std::uint32_t>(options.descriptors, info.min_desc, info.max_desc));
  if (const int error = ::rte_dma_vchan_setup(id, kChannel, &channel); error != 0) return refuse("set up", error);
  if (const int error = ::rte_dma_start(id); error != 0) return refuse("started", error);
  DmaLimits limits = limits_of(info, channel.nb_desc);
  if (!virtual_addresses(info)) limits.boundary = options.page.value();
  const bool sees_all_memory = (info.dev_capa & RTE_DMA_CAPA_SVA) != 0;
  return std::unique_ptr<DmaDevice>(std::make_unique<RteDevice>(id, std::move(limits), sees_all_memory));
}

Result<std::vector<RteDeviceInfo>> list_rte_devices(const RteOptions& options) {
  if (auto started = start_eal(options.eal); !started) return started.error();
  std::vector<RteDeviceInfo> devices;
  for (std::int16_t id = ::rte_dma_next_dev(0); id >= 0; id = ::rte_dma_next_dev(static_cast<std::int16_t>(id + 1))) {
    rte_dma_info info{};
    if (::rte_dma_info_get(id, &info) != 0) continue;
    devices.push_back({info.dev_name, limits_of(info, info.max_desc), virtual_addresses(info)});
  }
  return devices;
}

}  // namespace sluice::inline dmadev
