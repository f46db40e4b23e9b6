# Sourced by run: the test host's kernel and initramfs, from Debian's cloud kernel package, which is
# unpacked in the cache and not installed.

IMAGE_PATTERN='linux-image-6\.12\..*-cloud-amd64-unsigned'
# Loaded at start. The others load when asked for: the package's whole module tree is mounted inside.
MODULES=(kvm-amd overlay tun loop)

newest_package() { apt-cache search --names-only "^$IMAGE_PATTERN\$" | awk '{ print $1 }' | sort -V | tail -n 1; }

# Sets KERNEL, INITRAMFS and MODULE_TREE. The cached set is named by what made it, and stays in use until that changes.
prepare_kernel() {
  local key
  key=$(cat "$HERE/kernel.sh" "$HERE/init" | sha256sum | cut -c1-16)
  KERNEL=$CACHE/$key/vmlinux INITRAMFS=$CACHE/$key/initramfs MODULE_TREE=$CACHE/$key/modules
  [ ! -e "$CACHE/$key" ] || return 0
  mkdir -p "$CACHE"
  (
    flock 9
    [ ! -e "$CACHE/$key" ] || exit 0
    WORK=$(mktemp -d "$CACHE/work.XXXXXX")
    trap 'rm -rf "$WORK"' EXIT
    make_cache "$WORK"
    rm -rf "$WORK/download"
    mv "$WORK" "$CACHE/$key"
  ) 9>"$CACHE/lock"
  [ -e "$INITRAMFS" ] || die "could not prepare the test host's kernel"
}

# Downloads the newest package into the folder $1.
download() {
  local package
  package=$(newest_package)
  [ -n "$package" ] || return 1
  say "downloading $package (about 35 MB)"
  (cd "$1" && apt-get download -qq "$package" >"$1/log" 2>&1)
}

make_cache() {
  local work=$1 version
  mkdir "$work/download" "$work/tree"
  # The archive forgets the versions of old lists: a second try is with new ones.
  download "$work/download" || { apt update && download "$work/download"; } || {
    cat "$work/download/log" >&2 || true
    die "could not download ${IMAGE_PATTERN//\\/}: Debian 13, or Debian 12 with its security archive, has it"
  }
  dpkg -x "$work"/download/*.deb "$work/tree"
  # Debian 13 ships modules in /usr/lib, Debian 12 in /lib.
  if [ -d "$work/tree/usr/lib/modules" ]; then mv "$work/tree/usr/lib/modules" "$work/"; else mv "$work/tree/lib/modules" "$work/"; fi
  version=$(ls "$work/modules")
  uncompressed "$work/tree/boot/vmlinuz-$version" >"$work/vmlinux"
  mkdir -p "$work/lib" "$work/usr/lib" # kmod looks in one or the other
  ln -s "$work/modules" "$work/lib/modules"
  ln -s "$work/modules" "$work/usr/lib/modules"
  depmod -b "$work" "$version"
  make_initramfs "$work" "$version"
  rm -rf "${work:?}/tree" "${work:?}/lib" "${work:?}/usr"
}

# The ELF inside a bzImage: unpacking it here, once, saves two seconds of each start.
# Linux/x86 boot protocol: setup_sects at 0x1f1, payload_offset at 0x248, payload_length at 0x24c.
uncompressed() {
  local sectors offset length
  sectors=$(od -An -tu1 -j $((0x1f1)) -N 1 "$1")
  offset=$(od -An -tu4 -j $((0x248)) -N 4 "$1")
  length=$(od -An -tu4 -j $((0x24c)) -N 4 "$1")
  # The last four bytes of the payload are the size of its content, not part of the stream.
  dd if="$1" bs=1M iflag=skip_bytes,count_bytes skip=$(((sectors + 1) * 512 + offset)) count=$((length - 4)) \
    status=none | decompress
}

decompress() {
  local stream
  stream=$(mktemp)
  cat >"$stream"
  case $(od -An -tx1 -N 4 "$stream" | tr -d ' ') in
    28b52ffd) zstd -dcq <"$stream" ;;
    fd377a58) xz -dc <"$stream" ;;
    1f8b*) gzip -dc <"$stream" ;;
    *) die "the kernel is compressed in an unknown way" ;;
  esac
  rm -f "$stream"
}

# Order matters: modprobe lists each module after those it needs.
make_initramfs() {
  local work=$1 version=$2 root=$1/root module path n=0
  mkdir -p "$root/bin" "$root/modules"
  cp /bin/busybox "$root/bin/busybox"
  install -m 755 "$HERE/init" "$root/init"
  for module in "${MODULES[@]}"; do modprobe -d "$work" -S "$version" --show-depends "$module"; done |
    awk '$1 == "insmod" && !seen[$2]++ { print $2 }' |
    while read -r path; do
      n=$((n + 1)) module=$(basename "${path%.xz}")
      xz -dc "$path" >"$root/modules/$(printf '%02d-%s' "$n" "$module")"
    done
  (cd "$root" && find . | cpio -o -H newc --quiet) >"$work/initramfs"
  rm -rf "$root"
}
