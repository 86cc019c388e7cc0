# Entry points. Everything else is CMake: see CMakePresets.json.
JOBS ?= $(shell nproc)
SEED ?= 1
SOAK_SECONDS ?= 600
FUZZ_SECONDS ?= 120
SAMPLE := build/sample.csv

.PHONY: run test generate reference install packages diagrams prove synth coverage sanitize sanitize-core bench goals soak format lint setup clean
.DEFAULT_GOAL := run

setup:
	@tools/setup

# $(call build,preset[,targets[,options of CMake]])
define build
	@cmake --preset $(1) $(3) > build-$(1).log 2>&1 || { cat build-$(1).log; rm -f build-$(1).log; exit 1; }
	@rm -f build-$(1).log
	@cmake --build --preset $(1) -j $(JOBS) $(if $(2),--target $(2))
endef

# The main job: a sample trace through manager, ring and simulated RTL to clean memory, with a report.
run: setup
	$(call build,dev,sluice)
	build/dev/bin/sluice trace generate --seed $(SEED) --output $(SAMPLE)
	build/dev/bin/sluice replay --trace $(SAMPLE) --engine rtl --pool 96MiB --memory-scale 4096 --scrub-rate 128MiB

# All tests, the tidy ones too.
test: setup
	$(call build,dev)
	ctest --preset dev -j $(JOBS)

# What follows from rtl/ring.toml: the SystemVerilog package, the C++ header, the register tables.
generate: setup
	@tools/ring_format.py .

# The API reference: build/reference/html/index.html
reference: setup
	@mkdir -p build && doxygen docs/Doxyfile

# Libraries with their headers, programs and plugins, below PREFIX.
PREFIX ?= /usr/local
install: setup
	$(call build,release,sluice_product,-DCMAKE_INSTALL_PREFIX=$(PREFIX))
	@cmake --install build/release

# Debian packages, in build/release/packages, which are then installed and run in a bare Debian: as root.
packages: setup
	@tools/setup debootstrap
	$(call build,release,sluice_product,-DCMAKE_INSTALL_PREFIX=/usr)
	@rm -rf build/release/packages && cd build/release && cpack > packages.log || { cat packages.log; exit 1; }
	@tests/install/packages_test.sh build/release/packages

# The timing diagrams of docs/rtl, from their scenarios.
diagrams: setup
	@tools/setup nodejs npm
	$(call build,dev,sluice-sim)
	@tools/timing_diagrams.py . build/dev/bin/sluice-sim

# All proofs of the RTL, and that each fails on the broken designs listed for it.
prove: setup
	@tools/prove.py . --mutants

# LUTs, flip-flops, memories and the longest path of the RTL, by parameters.
synth: setup
	@tools/synth.py .

# Which lines and bits of the RTL its tests reach, and why not the others.
coverage: setup
	$(call build,coverage,rtl_test)
	@rm -rf build/coverage/points && mkdir -p build/coverage/points
	SLUICE_RTL_COVERAGE_DIR=build/coverage/points SLUICE_RTL_SEEDS=8 build/coverage/tests/rtl_test --gtest_brief=1
	@tools/rtl_coverage.py . build/coverage/points

# The tests again with AddressSanitizer and UndefinedBehaviorSanitizer, then with ThreadSanitizer.
sanitize: setup
	$(call build,dev,sluice_rtl_models sluice_rtl_default)
	$(call build,asan)
	ctest --preset asan -j $(JOBS)
	$(call build,tsan)
	ctest --preset tsan -j $(JOBS)

# The same of the manager, the world and the engines' drivers only: minutes.
CORE_TESTS := engine_test cpu_test ring_test compose_test dmadev_test memory_test policy_test manager_test vmm_test daemon_test api_test
sanitize-core: setup
	$(call build,dev,sluice_rtl_models sluice_rtl_default)
	$(call build,asan,$(CORE_TESTS) world)
	for test in $(CORE_TESTS); do build/asan/tests/$$test --gtest_brief=1 || exit 1; done
	build/asan/tests/world --seconds 20
	$(call build,tsan,$(CORE_TESTS))
	for test in $(CORE_TESTS); do build/tsan/tests/$$test --gtest_brief=1 || exit 1; done

# What clearing memory costs on this machine, and what an engine and recycling save: a page with pictures, in minutes.
# AZURE_TRACE: where the Azure trace lies (docs/TRACES.md); without it one is generated. BENCH: more options, such as --full.
AZURE_TRACE ?= ../shared/data/azure-v1
bench: setup
	$(call build,release,sluice)
	build/release/bin/sluice bench $(if $(wildcard $(AZURE_TRACE)),--trace $(AZURE_TRACE)) --json build/bench.json \
	  --report build/bench.html $(BENCH)
	@echo "the page: build/bench.html"

# What the engines reach, side by side, as ratios, what the manager's books cost on large hosts, and how fast the world
# runs, each with its goals.
goals: setup
	$(call build,release,engine_bench host_bench world)
	build/release/tests/host_bench
	@echo "The world of random stories, on one core; goal: 1 million events a second"
	build/release/tests/world --seconds 5
	build/release/tests/engine_bench

# Random runs with new seeds for SOAK_SECONDS; each prints its seed when it fails. Then every mutant, 200 crashes of sluiced, and
# the fuzz targets.
soak: setup
	$(call build,release,soak world rtl_test)
	build/release/tests/world --seconds $(SOAK_SECONDS) --seed $(SEED)0000
	build/release/tests/soak --seconds $(SOAK_SECONDS) --seed $(SEED)
	SLUICE_RTL_FIRST_SEED=$$(($(SEED) * 1000)) SLUICE_RTL_SEEDS=200 build/release/tests/rtl_test --gtest_filter='RtlRandom.*'
	$(call build,dev)
	tools/mutants.py . build/dev
	SLUICE_CRASHES=200 SLUICE_SEED=$(SEED) build/dev/tests/daemon_test --gtest_filter='SluicedCrash.AtAnyInstant*'
	$(call build,asan,fuzz_targets)
	for program in build/asan/tests/fuzz/*_fuzz; do name=$$(basename $$program _fuzz); echo "fuzz $$name"; \
	  $$program tests/fuzz/corpus/$$name --seconds $(FUZZ_SECONDS) --seed $(SEED) --failed build/fuzz-$$name || exit 1; done

format: setup
	git ls-files -co --exclude-standard '*.cpp' '*.hpp' '*.c' '*.h' | xargs clang-format-14 -i

# The house rules, and all of clang-tidy: `make test` runs only its quick checks.
lint: setup
	$(call build,dev)
	ctest --preset dev -R '^[Tt]idy' -j $(JOBS)
	run-clang-tidy-14 -quiet -j $(JOBS) -p build/dev '^$(CURDIR)/(apps|base|driver|host|sim|tests)/'

clean:
	rm -rf build
