// SPDX-License-Identifier: Apache-2.0
#include "progress.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <string>

namespace sluice {

Progress::Progress(std::size_t total, std::string unit)
    : total_(total),
      unit_(std::move(unit)),
      terminal_(::isatty(STDERR_FILENO) == 1),
      start_(std::chrono::steady_clock::now()),
      last_(start_) {}

void Progress::update(std::size_t done) {
  const auto now = std::chrono::steady_clock::now();
  const auto interval = terminal_ ? std::chrono::milliseconds(100) : std::chrono::milliseconds(10'000);
  const bool first = !started_;
  if (first) start_ = last_ = now;
  started_ = true;
  if (now - last_ < interval && !(first && terminal_)) return;
  last_ = now;
  printed_ = true;
  print(done);
}

void Progress::print(std::size_t done) const {
  const double share = total_ == 0 ? 1.0 : static_cast<double>(done) / static_cast<double>(total_);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  const double left = share > 0.0 ? seconds / share - seconds : 0.0;
  if (terminal_) {
    constexpr std::size_t kWidth = 40;
    const auto full = static_cast<std::size_t>(share * kWidth);
    std::fputs(fmt::format("\r[{}{}] {:3.0f} %  {} of {} {}, {:.0f} s left ", std::string(full, '#'),
                           std::string(kWidth - full, '.'), share * 100, done, total_, unit_, left)
                   .c_str(),
               stderr);
  } else {
    std::fputs(fmt::format("{:.0f} %: {} of {} {}, {:.0f} s left\n", share * 100, done, total_, unit_, left).c_str(),
               stderr);
  }
  std::fflush(stderr);
}

void Progress::finish() {
  if (terminal_ && printed_) std::fputs(fmt::format("\r{:80}\r", "").c_str(), stderr);
}

}  // namespace sluice
