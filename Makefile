# SPDX-License-Identifier: Apache-2.0
# A front for people; meson does the building. `make` alone lists what there is.

PREFIX ?= /usr/local
DESTDIR ?=
BUILD ?= build
KERNEL := .cache/kernel
MESON_FLAGS ?= --prefix=$(PREFIX)
# Sizes of the tests: a share of what docs call the full size.
A3S_SCALE ?= 1/16
export A3S_SCALE

.DEFAULT_GOAL := help
.PHONY: help deps build run registry test test-full bench check install clean
.NOTPARALLEL:

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

deps: ## install missing Debian packages (apt-get, with sudo unless root)
	@scripts/deps.sh build run test

# The kernel is fetched before meson runs: the guest's parts are built against it.
build: ## build everything into build/
	@scripts/deps.sh build
	@scripts/fetch-kernel.sh $(KERNEL)
	@[ -f $(BUILD)/build.ninja ] || meson setup $(MESON_FLAGS) $(BUILD)
	@meson compile -C $(BUILD)

run: build ## build, then show a web server in a box; ends by itself
	@scripts/deps.sh run
	@scripts/demo.sh $(BUILD)

registry: ## a registry on 127.0.0.1:5000 with nginx, for README's tour; scripts/registry.sh stop ends it
	@scripts/deps.sh run test
	@scripts/registry.sh start

test: build ## unit, replay, fuzz and end-to-end tests at A3S_SCALE
	@scripts/deps.sh run test
	@scripts/test.sh $(BUILD)

test-full: ## the same at full size
	@$(MAKE) --no-print-directory test A3S_SCALE=1

bench: build ## figures, each with its peer beside it
	@scripts/deps.sh run test bench
	@tests/bench/run.sh $(BUILD)

check: ## both compilers, clang-tidy, cppcheck, sparse, checkpatch, shellcheck; every case has a test
	@scripts/deps.sh build run test check
	@scripts/fetch-kernel.sh $(KERNEL)
	@scripts/check.sh

install: build ## into PREFIX (/usr/local), honouring DESTDIR
	@meson install -C $(BUILD) $(if $(DESTDIR),--destdir $(abspath $(DESTDIR)))

clean: ## remove what was built; what was downloaded stays in .cache
	rm -rf build build-*
