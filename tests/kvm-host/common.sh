# Sourced by run: messages, and the tools that it needs.

# What run needs, as "file that must exist:package".
NEEDS=(/usr/bin/qemu-system-x86_64:qemu-system-x86 /bin/busybox:busybox-static /usr/bin/cpio:cpio
  /usr/bin/xz:xz-utils /usr/bin/zstd:zstd /sbin/modprobe:kmod /usr/bin/setpriv:util-linux)

say() { printf 'kvm-host: %s\n' "$*" >&2; }
die() { say "$*"; exit 125; }

# Debian 12 has virtiofsd in QEMU's package, Debian 13 as a package and program of its own.
find_virtiofsd() {
  local path
  for path in /usr/libexec/virtiofsd /usr/lib/qemu/virtiofsd; do
    if [ -x "$path" ]; then echo "$path"; return; fi
  done
}

# apt-get without its chatter, which is shown when it fails.
apt() {
  local output
  output=$(DEBIAN_FRONTEND=noninteractive apt-get -qq "$@" 2>&1) || { printf '%s\n' "$output" >&2; return 1; }
}
apt_install() { apt install -y --no-install-recommends "$@"; }
apt_has_lists() { compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null; }

install_tools() {
  local need missing=()
  for need in "${NEEDS[@]}"; do [ -e "${need%%:*}" ] || missing+=("${need##*:}"); done
  if [ -n "$(find_virtiofsd)" ] && [ ${#missing[@]} = 0 ]; then return; fi
  apt_has_lists || apt update || die "apt-get update failed; is this machine online?"
  if [ -z "$(find_virtiofsd)" ]; then
    if [ -n "$(apt-cache search --names-only '^virtiofsd$')" ]; then missing+=(virtiofsd); else missing+=(qemu-system-common); fi
  fi
  say "installing with apt-get: ${missing[*]}"
  apt_install "${missing[@]}" || { apt update && apt_install "${missing[@]}"; } || die "could not install: ${missing[*]}"
  [ -n "$(find_virtiofsd)" ] || die "no virtiofsd in /usr/libexec or /usr/lib/qemu"
}
