# What the scripts share: installs what is missing on Debian and Ubuntu, or says what to run. To be sourced.

say() {
    printf '%s\n' "$*" >&2
}

die() {
    say "error: $1"
    [ $# -lt 2 ] || say "  next: $2"
    exit 1
}

# Says where a PostgreSQL server's programs are, all that is needed of them: on Debian they lie outside PATH.
postgres_directory() {
    local directory
    for directory in $(ls -dr /usr/lib/postgresql/*/bin 2>/dev/null) "$(pg_config --bindir 2>/dev/null || true)" \
        "$(dirname "$(command -v postgres 2>/dev/null || echo /none/postgres)")"; do
        if [ -x "$directory/postgres" ] && [ -x "$directory/initdb" ] && [ -x "$directory/psql" ] \
            && [ -x "$directory/pg_dump" ] && have_postgres_extensions "$directory"; then
            echo "$directory"
            return 0
        fi
    done
    return 1
}

# Kwil's databases use two extensions that come with PostgreSQL; some systems have them in a package apart.
have_postgres_extensions() {
    local share
    if [ -x "$1/pg_config" ]; then
        share=$("$1/pg_config" --sharedir)
    else
        # Debian has the server in /usr/lib/postgresql/N/bin and its data in /usr/share/postgresql/N.
        share=${1%/bin}
        share=/usr/share/postgresql/${share##*/}
    fi
    [ -e "$share/extension/uuid-ossp.control" ] && [ -e "$share/extension/pgcrypto.control" ]
}

# PostgreSQL's parser is bound to Rust by bindgen, which reads its C header with libclang and clang's own headers.
have_libclang() {
    local place library=
    [ -z "${LIBCLANG_PATH:-}" ] || return 0
    for place in /usr/lib/llvm-*/lib /usr/lib/*-linux-gnu /usr/lib64 /usr/lib /usr/local/lib; do
        ! compgen -G "$place/libclang*.so*" >/dev/null || library=$place
    done
    [ -n "$library" ] || return 1
    for place in /usr/lib/llvm-*/lib/clang /usr/lib64/clang /usr/lib/clang; do
        ! compgen -G "$place/*/include/stddef.h" >/dev/null || return 0
    done
    return 1
}

# Names the packages that are missing, one a line. Those that only the tests need: with PYTHON=1.
missing_packages() {
    command -v cc >/dev/null 2>&1 || echo build-essential
    command -v git >/dev/null 2>&1 || echo git
    postgres_directory >/dev/null || echo postgresql
    have_libclang || echo libclang-dev
    [ -z "${PYTHON:-}" ] || command -v python3 >/dev/null 2>&1 || echo python3
}

# The same for ISA-L, which makes snapshots faster. Its assembler is for x86 only.
missing_isal_packages() {
    local program
    for program in make autoconf automake; do
        command -v "$program" >/dev/null 2>&1 || echo "$program"
    done
    command -v libtoolize >/dev/null 2>&1 || echo libtool
    [ "$(uname -m)" != x86_64 ] || command -v nasm >/dev/null 2>&1 || echo nasm
}

# Sets `features` to cargo's flags: ISA-L where it can be built. Its configure links a static program.
choose_features() {
    features=()
    if [ -z "$(missing_isal_packages)" ] && echo 'int main(void) { return 0; }' | cc -static -x c -o /dev/null - 2>/dev/null; then
        features=(--features isal)
    else
        say "building without ISA-L: snapshots take longer to write"
    fi
}

# Installs the packages that are missing; without root or sudo it says which command does it.
install_packages() {
    local packages command as_root=() may_install=yes
    mapfile -t packages < <(missing_packages)
    mapfile -t -O "${#packages[@]}" packages < <(missing_isal_packages)
    [ "${#packages[@]}" -gt 0 ] || return 0
    command -v apt-get >/dev/null 2>&1 || may_install=no
    if [ "$(id -u)" -ne 0 ]; then
        if command -v sudo >/dev/null 2>&1 && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
            as_root=(sudo)
        else
            may_install=no
        fi
    fi
    if [ "$may_install" = no ]; then
        mapfile -t packages < <(missing_packages)
        # ISA-L can be done without.
        [ "${#packages[@]}" -gt 0 ] || return 0
        command="apt-get update && apt-get install --yes --no-install-recommends ${packages[*]}"
        command -v apt-get >/dev/null 2>&1 \
            || die "missing on this machine: ${packages[*]}" "install them (these are the names of Debian's and Ubuntu's packages), then run this script again"
        die "missing on this machine: ${packages[*]}" "run as root: $command"
    fi
    say "installing ${packages[*]}"
    # We start servers of our own: the package need not make and start one. A choice made before is kept.
    if [[ " ${packages[*]} " == *" postgresql "* ]] && [ ! -e /etc/postgresql-common/createcluster.conf ]; then
        "${as_root[@]}" mkdir -p /etc/postgresql-common
        echo 'create_main_cluster = false' | "${as_root[@]}" tee /etc/postgresql-common/createcluster.conf >/dev/null
    fi
    # What cannot be done without is looked for again below.
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update --quiet >&2 || true
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends --quiet "${packages[@]}" >&2 || true
    mapfile -t packages < <(missing_packages)
    [ "${#packages[@]}" -eq 0 ] || die "still missing after the installation: ${packages[*]}"
}

# A browser without a screen, in which the status page is looked at. Some systems have no package of it, and in some containers it
# does not start: then that is not done.
have_browser() {
    local name
    for name in chromium google-chrome; do
        command -v "$name" >/dev/null 2>&1 || continue
        timeout 60 "$name" --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --dump-dom about:blank \
            </dev/null >/dev/null 2>&1 && return 0
    done
    return 1
}
install_browser() {
    local as_root=()
    have_browser && return 0
    [ "$(id -u)" -eq 0 ] || as_root=(sudo -n)
    say "installing chromium"
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends --quiet chromium >&2 || true
    have_browser
}

# What makes pictures small.
install_pngquant() {
    local as_root=()
    command -v pngquant >/dev/null 2>&1 && return 0
    [ "$(id -u)" -eq 0 ] || as_root=(sudo -n)
    say "installing pngquant"
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends --quiet pngquant >&2 || true
    command -v pngquant >/dev/null 2>&1
}

# Prometheus and its checker of numbers, with which a test looks at a run. Its package need not start a server of its own.
have_prometheus() {
    command -v prometheus >/dev/null 2>&1 && command -v promtool >/dev/null 2>&1
}
install_prometheus() {
    local as_root=()
    have_prometheus && return 0
    [ "$(id -u)" -eq 0 ] || as_root=(sudo -n)
    say "installing prometheus"
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install --yes --no-install-recommends --quiet prometheus >&2 || true
    have_prometheus
}

# Fetches axe-core, which judges whether everyone can use a page, and names its file; without npm or a registry it is not asked.
fetch_axe() {
    local place=$1
    command -v npm >/dev/null 2>&1 || return 1
    if [ ! -f "$place/package/axe.min.js" ]; then
        mkdir -p "$place"
        (cd "$place" && timeout 120 npm pack --silent axe-core@4 >/dev/null 2>&1 && tar -xzf axe-core-4*.tgz package/axe.min.js) || return 1
    fi
    echo "$place/package/axe.min.js"
}

# A Rust toolchain that is new enough. Never installed by us, but rustup may add a component.
need_rust() {
    local wanted found
    # rustup puts cargo there, and not every shell has read its profile.
    command -v cargo >/dev/null 2>&1 || [ ! -x "$HOME/.cargo/bin/cargo" ] || PATH="$HOME/.cargo/bin:$PATH"
    wanted=$(sed -n 's/^rust-version = "\([0-9.]*\)".*/\1/p' Cargo.toml)
    command -v cargo >/dev/null 2>&1 && command -v rustc >/dev/null 2>&1 \
        || die "no Rust toolchain is installed" "install Rust $wanted or newer, see https://rustup.rs, then run this script again"
    found=$(rustc --version | sed -n 's/^rustc \([0-9.]*\).*/\1/p')
    if [ "$(printf '%s\n' "$wanted" "$found" | sort -V | head -n 1)" != "$wanted" ]; then
        die "rustc $found is too old: $wanted or newer is needed" "with rustup: rustup update stable"
    fi
}

# cargo fmt and cargo clippy.
need_rust_components() {
    local component
    for component in fmt clippy; do
        cargo "$component" --version >/dev/null 2>&1 && continue
        command -v rustup >/dev/null 2>&1 \
            || die "cargo $component is not installed" "install the $component component of your Rust toolchain"
        # rustup's name of it is another one.
        rustup component add "${component/#fmt/rustfmt}" >&2
    done
}
