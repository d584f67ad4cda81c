#!/usr/bin/env bash
# scripts/bench.sh transfer: see there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. scripts/lib.sh

usage() {
    die "$1" "usage: scripts/bench.sh transfer --dir DIR [--rounds 3] [--peers] [--before PROGRAM]"
}

dir='' more=()
while [ $# -gt 0 ]; do
    case $1 in
        --dir) dir=${2:-}; shift 2 || usage "--dir wants a directory" ;;
        --rounds | --before) more+=("$1" "${2:-}"); shift 2 || usage "$1 wants a value" ;;
        --peers) more+=("$1"); shift ;;
        *) usage "no such flag: $1" ;;
    esac
done
[ -n "$dir" ] && [ -f "$dir/manifest.regenesis" ] || usage "--dir wants a directory that is complete and signed"
for tool in nginx curl python3; do
    command -v "$tool" >/dev/null 2>&1 || die "$tool is missing" "install $tool: it serves and fetches the same file without any check"
done
need_rust
install_packages
choose_features
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
cargo build --release --locked --quiet --target-dir "$target" "${features[@]}"
exec python3 scripts/bench/transfer.py --program "$target/release/regenesis" --dir "$dir" --work "${BENCH_DIR:-${TMPDIR:-/tmp}}" "${more[@]}"
