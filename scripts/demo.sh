#!/usr/bin/env bash
# Installs what is missing, builds regenesis, and shows a whole migration on this machine. Flags: regenesis demo --help
set -euo pipefail
caller=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/lib.sh

need_rust
install_packages
choose_features

target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
say "building regenesis (a few minutes the first time)"
cargo build --release --locked "${features[@]}" --target-dir "$target"
# Paths among the flags are the caller's.
cd "$caller"
exec "$target/release/regenesis" demo "$@"
