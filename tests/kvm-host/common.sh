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

install_tools() {
  local need missing=()
  for need in "${NEEDS[@]}"; do [ -e "${need%%:*}" ] || missing+=("${need##*:}"); done
  if [ -z "$(find_virtiofsd)" ]; then
    if [ -n "$(apt-cache show virtiofsd 2>/dev/null)" ]; then missing+=(virtiofsd); else missing+=(qemu-system-common); fi
  fi
  [ ${#missing[@]} -gt 0 ] || return 0
  say "installing with apt-get: ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2 ||
    { apt-get update -qq >&2 && apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2; } ||
    die "could not install: ${missing[*]}"
  [ -n "$(find_virtiofsd)" ] || die "no virtiofsd in /usr/libexec or /usr/lib/qemu"
}
