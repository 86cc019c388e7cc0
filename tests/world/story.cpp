// SPDX-License-Identifier: Apache-2.0
#include "story.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <random>
#include <string_view>

namespace sluice::world {
namespace {

struct ActFacts {
  std::string_view name;
  std::uint32_t weight;  ///< How often it is drawn, in thousandths or so.
};
constexpr std::array<ActFacts, kActs> kFacts = {{
    {"CreateVm", 30},        {"Allocate", 130},
    {"Release", 100},        {"BeginReboot", 35},
    {"FinishReboot", 45},    {"Terminate", 22},
    {"Abandon", 15},         {"ChangeGroup", 12},
    {"CreateGroup", 6},      {"EnableGroup", 5},
    {"DestroyGroup", 3},     {"CreatePool", 8},
    {"GrowPool", 5},         {"ShrinkPool", 5},
    {"PartitionPool", 6},    {"MergePools", 4},
    {"DestroyPool", 3},      {"ChangeRecycling", 12},
    {"ChangeScrubs", 10},    {"SwitchRecycling", 5},
    {"ChangePlacement", 5},  {"Poll", 290},
    {"EndJob", 200},         {"FailJob", 1},
    {"EngineBusy", 5},       {"EngineDies", 1},
    {"EngineRefuses", 1},    {"EngineLies", 1},
    {"EngineTakesPart", 4},  {"Stop", 1},
    {"TimePasses", 30},      {"Crash", 2},
    {"ChangePool", 8},       {"CreatePools", 3},
    {"MoveBetweenPools", 5}, {"KeepShared", 3},
    {"Suspect", 4},          {"Absolve", 4},
    {"TestSuspect", 8},
}};

}  // namespace

Story draw_story(std::uint64_t seed, std::size_t steps) {
  std::mt19937_64 random(seed);
  std::array<std::uint32_t, kActs> weights{};
  // Each story has its own temper.
  for (std::size_t act = 0; act < kActs; ++act) {
    weights[act] = kFacts[act].weight * static_cast<std::uint32_t>(1 + random() % 4);
  }
  std::discrete_distribution<int> acts(weights.begin(), weights.end());
  Story story(steps);
  for (Step& step : story) {
    step.act = static_cast<Act>(acts(random));
    step.a = static_cast<std::uint32_t>(random());
    step.b = static_cast<std::uint32_t>(random());
    step.c = static_cast<std::uint32_t>(random());
  }
  return story;
}

std::string to_string(const Step& step) {
  return fmt::format("{} {} {} {}", kFacts[static_cast<std::size_t>(step.act)].name, step.a, step.b, step.c);
}

Story shrink(Story story, const std::function<bool(const Story&)>& fails) {
  for (std::size_t piece = story.size() / 2; piece > 0;) {
    bool shorter = false;
    for (std::size_t at = 0; at + piece <= story.size();) {
      Story rest = story;
      const auto from = rest.begin() + static_cast<std::ptrdiff_t>(at);
      rest.erase(from, from + static_cast<std::ptrdiff_t>(piece));
      if (fails(rest)) {
        story = std::move(rest);
        shorter = true;
      } else {
        at += piece;
      }
    }
    piece = shorter ? std::min(piece, story.size() / 2) : piece / 2;
  }
  return story;
}

}  // namespace sluice::world
