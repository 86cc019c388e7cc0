// SPDX-License-Identifier: Apache-2.0
// sluiced: gives the VMs of a host their memory, and scrubs it when it changes hands.
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <systemd/sd-daemon.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <csignal>
#include <exception>
#include <filesystem>

#include "sluice/base/input.hpp"
#include "sluice/base/output.hpp"
#include "sluice/daemon/daemon.hpp"

namespace sluice {
namespace {

enum ExitCode : int {
  kExitGood = 0,
  kExitFailed = 1,  ///< It could not start, or not go on.
  kExitUsage = 2,   ///< Options or a configuration that make no sense.
};

constexpr const char* kDefaultConfig = "/etc/sluice/sluiced.toml";
constexpr std::chrono::seconds kDrain{5};  // for claims that wait

/// Errors: of parse_config(), or a file that cannot be read.
Result<DaemonConfig> read_config(const std::string& path) {
  if (path.empty() && !std::filesystem::exists(kDefaultConfig)) return DaemonConfig();
  const std::string name = path.empty() ? kDefaultConfig : path;
  constexpr std::size_t kMost = 1 << 20;
  const auto text = read_whole_file(name, ByteCount(kMost));
  if (!text) return Error{HostErrc::InvalidArgument, text.error().message};
  return parse_config(*text, name);
}

void start_log(const DaemonConfig& config) {
  auto logger = spdlog::stderr_color_mt("sluiced");
  logger->set_level(spdlog::level::from_str(config.log_level));
  logger->set_pattern(config.log_json ? R"({"time":"%Y-%m-%dT%H:%M:%S.%e%z","level":"%l","message":"%v"})"
                                      : "%Y-%m-%d %H:%M:%S.%e %^%l%$ %v");
  spdlog::set_default_logger(std::move(logger));
}

/// Says to systemd, where that asks for it (WatchdogSec), that the loop runs: twice in each of its periods.
class KeepAlive {
 public:
  explicit KeepAlive(boost::asio::io_context& context) : timer_(context) {
    std::uint64_t limit_us = 0;
    if (::sd_watchdog_enabled(0, &limit_us) <= 0) return;
    period_ = std::chrono::microseconds(limit_us / 2);
    say();
  }

 private:
  void say() {
    ::sd_notify(0, "WATCHDOG=1");
    timer_.expires_after(period_);
    timer_.async_wait([this](boost::system::error_code error) {
      if (!error) say();
    });
  }

  boost::asio::steady_timer timer_;
  std::chrono::microseconds period_{0};
};

int serve(const DaemonConfig& config) {
  boost::asio::io_context context(1);
  auto daemon = Daemon::start(context, config);
  if (!daemon) {
    spdlog::error("{}", daemon.error().message);
    return kExitFailed;
  }
  KeepAlive keep_alive(context);
  ::sd_notify(0, "READY=1");
  boost::asio::signal_set signals(context, SIGTERM, SIGINT);
  signals.async_wait([&](boost::system::error_code error, int signal) {
    if (error) return;
    ::sd_notify(0, "STOPPING=1");
    spdlog::info("ends after signal {}: VMs go on", signal);
    (*daemon)->drain(kDrain, [&context] { context.stop(); });
  });
  context.run();
  daemon->reset();
  return kExitGood;
}

int run(int argc, char** argv) {
  CLI::App app("Gives the VMs of a host their memory, and scrubs it when it changes hands.", "sluiced");
  std::string path;
  bool check = false;
  app.add_option("--config", path, fmt::format("a TOML file; else {}, if it is there", kDefaultConfig));
  app.add_flag("--check", check, "only read the configuration, and say what is wrong with it");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitGood : kExitUsage;
  }
  const auto config = read_config(path);
  if (!config) {
    fmt::print(stderr, "sluiced: {}\n", config.error().message);
    return kExitUsage;
  }
  if (check) return kExitGood;
  start_log(*config);
  return serve(*config);
}

}  // namespace
}  // namespace sluice

int main(int argc, char** argv) {
  sluice::prepare_process();
  try {
    return sluice::run(argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "sluiced: {}\n", error.what());
    return sluice::kExitFailed;
  }
}
