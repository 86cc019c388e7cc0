// SPDX-License-Identifier: Apache-2.0
// What a device writes into its completion rings and registers, for the ring driver. An input begins with a byte of
// set-up; then each byte is a step, with what it needs behind it.
#include <algorithm>
#include <array>
#include <cstring>
#include <map>

#include "fuzz/fuzz.hpp"
#include "sluice/ring/ring_engine.hpp"
#include "support/memory.hpp"

namespace sluice::fuzz {
namespace {

constexpr std::size_t kData = 64 << 10;

/// A device that does what the input says.
struct Device {
  std::map<std::uint32_t, std::uint32_t> registers;
  std::vector<std::unique_ptr<test::Memory>> rings;  ///< submission and completion of each queue
  std::array<std::uint32_t, 2> posted{};
  std::chrono::nanoseconds time{0};

  void post(std::size_t queue, ring::CompletionEntry entry, std::uint32_t entries, bool in_phase) {
    std::uint32_t& index = posted.at(queue);
    if (in_phase) entry.high = (entry.high & ~(1ULL << 63)) | static_cast<std::uint64_t>((index & entries) == 0) << 63;
    std::memcpy(rings.at(2 * queue + 1)->all().data() + (index++ % entries) * sizeof entry, &entry, sizeof entry);
  }
};

class DeviceTransport final : public Transport {
 public:
  explicit DeviceTransport(Device& device) : device_(device) {}
  std::uint32_t read_register(std::uint32_t offset) override { return device_.registers[offset]; }
  void write_register(std::uint32_t offset, std::uint32_t value) override {
    device_.registers[offset] = offset == ring::kRegCtrl ? value & ~ring::kEngineCtrlReset : value;
  }
  Result<DmaBuffer> allocate_ring(ByteCount length) override {
    device_.rings.push_back(std::make_unique<test::Memory>((length.value() + 4095) / 4096 * 4096));
    return DmaBuffer{device_.rings.back()->all().first(length.value()), Iova(device_.rings.size() << 20)};
  }
  Result<Iova> map(MemorySpan memory) override { return Iova(reinterpret_cast<std::uintptr_t>(memory.data())); }
  void advance() override { device_.time += std::chrono::milliseconds(1); }
  [[nodiscard]] std::chrono::nanoseconds now() const override { return device_.time; }

 private:
  Device& device_;
};

class Story {
 public:
  explicit Story(std::span<const std::byte> input) : input_(input) {
    const auto setting = take<std::uint8_t>();
    options_.ring_entries = 2U << (setting & 3U);
    options_.stall_timeout = std::chrono::milliseconds(20);
    queues_ = 1 + (setting >> 2 & 1U);
    device_.registers = {{ring::kRegId, ring::kId},
                         {ring::kRegVersion, ring::kVersion},
                         {ring::kRegCapabilities, 0x00080006U | static_cast<std::uint32_t>(queues_) << 8}};
    const MemorySpan windows[] = {memory_.all()};
    auto made = RingEngine::create(std::make_unique<DeviceTransport>(device_), options_, windows);
    enforce(made.has_value(), "a device that says what it should is taken");
    engine_ = std::move(*made);
  }

  void play() {
    while (!input_.empty()) step();
    // The device is silent from here on: what is in flight ends all the same.
    for (int round = 0; round < 1000 && !jobs_.empty(); ++round) poll(32);
    enforce(jobs_.empty(), "every accepted job gets its completion");
    enforce(!engine_->fault() || (check_message(engine_->fault()->message), true), "a fault has a message");
  }

 private:
  template <class Value>
  Value take() {
    Value value{};
    const std::size_t length = std::min(input_.size(), sizeof value);
    if (length > 0) std::memcpy(&value, input_.data(), length);
    input_ = input_.subspan(length);
    return value;
  }

  void step() {
    switch (take<std::uint8_t>() % 8) {
      case 0:
        return submit();
      case 1:
        return cancel();
      case 2:  // whatever it is
        return device_.post(queue(), {take<std::uint64_t>(), take<std::uint64_t>()}, options_.ring_entries, false);
      case 3:
        return device_.post(queue(), {take<std::uint64_t>(), take<std::uint64_t>()}, options_.ring_entries, true);
      case 4:
        return post_likely();
      case 5:
        device_.registers[ring::kQueueBase + static_cast<std::uint32_t>(queue()) * ring::kQueueStride +
                          ring::kQueueStatus] = take<std::uint32_t>();
        return;
      case 6:
        device_.registers[take<std::uint16_t>() & 0xFFCU] = take<std::uint32_t>();
        return;
      default:
        return poll(1 + take<std::uint8_t>() % 32);
    }
  }

  std::size_t queue() { return take<std::uint8_t>() % queues_; }

  void submit() {
    const auto offset = take<std::uint16_t>();
    const std::size_t length = 1 + take<std::uint16_t>() % (kData - offset);
    const auto kind = take<std::uint8_t>();
    ScrubJob job{memory_.part(offset, length), 0, (kind & 1U) != 0 ? Urgency::Urgent : Urgency::Background, next_++};
    if ((kind & 2U) != 0) job.operation = Operation::FillVerify;
    JobId id;
    const auto accepted = engine_->submit({&job, 1}, {&id, 1});
    if (!accepted) return check_message(accepted.error().message);
    enforce(*accepted == 1 && jobs_.emplace(id, job).second, "a job gets a name of its own");
  }

  void cancel() {
    const auto which = take<std::uint8_t>();
    if (jobs_.empty()) return;
    const JobId id = std::next(jobs_.begin(), static_cast<std::ptrdiff_t>(which % jobs_.size()))->first;
    enforce(engine_->cancel(id) != CancelResult::UnknownJob, "a job that runs is known");
  }

  /// Of a job that runs, nearly right.
  void post_likely() {
    const auto which = take<std::uint8_t>();
    const auto what = take<std::uint8_t>();
    if (jobs_.empty()) return;
    const auto& [id, job] = *std::next(jobs_.begin(), static_cast<std::ptrdiff_t>(which % jobs_.size()));
    const std::uint64_t outcome = what % 5;
    const std::uint64_t cause = outcome == ring::kOutcomeFailed ? what / 5 % 9 : 0;
    const std::uint64_t bytes = (what & 0x80U) != 0 ? job.memory.size() : job.memory.size() / 2;
    const ring::CompletionEntry entry{bytes | static_cast<std::uint64_t>(id.slot) << 48,
                                      id.generation | outcome << 32 | cause << 40};
    device_.post(job.urgency == Urgency::Urgent ? queues_ - 1 : 0, entry, options_.ring_entries, true);
  }

  void poll(std::size_t room) {
    std::array<Completion, 32> out;
    const std::size_t count = engine_->poll(std::span(out).first(room));
    enforce(count <= room, "no more is written than there is room for");
    for (const Completion& completion : std::span(out).first(count)) {
      const auto job = jobs_.find(completion.id);
      enforce(job != jobs_.end(), "a job ends once");
      enforce(job->second.cookie == completion.cookie, "a completion is that of its job");
      const std::uint64_t length = job->second.memory.size();
      enforce(completion.bytes_zeroed.value() <= length, "a prefix is one of the job");
      enforce(completion.outcome != Outcome::Zeroed || completion.bytes_zeroed.value() == length,
              "a job that is done is done as a whole");
      enforce((completion.outcome == Outcome::Failed) == (completion.cause != FailureCause::None),
              "a failure has a cause, and nothing else has");
      jobs_.erase(job);
    }
    if (count == 0) device_.time += std::chrono::milliseconds(1);
  }

  std::span<const std::byte> input_;
  test::Memory memory_{kData};
  Device device_;
  RingOptions options_;
  std::size_t queues_ = 1;
  std::unique_ptr<RingEngine> engine_;
  std::map<JobId, ScrubJob> jobs_;
  std::uint64_t next_ = 1;
};

}  // namespace

void one(std::span<const std::byte> input) { Story(input).play(); }

}  // namespace sluice::fuzz
