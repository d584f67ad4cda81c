#!/usr/bin/env bash
# Makes the pictures of the status page that the README shows, in a browser without a screen, of real runs: those of the tests that look
# at the page. Into .github/pictures, each of 60 KiB at the most.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/lib.sh

need_rust
install_packages
choose_features
install_browser || die "no browser can be installed" "install chromium, then run this script again"
install_pngquant || die "pngquant cannot be installed" "install it: without it the pictures are four times as large"
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
REGENESIS_PICTURES=$made cargo test --locked "${features[@]}" --test network -- migration::browser
# As few colours as that takes; fewer than 16 would show.
shrink() {
    local colours
    for colours in 64 48 32 16; do
        pngquant --force --output "$1.small" --speed 1 --nofs --strip "$colours" "$1"
        [ "$(stat -c %s "$1.small")" -gt 61440 ] || { mv "$1.small" "$1"; return; }
    done
    die "$(basename "$1") is larger than 60 KiB" "let tests/network/migration/browser.rs show less of the page"
}
mkdir -p .github/pictures
for picture in "$made"/*.png; do
    shrink "$picture"
    install -m 644 "$picture" .github/pictures/
done
ls -l .github/pictures >&2
