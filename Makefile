# make demo   builds tenantctl and runs the whole story on a throw-away cluster
# make test   everything CI checks: format, lints, unit, integration, CLI snapshots, generated docs
# Both install what is missing on Debian and its relatives: PostgreSQL 15 or later, a C compiler, Rust.

RUST_MIN := 1.94.1
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
CARGO := PATH="$$PATH:$$HOME/.cargo/bin" cargo

.PHONY: help demo test docs build deps test-deps lint-deps clean

help:
	@echo "make demo    build, then run the whole story on a throw-away PostgreSQL cluster"
	@echo "make test    format, lints, unit and integration tests, generated docs"
	@echo "make build   the release binary: target/release/tenantctl"
	@echo "make docs    regenerate completions/ and man/"
	@echo "make clean   remove what cargo built"

demo: deps
	@$(CARGO) build --release --locked
	@$(CARGO) run --release --locked --quiet -- demo

build: deps
	@$(CARGO) build --release --locked

test: deps test-deps lint-deps
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets --locked -- -D warnings
	$(CARGO) test --locked

docs: deps
	UPDATE_DOCS=1 $(CARGO) test --locked --test it docs::

clean:
	$(CARGO) clean

deps:
	@set -e; \
	install() { \
	    echo "installing $$*"; \
	    command -v apt-get >/dev/null || { echo "please install $$* by hand: this machine has no apt-get" >&2; exit 1; }; \
	    $(SUDO) apt-get update -qq && DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -y -qq --no-install-recommends $$* >/dev/null; \
	}; \
	command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || install postgresql; \
	command -v cc >/dev/null || install gcc libc6-dev; \
	export PATH="$$PATH:$$HOME/.cargo/bin"; \
	if ! command -v cargo >/dev/null; then install rustup ca-certificates || true; fi; \
	if command -v rustup >/dev/null && ! cargo --version >/dev/null 2>&1; then rustup toolchain install stable --profile minimal; rustup default stable; fi; \
	have=$$(rustc --version 2>/dev/null | cut -d' ' -f2); \
	if [ "$$(printf '%s\n' $(RUST_MIN) "$${have:-0}" | sort -V | head -n1)" != "$(RUST_MIN)" ]; then \
	    echo "Rust $(RUST_MIN) or later is needed (found: $${have:-none}). Debian 13 has it as the package rustup;" >&2; \
	    echo "elsewhere see the installation page of the Rust project." >&2; exit 1; \
	fi

# Programs that some tests drive, each with its package; a test whose program is missing says so and is skipped. The packages
# of daemons would start them, and at every boot: a policy of Debian's own keeps the first away, and what is new is disabled.
TEST_PROGRAMS := zstd:zstd age:age promtool:prometheus prometheus:prometheus prometheus-alertmanager:prometheus-alertmanager \
    prometheus-postgres-exporter:prometheus-postgres-exporter redis-server:redis-server chromium:chromium \
    /usr/sbin/pgbouncer:pgbouncer

test-deps:
	@missing=; \
	for pair in $(TEST_PROGRAMS); do \
	    command -v $${pair%:*} >/dev/null && continue; \
	    case " $$missing " in *" $${pair#*:} "*) ;; *) missing="$$missing $${pair#*:}" ;; esac; \
	done; \
	[ -n "$$missing" ] || exit 0; \
	if ! command -v apt-get >/dev/null; then echo "please install by hand, or their tests are skipped:$$missing" >&2; exit 0; fi; \
	policy=/usr/sbin/policy-rc.d; \
	if [ ! -e $$policy ]; then \
	    trap '$(SUDO) rm -f '$$policy EXIT; trap 'exit 130' INT TERM; \
	    printf '#!/bin/sh\nexit 101\n' | $(SUDO) tee $$policy >/dev/null && $(SUDO) chmod 755 $$policy; \
	fi; \
	$(SUDO) apt-get update -qq || echo "the lists of packages cannot be renewed; trying all the same" >&2; \
	for package in $$missing; do \
	    echo "installing $$package"; \
	    if ! $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$package >/dev/null; then \
	        echo "please install $$package by hand, or its tests are skipped" >&2; \
	    elif [ -d /run/systemd/system ]; then \
	        $(SUDO) systemctl disable --now $$package >/dev/null 2>&1 || true; \
	    fi; \
	done

lint-deps:
	@export PATH="$$PATH:$$HOME/.cargo/bin"; \
	cargo fmt --version >/dev/null 2>&1 || rustup component add rustfmt; \
	cargo clippy --version >/dev/null 2>&1 || rustup component add clippy
