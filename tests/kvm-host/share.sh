# Sourced by run: folders of this machine inside the test host, through virtiofsd.

# share TAG FOLDER CACHE: starts a virtiofsd for FOLDER and adds its device to QEMU. CACHE "always" is for
# what does not change meanwhile, "auto" for what both sides write.
share() {
  local tag=$1 folder=$2 cache=$3 socket=$RUN/$1.sock tries=0
  virtiofsd_command "$socket" "$folder" "$cache"
  tied "${VIRTIOFSD[@]}" </dev/null >"$RUN/virtiofsd-$tag.log" 2>&1 &
  until [ -S "$socket" ]; do
    if ! kill -0 $! 2>/dev/null || [ $((++tries)) -gt 500 ]; then
      cat "$RUN/virtiofsd-$tag.log" >&2
      die "virtiofsd did not start for $folder"
    fi
    sleep 0.02
  done
  QEMU+=(-chardev "socket,id=$tag,path=$socket" -device "vhost-user-fs-pci,chardev=$tag,tag=$tag")
}

# Sets VIRTIOFSD: QEMU's own (C) and its successor (Rust) have different options.
virtiofsd_command() {
  local program help
  program=$(find_virtiofsd)
  help=$("$program" --help 2>&1)
  if [[ $help == *--shared-dir* ]]; then
    VIRTIOFSD=("$program" --socket-path="$1" --shared-dir="$2" --cache="$3" --sandbox=chroot)
    # The overlay in the test host does not look into announced mounts.
    if [[ $help == *--no-announce-submounts* ]]; then VIRTIOFSD+=(--no-announce-submounts); fi
  else
    VIRTIOFSD=("$program" --socket-path="$1" -o "source=$2" -o "cache=$3" -o sandbox=chroot)
  fi
}
