# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Sluice. `make help` lists the targets.
O          ?= build
CLANG      ?= clang
CC         ?= gcc
BPFTOOL    ?= $(firstword $(wildcard /usr/sbin/bpftool) bpftool)
PYTHON     ?= /usr/bin/python3
PREFIX     ?= /usr/local
V          ?= 0
ifeq ($(V),0)
Q   = @
msg = @printf '  %-8s %s\n' "$(1)" "$(2)"
endif

VERSION    := 0.1.0
OBJCOPY    ?= objcopy
ARCH       := $(shell uname -m | sed -e 's/x86_64/x86/' -e 's/aarch64/arm64/')
WARN       := -Wall -Wextra -Wshadow -Wformat=2 -Wvla -Wno-unused-parameter $(if $(CI),-Werror)
CFLAGS     ?= -O2 -g
CPPFLAGS   += -Iinclude -Iuser -I$(O) -I/usr/include/libxml2 -D_GNU_SOURCE \
	      -DSLUICE_VERSION='"$(VERSION)"' \
	      -DSLUICE_DATADIR='"$(PREFIX)/share/sluice"'
ALL_CFLAGS := -std=gnu11 $(WARN) $(CFLAGS)
# What few commands of sluice need, 5 to 6 ms of each start: user/late/late.h. Weak there, and
# bound when it is called, so the program may not be bound as a whole when it starts.
LATE_LIBS  := -lxml2 -lldns -lssl -lcrypto -lmicrohttpd -lcrypt -lidn2
LIBS       := -lbpf -lelf -lz -lmnl -lfyaml -ljansson -lcap-ng -lseccomp $(LATE_LIBS) -lpthread
LATE       := xml[A-Z]* ldns_* SSL_* TLS_* ERR_* MHD_* crypt_r idn2_*
LATE_LINK  := -Wl,-z,lazy -Wl,-z,dynamic-undefined-weak
soname      = $(shell readelf -d "$$($(CC) -print-file-name=lib$(1).so)" | sed -n 's/.*SONAME.*\[\(.*\)\].*/\1/p')
# libncursesw.so is a script of the linker's
cursesname  = $(shell sed -n 's/.*\(libncursesw\.so\.[0-9]*\).*/\1/p' "$$($(CC) -print-file-name=libncursesw.so)")
LATE_NAMES  = -DSL_SONAME_XML='"$(call soname,xml2)"' -DSL_SONAME_DNS='"$(call soname,ldns)"' \
	      -DSL_SONAME_TLS='"$(call soname,ssl)"' -DSL_SONAME_HTTP='"$(call soname,microhttpd)"' \
	      -DSL_SONAME_CRYPT='"$(call soname,crypt)"' -DSL_SONAME_IDN='"$(call soname,idn2)"' \
	      -DSL_SONAME_CURSES='"$(call cursesname)"'
MOUNTS_CAPS := $(shell sed -n 's/.*SL_MOUNTS_CAPABILITIES "\(.*\)"/\1/p' user/target/private.h)
# sluice-alerts and sluiced alone: what it links would cost every other program 6 ms at its start.
ALERT_LIBS := -lcurl -lcrypto
CRI_LIBS   := -lcurl -lprotobuf-c
SANITIZE   := -fsanitize=address,undefined -fno-omit-frame-pointer
CPPFLAGS   += $(DEFINES)
BPF_CFLAGS := $(DEFINES) -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_$(ARCH) -Iinclude -Ivmlinux -Ibpf \
	      -I/usr/include/$(shell uname -m)-linux-gnu -Wall -Wextra -Werror \
	      -Wno-unused-parameter

# Each stage is a folder; every stage but the entry points goes into the library.
STAGES     := late policy resolve compile kernel target forward audit convert libvirt sinks metrics alerts \
	      container engine daemon kubernetes cri http apiserver
LIB_SRC    := $(filter-out %/main.c,$(foreach s,$(STAGES),$(wildcard user/$(s)/*.c)))
CLI_SRC    := $(wildcard user/cli/*.c)
ALERTS_SRC := user/programs/alerts.c user/cli/options.c user/cli/usage.c
BPF_SRC    := $(wildcard bpf/*.bpf.c)
SKELS      := $(BPF_SRC:bpf/%.bpf.c=$(O)/%.skel.h)
# Made of cri.proto by protoc-c.
CRI_PB     := $(O)/user/cri/cri.pb-c
# REUSE: the kernel stage alone is built, with DEFINES, over the other objects of another build.
OTHERS     := $(or $(REUSE),$(O))
LIB_OBJ    := $(patsubst %.c,$(O)/%.o,$(filter user/kernel/%,$(LIB_SRC))) \
	      $(patsubst %.c,$(OTHERS)/%.o,$(filter-out user/kernel/%,$(LIB_SRC))) \
	      $(OTHERS)/user/cri/cri.pb-c.o
CLI_OBJ    := $(CLI_SRC:%.c=$(OTHERS)/%.o)
ALERTS_OBJ := $(ALERTS_SRC:%.c=$(O)/%.o)
SAN_OBJ    := $(LIB_SRC:%.c=$(O)/san/%.o) $(O)/san/user/cri/cri.pb-c.o
UNIT_SRC   := $(wildcard tests/unit/test_*.c)
UNIT_BIN   := $(UNIT_SRC:tests/unit/%.c=$(O)/tests/%)
TOOL_SRC   := $(wildcard tests/tools/*.c)
TOOL_BIN   := $(TOOL_SRC:tests/tools/%.c=$(O)/tests/%)

.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: all help deps demo test test-guests test-kernels test-kubernetes unit tools oracle oracle-frames bench bench-device bench-docs \
	next verifier-budget oracle-alerts oracle-answers bench-names nightly \
	fuzz fuzz-alerts fuzz-dns fuzz-foreign fuzz-forward lint format clean install

all: $(O)/sluice $(O)/sluiced $(O)/sluice-alerts $(O)/sluice-oci-hook $(O)/sluice-oci-runtime $(O)/sluice-cni \
	$(O)/sluice-mounts

help:
	@echo 'sudo make demo      install what is missing, build, show allowed and blocked connections'
	@echo 'sudo make test      build and run every test'
	@echo 'sudo make test-guests    of these, a real guest on a bridge, and libvirt itself'
	@echo 'sudo make test-kernels   the programs and a suite on Debian 6.1, 6.12 and this kernel'
	@echo 'sudo make test-kubernetes  Kubernetes, built from Debian'"'"'s source once, and its pods'
	@echo 'make                build $(O)/sluice, $(O)/sluiced and $(O)/sluice-alerts'
	@echo 'make unit           unit tests (ASan, UBSan); no privilege needed'
	@echo 'make oracle         SEED= TIME=   the engine against a naive evaluator'
	@echo 'make oracle-alerts  SEED= TIME=   alerts over random records against a model'
	@echo 'sudo make oracle-frames SEED= FRAMES=   frames through the device programs against a model'
	@echo 'sudo make oracle-answers SEED= ANSWERS=   mutated answers and what they teach, against a model'
	@echo 'sudo make verifier-budget   what the verifier walks for each program'
	@echo 'make fuzz TIME=     the parser, printer and compiler, and nwfilter, under libFuzzer'
	@echo 'make fuzz-alerts TIME=   rules of alerts and records, under libFuzzer'
	@echo 'make fuzz-dns TIME= the reader of DNS messages, as the kernel runs it'
	@echo 'make fuzz-foreign TIME= what engines, runtimes and API servers answer'
	@echo 'make fuzz-forward TIME= what the forwarder reads of clients and resolvers'
	@echo 'sudo make bench  BENCH=   beside nftables, ipset, LPM_TRIE, empty programs: $(O)/bench.json'
	@echo 'make bench-docs     docs/BENCHMARKS.md of $(O)/bench.json'
	@echo 'sudo make bench-device   a veth and a tap with and without a policy'
	@echo 'sudo make bench-names    what names cost: dnsperf (of Debian), connects'
	@echo 'sudo make nightly    make test, ten minutes of each fuzzer, the models at length, kernels, guests'
	@echo 'make lint format    clang-tidy, cppcheck, shellcheck; clang-format'
	@echo 'make install        PREFIX=$(PREFIX)'

deps:
	@tools/install-deps test

demo:
	@tools/install-deps demo
	$(Q)$(MAKE) --no-print-directory all
	@tools/demo $(O)/sluice

test: deps
	$(Q)$(MAKE) --no-print-directory -j2 all $(O)/.unit-built tools next
	@tools/run-tests $(O)

# The version after this one, for tests of upgrades: another ABI, whose counters and events are
# of another layout.
NEXT_ABI := $(shell sed -n 's/^\#define SL_ABI_VERSION *//p' include/sluice_abi.h | awk '{print $$1 + 1}')
next: all
	$(Q)$(MAKE) --no-print-directory O=$(O)/next REUSE=$(O) \
		DEFINES='-DSL_ABI_VERSION=$(NEXT_ABI) -DSL_LAYOUT_COUNTS=2' \
		$(O)/next/sluice $(O)/next/sluiced

$(O)/.unit-built: $(UNIT_BIN)
	@touch $@

test-guests: deps
	$(Q)$(MAKE) --no-print-directory -j2 all
	@tools/run-tests $(O) guests libvirt

test-kernels:
	@tools/install-deps kernels
	$(Q)$(MAKE) --no-print-directory -j2 all tools next
	@tools/test-kernels $(O)

test-kubernetes:
	@tools/install-deps kubernetes
	$(Q)$(MAKE) --no-print-directory -j2 all tools
	@tools/run-tests $(O) cluster

unit: $(UNIT_BIN)
	@set -e; for t in $(UNIT_BIN); do $$t; done

tools: $(TOOL_BIN)

SEED ?=
TIME ?= 120
oracle: all tools
	$(PYTHON) tests/oracle/differential.py --build $(O) --time $(TIME) $(if $(SEED),--seed $(SEED))

oracle-alerts: all
	$(PYTHON) tests/oracle/alerts_differential.py --build $(O) --time $(TIME) $(if $(SEED),--seed $(SEED))

BENCH ?=
bench: all tools
	@tools/install-deps bench
	$(PYTHON) tests/bench/bench.py $(O) $(BENCH)

# docs/BENCHMARKS.md and its drawing, of the last whole run of the bench
bench-docs:
	$(PYTHON) tests/bench/document.py $(O)/bench.json docs

bench-device: all tools
	$(PYTHON) tests/bench/device.py $(O)

bench-names: all tools
	$(PYTHON) tests/bench/names.py $(O)

ANSWERS ?= 100000
oracle-answers: all tools
	$(PYTHON) tests/oracle/learned_differential.py --build $(O) --count $(ANSWERS) \
		$(if $(SEED),--seed $(SEED))

verifier-budget: all tools
	$(PYTHON) tests/verifier_budget.py $(O)

FRAMES ?= 1000000
oracle-frames: all tools
	$(PYTHON) tests/oracle/frames_differential.py --build $(O) --frames $(FRAMES) --jobs 2 \
		$(if $(SEED),--seed $(SEED))

# What takes longer than a test may: the fuzzers (libclang-rt-14-dev), ten minutes each, the
# models with more of everything, each kernel, real guests.
nightly: test
	$(Q)SLUICE_KILLS=1000 SLUICE_DENIALS=1000000 SLUICE_CHURN=10000 SLUICE_UPGRADES=50 tools/run-tests $(O) scale
	$(Q)$(MAKE) --no-print-directory fuzz fuzz-alerts fuzz-dns fuzz-foreign fuzz-forward TIME=600
	$(Q)$(MAKE) --no-print-directory oracle TIME=1800
	$(Q)$(MAKE) --no-print-directory oracle-answers ANSWERS=1000000
	$(Q)$(MAKE) --no-print-directory oracle-frames FRAMES=10000000
	$(PYTHON) tests/oracle/tinyproxy_differential.py --build $(O) --files 20000
	$(Q)$(MAKE) --no-print-directory test-kernels test-guests

# libfyaml leaks a little on scanner errors: leaks are the unit tests' matter.
fuzz:
	$(Q)mkdir -p $(O)/fuzz/corpus && cp tests/golden/policy/*.in $(O)/fuzz/corpus/
	$(Q)clang -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined \
		$(CPPFLAGS) -std=gnu11 -o $(O)/fuzz/policy tests/fuzz/policy.c \
		$(wildcard user/policy/*.c user/resolve/*.c user/compile/*.c user/late/late.c) $(LATE_NAMES) -lfyaml -lidn2 -lmnl
	ASAN_OPTIONS=detect_leaks=0 $(O)/fuzz/policy -max_len=1500 -timeout=5 -artifact_prefix=$(O)/fuzz/ \
		-max_total_time=$(TIME) $(O)/fuzz/corpus
	$(Q)mkdir -p $(O)/fuzz/filters && cp tests/golden/nwfilter/*.xml $(O)/fuzz/filters/
	$(Q)clang -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined \
		$(CPPFLAGS) -std=gnu11 -o $(O)/fuzz/nwfilter tests/fuzz/nwfilter.c \
		$(wildcard user/convert/nwfilter*.c user/policy/*.c user/late/late.c) $(LATE_NAMES) -lfyaml -lidn2 -lxml2
	ASAN_OPTIONS=detect_leaks=0 $(O)/fuzz/nwfilter -max_len=1500 -timeout=5 -artifact_prefix=$(O)/fuzz/ \
		-max_total_time=$(TIME) $(O)/fuzz/filters

	$(Q)mkdir -p $(O)/fuzz/tinyproxy-filters
	$(Q)clang -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined \
		$(CPPFLAGS) -std=gnu11 -o $(O)/fuzz/tinyproxy tests/fuzz/tinyproxy.c \
		$(wildcard user/convert/tinyproxy*.c user/policy/*.c user/late/late.c) $(LATE_NAMES) -lfyaml -lidn2
	ASAN_OPTIONS=detect_leaks=0 $(O)/fuzz/tinyproxy -max_len=600 -timeout=5 -artifact_prefix=$(O)/fuzz/ \
		-max_total_time=$(TIME) $(O)/fuzz/tinyproxy-filters tests/fuzz/corpus/tinyproxy

# Corpus: each golden file of rules and its records, in one with a NUL between.
FUZZ_ALERTS := $(addprefix user/alerts/,config.c config_match.c config_rule.c config_sink.c keys.c \
	       match.c fields.c time.c sample.c hash.c memory.c memory_file.c engine.c \
	       engine_groups.c engine_window.c alert_text.c stream.c)
fuzz-alerts:
	$(Q)mkdir -p $(O)/fuzz/alerts-corpus
	$(Q)for rules in tests/golden/alerts/*.yaml; do \
		{ cat $$rules; printf '\0'; cat $${rules%.yaml}.jsonl 2>/dev/null || true; } \
			>$(O)/fuzz/alerts-corpus/$$(basename $$rules); done
	$(Q)clang -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined \
		$(CPPFLAGS) -std=gnu11 -o $(O)/fuzz/alerts tests/fuzz/alerts.c $(FUZZ_ALERTS) \
		$(wildcard user/policy/*.c user/resolve/*.c user/late/late.c) $(LATE_NAMES) -lfyaml -lidn2 -lmnl -ljansson -lcrypto
	ASAN_OPTIONS=detect_leaks=0 $(O)/fuzz/alerts -max_len=4000 -timeout=5 \
		-artifact_prefix=$(O)/fuzz/ -max_total_time=$(TIME) $(O)/fuzz/alerts-corpus

fuzz-dns:
	$(Q)mkdir -p $(O)/fuzz/dns
	$(Q)clang -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined \
		$(CPPFLAGS) -std=gnu11 -o $(O)/fuzz/dns-reader tests/fuzz/dns.c
	$(O)/fuzz/dns-reader -max_len=1500 -timeout=5 -artifact_prefix=$(O)/fuzz/ \
		-max_total_time=$(TIME) $(O)/fuzz/dns tests/fuzz/corpus/dns

# What engines, runtimes and API servers answer.
FUZZ_FOREIGN := $(filter-out %/directory.c %/directory_files.c,$(wildcard user/policy/*.c user/kubernetes/*.c user/apiserver/*.c user/http/*.c user/cri/*.c \
	       user/engine/*.c user/convert/sortie*.c))
fuzz-foreign: $(CRI_PB).c
	$(Q)mkdir -p $(O)/fuzz/foreign
	$(Q)clang -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined \
		$(CPPFLAGS) -std=gnu11 -o $(O)/fuzz/foreign-reader tests/fuzz/foreign.c $(FUZZ_FOREIGN) user/late/late.c $(LATE_NAMES) $(CRI_PB).c \
		-lfyaml -lidn2 -ljansson -lcurl -lprotobuf-c
	$(O)/fuzz/foreign-reader -max_len=6000 -timeout=10 -artifact_prefix=$(O)/fuzz/ \
		-max_total_time=$(TIME) $(O)/fuzz/foreign tests/fuzz/corpus/foreign

fuzz-forward:
	$(Q)mkdir -p $(O)/fuzz/forward
	$(Q)clang -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined \
		$(CPPFLAGS) -std=gnu11 -o $(O)/fuzz/forward-reader tests/fuzz/forward.c \
		$(addprefix user/forward/,message.c svcb.c answer.c) -lldns
	$(O)/fuzz/forward-reader -max_len=1500 -timeout=5 -artifact_prefix=$(O)/fuzz/ \
		-max_total_time=$(TIME) $(O)/fuzz/forward tests/fuzz/corpus/forward

$(O)/sluice: $(CLI_OBJ) $(O)/libsluice-late.a
	$(call msg,LINK,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) $(LATE_LINK) -o $@ $^ \
		$(filter-out $(LATE_LIBS),$(LIBS))

$(O)/libsluice-late.a: $(O)/libsluice.a
	$(Q)$(OBJCOPY) -w $(LATE:%=--weaken-symbol='%') $< $@

$(O)/user/late/late.o $(O)/san/user/late/late.o: CPPFLAGS += $(LATE_NAMES)

$(O)/sluiced: $(OTHERS)/user/daemon/main.o $(O)/libsluice.a
	$(call msg,LINK,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS) $(CRI_LIBS)

$(O)/sluice-alerts: $(ALERTS_OBJ) $(O)/libsluice.a
	$(call msg,LINK,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -Wl,--as-needed -o $@ $^ $(LIBS) $(ALERT_LIBS)

# It starts with every container: what it does not need is not linked.
$(O)/sluice-oci-hook: $(O)/user/gate/oci_hook.o $(O)/user/gate/ask.o $(O)/user/gate/late.o $(O)/libsluice.a
	$(call msg,LINK,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -Wl,--as-needed -o $@ $^ -ljansson

$(O)/sluice-oci-runtime: $(O)/user/gate/runtime.o $(O)/user/gate/spec.o $(O)/libsluice.a
	$(call msg,LINK,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -Wl,--as-needed -o $@ $^ -ljansson

# It starts with capabilities, and with every run of a member: no more is linked than it needs.
$(O)/sluice-mounts: $(O)/user/programs/mounts.o $(O)/libsluice.a
	$(call msg,LINK,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -Wl,--as-needed -Wl,-z,now -o $@ $^ -lseccomp

$(O)/sluice-cni: $(O)/user/gate/cni.o $(O)/user/gate/ask.o $(O)/user/gate/late.o $(O)/libsluice.a
	$(call msg,LINK,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -Wl,--as-needed -o $@ $^ -ljansson -lmnl

$(filter $(O)/tests/test_alerts%,$(UNIT_BIN)): LIBS += $(ALERT_LIBS)
$(O)/tests/test_cri $(O)/tests/test_engine $(O)/tests/test_apiserver $(O)/tests/follow_cluster: LIBS += $(CRI_LIBS)

$(CRI_PB).c $(CRI_PB).h &: user/cri/cri.proto
	$(call msg,PROTO,$<)
	$(Q)mkdir -p $(@D) && protoc-c --proto_path=. --c_out=$(O) $<

$(CRI_PB).o: $(CRI_PB).c
	$(call msg,CC,$<)
	$(Q)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -c -o $@ $<

$(O)/san/user/cri/cri.pb-c.o: $(CRI_PB).c
	$(call msg,CC-SAN,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(CPPFLAGS) $(ALL_CFLAGS) -O1 $(SANITIZE) -c -o $@ $<

$(O)/user/cri/read.o $(O)/san/user/cri/read.o: $(CRI_PB).h

$(O)/libsluice.a: $(LIB_OBJ)
	$(call msg,AR,$@)
	$(Q)rm -f $@ && ar rcs $@ $^

$(O)/san/libsluice.a: $(SAN_OBJ)
	$(call msg,AR,$@)
	$(Q)rm -f $@ && ar rcs $@ $^

$(O)/%.o: %.c | $(SKELS)
	$(call msg,CC,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(O)/san/%.o: %.c | $(SKELS)
	$(call msg,CC-SAN,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(CPPFLAGS) $(ALL_CFLAGS) -O1 $(SANITIZE) -MMD -MP -c -o $@ $<

$(O)/%.bpf.o: bpf/%.bpf.c
	$(call msg,BPF,$<)
	$(Q)mkdir -p $(@D) && $(CLANG) $(BPF_CFLAGS) -MMD -MP -MT $@ -MF $(@:.o=.d) -c -o $@ $<

$(O)/%.skel.h: $(O)/%.bpf.o
	$(call msg,SKEL,$@)
	$(Q)$(BPFTOOL) gen skeleton $< name $(subst -,_,$*) > $@

$(O)/tests/test_%: tests/unit/test_%.c $(O)/san/libsluice.a
	$(call msg,TEST,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(CPPFLAGS) $(ALL_CFLAGS) -O1 $(SANITIZE) -MMD -MP \
		-DTESTS_DIR='"$(CURDIR)/tests"' -DSOURCE_DIR='"$(CURDIR)"' \
		-o $@ $< $(O)/san/libsluice.a -lcmocka $(LIBS)

# Beside the products, which have a budget of the verifier's each.
$(O)/bench/%.bpf.o: tests/bench/%.bpf.c
	$(call msg,BPF,$<)
	$(Q)mkdir -p $(@D) && $(CLANG) $(BPF_CFLAGS) -MMD -MP -MT $@ -MF $(@:.o=.d) -c -o $@ $<

$(O)/bench/%.skel.h: $(O)/bench/%.bpf.o
	$(call msg,SKEL,$@)
	$(Q)$(BPFTOOL) gen skeleton $< name $* > $@

$(O)/tests/bench_lookup: | $(O)/bench/bench.skel.h
$(O)/tests/bench_events: | $(O)/bench/events.skel.h

$(O)/tests/%: tests/tools/%.c $(O)/libsluice.a
	$(call msg,TOOL,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -o $@ $< $(O)/libsluice.a $(LIBS)

install: all
	install -D -m 755 $(O)/sluice $(DESTDIR)$(PREFIX)/bin/sluice
	install -D -m 755 $(O)/sluice-alerts $(DESTDIR)$(PREFIX)/bin/sluice-alerts
	install -D -m 755 $(O)/sluiced $(DESTDIR)$(PREFIX)/sbin/sluiced
	install -D -m 755 $(O)/sluice-oci-hook $(DESTDIR)$(PREFIX)/libexec/sluice-oci-hook
	install -D -m 755 $(O)/sluice-oci-runtime $(DESTDIR)$(PREFIX)/libexec/sluice-oci-runtime
	install -D -m 755 $(O)/sluice-cni $(DESTDIR)$(PREFIX)/libexec/sluice-cni
	install -D -m 755 $(O)/sluice-mounts $(DESTDIR)$(PREFIX)/libexec/sluice-mounts
	setcap $(MOUNTS_CAPS) $(DESTDIR)$(PREFIX)/libexec/sluice-mounts || \
		echo 'no capabilities for sluice-mounts: users have no policies with names until' \
		     '`setcap $(MOUNTS_CAPS) $(PREFIX)/libexec/sluice-mounts`'
	install -D -m 644 deploy/oci/sluice.json $(DESTDIR)$(PREFIX)/share/sluice/oci/sluice.json
	sed -i 's|/usr/local|$(PREFIX)|' $(DESTDIR)$(PREFIX)/share/sluice/oci/sluice.json
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/sluice/cni deploy/cni/10-bridge-sluice.conflist
	install -D -m 644 deploy/systemd/sluiced.service $(DESTDIR)$(PREFIX)/lib/systemd/system/sluiced.service
	sed -i 's|/usr/local|$(PREFIX)|' $(DESTDIR)$(PREFIX)/lib/systemd/system/sluiced.service
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/sluice/systemd/sluiced.service.d \
		deploy/systemd/sluiced.service.d/kubernetes.conf
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/doc/sluice docs/*.md
	install -d $(DESTDIR)$(PREFIX)/share/sluice/policies
	install -D -m 644 deploy/alerts/default.yaml $(DESTDIR)$(PREFIX)/share/sluice/alerts/default.yaml
	cp -r policies/. $(DESTDIR)$(PREFIX)/share/sluice/policies/
	install -D -m 755 deploy/libvirt/qemu-hook $(DESTDIR)$(PREFIX)/share/sluice/libvirt/qemu-hook
	install -D -m 644 deploy/grafana/sluice.json $(DESTDIR)$(PREFIX)/share/sluice/grafana/sluice.json
	install -D -m 644 deploy/prometheus/alerts.yml $(DESTDIR)$(PREFIX)/share/sluice/prometheus/alerts.yml

lint:
	tools/lint

format:
	clang-format -i $$(git ls-files '*.c' '*.h' | grep -v ^vmlinux/)

clean:
	rm -rf $(O)

-include $(shell find $(O) -name '*.d' 2>/dev/null)
