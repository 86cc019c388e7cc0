// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "sluice/dmadev/dma_device.hpp"

namespace sluice::inline dmadev {

struct RteOptions {
  /// Given to DPDK's environment abstraction layer when the process first opens a device; later ones must be the same.
  std::string eal = "--no-huge --no-pci -m 64 --no-telemetry --no-shconf";
  /// Shared library with the device's driver, loaded before the device is looked for; empty: one that DPDK has.
  std::string driver;
  std::string arguments;  ///< Of a virtual device that is made by opening it.
  std::uint32_t descriptors = 512;
  ByteCount page{4096};  ///< Of the memory, where the device works with physical addresses: huge pages only.
};

/// A DMA device of DPDK, by the name that DPDK gives it (a PCI address, a work queue) or that of a virtual device,
/// which is made if it is not there. Its addresses are virtual ones, or physical ones if DPDK says so (see
/// PhysicalPages). One thread at a time for all devices. Errors: DeviceMissing, InvalidArgument, NoResources.
[[nodiscard]] Result<std::unique_ptr<DmaDevice>> open_rte_device(const std::string& name, const RteOptions& options);

struct RteDeviceInfo {
  std::string name;
  DmaLimits limits;
  bool addresses_are_virtual = false;
};

/// The devices that DPDK has found or made so far. Errors: NoResources when DPDK does not start.
[[nodiscard]] Result<std::vector<RteDeviceInfo>> list_rte_devices(const RteOptions& options);

}  // namespace sluice::inline dmadev
