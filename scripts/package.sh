#!/usr/bin/env bash
# Makes what others install: a Debian package, a tarball, and their checksums.
#
#   scripts/package.sh [--out DIR]     builds both into DIR [default: target/package/out]
#   scripts/package.sh --check         looks at them as well: units, manual pages, completions; installs the package in a clean
#                                      root (debootstrap) and removes it again, which must leave nothing; and runs the services there
#   scripts/package.sh --twice         builds a second time, from a copy at another place, and compares: one commit, one hash
#   scripts/package.sh --image         builds the container image, with podman or buildah
#
# One hash also needs: the same rustc, C compiler and libraries, the same features, and sources without changes. Paths and times
# of the machine do not get in: they are mapped away, and SOURCE_DATE_EPOCH is the commit's time unless it is given.
set -euo pipefail
caller=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/lib.sh
checkout=$PWD

out= check= twice= image=
while [ $# -gt 0 ]; do
    case $1 in
        --out) out=$(cd "$caller" && realpath -m "${2:?a directory}"); shift ;;
        --check) check=yes ;;
        --twice) twice=yes ;;
        --image) image=yes ;;
        *) sed -n '2,12s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    esac
    shift
done

need_rust
install_packages
choose_features
# Flags that map paths away are other flags than those of a usual build: it has a place of its own.
base=$(realpath -m "${CARGO_TARGET_DIR:-target}")/package
out=${out:-$base/out}
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
host=$(rustc -vV | sed -n 's/^host: //p')
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
commit=$(git rev-parse HEAD)
export SOURCE_DATE_EPOCH=$epoch

# Fetches cargo-deb, once.
need_cargo_deb() {
    PATH="$PATH:$base/tools/bin"
    command -v cargo-deb >/dev/null 2>&1 && return
    say "installing cargo-deb"
    CARGO_TARGET_DIR=$base/tools/target cargo install cargo-deb --locked --quiet --root "$base/tools" >&2 \
        || die "cargo-deb cannot be installed" "install it by hand: cargo install cargo-deb --locked"
    rm -rf "$base/tools/target"
}

# build SOURCES TARGET: the program, its pages and completions, the package and the tarball, in TARGET/out.
build() {
    local source=$1 target=$2 cargo_home sysroot map
    cargo_home=$(realpath "${CARGO_HOME:-$HOME/.cargo}")
    sysroot=$(rustc --print sysroot)
    map="--remap-path-prefix=$source=/regenesis --remap-path-prefix=$target=/target"
    map+=" --remap-path-prefix=$cargo_home=/cargo --remap-path-prefix=$sysroot=/rust"
    local prefix="-ffile-prefix-map=$source=/regenesis -ffile-prefix-map=$target=/target -ffile-prefix-map=$cargo_home=/cargo"
    say "building regenesis $version for packages (some minutes the first time)"
    (
        cd "$source"
        export CARGO_TARGET_DIR=$target CARGO_INCREMENTAL=0
        export RUSTFLAGS="${RUSTFLAGS:-} $map" CFLAGS="${CFLAGS:-} $prefix" CXXFLAGS="${CXXFLAGS:-} $prefix"
        cargo build --release --locked "${features[@]}"
    )
    local program=$target/release/regenesis pack=$target/release/package
    rm -rf "$pack" "$target/out"
    mkdir -p "$pack/completions" "$target/out"
    env -i HOME=/nonexistent "$program" --config /dev/null man "$pack/man" >/dev/null
    gzip -n9 "$pack"/man/*.1
    env -i "$program" --config /dev/null completions bash >"$pack/completions/regenesis"
    env -i "$program" --config /dev/null completions zsh >"$pack/completions/_regenesis"
    env -i "$program" --config /dev/null completions fish >"$pack/completions/regenesis.fish"
    make_tarball "$source" "$program" "$pack" "$target/out/regenesis-$version-$host"
    (cd "$source" && CARGO_TARGET_DIR=$target cargo-deb --no-build --no-strip --output "$target/out/" >/dev/null)
    (cd "$target/out" && sha256sum -- *.deb *.tar.gz >SHA256SUMS)
}

make_tarball() {
    local source=$1 program=$2 pack=$3 name=$4 tree
    tree=$pack/$(basename "$name")
    mkdir -p "$tree/systemd"
    cp "$program" "$source/README.md" "$source"/LICENSE-* "$tree/"
    cp -r "$pack/man" "$pack/completions" "$tree/"
    cp "$source"/scripts/package/*.service "$tree/systemd/"
    cp "$source/scripts/package/regenesis.toml" "$tree/"
    chmod -R u=rwX,go=rX "$tree"
    tar --sort=name --mtime="@$epoch" --owner=0 --group=0 --numeric-owner --format=gnu -C "$pack" -cf - "$(basename "$name")" \
        | gzip -n9 >"$name.tar.gz"
}

# Units, pages and completions of a package that was unpacked.
check_files() {
    local root=$1 unit page found
    say "== units, manual pages, completions"
    if command -v systemd-analyze >/dev/null 2>&1; then
        # The targets that units stand among; what is under test is the units of the package.
        cp -r --no-clobber /usr/lib/systemd/system/*.target "$root/usr/lib/systemd/system/"
        for unit in "$root"/usr/lib/systemd/system/regenesis-*.service; do
            found=$(systemd-analyze verify --root="$root" --man=no "$(basename "$unit")" 2>&1 | grep -F regenesis || true)
            [ -z "$found" ] || die "systemd would not take $(basename "$unit"): $found"
            # Of ten, the exposure that systemd's own judge sees; its middle is "exposed".
            systemd-analyze security --offline=true --root="$root" --threshold=20 "$(basename "$unit")" >"$base/security.txt" \
                || die "$(basename "$unit") is open too far" "systemd-analyze security --offline=true $unit says where"
            say "$(sed -n 's/^→ //p' "$base/security.txt")"
        done
    fi
    if command -v man >/dev/null 2>&1; then
        for page in "$root"/usr/share/man/man1/*.1.gz; do
            found=$(LC_ALL=C.UTF-8 MANWIDTH=100 man --warnings -l "$page" 2>&1 >/dev/null)
            [ -z "$found" ] || die "the page $(basename "$page") is not in order: $found"
        done
    fi
    bash -n "$root/usr/share/bash-completion/completions/regenesis"
    ! command -v zsh >/dev/null 2>&1 || zsh -n "$root/usr/share/zsh/vendor-completions/_regenesis"
    ! command -v fish >/dev/null 2>&1 || fish -n "$root/usr/share/fish/vendor_completions.d/regenesis.fish"
}

# Everything in a root but what dpkg writes down of its own work.
listing() {
    (cd "$1" && find . \( -path ./proc -o -path ./sys -o -path ./dev -o -path ./var/lib/dpkg -o -path ./var/cache -o -path ./var/log \
        -o -path ./tmp \) -prune -o -print | sort)
}

# Boots systemd in the root in which the package is installed, and runs its services there: the ticket of regenesis-seed, which only
# root can read, brings regenesis-relay everything; what is stopped ends well; publish does not sign a second time.
check_services() {
    local root=$1 recorded=tests/data/v0.10/worlds/quartet/kwild-snapshot files=/var/lib/private/regenesis/files said
    command -v systemd-nspawn >/dev/null 2>&1 || { say "systemd-nspawn is not installed: the services are not run"; return; }
    say "== the services, under a systemd of their own"
    mkdir -p "$root/srv" && cp "$recorded/genesis.json" "$recorded/snapshot.sql.gz" "$root/srv/"
    install -d -m 0700 "$root/var/lib/private" "$root/var/lib/private/regenesis"
    {
        chroot "$root" regenesis snapshot guard /srv/snapshot.sql.gz --genesis /srv/genesis.json -o "$files"
        chroot "$root" regenesis key gen ed25519 -o /etc/regenesis/lead.key
        chroot "$root" regenesis manifest sign --snapdir "$files" --key /etc/regenesis/lead.key --state-dir /srv/state
    } >"$base/sign.log" 2>&1 || die "the files of the services cannot be made: $(tail -n 2 "$base/sign.log")"
    ln -s private/regenesis "$root/var/lib/regenesis"
    cat >"$root/look.sh" <<'LOOK'
exec >/look.txt 2>&1
show() { systemctl show "$1" --property=ActiveState,StatusText,Result,ConditionResult | sed "s/^/$1 /"; }
# Until its line says so, a minute at the most.
until_status() { for _ in $(seq 60); do systemctl show "$1" --property=StatusText | grep -q "$2" && return; sleep 1; done; }
systemctl start regenesis-seed
until_status regenesis-seed serving
show regenesis-seed
stat --format='ticket %a %U' /run/regenesis-seed.ticket
install -m 600 /run/regenesis-seed.ticket /etc/regenesis/ticket.txt
systemctl start regenesis-relay
until_status regenesis-relay serving
show regenesis-relay
cmp /var/lib/regenesis/files/snapshot.sql.gz /var/lib/regenesis/relay/snapshot.sql.gz && echo relay has all
journalctl --unit regenesis-relay --output cat | grep -q 'everything is here' && echo relay tells the journal
systemctl stop regenesis-relay regenesis-seed
for unit in seed relay; do systemctl show regenesis-$unit --property=ActiveState,Result | sed "s/^/stopped $unit /"; done
systemctl start regenesis-publish
show regenesis-publish
LOOK
    cat >"$root/etc/systemd/system/look.service" <<'UNIT'
[Service]
Type=oneshot
ExecStart=/bin/sh /look.sh
ExecStopPost=/bin/systemctl poweroff --force
TimeoutStartSec=300
[Install]
WantedBy=multi-user.target
UNIT
    chroot "$root" systemctl enable look.service >/dev/null 2>&1
    timeout 400 systemd-nspawn --quiet -D "$root" --boot --private-network --register=no --keep-unit </dev/null >"$base/boot.log" 2>&1 || true
    if [ ! -s "$root/look.txt" ]; then
        say "systemd cannot be started in a container here: the services are not run"
        return
    fi
    for said in 'regenesis-seed ActiveState=active' 'regenesis-seed StatusText=serving' 'ticket 600 root' 'regenesis-relay ActiveState=active' \
        'regenesis-relay StatusText=serving' 'relay has all' 'relay tells the journal' 'stopped seed ActiveState=inactive' \
        'stopped seed Result=success' 'stopped relay ActiveState=inactive' 'stopped relay Result=success' \
        'regenesis-publish ActiveState=inactive' 'regenesis-publish ConditionResult=no'; do
        grep -q "^$said" "$root/look.txt" || die "the services do not do what they should: not \"$said\" in
$(cat "$root/look.txt")"
    done
    say "started, ready, used and stopped"
}

# Installs the package in a clean root of Debian's, runs it there, and removes it.
check_installed() {
    local deb=$1 root=$base/root
    [ "$(id -u)" -eq 0 ] || die "only root can make a clean root" "run scripts/package.sh --check as root"
    command -v debootstrap >/dev/null 2>&1 || die "debootstrap is not installed" "run as root: apt-get install debootstrap"
    say "== a clean root"
    rm -rf "$root"
    # shellcheck source=/dev/null
    debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus "$(. /etc/os-release && echo "$VERSION_CODENAME")" "$root" >"$base/debootstrap.log" 2>&1 \
        || die "debootstrap cannot make a root: $(tail -n 1 "$base/debootstrap.log")"
    listing "$root" >"$base/before.txt"
    cp "$deb" "$root/tmp/regenesis.deb"
    chroot "$root" dpkg --install /tmp/regenesis.deb >"$base/install.log" 2>&1 || die "it cannot be installed: $(cat "$base/install.log")"
    chroot "$root" regenesis --version >&2
    chroot "$root" regenesis config show | grep -q '^/etc/regenesis/regenesis.toml  read$' || die "its file of defaults is not read"
    # As a service would have left it.
    mkdir -p "$root/var/lib/private/regenesis/files"
    ln -s private/regenesis "$root/var/lib/regenesis"
    chroot "$root" dpkg --purge regenesis >"$base/purge.log" 2>&1 || die "it cannot be removed: $(cat "$base/purge.log")"
    rm "$root/tmp/regenesis.deb"
    listing "$root" >"$base/after.txt"
    diff "$base/before.txt" "$base/after.txt" >&2 || die "the package leaves something behind when it is removed"
    say "installed, run and removed without a trace"
    cp "$deb" "$root/tmp/regenesis.deb"
    chroot "$root" dpkg --install /tmp/regenesis.deb >"$base/install.log" 2>&1 || die "it cannot be installed again: $(cat "$base/install.log")"
    check_services "$root"
    rm -rf "$root"
}

need_cargo_deb
build "$checkout" "$base"
if [ "$out" != "$base/out" ]; then
    mkdir -p "$out"
    cp "$base/out"/* "$out/"
fi
deb=$(ls "$out"/*.deb)
say "made in $out:"
(cd "$out" && sha256sum --check --quiet SHA256SUMS && cat SHA256SUMS)

if [ -n "$check" ]; then
    rm -rf "$base/unpacked"
    dpkg-deb --extract "$deb" "$base/unpacked"
    check_files "$base/unpacked"
    check_installed "$deb"
fi
if [ -n "$twice" ]; then
    [ -z "$(git status --porcelain --untracked-files=no)" ] || die "the sources have changes" "commit them: a hash belongs to a commit"
    [ "$(git rev-parse HEAD)" = "$commit" ] || die "the checkout went on to another commit while it was built" "run this again, and leave it alone meanwhile"
    rm -rf "$base/again"
    mkdir -p "$base/again"
    git clone --quiet --no-hardlinks "$checkout" "$base/again/sources"
    build "$base/again/sources" "$base/again/target"
    diff "$base/out/SHA256SUMS" "$base/again/target/out/SHA256SUMS" >&2 || die "two builds of one commit differ"
    rm -rf "$base/again"
    say "two builds of $(git rev-parse --short=10 HEAD) at two places have the same hashes"
fi
if [ -n "$image" ]; then
    tool=$(command -v podman || command -v buildah) || die "neither podman nor buildah is installed" "apt-get install podman"
    cp "$deb" "$base/image.deb"
    "$tool" build --file scripts/package/Containerfile --build-arg DEB=image.deb --timestamp "$epoch" --tag "regenesis:$version" "$base"
fi
