#!/usr/bin/env bash
# Makes the pictures of the status page that the README shows, in a browser without a screen, of real runs: those of the tests that look
# at the page. Into .github/pictures, small where pngquant is installed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/lib.sh

need_rust
install_packages
choose_features
install_browser || die "no browser can be installed" "install chromium, then run this script again"
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
REGENESIS_PICTURES=$made cargo test --locked "${features[@]}" --test network -- migration::browser
if command -v pngquant >/dev/null 2>&1; then
    pngquant --force --ext .png --speed 1 --strip 64 "$made"/*.png
else
    say "pngquant is not installed: the pictures are larger than they need to be"
fi
mkdir -p .github/pictures
for picture in "$made"/*.png; do
    [ "$(stat -c %s "$picture")" -le 61440 ] || say "$(basename "$picture") is larger than 60 KiB"
    install -m 644 "$picture" .github/pictures/
done
ls -l .github/pictures >&2
