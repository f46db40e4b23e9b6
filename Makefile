# hull: build, run, test. Everything ends up in build/, where the binaries find each other.

CARGO ?= cargo
PREFIX ?= /usr/local
DESTDIR ?=
UNITS = $(PREFIX)/lib/systemd/system
TARGET_DIR ?= $(or $(CARGO_TARGET_DIR),target)
RELEASE = $(TARGET_DIR)/x86_64-unknown-linux-gnu/release
BINARIES = hull hull-vmm hull-init hull-fs
SHARED = bash-completion/completions zsh/site-functions fish/vendor_completions.d man/man1

.PHONY: all run test bench abuse fuzz binaries kernel deps install uninstall clean

all: binaries kernel ## Build hull and its guest kernel

run: all ## Run a first container, in a virtual machine
	tests/demo

test: all ## fmt, clippy, unit tests and the end-to-end suite in both modes
	tests/run

bench: all ## Compare hull with its peers on this machine
	tests/bench/run

abuse: all ## Kill hull's processes at random for two minutes
	tests/run abuse

fuzz: deps ## Fuzz what reads images, FUZZ_SECONDS (600) each target
	HULL_FUZZ_SECONDS=$(or $(FUZZ_SECONDS),600) tests/fuzz/run

deps: ## Install what the build needs and this machine lacks
	@.ci/deps

binaries: deps
	$(CARGO) build --release --workspace --bins
	@mkdir -p build
	@for name in $(BINARIES); do cmp -s $(RELEASE)/$$name build/$$name || install -m 755 $(RELEASE)/$$name build/$$name; done

kernel:
	@mkdir -p build
	@kernel-config/build.sh build/vmlinux

install: ## Install to $(PREFIX)
	install -D -m 755 build/hull $(DESTDIR)$(PREFIX)/bin/hull
	install -D -m 755 build/hull-vmm $(DESTDIR)$(PREFIX)/lib/hull/hull-vmm
	install -D -m 755 build/hull-init $(DESTDIR)$(PREFIX)/lib/hull/hull-init
	install -D -m 755 build/hull-fs $(DESTDIR)$(PREFIX)/lib/hull/hull-fs
	install -D -m 644 build/vmlinux $(DESTDIR)$(PREFIX)/lib/hull/vmlinux
	install -d $(DESTDIR)$(UNITS)
	sed 's|@PREFIX@|$(PREFIX)|' engine/systemd/hull.service.in >$(DESTDIR)$(UNITS)/hull.service
	install -d $(addprefix $(DESTDIR)$(PREFIX)/share/,$(SHARED))
	HULL_CONFIG=/dev/null build/hull completion bash >$(DESTDIR)$(PREFIX)/share/bash-completion/completions/hull
	HULL_CONFIG=/dev/null build/hull completion zsh >$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_hull
	HULL_CONFIG=/dev/null build/hull completion fish >$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/hull.fish
	HULL_CONFIG=/dev/null build/hull man $(DESTDIR)$(PREFIX)/share/man/man1
	@echo "To start containers at boot: systemctl enable --now hull; without systemd, run hull system start --wait"

uninstall:
	rm -rf $(DESTDIR)$(PREFIX)/bin/hull $(DESTDIR)$(PREFIX)/lib/hull $(DESTDIR)$(UNITS)/hull.service
	rm -f $(DESTDIR)$(PREFIX)/share/bash-completion/completions/hull
	rm -f $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_hull
	rm -f $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/hull.fish
	rm -f $(DESTDIR)$(PREFIX)/share/man/man1/hull.1 $(DESTDIR)$(PREFIX)/share/man/man1/hull-*.1

clean:
	$(CARGO) clean
	rm -rf build
