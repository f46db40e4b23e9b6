# What networks cost; sourced by `run`. Each contender has a network namespace of its own for a host, and two containers
# on its default bridge with the same image.

net_hull() { nsenter "--net=/run/netns/$bench_net-hull" "$build/hull" "$@"; }
net_podman() { nsenter "--net=/run/netns/$bench_net-podman" "${podman[@]}" "$@"; }
net_docker() { docker "$@"; }

bench_net=''

# A host with a way out, which some look for before they make a bridge.
network_host() {
  ip netns add "$1"
  ip -n "$1" link set lo up
  ip -n "$1" link add inet0 type veth peer name inet1
  ip -n "$1" addr add 198.51.100.1/24 dev inet0
  ip -n "$1" link set inet0 up
  ip -n "$1" link set inet1 up
  ip -n "$1" route add default via 198.51.100.2
}

network_stop() {
  local name
  [ -n "$bench_net" ] || return 0
  for name in ${net_contenders[@]+"${net_contenders[@]}"}; do "net_$name" rm -f bench-server bench-client >/dev/null 2>&1 || :; done
  kill ${net_servers[@]+"${net_servers[@]}"} 2>/dev/null || :
  for name in hull podman; do ip netns del "$bench_net-$name" 2>/dev/null || :; done
}

# The namespace that is a contender's host.
network_of() { if [ "$1" = docker ]; then echo "$docker_net"; else echo "$bench_net-$1"; fi; }

# Two containers, and servers in the server and on the host.
network_pair() {
  local name=$1
  "net_$name" run -d --name bench-client "${@:2}" services sleep 100000 >/dev/null &&
    "net_$name" run -d --name bench-server "${@:2}" services sh -c 'iperf3 -s & exec qperf' >/dev/null || return 1
  ip netns exec "$(network_of "$name")" iperf3 -s >/dev/null 2>&1 & net_servers+=($!)
  ip netns exec "$(network_of "$name")" qperf >/dev/null 2>&1 & net_servers+=($!)
}

# iperf CONTENDER ADDRESS OPTIONS...: what arrived, in Mbit/s.
iperf() {
  "net_$1" exec bench-client iperf3 -J -t 2 -c "$2" "${@:3}" | python3 -c '
import json, sys
end = json.load(sys.stdin)["end"]
got = end.get("sum_received") or end["sum"]
lost = end["sum"].get("lost_percent", 0) if "sum" in end else 0
sent = (end.get("sum_sent") or got)["bits_per_second"] if "sum" in end else got["bits_per_second"]
print(round((sent * (1 - lost / 100) if "sum" in end else sent) / 1e6, 1))'
}

# latency CONTENDER ADDRESS TEST: a request and its answer, in microseconds; qperf tells half of it.
latency() {
  "net_$1" exec bench-client qperf -t 2 "$2" "$3" |
    awk '/latency/ {print $3 * 2 * ($4 == "sec" ? 1e6 : $4 == "ms" ? 1e3 : $4 == "ns" ? 1e-3 : 1)}'
}

# report_as TITLE UNIT: medians of what was recorded as `measure/contender`, and their ratio to hull's.
report_as() {
  printf '\n%s\n' "$1"
  sort -k1,1 -k2,2n "$work/figures" | awk -v unit="$2" '
    {n[$1]++; v[$1, n[$1]] = $2}
    function median(name, c) {c = n[name]; return c % 2 ? v[name, (c + 1) / 2] : (v[name, c / 2] + v[name, c / 2 + 1]) / 2}
    END {
      for (name in n) {
        split(name, part, "/"); base = part[1] "/hull"
        printf "  %-28s %10.1f %-7s %6.2f x   (%d runs)\n", name, median(name), unit, base in n ? median(name) / median(base) : 0, n[name]
      }
    }' | sort
  : >"$work/figures"
}

network() {
  say "network: hull, docker, podman"
  need iperf3=iperf3 qperf=qperf nft=nftables
  local busybox services name round often=${NET_ROUNDS:-3}
  busybox=$(tests/images/busybox.sh); services=$(tests/images/services.sh)
  bench_net=hull-bench-net-$$ net_contenders=() net_servers=()
  network_host "$bench_net-hull"; network_host "$bench_net-podman"
  peers_start "$work" "$busybox"
  for image in "$busybox" "$services"; do hull load -q -i "$image" >/dev/null; done
  for name in hull "${peers[@]}"; do
    case $name in
      hull) network_pair hull --isolation namespace ;;
      docker) docker load -q -i "$services" >/dev/null; network_pair docker ;;
      podman) net_podman load -q -i "$services" >/dev/null; network_pair podman ;;
      *) continue ;;
    esac && net_contenders+=("$name") || say "$name does not connect containers here"
  done
  declare -A server host
  for name in "${net_contenders[@]}"; do
    server[$name]=$("net_$name" exec bench-server hostname -I | awk '{print $1}')
    host[$name]=$("net_$name" exec bench-client sh -c "busybox ip route" | awk '$1 == "default" {print $3}')
  done
  for round in $(seq "$often"); do
    for name in "${net_contenders[@]}"; do
      record "container-to-container-tcp/$name" "$(iperf "$name" "${server[$name]}")"
      record "container-to-container-udp/$name" "$(iperf "$name" "${server[$name]}" -u -b 0 -l 1400)"
      record "container-to-host-tcp/$name" "$(iperf "$name" "${host[$name]}")"
      record "container-to-host-udp/$name" "$(iperf "$name" "${host[$name]}" -u -b 0 -l 1400)"
    done
  done
  report_as "What arrives, in namespaces (iperf3, more is better; hull = 1):" Mbit/s
  for round in $(seq "$often"); do
    for name in "${net_contenders[@]}"; do
      record "container-to-container-tcp/$name" "$(latency "$name" "${server[$name]}" tcp_lat)"
      record "container-to-container-udp/$name" "$(latency "$name" "${server[$name]}" udp_lat)"
      record "container-to-host-tcp/$name" "$(latency "$name" "${host[$name]}" tcp_lat)"
    done
  done
  report_as "A request of one byte and its answer, in namespaces (qperf, less is better; hull = 1):" us
  for name in "${net_contenders[@]}"; do "net_$name" rm -f bench-client bench-server >/dev/null; done
  network_start
}

# What an endpoint adds to a start, each contender by its own run without one: to the container's first byte, and to the
# end of its removal.
network_start() {
  local starts=() name on
  start_of() {
    local name=$1 on=$2 words=(run --rm)
    shift 2
    [ "$name" != hull ] || words+=(--isolation namespace)
    [ "$on" = bridge ] || words+=(--network none)
    case $name in
      hull) words -- nsenter "--net=/run/netns/$bench_net-hull" "$build/hull" "${words[@]}" "$@" ;;
      podman) words -- nsenter "--net=/run/netns/$bench_net-podman" "${podman[@]}" "${words[@]}" "$@" ;;
      docker) words -- docker "${words[@]}" "$@" ;;
    esac
  }
  for name in "${net_contenders[@]}"; do
    for on in none bridge; do
      eval "start_${name}_$on() { words --until started; start_of $name $on busybox echo started; }"
      starts+=("${name}_$on")
    done
  done
  # The bridge and the rules are there already, as on a host with any other container.
  net_hull run -d --name bench-client --isolation namespace busybox sleep 100000 >/dev/null
  turns "${starts[@]}"
  report "A container's first byte, without a network and on the default bridge (hull's without = 1):" hull_none
  for name in "${net_contenders[@]}"; do
    for on in none bridge; do eval "start_${name}_$on() { start_of $name $on busybox true; }"; done
  done
  turns "${starts[@]}"
  report "A container that runs true, to its end, without a network and on the default bridge (hull's without = 1):" hull_none
}
