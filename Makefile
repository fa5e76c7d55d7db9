SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

CARGO ?= cargo
# One build for every test: programs and test binaries with the same features, so that each crate is compiled once.
BUILD = $(CARGO) build --locked --workspace --bins --tests
# The end-to-end tests start clusters of five processes, which mostly wait: a few at once are plenty.
E2E_THREADS ?= 3
FUZZ_SECONDS ?= 60
# A thousand viewers keep every core busy, and so does a flood: each has the machine to itself. No other module may have
# this name: tests are left out of the first run wherever their path has it.
SIEGE = siege::

.PHONY: help run test check e2e drill faults long bench fuzz tools build

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Build release and run the laptop cluster: headwater dev
	$(CARGO) build --locked --release --bins
	./target/release/headwater dev

test: tools build ## Install the tools, run every test, the end-to-end ones in their short form
	RUST_TEST_THREADS=$(E2E_THREADS) $(CARGO) test --locked --workspace -- --skip $(SIEGE)
	$(CARGO) test --locked --workspace --test e2e -- --test-threads 1 $(SIEGE)

check: ## Formatting, clippy, rustdoc, tidy: all must be silent
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps --quiet
	$(CARGO) test --locked --quiet --workspace --test tidy

e2e: tools build ## The end-to-end tests alone; T=name runs those whose name has it
	$(CARGO) test --locked --workspace --test e2e -- --test-threads $(E2E_THREADS) $(T)

drill: faults long ## All that takes long: faults, then long

faults: tools ## Every fault HEADWATER_ROUNDS (50) times on release builds, into docs/failover.md; T=name runs one set
	tests/tools/install.sh drill
	$(CARGO) build --locked --release --bins
	$(CARGO) bench --locked --workspace --bench drill -- $(T)

long: tools build ## The end-to-end tests and the simulation with long counts; T=name runs those whose name has it
	HEADWATER_DRILL=1 $(CARGO) test --locked --workspace --test e2e -- --test-threads 1 $(T)
	HEADWATER_DRILL=1 $(CARGO) test --locked --release --workspace --test sim -- $(T)

bench: tools ## What fan-out costs beside others, into docs/benchmarks.md, and latency as a table; T=name runs one set
	tests/tools/install.sh drill
	$(CARGO) build --locked --release --bins
	$(CARGO) bench --locked --workspace --bench fanout --bench latency -- $(T)

fuzz: ## Every parser under libFuzzer, FUZZ_SECONDS (60) each; T=name runs one
	FUZZ_SECONDS=$(FUZZ_SECONDS) tests/fuzz/run.sh $(T)

tools: ## Install the players and encoders that the tests use
	@tests/tools/install.sh

build: ## Build all programs and tests
	$(BUILD)
