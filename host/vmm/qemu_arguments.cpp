// SPDX-License-Identifier: Apache-2.0
// What a command line of QEMU says of its guest's memory.
#include "sluice/vmm/qemu_arguments.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

#include "qemu_options.hpp"
#include "sluice/base/parse.hpp"

namespace sluice::inline vmm {
namespace {

namespace json = boost::json;

constexpr ByteCount kDefaultMemory{128ULL << 20};  // of every machine of QEMU for x86

Error wrong(std::string message) { return {HostErrc::InvalidArgument, std::move(message)}; }

bool is_help(std::string_view value) { return value == "help" || value == "?"; }

template <std::size_t kCount>
bool is_one_of(const std::string_view (&words)[kCount], std::string_view word) {
  return std::ranges::find(words, word) != std::end(words);
}

/// QEMU prints something and ends.
bool is_question(const QemuOption& option) {
  constexpr std::string_view kAlone[] = {"h", "help", "version", "audio-help"};
  constexpr std::string_view kWithHelp[] = {"M",       "machine", "cpu", "accel", "device", "object", "netdev",
                                            "chardev", "display", "vga", "d",     "trace",  "audio",  "audiodev"};
  constexpr std::string_view kWithHelpInside[] = {"M", "machine", "device", "object"};
  if (is_one_of(kAlone, option.name)) return true;
  if (is_one_of(kWithHelp, option.name) && is_help(option.value)) return true;
  if (!is_one_of(kWithHelpInside, option.name) || is_json(option)) return false;
  return option.value.ends_with(",help") && !option.value.ends_with(",,help");
}

bool is_memory(std::string_view type) {
  constexpr std::string_view kTypes[] = {"memory-backend-ram", "memory-backend-file", "memory-backend-memfd",
                                         "memory-backend-shm"};
  return is_one_of(kTypes, type);
}

constexpr std::string_view kHuge =
    " asks for huge pages of its own: sluiced is told which pages its memory has; leave that out, in libvirt "
    "<hugepages/>";

/// What a command line says of one thing in all its options for it, the later ones before the earlier ones.
void merge(json::object& all, const json::object& more) {
  for (const auto& member : more) all[member.key()] = member.value();
}

class Reader {
 public:
  explicit Reader(std::span<const std::string> arguments) { plan_.arguments = {arguments.begin(), arguments.end()}; }

  Result<QemuPlan> read() {
    auto options = split_options(plan_.arguments);
    if (!options) return options.error();
    for (const QemuOption& option : *options) {
      if (is_question(option)) return as_it_is();
      if (auto merged = read_option(option); !merged) return merged.error();
    }
    if (text_of(machine_, "type") == "none") return as_it_is();
    for (const auto step : {&Reader::refuse, &Reader::read_identity, &Reader::read_backends, &Reader::read_base}) {
      if (auto done = (this->*step)(); !done) return done.error();
    }
    return std::move(plan_);
  }

 private:
  QemuPlan as_it_is() {
    QemuPlan plan;
    plan.arguments = std::move(plan_.arguments);
    plan.as_it_is = true;
    return plan;
  }

  Result<void> read_option(const QemuOption& option) {
    const auto properties = [&](std::string_view first_key) { return read_properties(option, first_key); };
    const auto into = [&](json::object& all, std::string_view first_key) -> Result<void> {
      const auto read = properties(first_key);
      if (!read) return read.error();
      merge(all, *read);
      return {};
    };
    seen_.insert(option.name);
    if (option.name == "machine" || option.name == "M") return into(machine_, "type");
    if (option.name == "m") return into(memory_, "size");
    if (option.name == "name") return into(name_, "guest");
    if (option.name == "uuid") uuid_ = option.value;
    if (option.name == "object") {
      const auto read = properties("qom-type");
      if (!read) return read.error();
      objects_.emplace_back(option.argument, *read);
    }
    if (option.name == "device") {
      const auto read = properties("driver");
      if (!read) return read.error();
      const std::string driver = text_of(*read, "driver"), memory = text_of(*read, "memdev");
      const bool is_ram = driver == "pc-dimm" || driver.starts_with("virtio-mem");
      if (!is_ram && !memory.empty()) no_ram_.insert(memory);
    }
    if (option.name == "numa") {
      const auto read = properties("type");
      if (!read) return read.error();
      if (text_of(*read, "type") != "node") return {};
      has_nodes_ = true;
      if (read->contains("memdev")) has_node_memory_ = true;
    }
    return {};
  }

  Result<void> refuse() {
    constexpr std::pair<std::string_view, std::string_view> kRefused[] = {
        {"mem-path", "the guest's memory would be there and not in its lease: leave it out"},
        {"mem-prealloc", "a lease is there as a whole before QEMU starts: leave it out"},
        {"readconfig", "it may speak of memory, and is not read here: write its options on the command line"},
        {"daemonize", "the lease ends with this process: have the shell or systemd start it in the background"}};
    for (const auto& [name, why] : kRefused) {
      if (seen_.contains(name)) return wrong(fmt::format("-{}: {}", name, why));
    }
    return {};
  }

  Result<void> read_identity() {
    plan_.name = text_of(name_, "guest");
    if (!seen_.contains("uuid")) return {};
    plan_.uuid = parse_uuid(uuid_).value_or(Uuid());
    if (plan_.uuid.is_set()) return {};
    return wrong(fmt::format("-uuid {} names no VM: give one as uuidgen(1) prints it", in_quotes(uuid_)));
  }

  Result<void> read_backends() {
    for (const auto& [argument, properties] : objects_) {
      const std::string type = text_of(properties, "qom-type"), id = text_of(properties, "id");
      if (!is_memory(type) || no_ram_.contains(id)) continue;
      if (auto checked = check_backend(type, id, properties); !checked) return checked.error();
      const json::value* const size = properties.if_contains("size");
      const auto length = size == nullptr ? std::nullopt : size_of(*size, ByteCount(1));
      if (!length || *length == ByteCount() || length->value() % kPageSize.value() != 0) {
        return wrong(fmt::format("the size of {} {} is no multiple of {}: give one, as 1G or 1536M", type,
                                 in_quotes(id), print_bytes(kPageSize)));
      }
      plan_.backends.push_back({argument, id, *length});
    }
    if (plan_.backends.size() < kMostQemuBricks) return {};
    return wrong(
        fmt::format("{} memory backends: a VM has less than {} of them here", plan_.backends.size(), kMostQemuBricks));
  }

  /// Every property is known: one that is not might keep the memory elsewhere.
  static Result<void> check_backend(const std::string& type, const std::string& id, const json::object& properties) {
    constexpr std::string_view kKnown[] = {"qom-type",
                                           "id",
                                           "size",
                                           "share",
                                           "prealloc",
                                           "prealloc-threads",
                                           "prealloc-context",
                                           "reserve",
                                           "policy",
                                           "dump",
                                           "merge",
                                           "discard-data",
                                           "align",
                                           "seal",
                                           "mem-path",
                                           "hugetlb",
                                           "x-use-canonical-path-for-ramblock-id"};
    const std::string what = fmt::format("{} {}", type, in_quotes(id));
    if (id.empty()) return wrong(fmt::format("{} has no id: give one", what));
    for (const auto& member : properties) {
      const std::string_view key = member.key();
      if (is_one_of(kKnown, key) || key == "host-nodes" || key.starts_with("host-nodes.")) continue;
      if (key == "hugetlbsize") return wrong(what + std::string(kHuge));
      return wrong(fmt::format("{} has the property {}, which memory of a lease cannot have: leave it out", what,
                               in_quotes(key)));
    }
    if (const auto* const share = properties.if_contains("share"); share != nullptr && flag_of(*share) != true) {
      return wrong(
          fmt::format("{} has share=off: the guest's memory would not be in its lease; leave it out, in "
                      "libvirt <access mode='private'/>",
                      what));
    }
    if (const auto* const huge = properties.if_contains("hugetlb"); huge != nullptr && flag_of(*huge) != false) {
      return wrong(what + std::string(kHuge));
    }
    // The usual places of a hugetlbfs: /dev/hugepages, /dev/hugepages1G, /mnt/huge
    const std::string path = text_of(properties, "mem-path");
    if (path.find("/huge") != std::string::npos) return wrong(what + std::string(kHuge));
    return {};
  }

  Result<void> read_base() {
    const std::string named = text_of(machine_, "memory-backend");
    if (!named.empty()) {
      if (std::ranges::find(plan_.backends, named, &QemuPlan::Backend::id) != plan_.backends.end()) return {};
      return wrong(
          fmt::format("-machine memory-backend={} names no memory-backend-ram, -file or -memfd on the command "
                      "line: add that, or leave it out",
                      in_quotes(named)));
    }
    if (has_node_memory_) return {};
    if (has_nodes_) {
      return wrong("-numa node without memdev: name a memory backend for each node, or leave -numa out");
    }
    const json::value* const size = memory_.if_contains("size");
    auto base = size == nullptr ? kDefaultMemory : size_of(*size, kMiB);
    if (base == ByteCount()) base = kDefaultMemory;
    if (!base || base->value() % (2 * kPageSize.value()) != 0) {
      return wrong(fmt::format("-m {} is no multiple of 8KiB: give a whole number of MiB, as 1G or 1536M",
                               in_quotes(text_of(memory_, "size"))));
    }
    plan_.base = *base;
    return {};
  }

  QemuPlan plan_;
  std::set<std::string_view> seen_;
  json::object machine_, memory_, name_;
  std::string_view uuid_;
  std::vector<std::pair<std::size_t, json::object>> objects_;
  std::set<std::string> no_ram_;  ///< Backends of devices that are no RAM.
  bool has_nodes_ = false, has_node_memory_ = false;
};

}  // namespace

std::vector<ByteCount> QemuPlan::bricks() const {
  std::vector<ByteCount> lengths;
  for (const Backend& backend : backends) lengths.push_back(backend.length);
  if (base != ByteCount()) lengths.push_back(base);
  return lengths;
}

Result<QemuPlan> plan_qemu(std::span<const std::string> arguments) { return Reader(arguments).read(); }

}  // namespace sluice::inline vmm
