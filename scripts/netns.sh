#!/usr/bin/env bash
# Real processes on lines of declared speed: each node in a network namespace of its own, its uplink shaped by tc tbf.
#
#   scripts/netns.sh --dir DIR [--rounds N] [--as relay|fetch] [ROW ...]
#
# DIR is a directory that is complete and signed, as publish leaves it. A ROW is the lead's uplink and those of the others in
# Mbit/s, such as 100:25,100,400; without one, five are run. For each row it prints how long it took until everyone had everything,
# verified, over the bound that the lines allow, and what left the lead's line over the files' size. One plain TCP stream
# through the same shaping takes 1.046 times its bound: that is the floor of these figures. Where the processors were idle for less
# than a tenth of the time, the row says how fast they are and not what the lines allow: take lines that are a part as fast.
# The others are relays, which prove every chunk; as fetch, each of them checks the whole text as well, and a dozen of those on
# one machine are as slow as its processors.
# REGENESIS names the program (default: the release build). Needs root, ip, tc with tbf, and a kernel with veth and bridges.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/lib.sh

usage() {
    die "$1" "usage: scripts/netns.sh --dir DIR [--rounds N] [--as relay|fetch] [ROW ...], a ROW such as 100:25,100,400"
}

source_dir='' rounds=1 role=relay rows=()
while [ $# -gt 0 ]; do
    case $1 in
        --dir) source_dir=${2:-}; shift 2 || usage "--dir wants a directory" ;;
        --rounds) rounds=${2:-}; shift 2 || usage "--rounds wants a number" ;;
        --as) role=${2:-}; shift 2 || usage "--as wants relay or fetch" ;;
        -*) usage "no such flag: $1" ;;
        *) rows+=("$1"); shift ;;
    esac
done
[ "${#rows[@]}" -gt 0 ] || rows=(
    100:100,100,100,100
    25:100,100,100,100
    100:100,100,100,100,100,100,100,100,100,100,100,100
    100:25,100,400,25,100,400
    400:25,100,400,25,100,400
)
for row in "${rows[@]}"; do
    [[ $row =~ ^[1-9][0-9]*:[1-9][0-9]*(,[1-9][0-9]*)*$ ]] || usage "$row is no row"
done
case $role in
    relay) linger=() ;;
    fetch) linger=(--linger 1h) ;;
    *) usage "--as wants relay or fetch" ;;
esac
[[ $rounds =~ ^[1-9][0-9]*$ ]] || usage "--rounds wants a number"
[ -n "$source_dir" ] && [ -f "$source_dir/manifest.regenesis" ] || usage "--dir wants a directory that is complete and signed"
[ "$(id -u)" = 0 ] || die "network namespaces need root" "run it as root"
command -v tc >/dev/null 2>&1 || die "tc is missing" "install iproute2"
program=${REGENESIS:-$(realpath -m "${CARGO_TARGET_DIR:-target}")/release/regenesis}
[ -x "$program" ] || die "$program is no program" "build it with cargo build --release, or name it with REGENESIS"

work=$(mktemp -d "${TMPDIR:-/tmp}/regenesis-netns.XXXXXX")
tag=rg$$
spaces=() pids=()

clear_swarm() {
    [ "${#pids[@]}" -eq 0 ] || kill "${pids[@]}" 2>/dev/null || true
    [ "${#pids[@]}" -eq 0 ] || wait "${pids[@]}" 2>/dev/null || true
    local space
    for space in "${spaces[@]}"; do ip netns del "$space" 2>/dev/null || true; done
    spaces=() pids=()
    rm -rf "$work"/node*
}
finish() {
    clear_swarm
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

make_space() { # name
    ip netns add "$1" || die "cannot make a network namespace" "run it where the kernel has them"
    spaces+=("$1")
    ip -n "$1" link set lo up
}

make_node() { # number, Mbit/s
    local space=$tag-$1
    make_space "$space"
    ip -n "$tag-hub" link add "port$1" type veth peer name eth0 netns "$space"
    ip -n "$tag-hub" link set "port$1" master bridge up
    ip -n "$space" addr add "10.77.0.$1/24" dev eth0
    ip -n "$space" link set eth0 up
    # What one line of that speed sends in 2 ms may go at once; what waits longer than 50 ms is dropped.
    local burst=$(($2 * 250))
    [ "$burst" -ge 16000 ] || burst=16000
    ip netns exec "$space" tc qdisc add dev eth0 root tbf rate "${2}mbit" burst "$burst" latency 50ms
}

in_node() { # number, command
    local space=$tag-$1
    shift
    # Without anything of this shell that a node would listen to.
    exec ip netns exec "$space" env -i PATH="$PATH" HOME="$work" "$@"
}

size=$(stat -c %s "$source_dir"/*.sql.gz)

run_row() { # row
    local up=${1%%:*} ups number
    IFS=, read -r -a ups <<<"${1#*:}"
    make_space "$tag-hub"
    ip -n "$tag-hub" link add bridge type bridge
    ip -n "$tag-hub" link set bridge up
    make_node 1 "$up"
    mkdir "$work/node1"
    cp "$source_dir"/genesis.json "$source_dir"/*.sql.gz "$source_dir"/manifest.regenesis "$work/node1"
    in_node 1 "$program" seed --dir "$work/node1" --listen /ip4/10.77.0.1/tcp/6690 \
        --progress none >"$work/ticket" 2>"$work/node1.err" &
    pids+=($!)
    for number in $(seq "${#ups[@]}"); do make_node $((number + 1)) "${ups[number - 1]}"; done
    local waited=0
    until [ -s "$work/ticket" ]; do
        sleep 0.1
        waited=$((waited + 1))
        kill -0 "${pids[0]}" 2>/dev/null && [ "$waited" -lt 600 ] || die "the lead gives no ticket: $(tail -n 2 "$work/node1.err")"
    done
    local sent began
    sent=$(ip netns exec "$tag-1" cat /sys/class/net/eth0/statistics/tx_bytes)
    began=$(date +%s.%N)
    for number in $(seq 2 $((${#ups[@]} + 1))); do
        in_node "$number" "$program" "$role" "$(cat "$work/ticket")" --dir "$work/node$number" --state-dir "$work/node$number.state" \
            --listen "/ip4/10.77.0.$number/tcp/6690" "${linger[@]}" --progress none >"$work/node$number.out" 2>"$work/node$number.err" &
        pids+=($!)
    done
    python3 - "$began" "$size" "$up" "$work" "$tag" "$sent" "$1" "${ups[@]}" <<'PY'
import os, subprocess, sys, time
began, size, up, work, tag, sent, row, *ups = sys.argv[1:]
began, size, up, ups = float(began), int(size), float(up), [float(u) for u in ups]
bound = 8e-6 * max(size / up, len(ups) * size / (up + sum(ups)))
waits = dict(enumerate(ups, 2))
ends, end_by = {}, time.time() + 20 * bound + 120


def processor_ticks():
    """Of all processors together since the machine began: idle, and all."""
    with open("/proc/stat") as stat:
        ticks = [int(n) for n in stat.readline().split()[1:9]]
    return ticks[3] + ticks[4], sum(ticks)


idle_before, all_before = processor_ticks()
while waits:
    for node in list(waits):
        directory = f"{work}/node{node}"
        # The last of the files gets its name when everything was verified.
        names = os.listdir(directory) if os.path.isdir(directory) else []
        if any(n.endswith(".sql.gz") for n in names) and not any(n.endswith(".part") for n in names):
            ends[node] = time.time() - began
            del waits[node]
    if time.time() > end_by:
        sys.exit(f"error: {len(waits)} of {len(ups)} nodes have not ended")
    time.sleep(0.02)
idle_after, all_after = processor_ticks()
idle = (idle_after - idle_before) / max(1, all_after - all_before)
tx = subprocess.check_output(["ip", "netns", "exec", f"{tag}-1", "cat", "/sys/class/net/eth0/statistics/tx_bytes"])
took = max(ends.values())
copies, needed = (int(tx) - int(sent)) / size, max(1, len(ups) - sum(ups) * 1e6 / 8 * bound / size)
first = min(ends.values())
print(f"| {row} | {took:.1f} | {bound:.1f} | {took / bound:.2f} | {first:.1f} | {copies:.2f} | {needed:.2f} | {idle:.0%} |", flush=True)
PY
    clear_swarm
}

echo "| Mbit/s, lead:others | seconds | bound | T/T* | first to end | lead sent, over the size | needed | processors idle |"
echo "|---|---|---|---|---|---|---|---|"
for row in "${rows[@]}"; do
    for _ in $(seq "$rounds"); do run_row "$row"; done
done
