// SPDX-License-Identifier: Apache-2.0
#include "sluice/workload/azure_trace.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <string_view>

#include "sluice/base/limits.hpp"
#include "sluice/base/parse.hpp"
#include "sluice/workload/random.hpp"

namespace sluice::inline workload {
namespace {

constexpr const char* kArrivals = "v1.dev.txt";
constexpr const char* kLifetimes = "v1.dev.c2100000.txt";
constexpr const char* kFlavours = "flav_map.txt";
constexpr const char* kIntervals = "v1.interval_map.txt";
constexpr std::int64_t kBinMs = 300'000;

struct Interval {
  std::int64_t begin_s = 0;
  std::int64_t end_s = 0;
};

Error bad(const std::string& file, std::size_t line, std::size_t column, std::string_view value,
          std::string_view expected) {
  return {HostErrc::InvalidArgument,
          fmt::format("{}:{}:{}: {}: expected {}; nothing was run", file, line, column, in_quotes(value), expected)};
}

/// Of the trace: any number of days that the rest can count in nanoseconds.
std::optional<std::int64_t> parse_seconds(std::string_view text) {
  const auto seconds = parse_integer<std::uint64_t>(text);
  if (!seconds || !limits::kTraceSeconds.hold(*seconds)) return std::nullopt;
  return static_cast<std::int64_t>(*seconds);
}

class AzureReader {
 public:
  AzureReader(const std::filesystem::path& folder, const AzureOptions& options)
      : folder_(folder), options_(options), random_(options.population.seed ^ 0xA2) {}

  Result<Trace> read() && {
    if (auto done = read_flavours(); !done) return done.error();
    if (auto done = read_intervals(); !done) return done.error();
    if (auto done = read_arrivals(); !done) return done.error();
    Trace trace;
    trace.events = populate(arrivals_, end_ms_, options_.population);
    trace.source = fmt::format("Azure VM trace 2017 (CC BY 4.0), {} VMs", arrivals_.size());
    trace.taken = "arrivals in bins of 300 s, batches, memory sizes, lifetime bins";
    trace.drawn = "the instants inside a bin, " + describe(options_.population);
    return trace;
  }

 private:
  std::string path(const char* file) const { return (folder_ / file).string(); }

  Result<std::ifstream> open(const char* file) const {
    std::ifstream in(path(file));
    if (!in) {
      return Error{HostErrc::InvalidArgument,
                   fmt::format("cannot read {}: give the folder that holds {}, {}, {} and {}", path(file), kArrivals,
                               kLifetimes, kFlavours, kIntervals)};
    }
    return in;
  }

  /// "cores,memory_GB letter"
  Result<void> read_flavours() {
    auto in = open(kFlavours);
    if (!in) return in.error();
    std::string text;
    for (std::size_t line = 1; std::getline(*in, text); ++line) {
      const std::size_t comma = text.find(',');
      const std::size_t space = text.find(' ');
      const bool shaped = comma != std::string::npos && text.size() >= 2 && space == text.size() - 2 && comma < space;
      const auto gigabytes =
          shaped ? parse_real(std::string_view(text).substr(comma + 1, space - comma - 1)) : std::nullopt;
      constexpr double kMostGigabytes = 1024.0 * 1024.0;
      if (!gigabytes || *gigabytes <= 0.0 || *gigabytes > kMostGigabytes)
        return bad(path(kFlavours), line, 1, text, "cores,memory_GB letter");
      flavours_[text.back()] = ByteCount(static_cast<std::uint64_t>(*gigabytes * 1024.0 * 1024.0) << 10);
    }
    return {};
  }

  /// "seconds bin": from so many seconds on, a lifetime falls into this bin.
  Result<void> read_intervals() {
    auto in = open(kIntervals);
    if (!in) return in.error();
    std::string text;
    for (std::size_t line = 1; std::getline(*in, text); ++line) {
      const std::size_t space = text.find(' ');
      const auto seconds = parse_seconds(std::string_view(text).substr(0, space));
      const auto bin = space == std::string::npos
                           ? std::nullopt
                           : parse_integer<std::uint32_t>(std::string_view(text).substr(space + 1));
      if (!seconds || !bin) return bad(path(kIntervals), line, 1, text, "seconds bin");
      auto [interval, is_new] = intervals_.try_emplace(*bin, Interval{*seconds, *seconds});
      interval->second.end_s = *seconds + kBinMs / 1000;
    }
    return {};
  }

  Result<void> read_arrivals() {
    auto arrivals = open(kArrivals);
    if (!arrivals) return arrivals.error();
    auto lifetimes = open(kLifetimes);
    if (!lifetimes) return lifetimes.error();
    std::string text;
    std::string lives;
    std::optional<std::int64_t> first_s;
    for (std::size_t line = 1; std::getline(*arrivals, text) && !full(); ++line) {
      if (!std::getline(*lifetimes, lives)) {
        return bad(path(kLifetimes), line, 1, "", fmt::format("as many lines as {}", kArrivals));
      }
      const std::size_t space = text.find(' ');
      const auto seconds = parse_seconds(std::string_view(text).substr(0, space));
      if (!seconds || lives.substr(0, lives.find(' ')) != text.substr(0, space)) {
        return bad(path(kArrivals), line, 1, text.substr(0, space),
                   fmt::format("a start time in seconds, the same in {}", kLifetimes));
      }
      if (!first_s) first_s = *seconds;
      if (space == std::string::npos) continue;  // nobody came
      if (auto done = read_bin(text, lives, space + 1, line, (*seconds - *first_s) * 1000); !done) return done.error();
      end_ms_ = (*seconds - *first_s) * 1000 + kBinMs;
    }
    if (arrivals_.empty()) return bad(path(kArrivals), 1, 1, "", "at least one VM");
    return {};
  }

  [[nodiscard]] bool full() const { return options_.max_vms && arrivals_.size() >= *options_.max_vms; }

  /// "a,b,|,c,|" beside "U1,C3,|,U2,|". Batches of one line are spread over its bin in the order of the line.
  Result<void> read_bin(std::string_view text, std::string_view lives, std::size_t begin, std::size_t line,
                        std::int64_t bin_ms) {
    const std::size_t first = arrivals_.size();
    std::size_t at = begin;
    std::size_t lives_at = lives.find(' ') + 1;
    while (at < text.size() && !full()) {
      const std::size_t end = std::min(text.find(',', at), text.size());
      const std::size_t lives_end = std::min(lives.find(',', lives_at), lives.size());
      const std::string_view flavour = text.substr(at, end - at);
      const std::string_view life =
          lives.substr(std::min(lives_at, lives.size()), lives_end - std::min(lives_at, lives.size()));
      if (flavour == "|" && life == "|") {
        ++batch_;
      } else if (!flavour.empty()) {
        const auto known = flavour.size() == 1 ? flavours_.find(flavour.front()) : flavours_.end();
        if (known == flavours_.end()) {
          return bad(path(kArrivals), line, at + 1, flavour, fmt::format("a flavour of {} or |", kFlavours));
        }
        const auto lifetime = draw_lifetime(life);
        if (!lifetime) {
          return bad(path(kLifetimes), line, lives_at + 1, life,
                     fmt::format("U or C and a bin of {}, or | where {} has it", kIntervals, kArrivals));
        }
        arrivals_.push_back({0, batch_, known->second, *lifetime});
      }
      at = end + 1;
      lives_at = lives_end + 1;
    }
    ++batch_;
    // Instants inside the bin: one for each batch, in order.
    std::vector<std::int64_t> instants;
    for (std::size_t index = first; index < arrivals_.size(); ++index) {
      if (index == first || arrivals_[index].batch != arrivals_[index - 1].batch) {
        instants.push_back(bin_ms + static_cast<std::int64_t>(random_.below(kBinMs)));
      }
    }
    std::sort(instants.begin(), instants.end());
    std::size_t next = 0;
    for (std::size_t index = first; index < arrivals_.size(); ++index) {
      if (index > first && arrivals_[index].batch != arrivals_[index - 1].batch) ++next;
      arrivals_[index].time_ms = instants[next];
    }
    return {};
  }

  /// The outer optional: whether the text is a lifetime. The inner one: whether it ended (U) inside the trace.
  std::optional<std::optional<std::int64_t>> draw_lifetime(std::string_view text) {
    if (text.size() < 2 || (text.front() != 'U' && text.front() != 'C')) return std::nullopt;
    const auto bin = parse_integer<std::uint32_t>(text.substr(1));
    const auto interval = bin ? intervals_.find(*bin) : intervals_.end();
    if (interval == intervals_.end()) return std::nullopt;
    if (text.front() == 'C') return std::optional<std::int64_t>();
    const auto span_ms = static_cast<std::uint64_t>((interval->second.end_s - interval->second.begin_s) * 1000);
    return interval->second.begin_s * 1000 + static_cast<std::int64_t>(random_.below(span_ms));
  }

  std::filesystem::path folder_;
  AzureOptions options_;
  Random random_;
  std::map<char, ByteCount> flavours_;
  std::map<std::uint32_t, Interval> intervals_;
  std::vector<Arrival> arrivals_;
  std::uint64_t batch_ = 0;
  std::int64_t end_ms_ = 0;
};

}  // namespace

bool is_azure_trace(const std::filesystem::path& folder) { return std::filesystem::is_directory(folder); }

Result<Trace> read_azure_trace(const std::filesystem::path& folder, const AzureOptions& options) {
  return AzureReader(folder, options).read();
}

}  // namespace sluice::inline workload
