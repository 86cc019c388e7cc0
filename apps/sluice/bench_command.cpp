// SPDX-License-Identifier: Apache-2.0
// `sluice bench`: measures, and writes figures, tables and pictures.
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <boost/json.hpp>

#include "command.hpp"
#include "common/options.hpp"
#include "exit_code.hpp"
#include "progress.hpp"
#include "signals.hpp"
#include "sluice/base/input.hpp"
#include "sluice/base/output.hpp"
#include "sluice/bench/bench.hpp"
#include "sluice/bench/compare.hpp"
#include "sluice/bench/engine_choice.hpp"
#include "sluice/bench/page.hpp"
#include "sluice/workload/azure_trace.hpp"
#include "sluice/workload/trace_generator.hpp"

namespace sluice {
namespace {

struct Part {
  const char* name;
  void (*plan)(bench::Bench&, bench::Plan&);
};
constexpr std::array<Part, 6> kParts = {{{"micro", bench::plan_micro},
                                         {"cancel", bench::plan_cancel},
                                         {"grant", bench::plan_grant},
                                         {"trace", bench::plan_trace},
                                         {"offload", bench::plan_offload},
                                         {"vm", bench::plan_vm}}};

class BenchCommand final : public Command {
 public:
  explicit BenchCommand(CLI::App& app);
  int run() override { return compare_->parsed() ? compare() : measure(); }
  [[nodiscard]] bool chosen() const override { return command_->parsed(); }

 private:
  int measure();
  [[nodiscard]] int compare() const;
  [[nodiscard]] bool wants(const std::string& part) const;
  [[nodiscard]] Result<Trace> make_trace() const;
  [[nodiscard]] Result<std::vector<EngineName>> make_names() const;
  [[nodiscard]] std::string command_line() const;
  [[nodiscard]] Result<void> open_output();
  [[nodiscard]] int conclude(const bench::Results& results);

  CLI::App* command_;
  CLI::App* compare_;
  std::vector<std::string> parts_;
  std::vector<std::string> engines_ = {"cpu", "cpu:threads=2", "dmadev:dma_skeleton", "rtl"};
  bool full_ = false;
  bool smoke_ = false;
  std::string trace_;
  std::uint64_t seed_ = 1;
  std::uint64_t max_vms_ = 5000;
  std::string json_;
  std::string page_;
  std::optional<OutputFile> json_file_;
  std::optional<OutputFile> page_file_;
  std::string before_;
  std::string after_;
};

BenchCommand::BenchCommand(CLI::App& app)
    : command_(app.add_subcommand("bench", "Measure what clearing memory costs here, and what saves it")),
      compare_(command_->add_subcommand("compare", "What moved from one run to another, beyond noise")) {
  std::vector<std::string> names;
  names.reserve(kParts.size());
  for (const Part& part : kParts) names.emplace_back(part.name);
  command_->add_option("parts", parts_, "What to measure; offload needs micro. Default: all")
      ->check(CLI::IsMember(names));
  command_->add_option("--engine", engines_, "Engine to measure (`sluice engines` lists them); repeat it for more")
      ->type_name("NAME")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  auto* const full = command_->add_flag("--full", full_, "More lengths, memory and rounds, with no time limit");
  command_->add_flag("--smoke", smoke_, "Some seconds, to see that it works: the figures are of no use")
      ->excludes(full);
  command_->add_option("--trace", trace_,
                       "A CSV file (docs/TRACES.md), or the folder of the Azure trace. Default: a generated one");
  add_number(*command_, "--max-vms", max_vms_, limits::kMaxVms,
             "Take at most this many VMs of the Azure trace; 0: all");
  add_number(*command_, "--seed", seed_, limits::kSeed, "Seed of what is drawn for the trace");
  command_->add_option("--json", json_, "Write all figures to this file")->type_name("FILE");
  command_->add_option("--report", page_, "Write a page with tables and pictures to this file")->type_name("FILE");
  compare_->add_option("before", before_, "JSON file of the older run")->required();
  compare_->add_option("after", after_, "JSON file of the newer run")->required();
}

bool BenchCommand::wants(const std::string& part) const {
  return parts_.empty() || std::find(parts_.begin(), parts_.end(), part) != parts_.end();
}

Result<Trace> BenchCommand::make_trace() const {
  if (trace_.empty()) {
    GeneratorOptions options;
    options.population.seed = seed_;
    return generate_trace(options);
  }
  if (is_azure_trace(trace_)) {
    AzureOptions options;
    options.population.seed = seed_;
    if (max_vms_ > 0) options.max_vms = max_vms_;
    return read_azure_trace(trace_, options);
  }
  return read_csv_file(trace_);
}

/// Those that cannot be made here are left out, and the page says why.
Result<std::vector<EngineName>> BenchCommand::make_names() const {
  std::vector<EngineName> names;
  for (const std::string& text : engines_) {
    auto name = EngineName::parse(text);
    if (!name) return name.error();
    names.push_back(std::move(*name));
  }
  return names;
}

std::string BenchCommand::command_line() const {
  std::string line = "sluice bench";
  for (const std::string& part : parts_) line += " " + part;
  for (const std::string& engine : engines_) line += " --engine " + engine;
  if (full_) line += " --full";
  if (smoke_) line += " --smoke";
  if (!trace_.empty()) line += fmt::format(" --trace {} --max-vms {}", trace_, max_vms_);
  return line + fmt::format(" --seed {}", seed_);
}

int BenchCommand::measure() {
  const auto refuse = [](const Error& error, int code) {
    spdlog::error("{}; nothing was measured", error.message);
    return code;
  };
  if (!parts_.empty() && wants("offload") && !wants("micro")) {
    return refuse({HostErrc::InvalidArgument, "offload is made from what micro measures: give both"}, kExitUsage);
  }
  auto names = make_names();
  if (!names) return refuse(names.error(), kExitUsage);
  auto trace = make_trace();
  if (!trace) return refuse(trace.error(), kExitBadInput);
  if (auto opened = open_output(); !opened) return refuse(opened.error(), kExitBadInput);
  const bench::Effort effort = smoke_ ? bench::smoke_effort() : (full_ ? bench::full_effort() : bench::usual_effort());
  auto arena = bench::Arena::create(effort.arena, bench::Pages::Transparent);
  std::string small_pages;
  if (!arena) {
    small_pages = "; the memory that is cleared has pages of 4 KiB: " + arena.error().message;
    arena = bench::Arena::create(effort.arena, bench::Pages::Small);
  }
  if (!arena) return refuse(arena.error(), kExitEngine);
  if (wants("trace")) {
    if (auto fits = bench::fit_trace(*trace, **arena); !fits) return refuse(fits.error(), kExitBadInput);
  }
  const EngineRegistry registry = make_engine_registry();
  bench::Bench bench{effort, registry, {}, std::move(*trace), **arena, {}};
  bench.results.facts = bench::machine_facts();
  bench.results.facts.push_back({"command", command_line()});
  for (EngineName& name : *names) {
    auto made = bench::engine_entry(registry, name).make(bench.arena.all());
    if (made) {
      made->reset();
      if (const std::string projected = bench::projection(registry, name, bench.arena.all()); !projected.empty()) {
        bench.results.facts.push_back({"projected", projected});
      }
      bench.engines.push_back(std::move(name));
    } else if (made.error().code == DriverErrc::InvalidArgument) {
      return refuse(made.error(), kExitUsage);
    } else {
      bench.results.facts.push_back({"not measured", fmt::format("{}: {}", name.text, made.error().message)});
    }
  }
  bench.results.facts.push_back(
      {"rounds", fmt::format("{}; in each, everything that is compared takes its turn{}", effort.rounds, small_pages)});
  bench::Plan plan;
  for (const Part& part : kParts) {
    if (wants(part.name)) part.plan(bench, plan);
  }
  const std::atomic<bool>& stop = stop_on_signals();
  Progress progress(plan.size(), "measurements");
  std::size_t done = 0;
  progress.update(done);
  for (const bench::Task& task : plan) {
    if (stop.load(std::memory_order_relaxed)) {
      progress.finish();
      spdlog::error("stopped after {} of {} measurements; what was measured is written", done, plan.size());
      bench.results.facts.push_back(
          {"incomplete", fmt::format("stopped after {} of {} measurements", done, plan.size())});
      bench.results.drop_empty();
      static_cast<void>(conclude(bench.results));
      return kExitInterrupted;
    }
    try {
      task();
    } catch (const std::exception& error) {
      progress.finish();
      spdlog::error("{}; nothing was written", error.what());
      return kExitEngine;
    }
    progress.update(++done);
  }
  progress.finish();
  bench.results.answers = bench::answers(bench.results);
  return conclude(bench.results);
}

/// Before anything is measured: a path that cannot be written is known at once.
Result<void> BenchCommand::open_output() {
  for (const auto& [path, file] : {std::pair{&json_, &json_file_}, std::pair{&page_, &page_file_}}) {
    if (path->empty()) continue;
    auto opened = OutputFile::open(*path);
    if (!opened) return opened.error();
    file->emplace(std::move(*opened));
  }
  return {};
}

int BenchCommand::conclude(const bench::Results& results) {
  bool good = true;
  const auto check = [&good](const Result<void>& written) {
    if (!written) spdlog::error("{}", written.error().message);
    good = good && written;
  };
  if (json_file_) check(json_file_->write(boost::json::serialize(bench::to_json(results)) + "\n"));
  if (page_file_) check(page_file_->write(bench::to_page(results)));
  check(write_standard_output(bench::to_text(results)));
  return good ? kExitOk : kExitBadInput;
}

int BenchCommand::compare() const {
  std::vector<bench::Results> both;
  for (const std::string& path : {before_, after_}) {
    const auto text = read_whole_file(path, bench::kLongestResults);
    auto results = text ? bench::results_from_json(*text, path) : Result<bench::Results>(text.error());
    if (!results) {
      spdlog::error("{}", results.error().message);
      return kExitBadInput;
    }
    both.push_back(std::move(*results));
  }
  const auto written = write_standard_output(bench::compare(both[0], both[1]).text);
  if (!written) spdlog::error("{}", written.error().message);
  return written ? kExitOk : kExitBadInput;
}

}  // namespace

std::unique_ptr<Command> make_bench_command(CLI::App& app) { return std::make_unique<BenchCommand>(app); }

}  // namespace sluice
