// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <string>
#include <string_view>
#include <utility>

#include "sluice/base/result.hpp"

// What a program writes for others, and what it must have in order before it does.
namespace sluice::inline base {

/// For the beginning of each main(). Descriptors 0 to 2 are open afterwards, so that no file, socket or memory of ours
/// becomes one of them and is written to as standard error; writing to a standard output that was closed fails. Limits
/// and readers that go away are errors of the call that meets them, and no signals.
inline void prepare_process() {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
    if (::fcntl(fd, F_GETFD) >= 0) continue;
    if (::open("/dev/null", fd == STDERR_FILENO ? O_WRONLY : O_RDONLY) != fd) std::abort();
  }
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
}

inline Error output_error(const std::string& what, int why) {
  return {boost::system::errc::make_error_code(static_cast<boost::system::errc::errc_t>(why)),
          fmt::format("cannot write {}: {}; choose another place, or make room there", what, std::strerror(why))};
}

/// Errors: those of the system.
[[nodiscard]] inline Result<void> write_all(int fd, std::string_view text, const std::string& what) {
  while (!text.empty()) {
    const ssize_t put = ::write(fd, text.data(), text.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return output_error(what, errno);
    text.remove_prefix(static_cast<std::size_t>(put));
  }
  return {};
}

/// Errors: those of the system.
[[nodiscard]] inline Result<void> write_standard_output(std::string_view text) {
  return write_all(STDOUT_FILENO, text, "standard output");
}

/// Writes out what standard output still buffers. A program says that all went well only after this. Errors: what the
/// first write that failed met.
[[nodiscard]] inline Result<void> finish_standard_output() {
  errno = 0;
  std::cout.flush();
  const bool flushed = std::fflush(stdout) == 0;
  if (flushed && std::cout && std::ferror(stdout) == 0) return {};
  return output_error("standard output", errno == 0 ? EIO : errno);
}

/// A file that appears whole or not at all. What is there and is no regular file (a device, a FIFO) is written through
/// and never replaced; a link is followed.
class OutputFile {
 public:
  /// Long work opens what it will write before it begins. Errors: those of the system, with the path.
  [[nodiscard]] static Result<OutputFile> open(const std::string& path) {
    OutputFile file;
    file.path_ = path;
    struct stat status {};
    const bool exists = ::stat(path.c_str(), &status) == 0;
    if (exists && !S_ISREG(status.st_mode)) {
      file.fd_ = ::open(path.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);  // a FIFO nobody reads: an error
      if (file.fd_ < 0) return output_error(path, errno);
      ::fcntl(file.fd_, F_SETFL, ::fcntl(file.fd_, F_GETFL) & ~O_NONBLOCK);
      return file;
    }
    std::error_code error;
    file.target_ = exists ? std::filesystem::canonical(path, error).string() : path;
    if (error) return output_error(path, error.value());
    if (!exists && std::filesystem::is_symlink(path, error)) return output_error(path, ENOENT);
    if (exists && ::access(path.c_str(), W_OK) != 0) return output_error(path, errno);
    file.temporary_ = file.target_ + ".XXXXXX";
    file.fd_ = ::mkostemp(file.temporary_.data(), O_CLOEXEC);
    if (file.fd_ < 0) {
      file.temporary_.clear();
      return output_error(path, errno);
    }
    const mode_t mask = ::umask(0);
    ::umask(mask);
    ::fchmod(file.fd_, exists ? status.st_mode & 0777U : 0666U & ~mask);
    return file;
  }
  OutputFile(OutputFile&& other) noexcept
      : path_(std::move(other.path_)),
        target_(std::move(other.target_)),
        temporary_(std::exchange(other.temporary_, {})),
        fd_(std::exchange(other.fd_, -1)) {}
  OutputFile& operator=(OutputFile&&) = delete;
  ~OutputFile() {
    if (fd_ >= 0) ::close(fd_);
    if (!temporary_.empty()) ::unlink(temporary_.c_str());
  }

  /// Once. Errors: those of the system; what stood there before still does.
  [[nodiscard]] Result<void> write(std::string_view text) {
    if (auto written = write_all(fd_, text, path_); !written) return written;
    if (::close(std::exchange(fd_, -1)) != 0) return output_error(path_, errno);
    if (temporary_.empty()) return {};
    if (::rename(temporary_.c_str(), target_.c_str()) != 0) return output_error(path_, errno);
    temporary_.clear();
    return {};
  }

 private:
  OutputFile() = default;
  std::string path_;       ///< As it was given.
  std::string target_;     ///< Where links lead.
  std::string temporary_;  ///< Beside it; empty: written through.
  int fd_ = -1;
};

/// Opens, writes and puts in place. Errors: as OutputFile.
[[nodiscard]] inline Result<void> write_whole_file(const std::string& path, std::string_view text) {
  auto file = OutputFile::open(path);
  if (!file) return file.error();
  return file->write(text);
}

}  // namespace sluice::inline base
