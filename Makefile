# The targets people need; `make help` lists them.

.PHONY: help run test check fmt clippy doc bench bench-report count fuzz config-docs

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "%-14s %s\n", $$1, $$2}'

run: ## listen on 127.0.0.1:8125 and print what arrives
	cargo run --release

test: ## every test: units, protocol conformance, end to end
	cargo test

check: fmt clippy test doc ## what CI runs
	cargo check --lib --no-default-features

fmt:
	cargo fmt --all --check

clippy:
	cargo clippy --all-targets -- -D warnings

doc: ## the library's documentation, warnings denied
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps

bench: ## criterion benches of every room
	cargo bench

config-docs: ## write docs/configuration.md and dist/whippet.yaml from the table of keys
	REGENERATE=1 cargo test --lib config::generate

FUZZ_TARGET ?= datagram
SECONDS ?= 60
fuzz: ## run one fuzz target (FUZZ_TARGET=datagram SECONDS=60); needs cargo-fuzz and a nightly toolchain
	cd fuzz && cargo fuzz run $(FUZZ_TARGET) seeds/$(FUZZ_TARGET) -- -max_total_time=$(SECONDS)
