// SPDX-License-Identifier: Apache-2.0
#include "sluice/workload/azure_trace.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <string_view>

#include "line_reader.hpp"
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
    auto events = populate(arrivals_, end_ms_, options_.population);
    if (!events) return events.error();
    trace.events = std::move(*events);
    trace.source = fmt::format("Azure VM trace 2017 (CC BY 4.0), {} VMs", arrivals_.size());
    trace.taken = "arrivals in bins of 300 s, batches, memory sizes, lifetime bins";
    trace.drawn = "the instants inside a bin, " + describe(options_.population);
    return trace;
  }

 private:
  /// A file of the folder, line by line.
  class File {
   public:
    explicit File(std::string path) : path_(std::move(path)), in_(path_), lines_(in_, kLongestLine) {}

    /// Whether there is another line. Errors: it is too long, or cannot be read.
    Result<bool> next() {
      const LineReader::Got got = in_.is_open() ? lines_.next() : LineReader::Got::Failed;
      if (got == LineReader::Got::Failed) {
        return Error{HostErrc::InvalidArgument,
                     fmt::format("cannot read {}: give the folder that holds {}, {}, {} and {}", path_, kArrivals,
                                 kLifetimes, kFlavours, kIntervals)};
      }
      if (got == LineReader::Got::TooLong)
        return bad(1, line(), fmt::format("a line of at most {} bytes", kLongestLine));
      return got == LineReader::Got::Line;
    }
    [[nodiscard]] std::string_view line() const { return lines_.line(); }
    [[nodiscard]] Error bad(std::size_t column, std::string_view value, std::string_view expected) const {
      return {HostErrc::InvalidArgument,
              fmt::format("{}:{}:{}: {}: expected {}; nothing was run", path_,
                          std::max<std::size_t>(lines_.number(), 1), column, in_quotes(value), expected)};
    }

   private:
    static constexpr std::size_t kLongestLine = 1 << 20;  // some thousand times the longest of the public trace
    std::string path_;
    std::ifstream in_;
    LineReader lines_;
  };

  [[nodiscard]] File open(const char* file) const { return File((folder_ / file).string()); }

  /// "cores,memory_GB letter"
  Result<void> read_flavours() {
    File file = open(kFlavours);
    Result<bool> more = false;
    while ((more = file.next()) && *more) {
      const std::string_view text = file.line();
      const std::size_t comma = text.find(',');
      const std::size_t space = text.find(' ');
      const bool shaped =
          comma != std::string_view::npos && text.size() >= 2 && space == text.size() - 2 && comma < space;
      const auto gigabytes = shaped ? parse_real(text.substr(comma + 1, space - comma - 1)) : std::nullopt;
      constexpr double kMostGigabytes = 1024.0 * 1024.0;
      if (!gigabytes || *gigabytes <= 0.0 || *gigabytes > kMostGigabytes) {
        return file.bad(1, text, "cores,memory_GB letter");
      }
      const auto kibibytes = static_cast<std::uint64_t>(*gigabytes * 1024.0 * 1024.0);
      if (!flavours_.emplace(text.back(), ByteCount(std::max<std::uint64_t>(kibibytes, 1) << 10)).second) {
        return file.bad(space + 2, text.substr(space + 1), "a letter that no flavour before it has");
      }
    }
    return more ? Result<void>() : more.error();
  }

  /// "seconds bin": from so many seconds on, a lifetime falls into this bin.
  Result<void> read_intervals() {
    File file = open(kIntervals);
    Result<bool> more = false;
    while ((more = file.next()) && *more) {
      const std::string_view text = file.line();
      const std::size_t space = text.find(' ');
      const auto seconds = parse_seconds(text.substr(0, space));
      const auto bin =
          space == std::string_view::npos ? std::nullopt : parse_integer<std::uint32_t>(text.substr(space + 1));
      if (!seconds || !bin) return file.bad(1, text, "seconds bin");
      Interval& interval = intervals_.try_emplace(*bin, Interval{*seconds, *seconds}).first->second;
      interval.begin_s = std::min(interval.begin_s, *seconds);
      interval.end_s = std::max(interval.end_s, *seconds + kBinMs / 1000);
    }
    return more ? Result<void>() : more.error();
  }

  Result<void> read_arrivals() {
    File arrivals = open(kArrivals);
    File lifetimes = open(kLifetimes);
    std::optional<std::int64_t> first_s;
    std::int64_t last_s = 0;
    Result<bool> more = false;
    while (!full() && (more = arrivals.next()) && *more) {
      const auto lives = lifetimes.next();
      if (!lives) return lives.error();
      if (!*lives) return lifetimes.bad(1, "", fmt::format("as many lines as {}", kArrivals));
      const std::string_view text = arrivals.line();
      const std::size_t space = text.find(' ');
      const std::string_view start = text.substr(0, space);
      const auto seconds = parse_seconds(start);
      if (!seconds || *seconds < last_s || lifetimes.line().substr(0, lifetimes.line().find(' ')) != start) {
        return arrivals.bad(1, start,
                            fmt::format("a start time in seconds, of at least {}, the same in {}", last_s, kLifetimes));
      }
      last_s = *seconds;
      if (!first_s) first_s = *seconds;
      if (space == std::string_view::npos) continue;  // nobody came
      const std::int64_t bin_ms = (*seconds - *first_s) * 1000;
      if (auto done = read_bin(arrivals, lifetimes, space + 1, bin_ms); !done) return done.error();
      end_ms_ = bin_ms + kBinMs;
    }
    if (!more) return more.error();
    if (arrivals_.empty()) return arrivals.bad(1, "", "at least one VM");
    return {};
  }

  [[nodiscard]] bool full() const { return options_.max_vms && arrivals_.size() >= *options_.max_vms; }

  /// "a,b,|,c,|" beside "U1,C3,|,U2,|". Batches of one line are spread over its bin in the order of the line.
  Result<void> read_bin(const File& arrivals, const File& lifetimes, std::size_t begin, std::int64_t bin_ms) {
    const std::string_view text = arrivals.line();
    const std::string_view lives = lifetimes.line();
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
          return arrivals.bad(at + 1, flavour, fmt::format("a flavour of {} or |", kFlavours));
        }
        const auto lifetime = draw_lifetime(life);
        if (!lifetime) {
          return lifetimes.bad(lives_at + 1, life,
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
