// SPDX-License-Identifier: Apache-2.0
// The folder of an Azure trace. An input is its four files one behind the other, each ended by a line "--":
// v1.dev.txt, v1.dev.c2100000.txt, flav_map.txt, v1.interval_map.txt.
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "fuzz/fuzz.hpp"
#include "sluice/workload/azure_trace.hpp"

namespace sluice::fuzz {
namespace {

constexpr std::array<const char*, 4> kFiles = {"v1.dev.txt", "v1.dev.c2100000.txt", "flav_map.txt",
                                               "v1.interval_map.txt"};

/// One for the process, gone with it.
class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "azure-fuzz-XXXXXX").string();
    enforce(::mkdtemp(name.data()) != nullptr, "there is a folder for the files");
    path_ = name;
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// The text up to the next line "--", which is taken too.
std::string_view next_part(std::string_view& text) {
  constexpr std::string_view kEnd = "--\n";
  std::size_t end = 0;
  while (end < text.size() && text.substr(end, kEnd.size()) != kEnd) {
    const std::size_t next = text.find('\n', end);
    end = next == std::string_view::npos ? text.size() : next + 1;
  }
  const std::string_view part = text.substr(0, end);
  text.remove_prefix(std::min(text.size(), end + kEnd.size()));
  return part;
}

}  // namespace

void one(std::span<const std::byte> input) {
  static const Folder folder;
  std::string_view rest = as_text(input);
  std::array<std::string_view, kFiles.size()> parts;
  for (std::size_t file = 0; file < kFiles.size(); ++file) {
    parts[file] = next_part(rest);
    std::ofstream(folder.path() / kFiles[file], std::ios::binary | std::ios::trunc) << parts[file];
  }
  AzureOptions options;
  options.max_vms = 200;
  options.population.pool_share = 0.5;
  const auto trace = read_azure_trace(folder.path(), options);
  if (!trace) {
    const std::string& message = trace.error().message;
    for (std::size_t file = 0; file < kFiles.size(); ++file) {
      const std::string path = (folder.path() / kFiles[file]).string();
      if (message.starts_with(path + ":")) return check_message_of_line(message, path, parts[file]);
    }
    return check_message(message);
  }
  check_message(trace->source);
  check_message(trace->drawn);
  TraceChecker checker(16384);
  for (const TraceEvent& event : trace->events) enforce(!checker.add(event), "what is drawn can happen");
  enforce(checker.vm_count() >= 1 && checker.vm_count() <= 200, "it has the VMs that were asked for");
}

}  // namespace sluice::fuzz
