# One command each. On a fresh Debian 12: `apt-get install -y make`, then any of these; each installs what it needs.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# Debian's own Python 3.11: the wheel's folder in cmake/ShoalDependencies.cmake goes with it.
python := /usr/bin/python3
venv := build/venv
release := build/release
fixtures := build/fixtures
# One compiler of LibTorch's headers needs about 1.5 GiB.
jobs := $(shell n=$$(nproc); m=$$(awk '/MemAvailable/{print int($$2/1572864)}' /proc/meminfo); echo $$(( n < m ? n : (m > 0 ? m : 1) )))

# So that what was compiled here is of use to another checkout, and to the images (deploy/images/build).
export CCACHE_BASEDIR := $(CURDIR)
export CCACHE_COMPILERCHECK := content
export CCACHE_NOHASHDIR := 1

.PHONY: help
help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */  make \1|/' | column -t -s'|'

.PHONY: packages
packages:
	@tools/setup/packages.sh

$(venv)/.installed: tools/setup/requirements.txt | packages
	@echo "== Python environment with PyTorch (a download of about 2.5 GB, once)"
	@test -x $(venv)/bin/python || $(python) -m venv $(venv)
	$(venv)/bin/python -m pip install --disable-pip-version-check --progress-bar on -r tools/setup/requirements.txt
	@touch $@

.PHONY: setup
setup: packages $(venv)/.installed  ## Debian packages and the Python environment

$(release)/build.ninja: | setup
	cmake --preset release

.PHONY: build
build: setup $(release)/build.ninja  ## the executables, in build/release/bin
	@cmake --build $(release) -j $(jobs)

.PHONY: fixtures
fixtures: setup  ## exports the models that tests, benches and the demo use
	@$(venv)/bin/python tools/export/fixtures.py $(fixtures)

.PHONY: demo
demo: build fixtures  ## starts the embedded mesh, embeds sentences, searches, stops
	@PYTHONPATH=sdk/python $(venv)/bin/python tools/demo/demo.py --bin $(release)/bin --models $(fixtures)/models

.PHONY: test
test: build fixtures  ## every test
	@ctest --test-dir $(release) --output-on-failure --progress

.PHONY: images
images:  ## the images of compose/, unless they are of these sources already; needs a Docker engine
	@deploy/images/build

# How long the load lasts (under 5: the short form), and the seed of a run that is to be repeated.
MINUTES ?= 10
KILLS ?= 500
SEED ?=
.PHONY: cache-kills
cache-kills: build  ## kill -9 of the cache at armed points, KILLS=500 times, with power cuts: nothing acknowledged is lost
	@$(release)/tests/cache_kills $(release)/bin/shoal-cache $(release)/tests/libkill_at.so --count $(KILLS) \
	  --folder build/chaos/cache_kills --out build/chaos/cache_kills.json

.PHONY: chaos
chaos: setup fixtures  ## breaks a mesh in containers under load for MINUTES=10; SEED=... replays; build/chaos/report.html
	@PYTHONPATH=tests:sdk/python $(venv)/bin/python -m chaos --minutes $(MINUTES) $(if $(SEED),--seed $(SEED)) $(CHAOS)

.PHONY: bench
bench: build fixtures  ## every bench; tables here, figures in build/bench/*.json
	@bench/run

.PHONY: gpu-check
gpu-check: setup $(release)/build.ninja  ## packs build/gpu-check.tar for a machine with a GPU; tries it here on the CPU
	@cmake --build $(release) -j $(jobs) --target bench_executor bench_planner
	@bench/gpu_check/pack.sh $(release)/bin build/gpu-check.tar
	@bench/gpu_check/try.sh build/gpu-check.tar $(venv)/bin/python

.PHONY: check
check: setup format-check tidy asan fuzz  ## clang-format, clang-tidy, unit tests under asan and ubsan, fuzzers

sources = $(shell git ls-files '*.cpp' '*.hpp')

.PHONY: format
format: setup  ## formats the sources in place
	@clang-format -i $(sources)

.PHONY: format-check
format-check: setup
	@echo "== clang-format"
	@clang-format --dry-run -Werror $(sources)

.PHONY: tidy
tidy: $(release)/build.ninja
	@echo "== clang-tidy"
	@cmake --build $(release) --target shoal_schemas
	@tools/check/tidy.sh $(release) $(jobs)

.PHONY: asan
asan: setup fixtures
	@echo "== unit tests under AddressSanitizer and UndefinedBehaviorSanitizer"
	cmake --preset asan
	@cmake --build build/asan -j $(jobs) --target unit_tests
	@ctest --test-dir build/asan --output-on-failure -L unit

# How long each fuzz target runs. What it keeps stays in build/fuzz/corpus; a finding is written to build/fuzz.
FUZZ_SECONDS ?= 60
fuzz_targets = archive graph envelope http grpc tokenizer
.PHONY: fuzz
fuzz: setup  ## fuzzes what strangers hand in, FUZZ_SECONDS=60 for each target
	@cmake --preset fuzz
	@cmake --build build/fuzz -j $(jobs) --target fuzz_targets
	@for target in $(fuzz_targets); do \
	  echo "== fuzzing $$target for $(FUZZ_SECONDS) s"; \
	  mkdir -p build/fuzz/corpus/$$target; \
	  build/fuzz/tests/$${target}_fuzz -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=2048 -max_len=65536 \
	    -print_final_stats=1 -verbosity=0 $$(d=tests/fuzz/$$target.dict; test ! -e $$d || echo -dict=$$d) -artifact_prefix=build/fuzz/$$target- \
	    build/fuzz/corpus/$$target tests/fuzz/corpus/$$target; \
	done

.PHONY: clean
clean:  ## removes what was built, not the Python environment
	rm -rf build/release build/dev build/asan build/tsan build/fuzz $(fixtures) build/bench
