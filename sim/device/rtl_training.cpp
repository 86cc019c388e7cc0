// SPDX-License-Identifier: Apache-2.0
// What the compiler counts before it lays out the code of the simulated engine: long fills, many small ones, urgent
// ones among them, cancels, and an engine without work. Exit code 1: a job did not end as it should.
#include <cstdio>
#include <vector>

#include "sluice/device/simulated_device.hpp"
#include "sluice/ring/ring_engine.hpp"

namespace {

using namespace sluice;

/// Submits all jobs, cancels every `cancel_every`th (0: none) and waits for all.
bool run(RingEngine& engine, const std::vector<ScrubJob>& jobs, std::size_t cancel_every) {
  std::vector<JobId> ids(jobs.size());
  std::size_t submitted = 0;
  for (std::size_t ended = 0; ended < jobs.size();) {
    if (submitted < jobs.size()) {
      const auto accepted = engine.submit(std::span(jobs).subspan(submitted), std::span(ids).subspan(submitted));
      for (std::size_t job = submitted; accepted && job < submitted + *accepted; ++job) {
        if (cancel_every != 0 && job % cancel_every == 0) engine.cancel(ids[job]);
      }
      if (accepted) submitted += *accepted;
    }
    Completion completion;
    while (engine.poll({&completion, 1}) != 0) {
      if (completion.outcome == Outcome::Failed) return false;
      ++ended;
    }
    if (engine.fault()) return false;
  }
  return true;
}

std::vector<ScrubJob> jobs_of(MemorySpan memory, std::size_t length) {
  std::vector<ScrubJob> jobs(memory.size() / length);
  for (std::size_t job = 0; job < jobs.size(); ++job) {
    jobs[job].memory = memory.subspan(job * length, length);
    jobs[job].urgency = job % 4 == 3 ? Urgency::Urgent : Urgency::Background;
  }
  return jobs;
}

}  // namespace

int main() {
  std::vector<std::byte> memory(4 << 20, std::byte{1});
  auto device = SimulatedDevice::create({});
  if (!device) return 1;
  SimulatedDevice& simulated = **device;
  const MemorySpan windows[] = {memory};
  auto engine = RingEngine::create(std::move(*device), {}, windows);
  if (!engine) return 1;
  const MemorySpan all(memory);
  const bool ended = run(**engine, jobs_of(all, 1 << 20), 0) && run(**engine, jobs_of(all, 4096), 0) &&
                     run(**engine, jobs_of(all, 65536), 3) && run(**engine, jobs_of(all.first(65536), 100), 0);
  simulated.run_cycles(50'000);
  if (!ended) std::fputs("rtl_training: a job failed\n", stderr);
  return ended ? 0 : 1;
}
