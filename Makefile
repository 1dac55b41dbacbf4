# SPDX-License-Identifier: MIT
# The doors of the house. CMake does the building (CMakeLists.txt, CMakePresets.json); tools/setup says what a machine lacks and,
# for `run`, `test` and the like, installs it. All output of the building goes to stderr: `make -s run > story.txt` holds the story.

# What `make run` says: make run ARGS='-p "The fox said" -n 80'
ARGS = -p "Once upon a time" -n 256
# Warnings are errors: ON in CI only, so that a newer compiler's new warning stops nobody else.
KQ_WERROR = OFF
# How long `make fuzz` runs each fuzzer.
FUZZ_SECONDS = 60
PREFIX = /usr/local

jobs := $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)
generator := $(if $(shell command -v ninja),Ninja,Unix Makefiles)
# $(call configure,FOLDER,PRESET,OPTIONS): the generator is chosen when the folder is new.
configure = mkdir -p $(1) && cmake --preset $(2) -B $(1) $(if $(wildcard $(1)/CMakeCache.txt),,-G "$(generator)") \
    -DKQ_WERROR=$(KQ_WERROR) $(3) >$(1)/configure.log
compile = cmake --build $(1) --parallel $(jobs) >&2
ctest = ctest --test-dir $(1) --parallel $(jobs) --output-on-failure

.PHONY: all run test sanitize thread arm fuzz bench reference matrix install clean help
.NOTPARALLEL:

all:
	@tools/setup --check build
	@$(call configure,build,release,$(if $(wildcard build/CMakeCache.txt),,-DKQ_TESTS=OFF))
	@$(call compile,build)

run:
	@tools/setup build
	@$(call configure,build,release,$(if $(wildcard build/CMakeCache.txt),,-DKQ_TESTS=OFF))
	@$(call compile,build)
	@build/kquant run $(ARGS)

test:
	@tools/setup build test
	@$(call configure,build,release,-DKQ_TESTS=ON)
	@$(call compile,build)
	@$(call ctest,build)

# The same tests under the address and undefined-behaviour sanitizers, with asserts.
sanitize:
	@tools/setup build test
	@$(call configure,build/sanitize,sanitize,-DKQ_TESTS=ON)
	@$(call compile,build/sanitize)
	@$(call ctest,build/sanitize)

# Those of them that start threads, under the thread sanitizer.
thread:
	@tools/setup build test
	@$(call configure,build/thread,thread,-DKQ_TESTS=ON)
	@$(call compile,build/thread)
	@$(call ctest,build/thread) --exclude-regex 'check|codec|fuzz|gguf|hostile|token'

# The public headers as a website: build/reference/html/index.html.
reference:
	@tools/setup reference
	@mkdir -p build/reference && doxygen docs/Doxyfile

# docs/matrix.md: what the tables of codecs, kernels and encoders hold.
matrix:
	@tools/matrix >docs/matrix.md.new && mv docs/matrix.md.new docs/matrix.md

# The ARM build, cross-compiled and run under qemu-user: every kernel on a processor without dot products, with them, and with matrix products of int8 and bf16.
arm:
	@tools/setup build test arm
	@$(call configure,build/arm,release,-DCMAKE_TOOLCHAIN_FILE=cmake/aarch64.cmake -DKQ_TESTS=ON)
	@$(call compile,build/arm)
	for test in base codec numeric quantize matmul operations; do qemu-aarch64 build/arm/tests/test_$$test || exit 1; done
	for cpu in cortex-a53:neon neoverse-n1:dotprod max:i8mm,bf16mm; do \
	    qemu-aarch64 -cpu $${cpu%:*} build/arm/tests/check --require=generic,$${cpu#*:} || exit 1; done

fuzz:
	@tools/setup build fuzz
	@CC=clang; export CC; $(call configure,build/fuzz,sanitize,-DKQ_TESTS=OFF -DKQ_FUZZ=ON)
	@$(call compile,build/fuzz)
	@tools/fuzz build/fuzz $(FUZZ_SECONDS)

# Times every kernel of this machine. Say in a report what else the machine was doing.
bench:
	@tools/setup build test
	@$(call configure,build,release,-DKQ_TESTS=ON)
	@$(call compile,build)
	@build/tests/check --bench

install:
	@cmake --install build --prefix $(PREFIX)

clean:
	rm -rf build

help:
	@echo 'make            build build/kquant and build/libkquant.so (release); installs nothing'
	@echo 'make run        install what is missing, build, and tell a story (ARGS="-p TEXT -n N" for another)'
	@echo 'make test       install what is missing, build, and run all the tests'
	@echo 'make sanitize   the same tests under the address and undefined-behaviour sanitizers'
	@echo 'make thread     the tests that start threads, under the thread sanitizer'
	@echo 'make arm        the ARM build (cross-compiled) and its tests under qemu-user'
	@echo 'make fuzz       run every fuzzer for FUZZ_SECONDS=60 seconds (clang)'
	@echo 'make bench      time every kernel that this machine can run'
	@echo 'make reference  the public headers as a website, in build/reference/html (doxygen)'
	@echo 'make matrix     docs/matrix.md, from the tables of codecs, kernels and encoders'
	@echo 'make install    copy the release to PREFIX=/usr/local (DESTDIR is heeded)'
	@echo 'make clean      remove build/'
