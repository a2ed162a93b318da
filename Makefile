# make run | make test | make build; everything else is a part of these.
SHELL := /bin/bash
CLANG ?= clang
BPF_CFLAGS := -O2 -g -Wall -Wextra -Werror -Wno-unused-parameter -target bpf -mcpu=v3 -I/usr/include/$(shell uname -m)-linux-gnu

build/%.bpf.o: bpf/%.bpf.c $(wildcard bpf/*.h)
	@mkdir -p build
	$(CLANG) $(BPF_CFLAGS) -c $< -o $@
