// SPDX-License-Identifier: Apache-2.0
#include "sluice/workload/whole_file.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>

namespace sluice::inline workload {

Result<void> write_whole_file(const std::string& path, const std::string& text) {
  const std::string temporary = path + ".part";
  std::ofstream out(temporary);
  out << text;
  out.close();
  std::error_code error;
  if (out) std::filesystem::rename(temporary, path, error);
  if (out && !error) return {};
  std::filesystem::remove(temporary, error);
  return Error{HostErrc::NoResources, fmt::format("cannot write {}: choose another path", path)};
}

}  // namespace sluice::inline workload
