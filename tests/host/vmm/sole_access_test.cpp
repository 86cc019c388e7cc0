// SPDX-License-Identifier: Apache-2.0
// Who else reaches a brick, and how nobody can: with processes of the test's own.
#include "sluice/vmm/sole_access.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <functional>

#include "sluice/memory/backing_memory.hpp"
#include "sluice/vmm/holders.hpp"
#include "support/temporary_folder.hpp"

namespace sluice::test {
namespace {

using ::testing::HasSubstr;

constexpr std::size_t kLength = 1 << 20;

/// A process that does something, says so, and then lives until it is killed.
class Accomplice {
 public:
  explicit Accomplice(const std::function<void()>& act) {
    int ready[2];
    if (::pipe2(ready, O_CLOEXEC) != 0) std::abort();
    process_ = ::fork();
    if (process_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::prctl(PR_SET_NAME, "accomplice");
      act();
      static_cast<void>(!::write(ready[1], "x", 1));
      for (;;) ::pause();
    }
    char said = 0;
    if (::read(ready[0], &said, 1) != 1) std::abort();
    for (const int end : ready) ::close(end);
  }
  Accomplice(const Accomplice&) = delete;
  Accomplice& operator=(const Accomplice&) = delete;
  ~Accomplice() { end(); }

  [[nodiscard]] pid_t process() const { return process_; }
  void end() {
    if (process_ == 0) return;
    ::kill(process_, SIGKILL);
    ::waitpid(process_, nullptr, 0);
    process_ = 0;
  }

 private:
  pid_t process_ = 0;
};

enum class Where : std::uint8_t { Memfd, Tmpfs };
enum class How : std::uint8_t { ReadsAndWrites, OnlyReads, OnlyMaps };

class SoleAccess : public ::testing::TestWithParam<Where> {
 protected:
  SoleAccess()
      : memory_(GetParam() == Where::Memfd ? *FileMemory::create(ByteCount(kLength), 1)
                                           : *FileMemory::open(folder_.path(), ByteCount(kLength), 1)) {}

  [[nodiscard]] int fd() const { return memory_->bricks()[0].fd; }
  /// Opens the file anew, and gives up what it inherited.
  void reach(How how) const {
    const int own = *open_again(fd());
    ::munmap(memory_->bricks()[0].memory.data(), kLength);
    ::close(fd());
    if (how == How::OnlyReads) {
      const int read_only = ::open(("/proc/self/fd/" + std::to_string(own)).c_str(), O_RDONLY);
      if (read_only < 0) ::_exit(1);
      ::close(own);
    }
    if (how != How::OnlyMaps) return;
    if (::mmap(nullptr, kLength, PROT_READ | PROT_WRITE, MAP_SHARED, own, 0) == MAP_FAILED) ::_exit(1);
    ::close(own);
  }

  TemporaryFolder folder_{"/dev/shm"};
  std::unique_ptr<FileMemory> memory_;
};

TEST_P(SoleAccess, IsThereWhenNobodyElseReachesTheBrickThoughItIsMappedHere) {
  for (int round = 0; round < 3; ++round) {
    const auto taken = take_sole_access(fd());
    EXPECT_TRUE(taken) << taken.error().message;
    EXPECT_TRUE(take_sole_access(fd())) << "taken already";
    end_sole_access(fd());
  }
}

TEST_P(SoleAccess, IsRefusedWhileAnotherProcessReachesTheBrickInWhicheverWay) {
  for (const How how : {How::ReadsAndWrites, How::OnlyReads, How::OnlyMaps}) {
    SCOPED_TRACE(static_cast<int>(how));
    Accomplice other([&] { reach(how); });
    const auto refused = take_sole_access(fd());
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, HostErrc::WrongState);
    EXPECT_THAT(refused.error().message, HasSubstr("accomplice (process " + std::to_string(other.process())));
    other.end();
    EXPECT_TRUE(take_sole_access(fd())) << "it has ended";
    end_sole_access(fd());
  }
}

TEST_P(SoleAccess, NobodyCanOpenTheBrickMeanwhileAndThatEndsNoProcess) {
  ASSERT_TRUE(take_sole_access(fd()));
  const std::string path = "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(fd());
  int status = -1;
  const pid_t other = ::fork();
  if (other == 0) {
    const int opened = ::open(path.c_str(), O_RDWR | O_NONBLOCK);
    ::_exit(opened < 0 && errno == EWOULDBLOCK ? 0 : 1);
  }
  ASSERT_EQ(::waitpid(other, &status, 0), other);
  EXPECT_EQ(status, 0);
}

TEST_P(SoleAccess, EndsWhenTheBrickIsGivenOut) {
  ASSERT_TRUE(take_sole_access(fd()));
  const int given = *open_again(fd());
  EXPECT_NE(::fcntl(given, F_GETFD) & FD_CLOEXEC, 0);
  EXPECT_FALSE(take_sole_access(fd())) << "this process has a second description of it";
  void* const map = ::mmap(nullptr, kLength, PROT_READ | PROT_WRITE, MAP_SHARED, given, 0);
  ASSERT_NE(map, MAP_FAILED);
  static_cast<std::byte*>(map)[5] = std::byte{0x77};
  EXPECT_EQ(memory_->bricks()[0].memory[5], std::byte{0x77}) << "the same memory";
  ::close(given);
  EXPECT_FALSE(take_sole_access(fd())) << "still mapped";
  ::munmap(map, kLength);
  EXPECT_TRUE(take_sole_access(fd()));
}

TEST_P(SoleAccess, HoldersAreNamedWithWhatTheyHave) {
  EXPECT_EQ(*holders_of(fd()), std::vector<Holder>());
  EXPECT_EQ(to_string(*holders_of(fd())), "nobody that /proc shows");
  const Accomplice opens([&] { reach(How::ReadsAndWrites); });
  const Accomplice maps([&] { reach(How::OnlyMaps); });
  std::vector<Holder> expected = {{opens.process(), "accomplice", false}, {maps.process(), "accomplice", true}};
  std::ranges::sort(expected, {}, &Holder::process);
  EXPECT_EQ(*holders_of(fd()), expected);
  EXPECT_THAT(to_string(expected), HasSubstr("accomplice (process " + std::to_string(maps.process()) + ", mapped)"));
}

INSTANTIATE_TEST_SUITE_P(On, SoleAccess, ::testing::Values(Where::Memfd, Where::Tmpfs),
                         [](const auto& each) { return each.param == Where::Memfd ? "Memfd" : "Tmpfs"; });

TEST(SoleAccessErrors, AMemfdAsItWasMadeIsRefusedSinceItWouldAlwaysSeemToBeAlone) {
  const int made = ::memfd_create("brick", MFD_CLOEXEC);
  ASSERT_EQ(::ftruncate(made, kLength), 0);
  const auto refused = take_sole_access(made);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, HostErrc::InvalidArgument);
  EXPECT_THAT(refused.error().message, HasSubstr("give one from open_again()"));
  const int counted = *open_again(made);
  ::close(made);
  EXPECT_TRUE(take_sole_access(counted));
  ::close(counted);
}

TEST(SoleAccessErrors, SayWhatIsNoBrick) {
  EXPECT_EQ(take_sole_access(-1).error().code, HostErrc::InvalidArgument);
  EXPECT_EQ(holders_of(-1).error().code, HostErrc::InvalidArgument);
  EXPECT_EQ(open_again(-1).error().code, HostErrc::NoResources);
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const auto refused = take_sole_access(ends[0]);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, HostErrc::InvalidArgument);
  EXPECT_THAT(refused.error().message, HasSubstr("regular file"));
  for (const int end : ends) ::close(end);
}

}  // namespace
}  // namespace sluice::test
