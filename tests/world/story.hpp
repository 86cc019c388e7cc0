// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace sluice::world {

/// Something that happens. What it happens to is chosen by the step's numbers among what is there at that time, so that
/// a story can be cut anywhere and still make sense.
enum class Act : std::uint8_t {
  CreateVm,
  Allocate,
  Release,
  BeginReboot,
  FinishReboot,
  Terminate,
  Abandon,
  ChangeGroup,
  CreateGroup,
  EnableGroup,
  DestroyGroup,
  CreatePool,
  GrowPool,
  ShrinkPool,
  PartitionPool,
  MergePools,
  DestroyPool,
  ChangeRecycling,
  ChangeScrubs,
  SwitchRecycling,
  ChangePlacement,
  Poll,
  EndJob,
  FailJob,
  EngineBusy,
  EngineDies,
  EngineRefuses,
  EngineLies,
  EngineTakesPart,
  Stop,
  TimePasses,
  Crash,
  ChangePool,
  CreatePools,
  MoveBetweenPools,
  KeepShared,
  Suspect,
  Absolve,
  TestSuspect,
};
inline constexpr std::size_t kActs = 39;

struct Step {
  Act act = Act::Poll;
  std::uint32_t a = 0;
  std::uint32_t b = 0;
  std::uint32_t c = 0;
};
using Story = std::vector<Step>;

[[nodiscard]] Story draw_story(std::uint64_t seed, std::size_t steps);
/// As "Release 17 4 0".
[[nodiscard]] std::string to_string(const Step& step);

/// The shortest story found that still fails, by leaving out more and more of it.
[[nodiscard]] Story shrink(Story story, const std::function<bool(const Story&)>& fails);

}  // namespace sluice::world
