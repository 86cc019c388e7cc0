// SPDX-License-Identifier: Apache-2.0
// Files that appear whole or not at all, and what is never replaced.
#include "sluice/base/output.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <sstream>

#include "support/patience.hpp"
#include "support/temporary_folder.hpp"

namespace sluice {
namespace {

namespace fs = std::filesystem;

class Output : public ::testing::Test {
 protected:
  [[nodiscard]] std::string path(const std::string& name) const { return (folder_ / name).string(); }
  [[nodiscard]] static std::string read(const std::string& file) {
    std::ifstream in(file);
    std::stringstream text;
    text << in.rdbuf();
    return text.str();
  }
  [[nodiscard]] std::size_t files() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder_ / ""), fs::directory_iterator()));
  }
  test::TemporaryFolder folder_;
};

TEST_F(Output, AppearsWholeAndLeavesNothingElseBehind) {
  ASSERT_TRUE(write_whole_file(path("a"), "one"));
  ASSERT_TRUE(write_whole_file(path("a"), "two"));
  EXPECT_EQ(read(path("a")), "two");
  { ASSERT_TRUE(OutputFile::open(path("never"))); }
  EXPECT_EQ(files(), 1U);
}

TEST_F(Output, LeavesAStrangersFileAlone) {
  std::ofstream(path("a.part")) << "a stranger's";
  ASSERT_TRUE(write_whole_file(path("a"), "text"));
  EXPECT_EQ(read(path("a.part")), "a stranger's");
}

TEST_F(Output, KeepsTheModeOfWhatItReplaces) {
  std::ofstream(path("a")) << "old";
  ::chmod(path("a").c_str(), 0640);
  ASSERT_TRUE(write_whole_file(path("a"), "new"));
  EXPECT_EQ(static_cast<unsigned>(fs::status(path("a")).permissions()), 0640U);
}

TEST_F(Output, FollowsALinkAndRefusesOneThatLeadsNowhere) {
  std::ofstream(path("real")) << "old";
  fs::create_symlink("real", path("link"));
  ASSERT_TRUE(write_whole_file(path("link"), "new"));
  EXPECT_TRUE(fs::is_symlink(path("link")));
  EXPECT_EQ(read(path("real")), "new");
  fs::create_symlink("nowhere", path("dangling"));
  EXPECT_FALSE(write_whole_file(path("dangling"), "new"));
  EXPECT_TRUE(fs::is_symlink(path("dangling")));
}

TEST_F(Output, WritesThroughAFifoAndReplacesNone) {
  ASSERT_EQ(::mkfifo(path("fifo").c_str(), 0600), 0);
  EXPECT_FALSE(write_whole_file(path("fifo"), "text")) << "nobody reads it";
  const int reader = ::open(path("fifo").c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  ASSERT_TRUE(write_whole_file(path("fifo"), "text"));
  std::array<char, 8> got{};
  EXPECT_EQ(::read(reader, got.data(), got.size()), 4);
  ::close(reader);
  EXPECT_TRUE(fs::is_fifo(path("fifo")));
}

TEST_F(Output, ThatFailsSaysWhereAndWhyAndKeepsWhatWasThere) {
  EXPECT_NE(write_whole_file("/dev/full", "text").error().message.find("/dev/full: No space left"), std::string::npos);
  EXPECT_NE(write_whole_file("/no/such/a", "text").error().message.find("/no/such/a"), std::string::npos);
  ASSERT_TRUE(write_whole_file(path("a"), "old"));
  const pid_t child = ::fork();
  if (child == 0) {  // a limit of the process, which must not end it by a signal
    ::alarm(test::kPatience.count());
    prepare_process();
    const rlimit limit{4096, 4096};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    ::_exit(write_whole_file(path("a"), std::string(10'000, 'x')) ? 1 : 0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_EQ(read(path("a")), "old");
  EXPECT_EQ(files(), 1U);
}

TEST(PrepareProcess, OpensTheStandardDescriptorsThatWereClosed) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(test::kPatience.count());
    for (int fd = 0; fd < 3; ++fd) ::close(fd);
    prepare_process();
    const int next = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    const bool output_fails = ::write(STDOUT_FILENO, "x", 1) < 0;
    const bool error_works = ::write(STDERR_FILENO, "x", 1) == 1;
    ::_exit(next > STDERR_FILENO && output_fails && error_works ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace sluice
