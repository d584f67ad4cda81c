#!/usr/bin/env bash
# Real processes behind address translators: a lead on a line of declared speed, and two validators, each behind a translator of its own
# that lets nothing in that was not asked for.
#
#   scripts/nat.sh --dir DIR [--up MBIT]
#
# DIR is a directory that is complete and signed, as publish leaves it. Four rows: translators that keep ports (validators reach each
# other over UDP), translators that do not (everything comes from the lead), the same with a relay on a fast line, and the first with a
# route that is dead for ten seconds in the middle. For each it prints how long it took until both had everything, verified, and what
# left the lead's line over the files' size; it fails where a validator does not get everything.
# REGENESIS names the program (default: the release build). Needs root, ip, tc with tbf, nft, and a kernel with veth and bridges.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/lib.sh

usage() {
    die "$1" "usage: scripts/nat.sh --dir DIR [--up MBIT]"
}

source_dir='' up=40
while [ $# -gt 0 ]; do
    case $1 in
        --dir) source_dir=${2:-}; shift 2 || usage "--dir wants a directory" ;;
        --up) up=${2:-}; shift 2 || usage "--up wants a number" ;;
        *) usage "no such argument: $1" ;;
    esac
done
[[ $up =~ ^[1-9][0-9]*$ ]] || usage "--up wants a number"
[ -n "$source_dir" ] && [ -f "$source_dir/manifest.regenesis" ] || usage "--dir wants a directory that is complete and signed"
[ "$(id -u)" = 0 ] || die "network namespaces need root" "run it as root"
command -v tc >/dev/null 2>&1 || die "tc is missing" "install iproute2"
command -v nft >/dev/null 2>&1 || die "nft is missing" "install nftables"
program=${REGENESIS:-$(realpath -m "${CARGO_TARGET_DIR:-target}")/release/regenesis}
[ -x "$program" ] || die "$program is no program" "build it with cargo build --release, or name it with REGENESIS"

work=$(mktemp -d "${TMPDIR:-/tmp}/regenesis-nat.XXXXXX")
tag=rn$$
spaces=() pids=()

clear_swarm() {
    [ "${#pids[@]}" -eq 0 ] || kill "${pids[@]}" 2>/dev/null || true
    [ "${#pids[@]}" -eq 0 ] || wait "${pids[@]}" 2>/dev/null || true
    local space
    for space in "${spaces[@]}"; do ip netns del "$space" 2>/dev/null || true; done
    spaces=() pids=()
    rm -rf "${work:?}"/*
}
finish() {
    clear_swarm
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

make_space() { # name
    ip netns add "$tag-$1" || die "cannot make a network namespace" "run it where the kernel has them"
    spaces+=("$tag-$1")
    ip -n "$tag-$1" link set lo up
}

make_public() { # name, last byte of its address
    make_space "$1"
    ip -n "$tag-hub" link add "port$2" type veth peer name eth0 netns "$tag-$1"
    ip -n "$tag-hub" link set "port$2" master bridge up
    ip -n "$tag-$1" addr add "198.51.100.$2/24" dev eth0
    ip -n "$tag-$1" link set eth0 up
}

make_hidden() { # name, number, what the translator does with ports
    make_public "nat$2" "1$2"
    make_space "$1"
    ip -n "$tag-nat$2" link add lan type veth peer name eth0 netns "$tag-$1"
    ip -n "$tag-nat$2" addr add "192.168.$2.1/24" dev lan
    ip -n "$tag-nat$2" link set lan up
    ip -n "$tag-$1" addr add "192.168.$2.2/24" dev eth0
    ip -n "$tag-$1" link set eth0 up
    ip -n "$tag-$1" route add default via "192.168.$2.1"
    ip netns exec "$tag-nat$2" sysctl -qw net.ipv4.ip_forward=1
    ip netns exec "$tag-nat$2" nft -f - <<NFT
table ip translator {
    chain leaving { type nat hook postrouting priority 100
        oifname "eth0" masquerade $3
    }
    chain passing { type filter hook forward priority 0; policy drop
        ct state established,related accept
        iifname "lan" accept
    }
    chain coming { type filter hook input priority 0; policy drop
        ct state established,related accept
        iifname { "lan", "lo" } accept
    }
}
NFT
}

start() { # name, where its words go, command
    local space=$tag-$1 words=$2
    shift 2
    # Without anything of this shell that a node would listen to.
    ip netns exec "$space" env -i PATH="$PATH" HOME="$work" "$@" >"$words.out" 2>"$words.err" &
    pids+=($!)
}

wait_for() { # seconds, file, words
    local tries=0
    until grep -qs "$3" "$2"; do
        sleep 0.1
        tries=$((tries + 1))
        [ "$tries" -lt "$(($1 * 10))" ] || die "waited for \"$3\": $(tail -n 3 "${2%.out}.err")"
    done
}

size=$(stat -c %s "$source_dir"/*.sql.gz)

run_row() { # words, what the translators do with ports, relay or none, cut or none
    make_space hub
    ip -n "$tag-hub" link add bridge type bridge
    ip -n "$tag-hub" link set bridge up
    make_public lead 1
    make_public relay 2
    ip netns exec "$tag-lead" tc qdisc add dev eth0 root tbf rate "${up}mbit" burst 16000 latency 50ms
    make_hidden a 1 "$2"
    make_hidden b 2 "$2"
    mkdir "$work/lead"
    cp -r "$source_dir/." "$work/lead"
    start lead "$work/seed" "$program" seed --dir "$work/lead" --state-dir "$work/state0" --progress none
    wait_for 60 "$work/seed.out" regenesis1
    local ticket=$work/seed.out began sent name
    began=$(date +%s%N)
    sent=$(ip netns exec "$tag-lead" cat /sys/class/net/eth0/statistics/tx_bytes)
    if [ "$3" = relay ]; then
        start relay "$work/relaying" "$program" relay --ticket-file "$ticket" --dir "$work/relay" --state-dir "$work/state1" --progress none
        wait_for 60 "$work/relaying.out" regenesis1
        ticket=$work/relaying.out
    fi
    for name in a b; do
        start "$name" "$work/$name" "$program" fetch --ticket-file "$ticket" --dir "$work/files-$name" --state-dir "$work/state-$name" \
            --linger 1h --progress none
    done
    if [ "$4" = cut ]; then
        wait_for 60 "$work/a.err" fetching
        sleep 5
        ip -n "$tag-a" link set eth0 down
        sleep 10
        ip -n "$tag-a" link set eth0 up
        ip -n "$tag-a" route add default via 192.168.1.1
    fi
    wait_for 900 "$work/a.out" '^fetched and verified'
    wait_for 900 "$work/b.out" '^fetched and verified'
    local took left direct=no
    took=$((($(date +%s%N) - began) / 100000000))
    left=$(($(ip netns exec "$tag-lead" cat /sys/class/net/eth0/statistics/tx_bytes) - sent))
    grep -q "connected to peer .* at 198.51.100.1[12]" "$work/a.err" && direct=yes
    echo "| $1 | $((took / 10)).$((took % 10)) | $((left * 100 / size / 100)).$(printf %02d $((left * 100 / size % 100))) | $direct |"
    clear_swarm
}

echo "| translators | seconds | lead sent, over the size | validators met each other |"
echo "|---|---|---|---|"
run_row "keep ports" "" none none
run_row "take ports at random" random none none
run_row "take ports at random, and a relay" random relay none
run_row "keep ports; a validator's route is dead for 10 s" "" none cut
