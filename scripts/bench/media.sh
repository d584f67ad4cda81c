#!/usr/bin/env bash
# Media beside cp, sync and b3sum on the same disk, in turn; run by scripts/bench.sh media.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. scripts/lib.sh

directory= rounds=3
while [ $# -gt 0 ]; do
    case $1 in
        --dir) directory=${2:-}; shift 2 || die "--dir wants a value" "name a directory with a signed snapshot" ;;
        --rounds) rounds=${2:-}; shift 2 || die "--rounds wants a value" "say how often" ;;
        *) die "no such flag: $1" "usage: scripts/bench.sh media --dir DIR [--rounds 3]" ;;
    esac
done
[ -f "$directory/manifest.regenesis" ] || die "there is no manifest in ${directory:-the directory that --dir names}" \
    "make one: regenesis manifest sign --snapdir DIR --key KEY"
command -v b3sum >/dev/null 2>&1 || die "b3sum is missing" "install it: cargo install b3sum"
file=$(ls "$directory"/*.sql.gz)
program=${REGENESIS:-}
if [ -z "$program" ]; then
    need_rust
    install_packages
    target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
    cargo build --release --locked --quiet --target-dir "$target"
    program=$target/release/regenesis
fi

work=$(mktemp -d "${BENCH_DIR:-${TMPDIR:-/tmp}}/regenesis-media.XXXXXX")
trap 'rm -rf "$work"' EXIT
bytes=$(stat -c %s "$file")
quiet="--quiet --progress none"
export="$program bundle export --dir $directory --state-dir $work/state $quiet --to"
# Once for those that only read.
$export "$work/medium" >/dev/null
# What was copied is forgotten and read from the disk, as the program does it.
forget="dd if=$work/copied of=/dev/null iflag=nocache count=0 status=none"
copy() { echo "cp $1 $work/copied && sync $work/copied && $forget && b3sum $work/copied"; }
check="$program snapshot verify $file --genesis $directory/genesis.json $quiet"

table() { # title, reference; contenders on stdin as NAME <tab> COMMAND <tab> COMMAND BEFORE IT
    python3 -c 'import json, sys
title, rounds, reference, size, path = sys.argv[1:]
rows = [line.rstrip("\n").split("\t") for line in sys.stdin]
contenders = [{"name": n, "command": c, "text_bytes": int(size), "before": b} for n, c, b in rows]
json.dump({"title": title, "rounds": int(rounds), "reference": reference, "contenders": contenders}, open(path, "w"))' \
        "$1" "$rounds" "$2" "$bytes" "$work/plan.json"
    python3 scripts/bench/run.py "$work/plan.json"
}

echo "$("$program" --version | head -n 1), $(nproc) processors, $((bytes / 1000000)) MB; scripts/bench.sh media --rounds $rounds"
echo
# Nobody pays for what another one left to be written.
clean="rm -rf $work/copied $work/written $work/taken && sync"
{
    printf '%s\t%s\t%s\n' "cp, sync, b3sum" "$(copy "$file")" "$clean"
    printf '%s\t%s\t%s\n' "bundle export" "$export $work/written" "$clean"
} | table "onto a medium" "cp, sync, b3sum"
{
    printf '%s\t%s\t%s\n' "cp, sync, b3sum" "$(copy "$file")" "$clean"
    printf '%s\t%s\t%s\n' "cp, sync, b3sum, snapshot verify" "$(copy "$file") && $check" "$clean"
    printf '%s\t%s\t%s\n' "bundle import" \
        "$program bundle import $work/medium --dir $work/taken --state-dir $work/state $quiet" "$clean"
} | table "from a medium" "cp, sync, b3sum, snapshot verify"
{
    printf '%s\t%s\t%s\n' "b3sum" "b3sum $work/medium/data*" "true"
    printf '%s\t%s\t%s\n' "bundle verify" "$program bundle verify $work/medium $quiet" "true"
} | table "looking at a medium" "b3sum"

# Parity alone, on data in memory. Whoever brings a program of theirs has nothing built for it.
[ -n "${REGENESIS:-}" ] || cargo bench --locked --quiet --bench parity
