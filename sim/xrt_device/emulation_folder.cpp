// SPDX-License-Identifier: Apache-2.0
#include "sluice/xrt_device/emulation_folder.hpp"

#include <fmt/format.h>
#include <xclbin.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

#include "sluice/base/output.hpp"

namespace sluice::xrt_device {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPlatform = "xilinx_u250_gen3x16_xdma_4_1_202210_1";
constexpr std::uint64_t kKernelBase = 0x1800000;
constexpr std::uint64_t kHostBase = 0x2000000000;  // where XRT's emulation puts host memory
constexpr std::uint64_t kHostKiB = 16ULL << 20;

// XRT keeps one buffer for all messages and forgets where it has moved when it grows. Its first message carries
// xrt.ini: if that is the longest, the buffer never grows. Messages of host memory are at most packet_size and a
// header.
constexpr std::size_t kPacketBytes = 128 << 10;
constexpr std::size_t kPadBytes = kPacketBytes + (8 << 10);

constexpr const char* kKernelXml = R"(<?xml version="1.0" encoding="UTF-8"?>
<project name="scrub"><platform vendor="xilinx" boardid="u250" name="gen3x16" featureRomTime="0"><version major="1" minor="0"/>
<device name="fpga0" fpgaDevice="virtexuplus:xcu250:figd2104:-2L:e">
<core name="OCL_REGION_0" target="hw_em" type="clc_region" clockFreq="0MHz" numComputeUnits="60">
<kernel name="scrub" language="ip" vlnv="sluice:kernel:scrub:1.0" attributes="" preferredWorkGroupSizeMultiple="0" workGroupSize="1" interrupt="true" hwControlProtocol="user_managed">
<port name="M00_AXI" mode="master" range="0xFFFFFFFFFFFFFFFF" dataWidth="512" portType="addressable" base="0x0"/>
<port name="M01_AXI" mode="master" range="0xFFFFFFFFFFFFFFFF" dataWidth="512" portType="addressable" base="0x0"/>
<port name="S_AXI_CONTROL" mode="slave" range="0x1000" dataWidth="32" portType="addressable" base="0x0"/>
<arg name="data" addressQualifier="1" id="0" port="M00_AXI" size="0x8" offset="0x10" hostOffset="0x0" hostSize="0x8" type="void*" memSize=""/>
<arg name="rings" addressQualifier="1" id="1" port="M01_AXI" size="0x8" offset="0x18" hostOffset="0x0" hostSize="0x8" type="void*" memSize=""/>
<instance name="scrub_1"><addrRemap base="0x1800000" range="0x10000" port="S_AXI_CONTROL"/></instance>
</kernel></core></device></platform></project>
)";

constexpr const char* kEmulationConfig = R"({"Version": {"FileVersion": "2.0", "ToolVersion": "2022.1"},
 "Platform": {"Name": "scrub", "UnifiedPlatform": "true", "ExpandedPR": "true", "Boards": [{"NumBoards": "1", "Devices": [
  {"Name": "xilinx_u250_gen3x16_xdma_4_1_202210_1", "HalMajorVersion": "1", "HalMinorVersion": "0", "VendorId": "4334",
   "SubsystemVendorId": "0", "DeviceVersion": "0", "DdrBanks": [{"Name": "bank0", "Size": "16GB"}], "OclFreqency": "300",
   "NumDevices": "1"}]}]}}
)";

struct Section {
  axlf_section_kind kind;
  const char* name;
  std::string body;
};

/// A table of the xclbin: a count, then entries. `offset` is where they begin.
template <class Entry>
std::string table(std::size_t offset, const std::vector<Entry>& entries) {
  std::string body(offset + entries.size() * sizeof(Entry), '\0');
  const auto count = static_cast<std::int32_t>(entries.size());
  std::memcpy(body.data(), &count, sizeof count);
  std::memcpy(body.data() + offset, entries.data(), entries.size() * sizeof(Entry));
  return body;
}

template <std::size_t size, class Char>
void set_name(Char (&to)[size], const char* name) {
  std::memcpy(to, name, std::min(std::strlen(name), size - 1));
}

std::vector<Section> sections() {
  mem_data bank{};  // unused: XRT's emulation wants a card with memory of its own
  bank.m_type = MEM_DDR4;
  bank.m_used = 1;
  bank.m_size = kHostKiB;
  bank.m_base_address = 0x4000000000;
  set_name(bank.m_tag, "bank0");
  mem_data host = bank;
  host.m_type = MEM_HOST;
  host.m_base_address = kHostBase;
  std::memset(host.m_tag, 0, sizeof host.m_tag);
  set_name(host.m_tag, "HOST[0]");

  ip_data kernel{};
  kernel.m_type = IP_KERNEL;
  kernel.properties = IP_INT_ENABLE_MASK | (static_cast<unsigned>(AP_CTRL_NONE) << IP_CONTROL_SHIFT);
  kernel.m_base_address = kKernelBase;
  set_name(kernel.m_name, "scrub:scrub_1");

  const connection data{0, 0, 1};  // argument, kernel, memory
  const connection rings{1, 0, 1};
  return {{MEM_TOPOLOGY, "mem_topology", table(offsetof(mem_topology, m_mem_data), std::vector{bank, host})},
          {IP_LAYOUT, "ip_layout", table(offsetof(ip_layout, m_ip_data), std::vector{kernel})},
          {CONNECTIVITY, "connectivity", table(offsetof(connectivity, m_connection), std::vector{data, rings})},
          {EMBEDDED_METADATA, "xml", kKernelXml}};
}

/// An xclbin for hw_emu: XRT reads its tables, and nothing of it is loaded anywhere.
std::string xclbin() {
  const auto align = [](std::string& text) { text.resize((text.size() + 7) / 8 * 8, '\0'); };
  const std::vector<Section> all = sections();
  std::string file(sizeof(axlf) + (all.size() - 1) * sizeof(axlf_section_header), '\0');
  align(file);
  std::vector<axlf_section_header> headers;
  headers.reserve(all.size());
  for (const Section& section : all) {
    axlf_section_header header{};
    header.m_sectionKind = section.kind;
    set_name(header.m_sectionName, section.name);
    header.m_sectionOffset = file.size();
    header.m_sectionSize = section.body.size();
    headers.push_back(header);
    file += section.body;
    align(file);
  }
  axlf top{};
  std::memcpy(top.m_magic, "xclbin2", sizeof top.m_magic);
  top.m_signature_length = -1;
  std::memset(top.reserved, 0xFF, sizeof top.reserved);
  std::memset(top.m_keyBlock, 0xFF, sizeof top.m_keyBlock);
  top.m_uniqueId = 1;
  top.m_header.m_length = file.size();
  top.m_header.m_versionMajor = 2;
  top.m_header.m_versionMinor = 13;
  top.m_header.m_mode = XCLBIN_HW_EMU;
  set_name(top.m_header.m_platformVBNV, kPlatform);
  std::memcpy(top.m_header.uuid, "sluice-scrub-emu", sizeof top.m_header.uuid);
  top.m_header.m_numSections = static_cast<std::uint32_t>(all.size());
  std::memcpy(file.data(), &top, offsetof(axlf, m_sections));
  std::memcpy(file.data() + offsetof(axlf, m_sections), headers.data(), headers.size() * sizeof headers[0]);
  return file;
}

std::string xrt_ini() {
  return "[Emulation]\ndont_run=true\nkeep_run_dir=false\nsuppress_infos=true\npacket_size=" +
         std::to_string(kPacketBytes) + "\n[Debug]\npad=" + std::string(kPadBytes, 'x') + "\n";
}

}  // namespace

Result<std::vector<std::pair<std::string, std::string>>> write_emulation_folder(const fs::path& folder,
                                                                                const fs::path& library) {
  std::error_code error;
  if (!fs::exists(library, error)) {
    return Error{DriverErrc::DeviceMissing,
                 fmt::format("XRT's emulation library {} is not there: install libxrt1, or name it", library.string())};
  }
  const fs::path at = fs::absolute(folder);
  const fs::path link = at / "xrt/lib/libxrt_hwemu.so.2";
  fs::create_directories(link.parent_path(), error);
  if (!error && !fs::is_symlink(link)) fs::create_symlink(library, link, error);
  if (error) return output_error(at.string(), error.value());
  for (const auto& [name, text] : {std::pair<const char*, std::string>{"scrub.xclbin", xclbin()},
                                   {"xrt.ini", xrt_ini()},
                                   {"emconfig.json", kEmulationConfig}}) {
    if (auto written = write_whole_file((at / name).string(), text); !written) return written.error();
  }
  return std::vector<std::pair<std::string, std::string>>{{"XCL_EMULATION_MODE", "hw_emu"},
                                                          {"XILINX_XRT", (at / "xrt").string()},
                                                          {"XRT_INI_PATH", (at / "xrt.ini").string()},
                                                          {"EMCONFIG_PATH", at.string()}};
}

}  // namespace sluice::xrt_device
