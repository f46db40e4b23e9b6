#!/bin/bash
# Builds the guest kernel: an uncompressed, stripped ELF vmlinux from Debian's linux-source package
# and the config fragments beside this script.
#
#   build.sh OUT            build if need be, and put vmlinux at OUT
#   build.sh --print-path   build if need be, and print the path of the cached vmlinux
#
# A build is cached by the hash of the fragments, this script and the source package under
# ${XDG_CACHE_HOME:-~/.cache}/hull/kernel/<hash>/ (vmlinux, config, System.map). With a cached build
# nothing is fetched. The source is the newest that apt's package lists know; apt checks its signature.
set -euo pipefail
export LC_ALL=C

PACKAGE=linux-source-6.12
# What the kernel's build needs beyond dpkg, tar and coreutils, as "file that must exist:package".
NEEDS=(/usr/bin/gcc:gcc /usr/bin/make:make /usr/bin/flex:flex /usr/bin/bison:bison /usr/bin/bc:bc
  /usr/bin/xz:xz-utils /usr/include/libelf.h:libelf-dev /usr/include/stdlib.h:libc6-dev)

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ISA=$(uname -m)
FRAGMENTS=("$HERE/base.config" "$HERE/$ISA.config")
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/hull/kernel
STARTED=$SECONDS

say() { printf 'kernel: %s (%d s)\n' "$*" $((SECONDS - STARTED)) >&2; }
die() { printf 'kernel: %s\n' "$*" >&2; exit 1; }
usage() { die "usage: build.sh OUT | build.sh --print-path [OUT]"; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null; then sudo "$@"
  else die "needs root, or sudo, for: $*"; fi
}

# apt-get without its chatter, which is shown when it fails.
apt() {
  local output
  output=$(as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq "$@" 2>&1) || { printf '%s\n' "$output" >&2; return 1; }
}
apt_install() { apt install -y --no-install-recommends "$@"; }

install_tools() {
  local need missing=()
  for need in "${NEEDS[@]}"; do [ -e "${need%%:*}" ] || missing+=("${need##*:}"); done
  [ ${#missing[@]} -gt 0 ] || return 0
  say "installing with apt-get: ${missing[*]}"
  apt_install "${missing[@]}" || { apt update && apt_install "${missing[@]}"; } ||
    die "could not install the build tools: ${missing[*]}"
}

# Version and SHA-256 of the newest source package in apt's lists; nothing if it is in none.
candidate() {
  apt-cache --no-all-versions show "$PACKAGE" 2>/dev/null |
    awk '/^Version:/ { v = $2 } /^SHA256:/ { h = $2 } END { if (v && h) print v, h }' || true
}

# Sets VERSION, SHA256 and KEY. apt is asked again only when its lists have changed since the last time, so a
# cached build is found without it.
resolve() {
  local known=$CACHE/source found
  if [ ! -s "$known" ] || [ /var/lib/apt/lists -nt "$known" ]; then
    found=$(candidate)
    if [ -n "$found" ]; then printf '%s\n' "$found" >"$known.$$" && mv "$known.$$" "$known"; fi
    [ -s "$known" ] || return 1
    touch "$known"
  fi
  read -r VERSION SHA256 <"$known"
  KEY=$( { cat "${FRAGMENTS[@]}" "$HERE/build.sh"; echo "$VERSION $SHA256"; } | sha256sum | cut -c1-32)
}

cached() { [ -e "$CACHE/$KEY/vmlinux" ]; }

# Before a download the lists must be fresh: the archive forgets the versions of old ones.
refresh() {
  say "reading the package lists (apt-get update)"
  apt update || say "apt-get update failed; going on with the lists as they are"
  resolve || die "no package $PACKAGE: Debian 13, or Debian 12 with its security archive, has it"
}

is_source() { [ -e "$1" ] && echo "$SHA256  $1" | sha256sum --check --status; }

# Puts the source package at $1, whose content is known by its hash.
fetch() {
  local deb=$1 folder=$WORK/fetch
  if is_source "$deb"; then return; fi
  say "downloading $PACKAGE $VERSION (about 150 MB)"
  mkdir "$folder"
  (cd "$folder" && apt-get download -qq "$PACKAGE=$VERSION" >"$LOG" 2>&1) || fail "could not download $PACKAGE $VERSION"
  is_source "$folder"/*.deb || fail "the downloaded $PACKAGE $VERSION does not have the hash $SHA256"
  rm -f "$CACHE"/*.deb
  mv "$folder"/*.deb "$deb"
}

unpack() {
  say "unpacking"
  mkdir "$WORK/src"
  dpkg-deb --fsys-tarfile "$1" | tar -xO "./usr/src/$PACKAGE.tar.xz" |
    tar -xJ -C "$WORK/src" --strip-components=1 || fail "could not unpack $1 (3 GB are needed in $CACHE)"
}

# Symbols asked for that the final config does not have, and symbols that no Kconfig file knows.
unmet() {
  awk '
    FILENAME == ARGV[1] { known[$0]; next }
    !/^CONFIG_/ { next }
    { at = index($0, "="); name = substr($0, 1, at - 1); value = substr($0, at + 1) }
    FILENAME == ARGV[2] { final[name] = value; next }
    !(substr(name, 8) in known) { print "  " name " is no symbol of this kernel"; next }
    { got = (name in final) ? final[name] : "n" }
    got != value { print "  " name " is " got ", asked for is " value }
  ' <(grep -rhE --include='Kconfig*' '^[[:space:]]*(menu)?config [A-Za-z0-9_]+' "$WORK/src" | awk '{ print $2 }' | sort -u) \
    "$WORK/src/.config" "${FRAGMENTS[@]}"
}

configure() {
  local wrong
  say "configuring"
  cat "${FRAGMENTS[@]}" >"$WORK/all.config"
  make -C "$WORK/src" KCONFIG_ALLCONFIG="$WORK/all.config" allnoconfig >"$LOG" 2>&1 || fail "allnoconfig failed"
  wrong=$(unmet)
  [ -z "$wrong" ] || die "the final .config is not what the fragments ask for:
$wrong"
}

compile() {
  local pid ticks=0 date
  # uname -v shows the date of the source, not of the build: the same input gives the same kernel.
  date=$(date -u -R -r "$WORK/src/Makefile")
  say "compiling with $(nproc) jobs (4 to 10 minutes on two cores)"
  make -C "$WORK/src" -j"$(nproc)" vmlinux KBUILD_BUILD_TIMESTAMP="$date" KBUILD_BUILD_VERSION=1 \
    KBUILD_BUILD_USER=hull KBUILD_BUILD_HOST=hull >"$LOG" 2>&1 &
  pid=$!
  while sleep 1 && kill -0 "$pid" 2>/dev/null; do
    if [ $((++ticks % 20)) = 0 ]; then say "compiling: $(grep -c '^  CC ' "$LOG") files done"; fi
  done
  wait "$pid" || fail "the kernel did not compile"
}

# Renames the finished folder into place: a cached build is there whole or not at all.
publish() {
  mkdir "$WORK/done"
  strip -o "$WORK/done/vmlinux" "$WORK/src/vmlinux"
  cp "$WORK/src/.config" "$WORK/done/config"
  cp "$WORK/src/System.map" "$WORK/done/System.map"
  mv "$WORK/done" "$CACHE/$KEY"
  say "built Linux $VERSION: $(($(stat -c %s "$CACHE/$KEY/vmlinux") >> 10)) KiB"
}

# Dies with the tail of the log, which is kept.
fail() {
  cp "$LOG" "$CACHE/failed.log"
  tail -n 25 "$LOG" >&2
  die "$* (whole log: $CACHE/failed.log)"
}

build() {
  exec 9>"$CACHE/lock"
  flock -n 9 || { say "waiting for another build"; flock 9; }
  if cached; then return; fi
  rm -rf "$CACHE"/work.*
  WORK=$(mktemp -d "$CACHE/work.XXXXXX")
  LOG=$WORK/log
  : >"$LOG"
  trap 'rm -rf "$WORK"' EXIT
  trap 'kill $(jobs -p) 2>/dev/null; wait; exit 130' INT TERM HUP
  install_tools
  fetch "$CACHE/$PACKAGE.deb"
  unpack "$CACHE/$PACKAGE.deb"
  configure
  compile
  publish
}

main() {
  local print='' out=''
  while [ $# -gt 0 ]; do
    case $1 in
      --print-path) print=1 ;;
      -*) usage ;;
      *) [ -z "$out" ] || usage; out=$1 ;;
    esac
    shift
  done
  [ -n "$print$out" ] || usage
  [ -e "$HERE/$ISA.config" ] || die "there is no guest kernel config for $ISA"
  mkdir -p "$CACHE"
  resolve || refresh
  if ! cached && ! is_source "$CACHE/$PACKAGE.deb"; then refresh; fi
  cached || build
  if [ -n "$out" ] && ! cmp -s "$CACHE/$KEY/vmlinux" "$out"; then
    cp --reflink=auto "$CACHE/$KEY/vmlinux" "$out.$$" && mv "$out.$$" "$out"
  fi
  if [ -n "$print" ]; then echo "$CACHE/$KEY/vmlinux"; fi
}

main "$@"
