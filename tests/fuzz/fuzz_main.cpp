// SPDX-License-Identifier: Apache-2.0
// The program around a fuzz target: NAME_fuzz CORPUS [--seconds N] [--seed N] [--failed FILE]
// Gives every file of the folder CORPUS to the target, then for N seconds mutations of them. An input that ends the
// process, or takes longer than ten seconds, is written to FILE first: put it into the corpus when it is mended.
//
// Long inputs are short in the corpus: each line of a file NAME.times is a number, a blank and a text, and stands for
// that number of copies of the text; \n in it is the end of a line.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>

#include "fuzz/fuzz.hpp"
#include "fuzz/mutator.hpp"

extern "C" void __sanitizer_set_death_callback(void (*)()) __attribute__((weak));  // NOLINT: a sanitizer's name

namespace {

using sluice::fuzz::Bytes;

constexpr unsigned kLongestSeconds = 10;  // of one input

struct Options {
  std::filesystem::path corpus;
  double seconds = 0;
  std::uint64_t seed = 1;
  std::string failed = "fuzz-failed-input";
};

// For the signal handler, which can be given nothing.
const char* failed_file = nullptr;
const Bytes* current = nullptr;

void say(const char* text) { static_cast<void>(!::write(STDERR_FILENO, text, std::strlen(text))); }

/// Async-signal-safe.
void keep_current() {
  const Bytes* const input = std::exchange(current, nullptr);
  if (input == nullptr) return;
  const int fd = ::open(failed_file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  static_cast<void>(!::write(fd, input->data(), input->size()));
  ::close(fd);
  say("\nthis input is in ");
  say(failed_file);
  say("\n");
}

void die(int signal) {
  if (signal == SIGALRM) say("\nan input took longer than 10 s");
  keep_current();
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

void watch() {
  for (const int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGALRM}) std::signal(signal, die);
  if (__sanitizer_set_death_callback != nullptr) __sanitizer_set_death_callback(keep_current);
}

void run(const Bytes& input) {
  // A copy of exactly its length: AddressSanitizer sees what reads beyond it.
  const Bytes exact(input);
  current = &exact;
  ::alarm(kLongestSeconds);
  sluice::fuzz::one(exact);
  ::alarm(0);
  current = nullptr;
}

Bytes bytes_of(const std::string& text) {
  const auto* const first = reinterpret_cast<const std::byte*>(text.data());
  return {first, first + text.size()};
}

Bytes read_times(std::istream& in) {
  std::string whole;
  std::size_t times = 0;
  for (std::string line; in >> times && in.get() == ' ' && std::getline(in, line);) {
    for (std::size_t at = 0; (at = line.find("\\n", at)) != std::string::npos;) line.replace(at, 2, "\n");
    while (times-- > 0) whole += line;
  }
  return bytes_of(whole);
}

Bytes read(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (file.extension() == ".times") return read_times(in);
  return bytes_of({std::istreambuf_iterator<char>(in), {}});
}

std::vector<Bytes> read_corpus(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  for (const auto& file : std::filesystem::recursive_directory_iterator(folder)) {
    if (file.is_regular_file()) files.push_back(file.path());
  }
  std::sort(files.begin(), files.end());
  std::vector<Bytes> corpus;
  corpus.reserve(files.size());
  for (const auto& file : files) corpus.push_back(read(file));
  return corpus;
}

bool parse(int count, char** words, Options& options) {
  if (count < 2 || count % 2 != 0) return false;
  options.corpus = words[1];
  for (int at = 2; at < count; at += 2) {
    const std::string name = words[at];
    char* end = words[at + 1];
    if (name == "--seconds") {
      options.seconds = std::strtod(words[at + 1], &end);
    } else if (name == "--seed") {
      options.seed = std::strtoull(words[at + 1], &end, 10);
    } else if (name == "--failed") {
      options.failed = words[at + 1];
      continue;
    }
    if (end == words[at + 1] || *end != 0) return false;
  }
  return true;
}

}  // namespace

int main(int count, char** words) {
  Options options;
  if (!parse(count, words, options)) {
    std::fprintf(stderr, "usage: %s CORPUS [--seconds N] [--seed N] [--failed FILE]\n", words[0]);
    return 2;
  }
  failed_file = options.failed.c_str();
  const std::vector<Bytes> corpus = read_corpus(options.corpus);
  if (corpus.empty()) {
    std::fprintf(stderr, "%s has no files: the corpus cannot be empty\n", options.corpus.c_str());
    return 2;
  }
  watch();
  for (const Bytes& input : corpus) run(input);
  std::printf("%zu inputs of the corpus\n", corpus.size());
  if (options.seconds <= 0) return 0;
  std::printf("seed %llu\n", static_cast<unsigned long long>(options.seed));
  std::fflush(stdout);
  sluice::fuzz::Mutator mutator(options.seed);
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(options.seconds);
  std::uint64_t runs = 0;
  for (; std::chrono::steady_clock::now() < end; ++runs) run(mutator.next(corpus));
  std::printf("%llu mutations\n", static_cast<unsigned long long>(runs));
  return 0;
}
