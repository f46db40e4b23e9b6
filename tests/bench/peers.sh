# The other container programs of Debian, set up so that they work on any machine; sourced by `run`.
#
#   peers_start WORK BUSYBOX    installs and starts them with the image; sets peers, crun, podman
#   peers_stop

peers=() crun=() podman=() dockerd_pid='' docker_net=''

peers_start() {
  local work=$1 image=$2
  [ ${#peers[@]} = 0 ] || return 0
  need runc=runc crun=crun podman=podman dockerd=docker.io umoci=umoci skopeo=skopeo
  peer_bundle "$work" "$image" && peers+=(runc) && peer_crun "$work" && peers+=(crun)
  peer_podman "$work" "$image" && peers+=(podman)
  peer_docker "$work" "$image" && peers+=(docker)
}

# A bundle of busybox that runs `true` with namespaces of its own and no terminal.
peer_bundle() {
  mkdir -p "$1/bundle/rootfs"
  tar -C "$1/bundle/rootfs" -xf "$(dirname "$2")/layer.tar"
  (cd "$1/bundle" && runc spec && sed -i 's/"terminal": true/"terminal": false/; s/"sh"/"true"/; /RLIMIT_NOFILE/,/soft/s/1024/1000/' config.json)
  runc --root "$1/runc" run --bundle "$1/bundle" "probe-$$" || { say "runc does not run here"; return 1; }
}

# crun refuses machines with both cgroup hierarchies: there it gets a mount namespace without the second.
peer_crun() {
  crun=(crun)
  crun --root "$1/crun" run --bundle "$1/bundle" "probe-$$" 2>/dev/null && return 0
  crun=(unshare --mount sh -c 'umount /sys/fs/cgroup/unified; exec crun "$@"' crun)
  "${crun[@]}" --root "$1/crun" run --bundle "$1/bundle" "probe2-$$" || { say "crun does not run here"; return 1; }
}

peer_podman() {
  cat >"$1/containers.conf" <<EOF
[containers]
default_ulimits = ["nofile=$(ulimit -Hn):$(ulimit -Hn)", "nproc=32768:32768"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
EOF
  podman=(env "CONTAINERS_CONF=$1/containers.conf" podman --root "$1/podman" --runroot "$1/podman-run" --runtime runc)
  "${podman[@]}" load -q -i "$2" >/dev/null &&
    "${podman[@]}" run --rm --network none busybox true || { say "podman does not run here"; return 1; }
}

# A dockerd of its own in a network namespace of its own: the machine's firewall stays as it is.
peer_docker() {
  docker_net=hull-bench-$$
  ip netns add "$docker_net"
  ip netns exec "$docker_net" ip link set lo up
  nsenter --net="/run/netns/$docker_net" dockerd --data-root "$1/docker" --exec-root "$1/docker-exec" -p "$1/docker.pid" \
    -H "unix://$1/docker.sock" --storage-driver overlay2 >"$1/docker.log" 2>&1 &
  dockerd_pid=$!
  export DOCKER_HOST=unix://$1/docker.sock
  for _ in $(seq 100); do docker version >/dev/null 2>&1 && break; sleep 0.2; done
  docker load -q -i "$2" >/dev/null && docker run --rm --network none busybox true || { say "docker does not run here"; return 1; }
}

peers_stop() {
  [ -z "$dockerd_pid" ] || { kill "$dockerd_pid"; wait "$dockerd_pid" || :; }
  [ -z "$docker_net" ] || ip netns del "$docker_net"
  dockerd_pid='' docker_net=''
}
