// SPDX-License-Identifier: Apache-2.0
#include "sluice/engine/event_source.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vector>

#include "support/patience.hpp"

namespace sluice {
namespace {

bool is_readable(int fd, int milliseconds = 0) {
  pollfd asked{fd, POLLIN, 0};
  return ::poll(&asked, 1, milliseconds) == 1;
}

TEST(EventSource, IsReadableWhileItsOwnerSaysSoOrOneThatItFollowsIs) {
  EventSource inner;
  EventSource outer;
  ASSERT_TRUE(outer.follow(inner.fd()));
  EXPECT_FALSE(is_readable(outer.fd()));
  for (EventSource* const source : {&inner, &outer}) {
    source->set_readable(true);
    source->set_readable(true);
    EXPECT_TRUE(is_readable(outer.fd()));
    EXPECT_TRUE(is_readable(outer.fd())) << "a level, not an edge";
    source->set_readable(false);
    EXPECT_FALSE(is_readable(outer.fd()));
  }
  inner.set_readable(true);
  outer.leave(inner.fd());
  EXPECT_FALSE(is_readable(outer.fd()));
}

TEST(EventSource, SaysSoWhenItCannotFollow) {
  EventSource source;
  EXPECT_FALSE(source.follow(-1));
  EXPECT_FALSE(source.follow(source.fd()));
}

TEST(EventSource, WakesItsOwnerNowAndThenUntilThatHasLooked) {
  EventSource source(std::chrono::milliseconds(20));
  EXPECT_TRUE(is_readable(source.fd(), 10'000));
  for (int attempt = 0; attempt < 10'000 && is_readable(source.fd()); ++attempt) {
    ::usleep(1000);
    source.looked();
  }
  EXPECT_TRUE(is_readable(source.fd(), 10'000)) << "and again";
}

TEST(EventSource, HasNoStandardDescriptorInAProgramThatWasStartedWithThoseClosed) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(test::kPatience.count());
    for (const int standard : {0, 1, 2}) ::close(standard);
    const EventSource source(std::chrono::seconds(1));
    bool free = true;
    for (const int standard : {0, 1, 2}) free = free && ::fcntl(standard, F_GETFD) < 0;
    ::_exit(source.fd() > 2 && free ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

}  // namespace
}  // namespace sluice
