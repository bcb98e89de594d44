# Everything a newcomer needs: `make demo` and `make test`. Both do their own set-up.

CARGO ?= cargo
# skips are written here by the tests and shown at the end
SKIPS := $(CURDIR)/target/skips.txt
RESULTS := $(CURDIR)/target/results.txt

.PHONY: demo test build setup fmt lint failpoints deny summary bench soak breaks deb man clean

## demo: watch a real mount die, hang and be healed, in a namespace of its own
demo:
	@tests/setup demo
	@$(CARGO) build --release --quiet
	@target/release/unwedge demo

## test: formatting, lints, every test there is, dependencies; ends with counts and skips
test: setup
	@rm -f $(SKIPS) $(RESULTS)
	@$(MAKE) --no-print-directory fmt lint failpoints run-tests deny summary

build:
	$(CARGO) build --release

setup:
	@tests/setup test

fmt:
	$(CARGO) fmt --check

lint:
	$(CARGO) clippy --all-targets --all-features --quiet -- -D warnings

# the crash matrix kills this build at every named place
failpoints:
	$(CARGO) build --release --quiet --features failpoints --bin unwedge-mounts --bin unwedge-worker
	@install -D --target-directory=target/failpoints/release target/release/unwedge-mounts target/release/unwedge-worker
	$(CARGO) build --release --quiet

# most tests wait for something more than they compute: one more at a time than there are cores
.PHONY: run-tests
run-tests:
	@set -o pipefail; UNWEDGE_SKIPS=$(SKIPS) UNWEDGE_WORLDS=$${UNWEDGE_WORLDS:-100000} \
		RUST_TEST_THREADS=$${RUST_TEST_THREADS:-$$(( $$(nproc) + 1 ))} \
		$(CARGO) test --no-fail-fast 2>&1 | tee $(RESULTS) || { tests/failed $(RESULTS); exit 1; }

deny:
	@tests/deny $(SKIPS)

summary:
	@tests/summary $(RESULTS) $(SKIPS)

## bench: figures, each beside what it is compared with; none is a pass or fail
bench:
	@tests/setup test
	@$(CARGO) bench --quiet --bench figures

## soak: what takes hours in real time; its last result is in benches/SOAK.md
soak:
	@tests/setup test
	UNWEDGE_TEST_LIMIT_S=7200 $(CARGO) test --release --test soak -- --nocapture --test-threads 3

## breaks: break each promise on purpose and see the test that guards it go red; some 15 minutes
breaks:
	@tests/setup test
	tests/breaks

## deb: a Debian package, into target/deb
deb:
	$(CARGO) build --profile dist
	@packaging/deb target/dist target/deb

## man: man pages and shell completions, into target/man
man: build
	target/release/unwedge generate target/man

clean:
	$(CARGO) clean

SHELL := /bin/bash
