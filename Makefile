# make run | make test | make build; everything else is a part of these. `make help` lists them.
SHELL := /bin/bash
MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

CLANG ?= clang
CC := $(if $(filter default,$(origin CC)),gcc,$(CC))
MULTIARCH := $(shell uname -m)-linux-gnu
BPF_CFLAGS := -O2 -g -Wall -Wextra -Werror -Wno-unused-parameter -target bpf -mcpu=v3 -Ibuild -I/usr/include/$(MULTIARCH)
C_CFLAGS := -O2 -g -std=gnu11 -Wall -Wextra -Werror

BPF_OBJECTS := $(patsubst bpf/%.bpf.c,build/%.bpf.o,$(wildcard bpf/*.bpf.c))
HELPERS := $(patsubst test/support/%.c,build/%,$(wildcard test/support/*.c))
SOURCES := $(shell find src -name '*.ts' 2>/dev/null)
# bpf/abi.h is a table, aligned by hand.
C_SOURCES = $(filter-out bpf/abi.h,$(wildcard $(foreach dir,bpf native/src native/notify test/support test/native/programs bench,$(dir)/*.c $(dir)/*.cc $(dir)/*.h)))
NPM := node_modules/.package-lock.json

.PHONY: help build artifacts run test fuzz bench lint format check generate clean root
.PHONY: deps-build deps-run deps-test deps-check deps-vm

help:
	@printf '%s\n' \
	  'make run          demo on examples/: four guests behind real taps (ONCE=1: print and exit; DIR=… another directory; DATAPLANE=iptables)' \
	  'make test         every test; installs what is missing' \
	  'make build        bin/torbie, runnable from the checkout' \
	  'make fuzz         generated conversations on the evaluator, the programs and iptables (SEED=… RUNS=… repeats one)' \
	  'make bench        ratios against the limits of this machine and against rivals; a report in build/bench/ (QUICK=1 is short)' \
	  'make vm-test      verifier, table of cases, choice of the dataplane and restart on kernels 5.10 to the newest, in VMs (test/vm/README.md); make vm-fetch gets them' \
	  'make vm-bench     the short benchmark in such a VM (KERNEL=6.12)' \
	  'make guest-test   booted guests (qemu, virtio-net) behind both dataplanes: DHCP, metadata, groups, large frames (GUEST_KERNEL=6.12)' \
  'make deb          build/torbie_VERSION_ARCH.deb, for hosts that have nothing but Node; make test-deb installs it in a bare root' \
	  'make check        lint, format, types, generated files' \
	  'make lint, format, generate, clean'

root:
	@if [ "$$(id -u)" -ne 0 ]; then echo "torbie: this needs root, for network namespaces, taps and BPF: sudo make $(MAKECMDGOALS)" >&2; exit 1; fi

deps-build:
	@scripts/install-deps build
deps-run: root
	@scripts/install-deps build run
deps-test: root
	@scripts/install-deps build run test
deps-check:
	@scripts/install-deps build check

# --- build -------------------------------------------------------------------------------------------------

# Rules that make native/build/libbpf.node and native/dist/index.js.
-include native/native.mk
-include native/notify/notify.mk

build: deps-build
	@$(MAKE) --no-print-directory -j$$(nproc) artifacts

artifacts: $(BPF_OBJECTS) $(HELPERS) native/build/libbpf.node native/build/notify.node native/dist/index.js dist/.built
	@:

$(NPM): package-lock.json
	$(call SAY,npm,package-lock.json)
	$(Q)npm ci --no-audit --no-fund --loglevel=error
	@touch $@

$(NATIVE_OBJECTS) native/build/libbpf.node native/dist/index.js: | $(NPM)

build/%.bpf.o: bpf/%.bpf.c $(wildcard bpf/*.h bpf/*.c)
	@mkdir -p build
	$(call SAY,bpf,$<)
	$(Q)$(CLANG) $(BPF_CFLAGS) -c $< -o $@

dist/.built: $(SOURCES) scripts/bundle.mjs tsconfig.json package.json native/dist/index.js | $(NPM)
	$(call SAY,tsc,src)
	$(Q)node_modules/.bin/tsc -p .
	$(Q)node scripts/bundle.mjs
	@touch $@

build/%: test/support/%.c
	@mkdir -p build
	$(call SAY,cc,$<)
	$(Q)$(CC) $(C_CFLAGS) $< -o $@

# --- run and test --------------------------------------------------------------------------------------------

run: root deps-run build
	@exec node dist/demo/main.js $(if $(ONCE),--once) $(if $(DIR),--policy-dir '$(DIR)') $(if $(DATAPLANE),--dataplane '$(DATAPLANE)')

# T='test/unit -t name' runs a part.
test: root deps-test build
	@node scripts/test.mjs $(T)

# Longer than `make test` may take; the seed is printed.
fuzz: root deps-test build
	@FUZZ=1 node scripts/test.mjs test/conformance/three-way.test.ts test/conformance/differential.test.ts

# Real etcd and conntrack are among what the tests want.
bench: root deps-run deps-test build
	@node dist/bench/main.js

# --- kernels in VMs ----------------------------------------------------------------------------------------------

.PHONY: vm-fetch vm-test vm-bench

deps-vm: root
	@scripts/install-deps build run test vm

vm-fetch: deps-vm
	@test/vm/fetch

# BOOTS='6.1 short' boots a part, VM_ACCEL=kvm|tcg, JOBS=2 at once, VERBOSE=1 prints every test: test/vm/README.md.
vm-test: deps-vm build
	@mkdir -p build/vm
	@node_modules/.bin/rolldown test/vm/main.ts --file build/vm/main.mjs --platform node --external rolldown --logLevel silent >/dev/null
	@node build/vm/main.mjs

# `make bench QUICK=1` on another kernel, a name of test/vm/kernels; what it writes is in build/vm/bench-KERNEL.
KERNEL ?= 6.12
vm-bench:
	@$(MAKE) --no-print-directory vm-test BOOTS=bench-$(KERNEL) SUITES=

# Guests of this kernel (a name of test/vm/kernels), under emulation on taps of this machine's. T='-t bpf' runs a part.
GUEST_KERNEL ?= 5.10
.PHONY: guest-test
guest-test: deps-vm build
	@test/vm/fetch $(GUEST_KERNEL)
	@GUEST_KERNEL=$(GUEST_KERNEL) node scripts/test.mjs --config test/guest/vitest.config.ts $(T)

# --- package -------------------------------------------------------------------------------------------------

.PHONY: deb test-deb package-bindings

deb: build
	@scripts/make-deb

# Makes a bare Debian root from this machine's own package sources, and installs, upgrades and removes in it.
test-deb: root deb
	@scripts/install-deps package
	@scripts/test-deb

PACKAGE_LINK := -shared -pthread -static-libstdc++ -static-libgcc -Wl,--disable-new-dtags,-rpath,'$$ORIGIN/lib'
package-bindings: native/build/libbpf.node native/build/notify.node
	@mkdir -p $(OUT)
	$(Q)$(CXX) $(PACKAGE_LINK) -o $(OUT)/libbpf.node $(NATIVE_OBJECTS) $(NATIVE_LIBS)
	$(Q)$(CXX) $(subst NODE_GYP_MODULE_NAME=libbpf,NODE_GYP_MODULE_NAME=notify,$(NATIVE_CXXFLAGS)) $(PACKAGE_LINK) -o $(OUT)/notify.node native/notify/notify.cc

# --- care ------------------------------------------------------------------------------------------------------

lint: build
	node_modules/.bin/eslint .

format: deps-check $(NPM)
	node_modules/.bin/prettier --log-level=warn --write .
	clang-format -i $(C_SOURCES)

GENERATE := node dist/abi/generate.js build/tap.bpf.o src/abi/layout.gen.ts

# Types may be wrong before it has run, which is why it does not ask for a whole build.
generate: deps-build build/tap.bpf.o $(NPM)
	@node_modules/.bin/tsc -p . >/dev/null || true
	$(GENERATE)

check: deps-check lint
	node_modules/.bin/prettier --log-level=warn --check .
	clang-format --dry-run -Werror $(C_SOURCES)
	node_modules/.bin/tsc --noEmit -p tsconfig.test.json
	$(GENERATE) --check

clean:
	rm -rf build dist native/build native/dist
