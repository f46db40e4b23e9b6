# Containers that live: many at once, exec, lists, memory, logs; sourced by `run`, whose functions it uses.

# Names of what is started, so that it can be told from what else there is.
mark=bench-$$

living_start() {
  local busybox; busybox=$(tests/images/busybox.sh)
  hull load -q -i "$busybox" >/dev/null
  peers_start "$work" "$busybox"
  managers=(hull)
  local name
  for name in "${peers[@]}"; do case $name in podman | docker) managers+=("$name") ;; esac; done
}

# manager NAME WORDS...: one of the three that know containers by name, in the same words.
manager() {
  local name=$1
  shift
  case $name in
    hull) "$build/hull" "$@" ;;
    podman) "${podman[@]}" "$@" ;;
    docker) docker "$@" ;;
  esac
}

detached() {
  case $1 in
    hull) words run -d --isolation namespace ;;
    *) words run -d --network none ;;
  esac
}

ends() { manager "$1" ps -aq | xargs -r -n 50 "$BASH" -c "$(declare -f manager); $(declare -p build podman); manager $1 rm -f \"\$@\" >/dev/null" sh; }

many() {
  living_start
  local count=${MANY:-100} rounds=${ROUNDS:-2} round name figure
  say "many: $count containers at once: ${managers[*]}"
  for round in $(seq "$rounds"); do
    for name in "${managers[@]}"; do
      figure=$("$tool" once -- "$BASH" -c "$(declare -f manager); $(declare -p build podman)
        for i in \$(seq $count); do manager $name $(detached "$name" | xargs) busybox sleep 1000 >/dev/null & done; wait")
      record "$name" "$figure"
      say "many: $(manager "$name" ps -q | wc -l) of $count run with $name"
      ends "$name"
    done
  done
  report "$count containers started at once, until the last one runs (hull = 1):" hull
}

exec_true() {
  living_start
  say "exec: ${managers[*]}"
  local name
  for name in "${managers[@]}"; do
    mapfile -t words < <(detached "$name")
    manager "$name" "${words[@]}" --name "$mark" busybox sleep 1000 >/dev/null
  done
  start_hull() { words -- "$build/hull" exec "$mark" true; }
  start_podman() { words -- "${podman[@]}" exec "$mark" true; }
  start_docker() { words -- docker exec "$mark" true; }
  turns "${managers[@]}"
  for name in "${managers[@]}"; do manager "$name" rm -f "$mark" >/dev/null; done
  report "A true in a container that runs, by exec (hull = 1):" hull
}

# The same commands with few and with many containers in the database.
lists() {
  living_start
  local count=${ROWS:-500} root=$HULL_ROOT
  say "lists: 5 and $count containers"
  # Parallel, since each start of hull waits for the disk.
  seq 5 | xargs -I{} "$build/hull" create --isolation namespace --name "few-{}" busybox true >/dev/null
  cp -a "$root" "$work/full"
  HULL_ROOT=$work/full sh -c "seq $count | xargs -P 4 -I{} '$build/hull' create --isolation namespace --name 'many-{}' busybox true" >/dev/null
  local command
  for command in "ps -a" "run --rm --isolation namespace busybox true" "inspect few-1" "images"; do
    start_few() { words -- env "HULL_ROOT=$root" "$build/hull" $command; }
    start_full() { words -- env "HULL_ROOT=$work/full" "$build/hull" $command; }
    turns few full
    report "hull $command, with 5 containers and with $count more (few = 1):" few
  done
}

# What a container that runs costs the host beside its own processes.
memory() {
  living_start
  local count=20 name
  say "memory: $count containers"
  printf '\nPrivate memory of what keeps a container, a container (of %d):\n' "$count"
  for name in hull $(printf '%s\n' "${managers[@]}" | grep docker); do
    mapfile -t words < <(detached "$name")
    for _ in $(seq "$count"); do manager "$name" "${words[@]}" busybox sleep 1000 >/dev/null; done
    case $name in
      hull) private 'hull supervise' supervisor "$count"; private 'hull-init --host' agent "$count" ;;
      docker) private containerd-shim containerd-shim "$count" ;;
    esac
    ends "$name"
  done
}

# private PATTERN NAME COUNT: the mean over the processes whose command line begins so.
private() {
  local pid
  for pid in $(pgrep -f "^([^ ]*/)?$1"); do "$tool" uss "$pid"; done |
    awk -v name="$2" -v count="$3" '{sum += $1} END {printf "  %-24s %8.0f KiB   (%d processes)\n", name, sum / count, NR}'
}

logs() {
  living_start
  local megabytes=${LOG_MB:-1000} rounds=${ROUNDS:-3} name
  say "logs: $megabytes MB: ${managers[*]}"
  local line='sixty-three bytes of a log line, as many as a usual one would be'
  for name in "${managers[@]}"; do
    mapfile -t words < <(detached "$name")
    local options=()
    [ "$name" != hull ] || options=(--log-opt max-size=-1)
    manager "$name" "${words[@]}" "${options[@]}" --name "$mark" busybox sh -c "yes '$line' | head -c ${megabytes}000000" >/dev/null
    manager "$name" wait "$mark" >/dev/null
  done
  start_hull() { words -- sh -c "'$build/hull' logs $mark >/dev/null"; }
  start_podman() { words -- sh -c "${podman[*]} logs $mark >/dev/null"; }
  start_docker() { words -- sh -c "docker logs $mark >/dev/null"; }
  turns "${managers[@]}"
  for name in "${managers[@]}"; do manager "$name" rm -f "$mark" >/dev/null; done
  report "$megabytes MB of output read back with logs (hull = 1):" hull
}

living_stop() {
  local root
  for root in "$HULL_ROOT" "$work/full"; do
    [ ! -e "$root/hull.db" ] || HULL_ROOT=$root "$build/hull" ps -aq | HULL_ROOT=$root xargs -r -n 50 "$build/hull" rm -f >/dev/null || :
  done
}
