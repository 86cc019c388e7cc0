// SPDX-License-Identifier: Apache-2.0
// `sluice doctor`: what this host has, and lacks, to lease its memory to VMs.
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <boost/json.hpp>

#include "command.hpp"
#include "exit_code.hpp"
#include "sluice/base/output.hpp"
#include "sluice/vmm/doctor.hpp"

namespace sluice {
namespace {

namespace json = boost::json;

class DoctorCommand final : public Command {
 public:
  explicit DoctorCommand(CLI::App& app)
      : command_(app.add_subcommand("doctor", "Say what this host lacks to lease its memory to VMs")) {
    command_->add_option("--memory", host_.memory_folder, "memory.folder of sluiced")
        ->capture_default_str()
        ->type_name("FOLDER");
    command_->add_option("--socket", host_.socket, "vmm.socket of sluiced")->capture_default_str()->type_name("PATH");
    command_->add_flag("--json", json_, "Print the findings as JSON");
  }

  int run() override {
    json::array all;
    std::string text;
    bool failed = false;
    for (const Finding& finding : examine(host_)) {
      failed |= finding.grade == Finding::Grade::Failure;
      if (json_) {
        all.push_back({{"subject", finding.subject},
                       {"grade", to_string(finding.grade)},
                       {"found", finding.found},
                       {"remedy", finding.remedy}});
        continue;
      }
      text += fmt::format("{:<8} {:<14} {}\n", to_string(finding.grade), finding.subject, finding.found);
      if (!finding.remedy.empty()) text += fmt::format("{:<23} -> {}\n", "", finding.remedy);
    }
    const auto written = write_standard_output(json_ ? json::serialize(all) + "\n" : text);
    if (!written) spdlog::error("{}", written.error().message);
    if (!written) return kExitBadInput;
    return failed ? kExitUnfit : kExitOk;
  }
  [[nodiscard]] bool chosen() const override { return command_->parsed(); }

 private:
  CLI::App* command_;
  HostToExamine host_;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> make_doctor_command(CLI::App& app) { return std::make_unique<DoctorCommand>(app); }

}  // namespace sluice
