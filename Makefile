# Tributary. One makefile, nothing generated before it runs; HACKING.md has the tour.
#   make [V=debug|release|asan|tsan|cov|fuzz]   make check   make lint   make top   make install   make deb   make clean
# Sources are found, not listed: src/*/*.c is the library, src/app/main.c and sandbox/*.c are the two programs, tests/*/test_*.c and
# tests/fuzz/fuzz_*.c one program each, tests/support/*.c is linked into all of them; bench/*.c is one program each,
# bench/support/*.c linked into all of those.

VERSION := 0.1.0
V       ?= release
CC      := gcc
PREFIX  ?= /usr/local
PYTHON  := /usr/bin/python3
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
, := ,

# What a variant is. CHECKS compiles in the expensive self-checks (x_check() of a state machine).
CHECKS := 1
ifeq ($V,release)
  CHECKS := 0
  OPT    := -O2 -g -fPIE -fstack-protector-strong -fstack-clash-protection -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
  OPT    += $(if $(filter x86_64-%,$(shell $(CC) -dumpmachine)),-fcf-protection)
  LINK   := -pie -Wl,-z,relro,-z,now,-z,noexecstack
else ifeq ($V,debug)
  OPT    := -O0 -g3
else ifeq ($V,asan)
  OPT    := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
else ifeq ($V,tsan)
  OPT    := -O1 -g -fno-omit-frame-pointer -fsanitize=thread
else ifeq ($V,cov)
  OPT    := -O0 -g --coverage -fprofile-update=atomic
else ifeq ($V,fuzz)
  CC     := clang
  OPT    := -O1 -g -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
  OPT    += -Wno-unknown-warning-option
else
  $(error V=$V: there are debug, release, asan, tsan, cov and fuzz)
endif
# Warnings are errors with the compilers that we build with; a newer one, or clang, may know more warnings than we do.
WERROR := $(if $(filter 12 14,$(if $(filter fuzz,$V),,$(firstword $(subst ., ,$(shell $(CC) -dumpversion))))),-Werror)
B   := build/$V
BIN := $(if $(filter release,$V),build,$B)

# Libraries. build/deps is there where script/deps had to unpack some (Debian 12), and its .pc files count from there. llhttp and
# gumbo are linked statically; yyjson is shared, found in build/deps by what is built here and in ../lib/tributary by what is installed.
PC      := pkg-config
PC_LIBS := libuv libcurl openssl sqlite3 yaml-0.1 libxxhash
PC_NEXT := yyjson libllhttp gumbo
ifneq ($(wildcard build/deps/.complete),)
  PC_DEPS    := PKG_CONFIG_SYSROOT_DIR=build/deps PKG_CONFIG_PATH=build/deps/lib/pkgconfig $(PC)
  DEV_RPATH  := -Wl,-rpath,'$$ORIGIN/deps/lib:$$ORIGIN/../deps/lib:$$ORIGIN/../../../deps/lib'
  INST_RPATH := -Wl,-rpath,'$$ORIGIN/../lib/tributary'
else
  PC_DEPS    := $(PC)
endif
ifneq ($(filter-out clean distclean top format lint-format lint-layers lint-banned lint-scripts,$(or $(MAKECMDGOALS),all)),)
  LIB_CFLAGS := $(shell $(PC) --cflags $(PC_LIBS) 2>/dev/null) $(patsubst -I%,-isystem %,$(shell $(PC_DEPS) --cflags $(PC_NEXT)))
  STATIC_LIBS := $(subst -lllhttp,-l:libllhttp.a,$(subst -lgumbo,-l:libgumbo.a,$(shell $(PC_DEPS) --libs $(PC_NEXT))))
  LIB_LIBS   := $(STATIC_LIBS) $(shell $(PC) --libs $(PC_LIBS))
  ifeq ($(and $(filter -lyyjson,$(LIB_LIBS)),$(filter -luv,$(LIB_LIBS))),)
    $(error libraries are missing (above); script/deps build installs them)
  endif
endif

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2 -Wwrite-strings -Wundef \
        -Wno-format-truncation $(WERROR)# what snprintf cuts is cut on purpose; with sanitizers gcc sees it where it is not
CPPFLAGS_ALL := -Isrc -D_GNU_SOURCE -DTRIBUTARY_VERSION='"$(VERSION)"' -DTRIBUTARY_CHECKS=$(CHECKS) $(LIB_CFLAGS) $(CPPFLAGS)
CFLAGS_ALL   := -std=gnu17 -fno-common -pthread $(WARN) $(OPT) $(CFLAGS)
LDFLAGS_ALL  := -pthread $(OPT) $(LINK) $(LDFLAGS)
Q := $(if $(VERBOSE),,@)# VERBOSE=1 shows the commands
compile = $(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) -MMD -MP

LIB_SRC     := $(filter-out src/app/main.c,$(wildcard src/*/*.c))
SANDBOX_SRC := $(wildcard sandbox/*.c)
SUPPORT_SRC := $(wildcard tests/support/*.c)
TEST_SRC    := $(wildcard tests/*/test_*.c)
FUZZ_SRC    := $(wildcard tests/fuzz/fuzz_*.c)
BENCH_SRC   := $(wildcard bench/*.c)
BENCH_LIB   := $(wildcard bench/support/*.c)
CRASH_SRC   := $(wildcard tests/crash/*.c)
POWER       := $B/power/block_log.so $B/power/weak_flush.so
SIM_SRC     := $(filter-out tests/sim/test_%,$(wildcard tests/sim/*.c))
FAULT_SRC   := $(filter-out tests/fault/test_%,$(wildcard tests/fault/*.c)) tests/sim/intercom.c
WEB         := $(shell find web 2>/dev/null)
SANDBOX_WEB := $(shell find sandbox/web 2>/dev/null)
LIB   := $B/libtributary.a
TESTS := $(TEST_SRC:%.c=$B/%)
FUZZ  := $(FUZZ_SRC:%.c=$B/%)
BENCH := $(BENCH_SRC:bench/%.c=$B/bench_%)
objects = $(patsubst %.c,$B/%.o,$1)

all: $(BIN)/tributary $(BIN)/tributary-sandbox
tests: $(TESTS) $(if $(filter fuzz,$V),,$(FUZZ)) $(if $(filter release,$V),$B/crash_scenario)
fuzzers: $(FUZZ)
bench: $(BENCH)
$(BIN)/tributary: $B/src/app/main.o
$(BIN)/tributary-sandbox: $(call objects,$(SANDBOX_SRC)) $B/gen/sandbox_web_files.o
$(TESTS): $B/%: $B/%.o $(call objects,$(SUPPORT_SRC))
$(FUZZ): $B/%: $B/%.o $B/tests/fuzz/input.o $B/tests/fuzz/$(if $(filter fuzz,$V),json_mutator,replay).o
$B/tests/fuzz/fuzz_database: $(if $(filter fuzz,$V),$B/tests/fuzz/sqlite_memory.o)
$B/tests/fuzz/test_json_mutator: $B/tests/fuzz/json_mutator.o
$(filter $B/tests/sim/%,$(TESTS)) $B/sim: $(call objects,$(filter-out tests/sim/main.c,$(SIM_SRC)))
$B/sim: $B/tests/sim/main.o
$B/sim: EXTRA = $(shell sed -n 's,^// LDFLAGS: *,,p' tests/sim/test_sim.c)
$B/tests/fault/test_every_failure: $(call objects,$(FAULT_SRC))
$(BENCH): $B/bench_%: $B/bench/%.o $(call objects,$(BENCH_LIB))
$B/crash_scenario: $(call objects,$(CRASH_SRC) $(SUPPORT_SRC))
$B/crash_scenario: EXTRA = -lcmocka
$(TESTS): EXTRA = -lcmocka $(shell sed -n 's,^// LDFLAGS: *,,p' $(@:$B/%=%.c))
$(FUZZ):  EXTRA = $(if $(filter fuzz,$V),-fsanitize=fuzzer) $(shell sed -n 's,^// LDFLAGS: *,,p' $(@:$B/%=%.c))
$(BIN)/tributary $(BIN)/tributary-sandbox $(TESTS) $(FUZZ) $(BENCH) $B/sim $B/crash_scenario: $(LIB) $B/flags
	@mkdir -p $(@D) && echo "  link $@"
	$Q$(CC) $(LDFLAGS_ALL) -o $@ $(filter %.o,$^) $(LIB) $(EXTRA) $(LIB_LIBS) $(DEV_RPATH)

$(LIB): $(call objects,$(LIB_SRC)) $B/gen/web_files.o $B/sources
	$Qrm -f $@ && $(AR) rcs $@ $(filter %.o,$^)
$B/%.o: %.c $B/flags
	@mkdir -p $(@D) && echo "  cc $@"$(if $(filter cov,$V), && rm -f $(@:.o=.gcda))
	$Q$(compile) -Itests -I. -c -o $@ $<
$B/gen/%.o: $B/gen/%.c $B/flags
	$Q$(compile) -c -o $@ $<
$B/gen/web_files.c: script/embed $B/sources $(WEB)
	$Qscript/embed web_files web $@
$B/gen/sandbox_web_files.c: script/embed $B/sources $(SANDBOX_WEB)
	$Qscript/embed sandbox_web_files sandbox/web $@
# These change only when what they hold does: other flags compile everything anew, a file that has gone leaves the library too.
$B/flags: HOLDS = $(compile) $(LDFLAGS_ALL) $(LIB_LIBS)
$B/sources: HOLDS = $(LIB_SRC) $(WEB) $(SANDBOX_WEB)
$B/flags $B/sources: FORCE
	@mkdir -p $(@D)
	@echo '$(subst ','\'',$(HOLDS))' | cmp -s - $@ || echo '$(subst ','\'',$(HOLDS))' > $@
FORCE:
-include $(shell find $B -name '*.d' 2>/dev/null)

check: all tests
	@$(PYTHON) script/run-tests --variant=$V $(TESTS) $(FUZZ)

# The deterministic simulator (docs/internals/simulator.md): make sim SIM='--seeds 1..50000'; one history: build/release/sim --seed N
SIM := --count 2000
sim: $B/sim
	$B/sim $(SIM)

# What the tests run of src/, and whether that is as much as is demanded (docs/internals/coverage.md). Counts add up over runs.
cov-fresh:
	@find build/cov -name '*.gcda' -delete 2>/dev/null; true
cov: cov-fresh
	$(MAKE) V=cov check SIM='--seeds 1001..1300' sim
	TRIBUTARY_BIN=$(CURDIR)/build/cov/tributary TRIBUTARY_SANDBOX_BIN=$(CURDIR)/build/cov/tributary-sandbox \
	 $(PYTHON) -m pytest -q -n 2 -m 'not release_only' tests/system
	script/coverage

# kill -9 at every system call, calls that fail, a million messages waiting: for long (HACKING.md). Every tests/crash/loop_*.py is
# run, prints a line for each of its loops, and fails on a violation or when its negative control is not found out.
crash: all bench $B/crash_scenario $(POWER)
	@status=0; for loop in $(sort $(wildcard tests/crash/loop_*.py)); do $(PYTHON) $$loop || status=1; done; exit $$status

# The same hostile bytes to our server and to nginx, apache2, haproxy and lighttpd, and through these as proxies: for minutes, with
# script/deps test lab (docs/internals/http-differential.md). Every tests/differential/loop_*.py, as with crash.
differential: all
	@status=0; for loop in $(sort $(wildcard tests/differential/loop_*.py)); do $(PYTHON) $$loop || status=1; done; exit $$status

# For hours under a mixed load, with restarts, kills, clocks that are set, scarce memory, backups (tests/soak/soak.py; script/deps lab):
# what grows, what is lost. The report is build/soak/report.json, with a picture.
HOURS := 1
soak: all
	@$(PYTHON) tests/soak/soak.py --hours $(HOURS) $(if $(SEED),--seed $(SEED))
# The power goes, on ext4, XFS and btrfs, as root, with script/deps crash (docs/reliability.md): STATES=100000 FS=xfs SEED=7. And what
# the daemon makes of damaged files.
$(POWER): $B/power/%.so: tests/power/%.c $B/flags
	@mkdir -p $(@D) && echo "  cc $@"
	$Q$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) -fPIC -shared -o $@ $<
powerloss: all $(POWER)
	@status=0; $(PYTHON) tests/power/loop_powerloss.py $(STATES:%=--states %) $(FS:%=--kinds %) $(SEED:%=--seed %) || status=1; \
	 $(PYTHON) tests/power/loop_damage.py $(SEED:%=--seed %) || status=1; exit $$status

# The n-th thing that can fail fails, for every n (tests/fault/life.h); make check takes a sample of them. FAULT=sql: only the
# sweeps with that in their name.
fault: $B/tests/fault/test_every_failure
	@directory=$$(mktemp -d) && TMPDIR=$$directory FULL=1 $< $(FAULT); status=$$?; rm -rf $$directory; exit $$status

# The fuzz targets (docs/internals/fuzzing.md), one after another: make fuzz TIME=60, make fuzz RUNS=1000000 TARGET='http config'.
# fuzz-minimise takes into tests/fuzz/corpus what of their finds is worth it.
TIME := 60
fuzz fuzz-minimise:
	@$(MAKE) -s V=fuzz fuzzers
	@$(PYTHON) script/fuzz $(if $(RUNS),--runs=$(RUNS),--time=$(TIME)) $(if $(filter %-minimise,$@),--minimise) $(TARGET)

# Does what an input of theirs costs grow as it does? (tests/fuzz/growth.py)
growth:
	@$(MAKE) -s V=release fuzzers
	@$(PYTHON) tests/fuzz/growth.py $(TARGET)

# Slow, silent, greedy and vanishing clients by the thousand beside honest ones: root, script/deps test lab, a quarter of an hour.
hostile-network: all
	@$(PYTHON) tests/hostile/network.py

# The lints, each by itself too: make lint-format, lint-tidy ... What was found good is remembered under build/lint, by file; a file's
# object stands for all it includes. gcc's analyzer leaves tests/ alone, not knowing how cmocka ends one, and leaks to the sanitizer,
# since it cannot follow what uthash and intrusive lists own.
LINTS    := format layers banned scripts headers cppcheck tidy analyzer
LINT_C   := $(wildcard src/*/*.c sandbox/*.c tests/*/*.c $(BENCH_SRC) $(BENCH_LIB))
LINT_H   := $(wildcard src/*/*.h sandbox/*.h tests/*/*.h bench/*.h bench/*/*.h)
ANALYZER := -fanalyzer -O0 -U_FORTIFY_SOURCE -Wno-analyzer-malloc-leak
lint:
	@script/lint $(LINTS)
lint-format:
	@clang-format --dry-run -Werror $(LINT_C) $(LINT_H)
format:
	clang-format -i $(LINT_C) $(LINT_H)
lint-layers lint-banned:
	@script/$@
lint-scripts:
	@for f in script/* .ci/*; do case $$(head -n 1 $$f) in *python*) $(PYTHON) -c 'import ast, sys; ast.parse(open(sys.argv[1]).read())' $$f ;; \
	 *bash*) bash -n $$f ;; *) sh -n $$f ;; esac || exit 1; done
	@script/mutations --check
lint-headers: $(LINT_H:%=build/lint/%.alone)
build/lint/%.alone: % $(LINT_H)
	@mkdir -p $(@D) && echo '#include "$<"' | $(CC) $(CPPFLAGS_ALL) -Itests -I. $(CFLAGS_ALL) -x c -fsyntax-only - && touch $@
lint-cppcheck: # it does not see that must() ends the program (nullPointerRedundantCheck)
	@mkdir -p build/lint/cppcheck build/lint/include && ln -sf /usr/include/uthash.h /usr/include/utlist.h build/lint/include/
	@cppcheck -q -j2 --cppcheck-build-dir=build/lint/cppcheck --std=c11 --platform=unix64 --enable=warning,performance,portability \
	 --inline-suppr --suppress=nullPointerRedundantCheck --error-exitcode=1 -Isrc -Itests -Ibuild/lint/include --include=.cppcheck.h \
	 -DTRIBUTARY_CHECKS=1 -DTRIBUTARY_VERSION='""' $(LINT_C)
lint-tidy: $(LINT_C:%=build/lint/%.tidy)
build/lint/%.c.tidy: $B/%.o .clang-tidy
	@mkdir -p $(@D) && clang-tidy --quiet $*.c -- -std=gnu17 $(CPPFLAGS_ALL) -Itests -I. 2>$@.err || { cat $@.err; false; } && touch $@
lint-analyzer: $(patsubst %,build/lint/%.analyzed,$(filter src/%,$(LINT_C)))
build/lint/%.c.analyzed: $B/%.o # where callbacks multiply the paths gcc 12 finds no end: such a file gets 6 s of processor and passes
	@mkdir -p $(@D) && ( ulimit -t 6; $(compile) -MF /dev/null $(ANALYZER) -c -o /dev/null $*.c 2>$@.err ) || \
	 { grep -q 'terminated program' $@.err && echo "$*.c: too much for the analyzer"; } || { cat $@.err; false; } && touch $@

# To read, not to fail: the longest functions and files.
top:
	@script/top src sandbox

# The installed programs are linked once more, to look for their libraries beside themselves and not in this tree.
$B/install/tributary: $B/src/app/main.o
$B/install/tributary-sandbox: $(call objects,$(SANDBOX_SRC)) $B/gen/sandbox_web_files.o
$B/install/%: $(LIB) $B/flags
	@mkdir -p $(@D)
	$Q$(CC) $(LDFLAGS_ALL) -o $@ $(filter %.o,$^) $(LIB) $(LIB_LIBS) $(INST_RPATH)
install: $B/install/tributary $B/install/tributary-sandbox
	install -D -t $(DESTDIR)$(PREFIX)/bin $^
	$(if $(INST_RPATH),install -D -m 644 -t $(DESTDIR)$(PREFIX)/lib/tributary build/deps/lib/libyyjson.so.0)
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/doc/tributary README.md CHANGELOG.md LICENSE
	$(foreach page,$(wildcard docs/man/*.[1-8]),install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/man/man$(subst .,,$(suffix $(page))) $(page) &&) true
deb: $B/install/tributary $B/install/tributary-sandbox
	script/deb $(VERSION)

clean: # build/deps stays: fetching it again is the slow part
	rm -rf $(filter-out build/deps,$(wildcard build/*))
distclean:
	rm -rf build

.SECONDARY:
.PHONY: all tests fuzzers bench sim crash powerloss soak differential fault hostile-network fuzz fuzz-minimise growth check cov cov-fresh format $(LINTS:%=lint-%) lint top install deb clean distclean FORCE
