// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <dlfcn.h>

#include <filesystem>
#include <initializer_list>
#include <string>
#include <system_error>

namespace sluice::inline base {

/// The folder of the program, library or plugin that has this address in it, without links in its path: what lies
/// beside it is found wherever the whole was moved to. Empty: it cannot be said. `address`: of a function of the
/// caller's own.
[[nodiscard]] inline std::filesystem::path folder_of_code(const void* address) {
  Dl_info info{};
  if (::dladdr(address, &info) == 0 || info.dli_fname == nullptr) return {};
  std::error_code error;
  // A program is named as it was called.
  const auto file = std::filesystem::canonical(info.dli_fname, error);
  if (!error) return file.parent_path();
  const auto program = std::filesystem::read_symlink("/proc/self/exe", error);
  return error ? std::filesystem::path() : program.parent_path();
}

/// The first of these, each relative to `folder`, that is there; the last, where none is, so that messages can name it.
[[nodiscard]] inline std::filesystem::path first_of(const std::filesystem::path& folder,
                                                    std::initializer_list<std::string> relative) {
  std::error_code error;
  std::filesystem::path path;
  for (const std::string& each : relative) {
    path = (folder / each).lexically_normal();
    if (std::filesystem::exists(path, error)) break;
  }
  return path;
}

}  // namespace sluice::inline base
