#!/usr/bin/env bash
# Measures against other ways of doing the same, in turn, and prints tables with ratios.
#
#   scripts/bench.sh snapshot [--size 3G] [--rounds 3]
#   scripts/bench.sh manifest                   # what it costs to judge 100,000 chunks and 200 validators
#   scripts/bench.sh page --dir DIR [--rounds 5]  # the status page: its first paint, and what open pages cost a transfer of DIR,
#                                               # which is complete and signed, as publish leaves it
#   scripts/bench.sh swarm [--size 500M]        # the simulator's table; scripts/netns.sh has that of real processes
#   scripts/bench.sh evil --dir DIR [--rounds 1]  # members that do harm, four of twelve, of each kind; DIR as for page
#   scripts/bench.sh transfer --dir DIR [--rounds 3] [--peers]   # DIR: complete and signed, as publish leaves it
#   scripts/bench.sh media --dir DIR [--rounds 3]   # DIR: a signed snapshot, as publish leaves it; needs b3sum
#
# transfer needs nginx and curl, and with --peers it takes those of libtorrent, rqbit and sendme that are installed.
#
# snapshot makes a throw-away PostgreSQL with a plausible network of that much snapshot text; PGHOST, PGPORT, PGUSER and PGPASSWORD
# name another server, where the databases regenesis_bench_* are made and left. KWIL_ADMIN=/path/to/kwil-admin (v0.9) adds Kwil's
# own tool. BENCH_DIR says where the files go (default: a temporary directory); about the size's one and a half is needed,
# and as much again for the databases.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/lib.sh

usage() {
    die "$1" "usage: scripts/bench.sh snapshot [--size 3G] [--rounds 3], manifest, page --dir DIR, swarm [--size 500M], transfer --dir DIR, evil --dir DIR, or media --dir DIR"
}

# 250 KB of text for each unit of the database's scale.
scale_of() {
    local number=${1%[MG]}
    [[ $number =~ ^[0-9]+$ ]] || usage "--size wants a number with M or G, such as 300M or 3G"
    case $1 in
        *G) echo $((number * 4000)) ;;
        *M) echo $((number * 4)) ;;
        *) usage "--size wants a number with M or G, such as 300M or 3G" ;;
    esac
}

# Reads --dir into files and --rounds into rounds.
files_and_rounds() {
    files=''
    while [ $# -gt 0 ]; do
        case $1 in
            --dir) files=${2:-}; shift 2 || usage "--dir wants a directory" ;;
            --rounds) rounds=${2:-}; shift 2 || usage "--rounds wants a value" ;;
            *) usage "no such flag: $1" ;;
        esac
    done
    [ -f "$files/manifest.regenesis" ] || usage "--dir wants a directory that is complete and signed"
    [[ $rounds =~ ^[1-9][0-9]*$ ]] || usage "--rounds wants a number"
}

if [ "${1:-}" = swarm ]; then
    shift
    size=500M
    if [ "${1:-}" = --size ]; then
        size=${2:-}
        shift 2 || usage "--size wants a value"
    fi
    [ $# -eq 0 ] || usage "no such flag: $1"
    need_rust
    install_packages
    target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
    cargo build --release --locked --quiet --target-dir "$target"
    exec python3 scripts/bench/swarm.py "$target/release/regenesis" "$size"
fi
if [ "${1:-}" = transfer ] || [ "${1:-}" = media ]; then
    what=$1
    shift
    exec bash "scripts/bench/$what.sh" "$@"
fi
if [ "${1:-}" = manifest ]; then
    shift
    [ $# -eq 0 ] || usage "no such flag: $1"
    need_rust
    install_packages
    exec cargo bench --locked --quiet --bench manifest
fi
if [ "${1:-}" = page ]; then
    shift
    rounds=5
    files_and_rounds "$@"
    need_rust
    install_packages
    install_browser || die "no browser can be installed" "install chromium, then run this script again"
    target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
    cargo build --release --locked --quiet --target-dir "$target"
    exec python3 scripts/bench/page.py "$target/release/regenesis" "$files" "$rounds"
fi
if [ "${1:-}" = evil ]; then
    shift
    rounds=1
    files_and_rounds "$@"
    need_rust
    install_packages
    command -v python3 >/dev/null 2>&1 || die "python3 is missing" "install python3"
    target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
    cargo build --release --locked --quiet --target-dir "$target"
    evil=$(cargo build --locked --quiet --bench evil --target-dir "$target" --message-format json | sed -n 's/.*"name":"evil".*"executable":"\([^"]*\)".*/\1/p')
    exec python3 scripts/bench/evil.py "$target/release/regenesis" "$evil" "$files" "$rounds"
fi
[ "${1:-}" = snapshot ] || usage "what is to be measured?"
shift
size=3G rounds=3
while [ $# -gt 0 ]; do
    case $1 in
        --size) size=${2:-}; shift 2 || usage "--size wants a value" ;;
        --rounds) rounds=${2:-}; shift 2 || usage "--rounds wants a value" ;;
        *) usage "no such flag: $1" ;;
    esac
done
scale=$(scale_of "$size")
[[ $rounds =~ ^[1-9][0-9]*$ ]] || usage "--rounds wants a number"
admin=${KWIL_ADMIN:-}
[ -z "$admin" ] || [ -x "$admin" ] || die "KWIL_ADMIN=$admin is no program" "name the kwil-admin of Kwil v0.9"

need_rust
install_packages
command -v python3 >/dev/null 2>&1 || die "python3 is missing" "install python3"
bin=$(postgres_directory)

work=$(mktemp -d "${BENCH_DIR:-${TMPDIR:-/tmp}}/regenesis-bench.XXXXXX")
chmod 0755 "$work"
server=
finish() {
    [ -z "$server" ] || "${as_postgres[@]}" "$bin/pg_ctl" -D "$work/server/data" -m immediate stop >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap finish EXIT

say "building regenesis, with and without ISA-L"
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
cargo build --release --locked --quiet --target-dir "$target"
cp "$target/release/regenesis" "$work/plain"
choose_features
isal=
if [ "${#features[@]}" -gt 0 ]; then
    cargo build --release --locked --quiet --target-dir "$target" "${features[@]}"
    cp "$target/release/regenesis" "$work/isal"
    isal=$work/isal
fi
best=${isal:-$work/plain}

as_postgres=()
if [ -z "${PGHOST:-}" ]; then
    mkdir "$work/server"
    if [ "$(id -u)" -eq 0 ]; then
        # PostgreSQL refuses to run as root.
        as_postgres=(setpriv --reuid=nobody --regid=nogroup --clear-groups)
        chown nobody:nogroup "$work/server"
    fi
    export PGHOST=127.0.0.1 PGUSER=postgres PGPORT
    PGPORT=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    "${as_postgres[@]}" "$bin/initdb" -D "$work/server/data" -U postgres -A trust -E UTF8 --locale=C >/dev/null
    printf "port = %s\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '%s'\nshared_buffers = 256MB\nmax_wal_size = 4GB\n" \
        "$PGPORT" "$work/server" >>"$work/server/data/postgresql.conf"
    "${as_postgres[@]}" "$bin/pg_ctl" -D "$work/server/data" -l "$work/server/log" -w start >/dev/null
    server=started
    export PATH="$bin:$PATH"
fi
command -v pg_dump >/dev/null 2>&1 || export PATH="$PATH:$bin"
export PGUSER=${PGUSER:-postgres}

make_database() {
    local made="grown to $2"
    # One that an earlier run made on a server of the caller's is used again.
    if [ "$(psql -X -d postgres -Atc "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = '$1'")" = "$made" ]; then
        return
    fi
    say "making the database $1"
    psql -q -X -d postgres -c "DROP DATABASE IF EXISTS $1" -c "CREATE DATABASE $1"
    # The recorded role kwild need not exist here.
    zcat tests/data/v0.9/worlds/solo/database.sql.gz | psql -q -X -d "$1" >/dev/null 2>&1 || true
    psql -q -X -d "$1" -v scale="$2" -f scripts/bench/database.sql >/dev/null
    psql -q -X -d postgres -c "COMMENT ON DATABASE $1 IS '$made'"
}

create() { # program, database, name of its directory, flags
    local program=$1 database=$2 name=$3
    shift 3
    echo "$program snapshot create --quiet --progress none --force --chain-id bench-2 --dbname $database --snapdir $work/$name $*"
}

contender() { # name, command, bytes of text, file
    python3 - "$@" <<'PY'
import json, sys
name, command, text, *file = sys.argv[1:]
entry = {"name": name, "command": command, "text_bytes": int(text)}
if file:
    entry["file"] = file[0]
print(json.dumps(entry))
PY
}

table() { # title, rounds, reference; contenders on stdin, one a line
    python3 -c 'import json, sys
title, rounds, reference, path = sys.argv[1:]
plan = {"title": title, "rounds": int(rounds), "reference": reference, "contenders": [json.loads(l) for l in sys.stdin]}
json.dump(plan, open(path, "w"))' "$1" "$2" "$3" "$work/plan.json"
    python3 scripts/bench/run.py "$work/plan.json"
}

database=regenesis_bench_full
make_database "$database" "$scale"
file=$work/isal_fast/kwildb-snapshot.sql.gz
[ -n "$isal" ] || file=$work/plain_fast/kwildb-snapshot.sql.gz
bash -c "$(create "$best" "$database" "$(basename "$(dirname "$file")")")" >/dev/null
text=$(zcat "$file" | wc -c)
say "$((text / 1000000)) MB of text, $(nproc) processors, PostgreSQL $(psql -X -d postgres -Atc 'SHOW server_version')"

echo "$("$best" --version | head -n 1), $(nproc) processors, PostgreSQL $(psql -X -d postgres -Atc 'SHOW server_version'), $((text / 1000000)) MB of text; scripts/bench.sh snapshot --size $size --rounds $rounds"
echo
reference="pg_dump | gzip -6"
{
    if [ -n "$admin" ]; then
        reference="Kwil's own tool"
        contender "$reference" "$admin snapshot create --dbname $database --user $PGUSER --password '${PGPASSWORD:-}' --host $PGHOST --port $PGPORT --snapdir $work/kwil" \
            "$text" "$work/kwil/kwildb-snapshot.sql.gz"
    fi
    contender "pg_dump | gzip -6" "pg_dump -d $database | gzip -6 > $work/plain.gz" "$text" "$work/plain.gz"
    for back in isal plain; do
        [ -x "$work/$back" ] || continue
        label=$([ $back = isal ] && echo "ISA-L" || echo "libdeflate")
        contender "create, $label" "$(create "$work/$back" "$database" ${back}_fast)" "$text" "$work/${back}_fast/kwildb-snapshot.sql.gz"
        contender "create, $label, --no-digest" "$(create "$work/$back" "$database" ${back}_bare --no-digest)" "$text" "$work/${back}_bare/kwildb-snapshot.sql.gz"
    done
    contender "create, --compress small" "$(create "$best" "$database" small --compress small)" "$text" "$work/small/kwildb-snapshot.sql.gz"
} >"$work/contenders"
[ -z "$admin" ] || reference="Kwil's own tool"
table "making" "$rounds" "$reference" <"$work/contenders"

{
    contender "zcat | sha256sum" "zcat $file | sha256sum" "$text"
    contender "verify" "$best snapshot verify --progress none --quiet $file --genesis $(dirname "$file")/genesis.json" "$text"
} | table "checking" "$rounds" "zcat | sha256sum"

# Rows only, over as many connections as there are processors: what no tool can be faster than.
statements=$work/statements.sql
psql -X -d "$database" -At >"$statements" <<'SQL'
SELECT format('COPY (SELECT * FROM ONLY %s WHERE ctid >= ''(%s,0)'' AND ctid < ''(%s,0)'') TO stdout;', c.oid::regclass, p, p + 1024)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace,
  generate_series(0, greatest(pg_relation_size(c.oid) / 8192 - 1, 0), 1024) p
WHERE c.relkind = 'r' AND (n.nspname LIKE 'ds\_%' OR n.nspname IN ('kwild_accts', 'kwild_internal', 'kwild_voting'));
SQL
split --number="r/$(nproc)" "$statements" "$work/part."
bare="for part in $work/part.*; do psql -X -q -d $database -f \$part > /dev/null & done; wait"
{
    contender "parallel COPY to nowhere" "$bare" "$text"
    contender "digest of the database" "$best snapshot digest --progress none --quiet --dbname $database" "$text"
    contender "digest of the file" "$best snapshot digest --progress none --quiet $file --genesis $(dirname "$file")/genesis.json" "$text"
} | table "digesting" "$rounds" "parallel COPY to nowhere"

make_database regenesis_bench_third $((scale / 3))
make_database regenesis_bench_tenth $((scale / 10))
# One connection that brings rows is ended while they come.
cat >"$work/lose.sh" <<LOSE
$(create "$best" "$database" lost) &
create=\$!
lost=
while [ -z "\$lost" ] && kill -0 \$create 2>/dev/null; do
    lost=\$(psql -X -d postgres -Atc "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE application_name = 'regenesis' AND query LIKE 'COPY (SELECT%' AND query_start > backend_start + interval '1 second' LIMIT 1")
    sleep 0.05
done
wait \$create
LOSE
lost="bash $work/lose.sh"
{
    contender "create, the size" "$(create "$best" "$database" grown)" "$text"
    contender "create, a third" "$(create "$best" regenesis_bench_third grown)" "$((text / 3))"
    contender "create, a tenth" "$(create "$best" regenesis_bench_tenth grown)" "$((text / 10))"
    contender "create, the size, one connection lost" "$lost" "$text"
} | table "growth" "$rounds" "create, the size"
