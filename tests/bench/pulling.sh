# Pulls from Debian's docker-registry: from nothing, of what is there, memory, full stores; sourced by `run`,
# whose functions it uses.

registry='' docker_registry='' registry_pids=()

# Two registries over one folder: on this machine's loopback, and on that of dockerd's network namespace.
pulling_start() {
  living_start
  [ -z "$registry" ] || return 0
  need docker-registry=docker-registry skopeo=skopeo umoci=umoci
  registry_start registry
  [ -z "$docker_net" ] || registry_start docker_registry nsenter --net="/run/netns/$docker_net"
  local name archive
  for name in python ten; do
    archive=$(tests/images/$name.sh)
    registry_add "docker-archive:$archive" "$name:gzip" gzip
    registry_add "docker-archive:$archive" "$name:zstd" zstd
  done
}

# registry_start VARIABLE WORDS...: starts one behind WORDS; its address goes into the variable.
registry_start() {
  local variable=$1 log=$work/$1.log
  shift
  cat >"$work/registry.yml" <<END
version: 0.1
log: {level: info, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: $work/registry}}
http: {addr: "127.0.0.1:0", secret: bench}
END
  "$@" docker-registry serve "$work/registry.yml" >"$log" 2>&1 &
  registry_pids+=($!)
  for _ in $(seq 100); do ! grep -q 'listening on' "$log" || break; sleep 0.1; done
  printf -v "$variable" %s "$(sed -n 's/.*listening on \(127[0-9.:]*\).*/\1/p' "$log")"
}

# registry_add SOURCE NAME COMPRESSION. Without skopeo's cache, which knows a blob here that it would take for
# another compression's.
registry_add() {
  mkdir -p /var/lib/containers/cache
  unshare --mount sh -ec 'mount -t tmpfs hull-bench /var/lib/containers/cache
    exec skopeo copy -q --dest-tls-verify=false --dest-compress-format "$3" "$1" "docker://$4/$2"' sh "$@" "$registry"
}

pulling_stop() {
  [ ${#registry_pids[@]} = 0 ] || { kill "${registry_pids[@]}"; wait "${registry_pids[@]}" 2>/dev/null || :; }
  registry_pids=()
}

# contenders IMAGE: what pulls it, from nothing to ready to run.
contenders() {
  image=$1
  # Layers are the same in all of them, however they are compressed.
  before_hull() { each_image "$registry" hull rmi -f; }
  before_podman() { each_image "$registry" "${podman[@]}" rmi -f; }
  before_docker() { each_image "$docker_registry" docker rmi -f; }
  before_skopeo_umoci() { rm -rf "$work/layout" "$work/unpacked"; }
  start_hull() { words -- "$build/hull" pull -q "$registry/$image"; }
  start_podman() { words -- "${podman[@]}" pull -q --tls-verify=false "$registry/$image"; }
  start_docker() { words -- docker pull -q "$docker_registry/$image"; }
  start_skopeo_umoci() {
    # A word is a line.
    words -- sh -c "skopeo copy -q --src-tls-verify=false docker://$registry/$image oci:$work/layout:image \
      && umoci unpack --image $work/layout:image $work/unpacked"
  }
}

# each_image REGISTRY WORDS...: WORDS with the name of every image that is there, whether that has it or not.
each_image() {
  local address=$1 image
  shift
  for image in python:gzip python:zstd ten:gzip ten:zstd; do "$@" "$address/$image" >/dev/null 2>&1 || :; done
}

# What an image unpacks to, from the layer sizes that hull knows.
unpacked() { hull image inspect "$registry/$1" | sed -n 's/.*"Size": \([0-9]*\).*/\1/p'; }

pull() {
  pulling_start
  local rounds=${ROUNDS:-5} name
  for name in python ten; do
    say "pull: $name: ${managers[*]} skopeo+umoci"
    contenders "$name:gzip"
    turns "${managers[@]}" skopeo_umoci
    speed "$name:gzip"
    report "$name pulled and ready to run, gzip (hull = 1):" hull
    contenders "$name:zstd"
    turns hull podman
    speed "$name:zstd"
    report "$name pulled and ready to run, zstd (hull = 1):" hull
  done
  pull_again
}

# speed IMAGE: hull's, in bytes of unpacked tar.
speed() {
  sort -k1,1 -k2,2n "$work/figures" | awk -v bytes="$(unpacked "$1")" -v image="$1" '
    $1 == "hull" {v[++n] = $2} END {printf "\n%s: %.0f MB unpacked at %.0f MB/s\n", image, bytes / 1e6, bytes / v[int((n + 1) / 2)] * 1e3}'
}

# The one request that it takes stands beside it.
pull_again() {
  contenders python:gzip
  unset -f before_hull before_podman before_docker
  start_request() {
    words -- "$BASH" -c "exec 3<>/dev/tcp/${registry/:/\/} && printf 'HEAD /v2/python/manifests/gzip HTTP/1.0\r\nAccept: application/vnd.oci.image.manifest.v1+json\r\n\r\n' >&3; cat <&3"
  }
  local rounds=${ROUNDS:-15}
  turns hull "${managers[@]:1}" request
  report "A pull of what is there already (hull = 1):" hull
  unset -f before_skopeo_umoci
}

# A gigabyte in one file, many entries, and the images above.
pull_memory() {
  pulling_start
  need time=time
  local entries=${ENTRIES:-200000} name kib
  say "pull_memory: a file of 1 GiB, $entries entries"
  mkdir -p "$work/large" "$work/many"
  truncate -s 1G "$work/large/file"
  tar -C "$work/large" -cf "$work/large.tar" file
  (cd "$work/many" && seq -f 'folder%g' $((entries / 1000)) | xargs mkdir &&
    for folder in folder*; do (cd "$folder" && seq 1000 | xargs touch); done)
  tar -C "$work/many" -cf "$work/many.tar" .
  for name in large many; do
    umoci init --layout "$work/$name.oci" && umoci new --image "$work/$name.oci:image" &&
      umoci raw add-layer --image "$work/$name.oci:image" "$work/$name.tar"
    registry_add "oci:$work/$name.oci:image" "$name:gzip" gzip
    rm -rf "${work:?}/$name" "$work/$name.tar" "$work/$name.oci"
  done
  printf '\nMost memory of a pull (limit: 64 MiB and 150 bytes an entry):\n'
  for name in python:gzip python:zstd ten:gzip large:gzip many:gzip; do
    each_image "$registry" hull rmi -f
    kib=$(command time -f %M "$build/hull" pull -q "$registry/$name" 2>&1 >/dev/null | tail -n 1)
    printf '  %-24s %8d KiB\n' "$name" "$kib"
  done
  hull rmi -f "$registry/large:gzip" "$registry/many:gzip" >/dev/null
}

# The same commands with few and with many images in the store.
many_images() {
  pulling_start
  local count=${IMAGES:-500} root=$work/few rounds=${ROUNDS:-15} command
  say "many_images: 5 and $count images"
  mkdir -p "$work/tiny"
  echo tiny >"$work/tiny/file"
  fill() { HULL_ROOT=$1 sh -ec "seq $2 $3 | xargs -P 4 -I{} sh -ec 'cp -r $work/tiny $work/tiny-{}; echo {} >$work/tiny-{}/file
    tar -C $work/tiny-{} -cf - . | \"$build/hull\" import - image-{} >/dev/null; rm -r $work/tiny-{}'"; }
  HULL_ROOT=$root hull load -q -i "$(tests/images/busybox.sh)" >/dev/null
  HULL_ROOT=$root hull pull -q "$registry/python:gzip" >/dev/null
  fill "$root" 1 5
  cp -a "$root" "$work/full"
  fill "$work/full" 6 "$count"
  for command in "images" "run --rm --isolation namespace busybox true" "pull -q $registry/python:gzip"; do
    start_few() { words -- env "HULL_ROOT=$root" "$build/hull" $command; }
    start_full() { words -- env "HULL_ROOT=$work/full" "$build/hull" $command; }
    turns few full
    report "hull $command, with 5 images and with $count (few = 1):" few
  done
}
