// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string>

#include "sluice/base/parse.hpp"
#include "sluice/base/result.hpp"
#include "sluice/base/units.hpp"

namespace sluice::inline base {

/// A file as text, of any kind that can be read to an end. Errors: what the system says, with the path; a file that is
/// longer than `most` is not read to its end.
[[nodiscard]] inline Result<std::string> read_whole_file(const std::string& path, ByteCount most) {
  const auto failed = [&path](int why) {
    return Error{boost::system::errc::make_error_code(static_cast<boost::system::errc::errc_t>(why)),
                 fmt::format("cannot read {}: {}", in_quotes(path, 200), std::strerror(why))};
  };
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY);
  if (fd < 0) return failed(errno);
  std::string text;
  std::array<char, 1 << 16> some;
  ssize_t got = 0;
  while (text.size() <= most.value() && (got = ::read(fd, some.data(), some.size())) != 0) {
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) break;
    text.append(some.data(), static_cast<std::size_t>(got));
  }
  const int why = errno;
  ::close(fd);
  if (got < 0) return failed(why);
  if (text.size() <= most.value()) return text;
  return Error{boost::system::errc::make_error_code(boost::system::errc::file_too_large),
               fmt::format("{} is longer than {}: give another file", in_quotes(path, 200), print_bytes(most))};
}

}  // namespace sluice::inline base
