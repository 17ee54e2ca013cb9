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
	@target/release/tenantctl demo

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

# Programs that some tests drive; a test whose program is missing says so and is skipped.
test-deps:
	@for program in zstd age; do \
	    command -v $$program >/dev/null && continue; \
	    echo "installing $$program"; \
	    { $(SUDO) apt-get install -y -qq --no-install-recommends $$program >/dev/null; } || echo "please install $$program by hand, or its tests are skipped" >&2; \
	done

lint-deps:
	@export PATH="$$PATH:$$HOME/.cargo/bin"; \
	cargo fmt --version >/dev/null 2>&1 || rustup component add rustfmt; \
	cargo clippy --version >/dev/null 2>&1 || rustup component add clippy
