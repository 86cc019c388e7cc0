// SPDX-License-Identifier: Apache-2.0
#include "sluice/daemon/daemon.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/json.hpp>
#include <utility>

#include "api_server.hpp"
#include "brick_folders.hpp"
#include "monitors.hpp"
#include "sluice/base/parse.hpp"
#include "sluice/base/printable.hpp"
#include "sluice/compose/engine_choice.hpp"
#include "sluice/manager/async_memory_manager.hpp"
#include "sluice/memory/extent_table.hpp"
#include "sluice/memory/ledger.hpp"
#include "vmm_server.hpp"

namespace sluice::inline daemon {

namespace asio = boost::asio;

namespace {

std::chrono::milliseconds since_1970() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch());
}

}  // namespace

/// In the order in which they are made.
struct Daemon::Parts {
  explicit Parts(asio::io_context& of) : context(&of), look(of), commit(of), sample(of), drained(of) {}

  /// `act`, for as long as this lives: what the context was given may be run later.
  template <class Act>
  auto guarded(Act act) {
    return [still = std::weak_ptr<char>(alive), act = std::move(act)](auto... arguments) {
      if (!still.expired()) act(arguments...);
    };
  }
  void settle();
  void look_later();
  void commit_later();
  void sample_always();
  void note(const VmRecord& record, std::string_view now);
  [[nodiscard]] Result<void> start_memory(const DaemonConfig& config);
  [[nodiscard]] Result<void> start_vms(const DaemonConfig& config);

  asio::io_context* context;
  std::shared_ptr<char> alive = std::make_shared<char>();
  std::unique_ptr<BrickFolders> memory;
  EngineRegistry registry = make_plain_registry();
  std::unique_ptr<FailoverEngine> engine;
  std::unique_ptr<Ledger> ledger;
  std::unique_ptr<MemoryManager> manager;
  std::optional<AsyncMemoryManager> async;
  std::optional<PolicyManager> policies;
  std::optional<LeaseStore> leases;
  std::optional<StateStore> state;
  std::optional<Audit> audit;
  FileBrickAccess access;
  std::optional<Monitors> monitors;
  std::optional<Host> host;
  std::unique_ptr<VmmServer> server;
  Series series;
  Events events{since_1970()};
  std::optional<Api> api;
  std::unique_ptr<ApiServer> api_server;
  asio::steady_timer look;
  asio::steady_timer commit;
  bool commits = false;  ///< The timer runs.
  bool commit_failed = false;
  asio::steady_timer sample;
  asio::steady_timer drained;
};

namespace {

std::chrono::nanoseconds now() { return std::chrono::steady_clock::now().time_since_epoch(); }

/// A descriptor a brick, and some for VMMs.
void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

/// After each call of the host: the manager has work, perhaps, and the time of the next look has changed.
void Daemon::Parts::settle() {
  async->wake();
  look_later();
  commit_later();
}

/// What was noted for the audit and that nobody waits for: soon, and all at once.
void Daemon::Parts::commit_later() {
  constexpr std::chrono::milliseconds kSoon(50);
  constexpr std::chrono::milliseconds kAgain(1000);  // after an error
  if (commits || !audit->has_notes()) return;
  commits = true;
  commit.expires_after(commit_failed ? kAgain : kSoon);
  commit.async_wait(guarded([this](boost::system::error_code error) {
    commits = false;
    if (error) return;
    const auto committed = audit->commit();
    commit_failed = !committed;
    if (!committed) {
      spdlog::error("the audit cannot be written, and no VM gets memory until it can: {}", committed.error().message);
    }
    commit_later();
  }));
}

/// A VM has come into a state.
void Daemon::Parts::note(const VmRecord& record, std::string_view now) {
  const auto subject = policies->book().vms().find(record.vm);
  const UserId user = subject == policies->book().vms().end() ? UserId() : subject->second.user;
  events.add({.kind = "vm",
              .customer = record.customer,
              .user = user,
              .data = {{"uuid", to_string(record.uuid)},
                       {"name", printable(record.name, record.name.size())},
                       {"customer", record.customer.value()},
                       {"state", now}}});
}

void Daemon::Parts::sample_always() {
  series.add(sample_of(*manager, since_1970()));
  sample.expires_after(std::chrono::seconds(1));
  sample.async_wait(guarded([this](boost::system::error_code error) {
    if (!error) sample_always();
  }));
}

void Daemon::Parts::look_later() {
  const auto next = host->leases().next_look();
  if (!next) {
    look.cancel();
    return;
  }
  look.expires_at(asio::steady_timer::time_point(std::max(*next, std::chrono::nanoseconds(1))));
  look.async_wait(guarded([this](boost::system::error_code error) {
    if (error) return;
    host->leases().poll(now());
    settle();
  }));
}

Result<void> Daemon::Parts::start_memory(const DaemonConfig& config) {
  auto opened = BrickFolders::open(config);
  if (!opened) return opened.error();
  memory = std::move(*opened);
  std::vector<EngineName> names;
  for (const std::string& text : config.engines) {
    auto name = EngineName::parse(text);
    if (!name) return name.error();
    names.push_back(std::move(*name));
  }
  std::vector<MemorySpan> windows;
  for (const Brick& brick : memory->bricks()) windows.push_back(brick.memory);
  FailoverOptions failover;
  failover.on_failover = [this](const Failover& event) {
    events.add({.kind = "engine", .data = {{"from", event.from}, {"to", event.to}, {"reason", event.reason}}});
    spdlog::warn("engine {} is given up: {}; {}", event.from, event.reason,
                 event.to.empty() ? "none is left" : event.to + " takes over");
  };
  auto made = make_engine(registry, names, std::move(windows), failover);
  if (!made) return made.error();
  engine = std::move(*made);
  auto found = Ledger::open(config.run_folder + "/ledger", memory->bricks());
  if (!found) return found.error();
  ledger = std::move(*found);
  if (!ledger->rejected().empty()) {
    spdlog::warn("nothing of the old ledger is believed, and all memory is dirty: {}", ledger->rejected());
  }
  ScrubberConfig scrubber;
  scrubber.background_rate = static_cast<double>(config.background_rate.value());
  scrubber.on_scrubbed = [this](const ScrubRecord& record) {
    host->scrubbed(record);
    if (record.failed)
      events.add({.kind = "failure", .data = {{"bytes", record.memory.size()}, {"engine", record.engine}}});
    commit_later();
  };
  auto recovered = MemoryManager::recover(*memory, *engine, *ledger, scrubber);
  if (!recovered) return recovered.error();
  manager = std::move(*recovered);
  return {};
}

Result<void> Daemon::Parts::start_vms(const DaemonConfig& config) {
  auto opened = LeaseStore::open(config.run_folder + "/leases.db");
  if (!opened) return opened.error();
  leases.emplace(std::move(*opened));
  auto kept = StateStore::open(config.state_folder + "/state.db");
  if (!kept) return kept.error();
  state.emplace(std::move(*kept));
  auto audited = Audit::open(config.state_folder + "/audit.db");
  if (!audited) return audited.error();
  audit.emplace(std::move(*audited));
  const auto document = state->policies();
  if (!document) return document.error();
  if (document->empty()) {
    policies.emplace(PolicyBook(), *manager);
  } else {
    auto loaded = PolicyManager::load(*document, *manager);
    if (!loaded) return loaded.error();
    policies.emplace(std::move(*loaded));
  }
  const std::string folder = config.run_folder + "/monitors";
  if (auto made = make_folder(folder, 0700); !made) return made;
  async.emplace(context->get_executor(), *manager);
  const auto after = guarded([this] { settle(); });
  monitors.emplace(context->get_executor(), folder, config.memory_folder, after);
  host.emplace(*policies, *memory, access, *leases, *state, *audit, *monitors, config.customer);
  monitors->tell(&*host);
  host->on_state([this](const VmRecord& record, std::string_view now) { note(record, now); });
  host->leases().on_next_look([this] { asio::post(*context, guarded([this] { look_later(); })); });
  if (auto recovered = host->recover(); !recovered) return recovered;
  api.emplace(*host, *policies, *state, *memory, *engine, series, events);
  api->restore_pools();
  auto serving = ApiServer::listen(context->get_executor(), *api, events, config.api, guarded([this] {
                                     monitors->policies_changed();
                                     settle();
                                   }));
  if (!serving) return serving.error();
  api_server = std::move(*serving);
  auto listening = VmmServer::listen(context->get_executor(), *host, config.socket, config.users, after);
  if (!listening) return listening.error();
  server = std::move(*listening);
  sample_always();
  settle();
  return {};
}

Daemon::Daemon(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

Daemon::~Daemon() {
  parts_->api_server.reset();
  parts_->server.reset();
  if (parts_->monitors) parts_->monitors->tell(nullptr);
  if (!parts_->audit) return;
  if (auto committed = parts_->audit->commit(); !committed) spdlog::error("{}", committed.error().message);
  spdlog::info("the audit has {} lines, the last with {}", parts_->audit->lines(), to_string(parts_->audit->head()));
}

Result<std::unique_ptr<Daemon>> Daemon::start(asio::io_context& context, const DaemonConfig& config) {
  raise_descriptor_limit();
  auto parts = std::make_unique<Parts>(context);
  if (auto made = make_folder(config.run_folder, 0755); !made) return made.error();
  if (auto made = make_folder(config.state_folder, 0700); !made) return made.error();
  if (auto started = parts->start_memory(config); !started) return started.error();
  if (auto started = parts->start_vms(config); !started) return started.error();
  const ExtentTable& extents = parts->manager->extents();
  spdlog::info("{} bricks, {} of memory, {} of them clean; {} VMs go on; engine {}", parts->memory->bricks().size(),
               print_bytes(extents.total()), print_bytes(extents.bytes(ExtentState::Clean)), parts->host->vms().size(),
               parts->engine->capabilities().name);
  return std::unique_ptr<Daemon>(new Daemon(std::move(parts)));
}

void Daemon::drain(std::chrono::nanoseconds limit, std::function<void()> done) {
  parts_->host->stop();
  const auto end = std::chrono::steady_clock::now() + limit;
  const auto waits = [this] {
    return std::ranges::any_of(parts_->host->leases().all(),
                               [](const LeaseFacts& lease) { return lease.state == LeaseState::Waiting; });
  };
  if (!waits() || std::chrono::steady_clock::now() >= end) {
    done();
    return;
  }
  constexpr std::chrono::milliseconds kPause(10);
  parts_->drained.expires_after(kPause);
  parts_->drained.async_wait(
      parts_->guarded([this, limit, kPause, done = std::move(done)](boost::system::error_code error) {
        if (!error) drain(std::max(limit - std::chrono::nanoseconds(kPause), std::chrono::nanoseconds(0)), done);
      }));
}

Host& Daemon::host() { return *parts_->host; }
PolicyManager& Daemon::policies() { return *parts_->policies; }

void Daemon::settle() {
  parts_->monitors->policies_changed();
  parts_->settle();
}

}  // namespace sluice::inline daemon
