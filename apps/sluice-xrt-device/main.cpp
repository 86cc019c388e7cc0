// SPDX-License-Identifier: Apache-2.0
// sluice-xrt-device: the scrub engine in RTL as the device behind XRT's hardware emulation.
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <limits>
#include <sstream>

#include "common/options.hpp"
#include "rpc.pb.h"
#include "sluice/base/output.hpp"
#include "sluice/device/simulated_device.hpp"
#include "sluice/ring/ring_format.hpp"
#include "sluice/xrt_device/emulation_folder.hpp"
#include "sluice/xrt_device/emulation_socket.hpp"

namespace sluice::xrt_device {
namespace {

constexpr std::uint64_t kRegisterMask = 0xFFF;
constexpr std::uint64_t kCyclesAtOnce = 512;

/// Bytes [begin, end) of what the device can reach.
struct AddressRange {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

/// The memory of the program that uses XRT, reached through XRT's second socket.
class HostOverSocket final : public RemoteMemory {
 public:
  void connect(EmulationSocket& socket) { socket_ = &socket; }
  /// Accesses that touch these answer SLVERR.
  void set_bad(AddressRange bad) { bad_ = bad; }

  std::uint8_t read(std::uint64_t address, std::span<std::byte> to) override {
    if (bad(address, to.size())) return kSlaveError;
    rpc::HostAccess access;
    if (!call(Call::ReadHost, access, address, to.size()) || answer_.data().size() != to.size()) return kDecodeError;
    std::memcpy(to.data(), answer_.data().data(), to.size());
    return kOkay;
  }
  std::uint8_t write(std::uint64_t address, std::span<const std::byte> from) override {
    if (bad(address, from.size())) return kSlaveError;
    rpc::HostAccess access;
    access.set_data(from.data(), from.size());
    return call(Call::WriteHost, access, address, from.size()) ? kOkay : kDecodeError;
  }

 private:
  [[nodiscard]] bool bad(std::uint64_t address, std::uint64_t size) const {
    return address < bad_.end && bad_.begin < address + size;
  }
  bool call(Call call, rpc::HostAccess& access, std::uint64_t address, std::size_t size) {
    access.set_address(address);
    access.set_size(static_cast<std::uint32_t>(size));
    Call answered{};
    return socket_ != nullptr && socket_->send(call, access.SerializeAsString()) && socket_->receive(answered, body_) &&
           answer_.ParseFromString(body_) && answer_.done();
  }

  EmulationSocket* socket_ = nullptr;
  AddressRange bad_;
  std::string body_;
  rpc::Answer answer_;
};

/// Serves XRT's calls, and lets time pass while the engine has work.
class Server {
 public:
  Server(SimulatedDevice& device, EmulationSocket& calls, EmulationSocket& host, HostOverSocket& memory, bool control)
      : device_(device), calls_(calls), host_(host), memory_(memory), control_(control) {}

  void run() {
    while (!closed_) {
      const bool working = !held_ && busy_;
      pollfd waiting[] = {{calls_.fd(), POLLIN, 0}, {control_ ? STDIN_FILENO : -1, POLLIN, 0}};
      if (::poll(waiting, std::size(waiting), working ? 0 : -1) < 0 && errno != EINTR) return;
      if (waiting[1].revents != 0) obey();
      if (waiting[0].revents != 0) serve();
      if (working) work(kCyclesAtOnce);
    }
  }

 private:
  void work(std::uint64_t cycles) {
    device_.run_cycles(cycles);
    busy_ = (device_.read_register(ring::kRegCtrl) & ring::kEngineCtrlIdle) == 0;
  }

  /// A line from whoever started us. At the end of the input nobody needs the device any more.
  void obey() {
    constexpr std::size_t kLongestLine = 200;
    std::string line;
    for (char letter = 0; line.size() <= kLongestLine && ::read(STDIN_FILENO, &letter, 1) == 1;) {
      if (letter == '\n') {
        std::cout << (obey(line) ? "ok" : "what?") << std::endl;
        return;
      }
      line += letter;
    }
    closed_ = true;
  }

  bool obey(const std::string& line) {
    std::istringstream words(line);
    std::string word;
    words >> word;
    if (word == "hold" || word == "free") {
      held_ = word == "hold";
      return true;
    }
    const auto next_number = [&words]() -> std::optional<std::uint64_t> {
      std::string text;
      if (!(words >> text)) return std::nullopt;
      return parse_integer<std::uint64_t>(text);
    };
    constexpr Limits kCycles{0, 1'000'000'000};  // minutes
    const std::optional<std::uint64_t> number = next_number();
    if (!number) return false;
    if (word == "run" && kCycles.hold(*number)) {
      work(*number);
    } else if (word == "bus-hang-after" && limits::kBusBursts.hold(*number)) {
      BusFaults faults;
      faults.hang_after_bursts = *number;
      device_.set_faults(faults);
    } else if (word == "slave-errors") {
      const std::optional<std::uint64_t> end = next_number();
      if (!end || *end < *number) return false;
      memory_.set_bad({*number, *end});
    } else {
      return false;
    }
    return true;
  }

  void serve() {
    Call call{};
    if (!calls_.receive(call, body_)) {
      closed_ = true;
      return;
    }
    rpc::Answer answer;
    answer.set_done(true);
    switch (call) {
      case Call::WriteRegister:
        write_registers(answer);
        break;
      case Call::ReadRegister:
        read_registers(answer);
        break;
      case Call::AllocateBuffer:
      case Call::FreeBuffer:
      case Call::SetEnvironment:
      case Call::BusStatus:
      case Call::DebugMessages:
        break;
      case Call::Close:
        closed_ = true;
        // XRT's thread for host memory ends when it is told the same.
        if (!host_.send(Call::Close, {})) answer.set_done(false);
        break;
      default:
        std::cerr << fmt::format("sluice-xrt-device: XRT's call {} is not known; it is answered with a refusal\n",
                                 static_cast<std::uint32_t>(call));
        answer.set_done(false);
    }
    if (!calls_.answer(answer.SerializeAsString())) closed_ = true;
  }

  void write_registers(rpc::Answer& answer) {
    rpc::RegisterAccess access;
    if (!access.ParseFromString(body_) || access.data().size() % sizeof(std::uint32_t) != 0) {
      answer.set_done(false);
      return;
    }
    for (std::size_t offset = 0; offset < access.data().size(); offset += sizeof(std::uint32_t)) {
      std::uint32_t value = 0;
      std::memcpy(&value, access.data().data() + offset, sizeof value);
      device_.write_register(static_cast<std::uint32_t>((access.address() + offset) & kRegisterMask), value);
    }
    busy_ = true;
  }

  void read_registers(rpc::Answer& answer) {
    rpc::RegisterAccess access;
    if (!access.ParseFromString(body_) || access.size() > kRegisterMask) {
      answer.set_done(false);
      return;
    }
    std::string data(access.size(), '\0');
    for (std::size_t offset = 0; offset + sizeof(std::uint32_t) <= data.size(); offset += sizeof(std::uint32_t)) {
      const std::uint32_t value =
          device_.read_register(static_cast<std::uint32_t>((access.address() + offset) & kRegisterMask));
      std::memcpy(data.data() + offset, &value, sizeof value);
    }
    answer.set_data(data);
  }

  SimulatedDevice& device_;
  EmulationSocket& calls_;
  EmulationSocket& host_;
  HostOverSocket& memory_;
  bool control_;
  bool held_ = false;
  bool busy_ = false;
  bool closed_ = false;
  std::string body_;
};

int refuse(const std::string& message) {
  std::cerr << "sluice-xrt-device: " << message << '\n';
  return 1;
}

int prepare(const std::string& folder, const std::string& library) {
  const auto environment = write_emulation_folder(folder, library);
  if (!environment) return refuse(environment.error().message);
  std::string text;
  for (const auto& [name, value] : *environment) text += fmt::format("{}={}\n", name, value);
  const auto written = write_standard_output(text);
  return written ? 0 : refuse(written.error().message);
}

int serve(SimOptions& options, bool control) {
  const char* const id = std::getenv("EMULATION_SOCKETID");
  const char* const user = std::getenv("USER");
  if (id == nullptr || user == nullptr) {
    return refuse("USER and EMULATION_SOCKETID name XRT's sockets: set both, the same for the program that uses XRT");
  }
  const std::string folder = fmt::format("/tmp/{}/", user);
  const std::string calls_name = folder + id;
  const std::string host_name = folder + "D2X_unix_sock_" + id;
  for (const std::string& name : {calls_name, host_name}) {
    if (auto fits = EmulationSocket::check(name); !fits) return refuse(fits.error().message);
  }
  HostOverSocket memory;
  options.remote_memory = &memory;
  auto device = SimulatedDevice::create(options);
  if (!device) return refuse(device.error().message);
  // All that can be wrong with us is known now. Whoever started us begins to use XRT, which waits for us.
  if (control) {
    if (auto written = write_standard_output("ready\n"); !written) return refuse(written.error().message);
  }
  auto calls = EmulationSocket::connect(calls_name);
  if (!calls) return refuse(calls.error().message);
  auto host = EmulationSocket::connect(host_name);
  if (!host) return refuse(host.error().message);
  memory.connect(*host);
  Server(**device, *calls, *host, memory, control).run();
  return 0;
}

void add_serve_options(CLI::App& command, SimOptions& options, bool& control) {
  command.add_option("--build", options.build, "Build of the RTL")->capture_default_str();
  add_number(command, "--seed", options.seed, limits::kSeed, "Seed of all draws of the simulated bus");
  add_real(command, "--ready", options.timing.ready_probability, 0.001, 1.0,
           "Probability of each ready signal in each cycle");
  add_optional_number(command, "--bus-hang-after", options.faults.hang_after_bursts, limits::kBusBursts,
                      "The bus stops answering after this many bursts");
  command.add_option("--wave", options.wave_file, "Write all signals to this FST file");
  command.add_flag("--control", control,
                   "Write 'ready', then obey lines on standard input, and end with it: hold, run CYCLES, free, "
                   "bus-hang-after BURSTS, "
                   "slave-errors BEGIN END (device addresses)");
}

}  // namespace
}  // namespace sluice::xrt_device

int main(int argc, char** argv) {
  sluice::prepare_process();
  CLI::App app("The scrub engine in RTL as the device behind XRT's hardware emulation");
  app.require_subcommand(1);
  std::string folder;
  std::string library = SLUICE_XRT_HWEMU;
  CLI::App& prepare = *app.add_subcommand("prepare", "Write what XRT wants to see, and print the environment it needs");
  prepare.add_option("FOLDER", folder, "Where to")->required();
  prepare.add_option("--library", library, "XRT's libxrt_hwemu")->capture_default_str();
  sluice::SimOptions options;
  bool control = false;
  CLI::App& serve = *app.add_subcommand(
      "serve", "Be the device of the program that uses XRT with the same USER and EMULATION_SOCKETID");
  sluice::xrt_device::add_serve_options(serve, options, control);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 && sluice::finish_standard_output() ? 0 : 1;
  }
  try {
    return prepare.parsed() ? sluice::xrt_device::prepare(folder, library)
                            : sluice::xrt_device::serve(options, control);
  } catch (const std::exception& error) {  // an assertion of the RTL
    return sluice::xrt_device::refuse(error.what());
  }
}
