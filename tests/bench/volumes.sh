# What files cost, on the root, a bind mount and volumes; sourced by `run`.

# The source of the guest kernel, as one plain tar of some 90,000 files.
kernel_tree() {
  local deb; deb=$(ls "${XDG_CACHE_HOME:-$HOME/.cache}"/hull/kernel/linux-source-*.deb 2>/dev/null | head -n 1)
  [ -n "$deb" ] || { say "volumes: no kernel source; make kernel fetches it"; return 1; }
  dpkg-deb --fsys-tarfile "$deb" | tar -xO --wildcards './usr/src/linux-source-*.tar.xz' | xz -dc >"$1"
}

vol_hull() { "$build/hull" "$@"; }
vol_docker() { docker "$@"; }

volumes_stop() {
  local name
  for name in ${vol_contenders[@]+"${vol_contenders[@]}"}; do
    "vol_$name" rm -fv bench-files >/dev/null 2>&1 || :
    "vol_$name" volume rm bench-files >/dev/null 2>&1 || :
  done
  vol_hull volume rm bench-block >/dev/null 2>&1 || :
}

# fio_in CONTENDER FOLDER OPTIONS...: what a job of fio does, in KiB/s (field 7 read, 48 written) and operations (8, 49).
fio_in() {
  local name=$1 folder=$2
  shift 2
  "vol_$name" exec bench-files fio --name=bench --directory="$folder" --ioengine=psync --fallocate=none \
    --output-format=terse --terse-version=3 "$@" | tail -n 1
}

# A second's worth of each kind of access, on files that are there already.
fio_round() {
  local name=$1 place=$2 folder=$3 size=${VOLUME_MB:-256}m line
  line=$(fio_in "$name" "$folder" --filename=sequential --rw=write --bs=1m --size="$size" --end_fsync=1)
  record "$place-write-1m/$name" "$(cut -d ';' -f 48 <<<"$line")"
  line=$(fio_in "$name" "$folder" --filename=sequential --rw=read --bs=1m --size="$size" --invalidate=1)
  record "$place-read-1m/$name" "$(cut -d ';' -f 7 <<<"$line")"
  line=$(fio_in "$name" "$folder" --filename=sequential --rw=randread --bs=4k --size="$size" --runtime=2 --time_based)
  record "$place-random-read-4k/$name" "$(cut -d ';' -f 8 <<<"$line")"
  line=$(fio_in "$name" "$folder" --filename=sequential --rw=randwrite --bs=4k --size="$size" --runtime=2 --time_based --fdatasync=32)
  record "$place-random-write-4k/$name" "$(cut -d ';' -f 49 <<<"$line")"
}

# in_tree CONTENDER WORDS...: milliseconds that they take in the container.
in_tree() {
  local name=$1
  shift
  "vol_$name" exec bench-files bash -c 'begin=$(date +%s%N); "$@" >/dev/null 2>&1; echo $((($(date +%s%N) - begin) / 1000000))' - "$@"
}

volumes() {
  say "volumes: hull and docker in namespaces"
  need xz=xz-utils dpkg-deb=dpkg
  local busybox tools name place round
  busybox=$(tests/images/busybox.sh); tools=$(tests/images/tools.sh)
  vol_contenders=(hull)
  peers_start "$work" "$busybox"
  hull load -q -i "$tools" >/dev/null
  for name in "${peers[@]}"; do [ "$name" != docker ] || { docker load -q -i "$tools" >/dev/null; vol_contenders+=(docker); }; done
  for name in "${vol_contenders[@]}"; do
    mkdir -p "$work/bind-$name"
    local more=()
    [ "$name" != hull ] || more=(--isolation namespace --mount type=volume,src=bench-block,dst=/block,volume-opt=kind=block,volume-opt=size=8g)
    "vol_$name" run -d --name bench-files --network none "${more[@]}" -v "$work/bind-$name:/bind" -v bench-files:/volume \
      tools sh -c 'mkdir /root/files; exec sleep 100000' >/dev/null
  done
  for round in $(seq "${VOLUME_ROUNDS:-3}"); do
    for place in bind volume; do
      for name in "${vol_contenders[@]}"; do fio_round "$name" "$place" "/$place"; done
    done
    for name in "${vol_contenders[@]}"; do fio_round "$name" root /root/files; done
    fio_round hull block /block
  done
  report_as "fio in namespaces, KiB/s of 1 MiB and operations of 4 KiB, more is better (hull = 1; block is hull's alone):" /s
  if kernel_tree "$work/linux.tar"; then
    for name in "${vol_contenders[@]}"; do ln "$work/linux.tar" "$work/bind-$name/linux.tar"; done
    for place in bind volume; do
      for name in "${vol_contenders[@]}"; do
        record "$place-untar/$name" "$(in_tree "$name" tar -xf /bind/linux.tar -C "/$place")"
        in_tree "$name" bash -c "cd /$place/linux-source-* && rm -f .gitignore && git init -q . && git add -A -f" >/dev/null
        for round in 1 2 3; do
          record "$place-git-status/$name" "$(in_tree "$name" bash -c "cd /$place/linux-source-* && git status --short")"
        done
      done
    done
    report_as "A kernel's source in namespaces, less is better (hull = 1):" ms
  fi
  volumes_stop
}

# An initramfs that measures the file system shared with it and its disks, and says so on the serial port.
vol_guest() {
  local root=$work/vol-guest file
  mkdir -p "$root"/{bin,dev,proc,sys,tmp,share,disk,block,root,lower,lib,usr}
  ln -sfn ../lib "$root/usr/lib"
  mknod "$root/dev/console" c 5 1
  cp "$here/vol-guest" "$root/init"
  cp -L "$(command -v busybox)" "$(command -v bash)" "$(command -v fio)" "$(command -v git)" "$root/bin"
  for file in $(ldd "$root"/bin/* 2>/dev/null | grep -o '/lib[^ ]*' | sort -u); do install -D "$file" "$root$file"; done
  (cd "$root" && find . | cpio -o -H newc --quiet) >"$1"
}

# A part of the kernel's source as a repository with all of it committed, in a tar: the processor is emulated.
vol_tree() {
  local tree=$work/vol-tree/tree
  kernel_tree "$work/linux.tar"
  mkdir -p "$tree"
  tar -C "$tree" -xf "$work/linux.tar" --strip-components=1 --wildcards '*/include/net/[a-m]*'
  git -C "$tree" init -q --template=
  git -C "$tree" add -A -f
  git -C "$tree" -c user.name=bench -c user.email=bench@localhost commit -q -m tree
  git -C "$tree" gc -q
  tar -C "$work/vol-tree" -cf "$1" --owner=0 --group=0 tree
}

vol_vm() {
  say "vol_vm, in the KVM test host (a quarter of an hour)"
  need fio=fio busybox=busybox-static cpio=cpio xz=xz-utils mke2fs=e2fsprogs git=git
  local out=$work/vol-out
  mkdir -p "$out"
  vol_guest "$work/vol-initrd"
  vol_tree "$work/tree.tar"
  tests/kvm-host/run --icount --timeout 2400 --out "$out" -- \
    env "VOLUME_ROUNDS=${VOLUME_ROUNDS:-1}" "$here/vol-vm" "$build" "$tool" "$work/vol-initrd" "$work/tree.tar" "$out" >"$out/log" 2>&1 ||
    { tail -n 40 "$out/log"; return 1; }
  cat "$out/report"
}
