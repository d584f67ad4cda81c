#!/usr/bin/env bash
# Installs what is missing, then: format check, lints, all tests.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/lib.sh

need_rust
PYTHON=1 install_packages
choose_features
skipped=()
if ! install_browser; then
    say "no browser can be installed: the status page is not looked at in one"
    skipped+=(--skip migration::browser)
fi
if ! install_prometheus; then
    say "Prometheus cannot be installed: no run is looked at with it"
    skipped+=(--skip migration::monitor)
fi
need_rust_components
if axe=$(fetch_axe "$(realpath -m "${CARGO_TARGET_DIR:-target}")/axe"); then
    export REGENESIS_AXE=$axe
else
    say "axe-core cannot be fetched: roles and labels of the status page are looked at without it"
fi

# A CI machine may keep what was built between runs; a clean checkout has no folder of its own for it.
if [ -n "${CI:-}" ] && [ -z "${CARGO_TARGET_DIR:-}" ]; then
    export CARGO_TARGET_DIR="${XDG_CACHE_HOME:-$HOME/.cache}/regenesis/target"
fi

step() {
    say "== $*"
    "$@"
}
step cargo fmt --check
step cargo clippy --workspace --all-targets --locked "${features[@]}" -- -D warnings
step cargo test --workspace --locked "${features[@]}" -- "${skipped[@]}"
say "all green"
