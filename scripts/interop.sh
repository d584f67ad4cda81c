#!/usr/bin/env bash
# Does real kwild start on what regenesis makes, and does `setup confirm` tell good data from bad?
#
#   KWILD=/path/to/kwild       kwild of v0.10
#   KWILD09=/path/to/kwild     kwild of v0.9; one of the two, or both
#   PGHOST PGPORT PGUSER …     a PostgreSQL 16 that kwild may use (wal_level=logical, max_prepared_transactions >= 2,
#                              wal_sender_timeout=0, fsync=on; a superuser with replication); without PGHOST and PGPORT one
#                              is made from PG_BIN (a directory with postgres and initdb 16) or what is installed
#   REGENESIS=/path            the program to test [default: built from this checkout]
#   SECONDS_MAX=120            how long one start of kwild may take
#
# psql and pg_dump 16 must be on PATH: kwild runs them. For each family: the recorded network's database, a signed snapshot of
# it, a root, real kwild to height 3, `setup confirm`; then one changed row, and a node that restored nothing; then the whole
# network: `publish`, four `join`s without any peer flag, four real kwild to height 3, `setup confirm` on each.
#   PARTS="one network"        run only one of the two parts
# Exit 0: all as it should be; 1: it says which step failed; 2: nothing to test with. Databases, processes and files that it
# made are gone afterwards; nothing else is touched.
set -euo pipefail
usage() {
    sed -n '2,18s/^# \{0,1\}//p' "$0" >&2
    exit 2
}
[ -n "${KWILD:-}${KWILD09:-}" ] || usage
caller=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/lib.sh
checkout=$PWD
for binary in "${KWILD:-}" "${KWILD09:-}"; do
    [ -z "$binary" ] || [ -x "$(cd "$caller" && realpath "$binary")" ] || { say "no program at $binary"; exit 2; }
done
KWILD=${KWILD:+$(cd "$caller" && realpath "$KWILD")}
KWILD09=${KWILD09:+$(cd "$caller" && realpath "$KWILD09")}
limit=${SECONDS_MAX:-120}
for program in psql pg_dump python3; do
    command -v "$program" >/dev/null 2>&1 || die "$program is not on PATH" "install it (psql and pg_dump: version 16, kwild wants them)"
done
[[ "$(pg_dump --version)" == *' 16.'* ]] || die "pg_dump on PATH is $(pg_dump --version)" "put PostgreSQL 16's programs first on PATH: kwild starts with no other"

if [ -n "${REGENESIS:-}" ]; then
    REGENESIS=$(cd "$caller" && realpath "$REGENESIS")
else
    need_rust
    choose_features
    target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
    cargo build --release --locked "${features[@]}" --target-dir "$target"
    REGENESIS=$target/release/regenesis
fi

work=$(mktemp -d)
chmod 0755 "$work"
node='' nodes=() lead='' server='' databases=() step='preparing'

stop_node() {
    [ -n "$node" ] || return 0
    kill -TERM "$node" 2>/dev/null || true
    for _ in $(seq 100); do
        kill -0 "$node" 2>/dev/null || break
        sleep 0.1
    done
    kill -KILL "$node" 2>/dev/null || true
    wait "$node" 2>/dev/null || true
    node=''
}

stop_nodes() {
    for node in "${nodes[@]}"; do kill -TERM "$node" 2>/dev/null || true; done
    for node in "${nodes[@]}"; do stop_node; done
    nodes=() node=''
}

stop_lead() {
    [ -n "$lead" ] || return 0
    kill -TERM "$lead" 2>/dev/null || true
    wait "$lead" 2>/dev/null || true
    lead=''
}

finish() {
    local code=$? database
    trap - EXIT INT TERM HUP
    [ "$code" -eq 0 ] || say "FAILED at: $step"
    stop_node
    stop_nodes
    stop_lead
    for database in "${databases[@]}"; do
        query postgres "DROP DATABASE IF EXISTS \"$database\" WITH (FORCE)" >/dev/null || say "left behind: the database $database"
    done
    if [ -n "$server" ]; then
        kill -INT "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    if [ -n "${KEEP:-}" ]; then say "kept: $work"; else rm -rf "$work"; fi
    exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

query() {
    psql --no-psqlrc --no-password --quiet --no-align --tuples-only --set ON_ERROR_STOP=1 --dbname "$1" --command "$2"
}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

start_server() {
    local bin='' directory run=()
    for directory in ${PG_BIN:+"$PG_BIN"} /usr/lib/postgresql/16/bin "$(dirname "$(command -v postgres || echo /none/postgres)")"; do
        if [ -x "$directory/postgres" ] && [ -x "$directory/initdb" ] && [[ "$("$directory/postgres" --version)" == *' 16.'* ]]; then
            bin=$directory
            break
        fi
    done
    [ -n "$bin" ] || die "no PostgreSQL 16: neither PGHOST and PGPORT nor server programs" "set PGHOST, PGPORT, PGUSER and PGPASSWORD, or PG_BIN"
    if [ "$(id -u)" -eq 0 ]; then
        # PostgreSQL does not run as root.
        run=(setpriv --reuid=nobody --regid="$(id -g nobody)" --clear-groups)
    fi
    mkdir "$work/pg"
    [ "$(id -u)" -ne 0 ] || chown nobody "$work/pg"
    (cd / && "${run[@]}" "$bin/initdb" --pgdata "$work/pg/data" --username kwild --auth trust --encoding UTF8 --locale C.UTF-8 >/dev/null)
    export PGHOST=127.0.0.1 PGPORT PGUSER=kwild
    PGPORT=$(free_port)
    (cd / && exec "${run[@]}" "$bin/postgres" -D "$work/pg/data" -p "$PGPORT" -k "$work/pg" -c listen_addresses=127.0.0.1 \
        -c wal_level=logical -c max_prepared_transactions=200 -c wal_sender_timeout=0 -c max_wal_senders=10 \
        -c max_replication_slots=10 -c max_connections=60) >"$work/pg.log" 2>&1 &
    server=$!
    for _ in $(seq 300); do
        if query postgres 'SELECT 1' >/dev/null 2>&1; then return 0; fi
        kill -0 "$server" 2>/dev/null || die "the server did not start: $(tail -n 1 "$work/pg.log")"
        sleep 0.1
    done
    die "the server did not start in time"
}

if [ -n "${PGHOST:-}" ] && [ -n "${PGPORT:-}" ]; then
    export PGUSER=${PGUSER:-kwild}
else
    step='starting a PostgreSQL 16'
    start_server
fi
# For kwild's configuration; the variable is not for its environment.
password=${PGPASSWORD:-}

make_database() {
    query postgres "CREATE DATABASE \"$1\" TEMPLATE template0 ENCODING 'UTF8'" >/dev/null
    databases+=("$1")
}

# Starts kwild of a family on a root.
launch() {
    local family=$1 root=$2 log=$3 command
    if [ "$family" = v0.9 ]; then command=("$KWILD09" --root-dir "$root"); else command=("$KWILD" start -r "$root"); fi
    # Its own HOME: no psqlrc or password file of the caller.
    HOME=$work env -u PGHOST -u PGPORT -u PGUSER -u PGPASSWORD -u PGDATABASE -u PGOPTIONS -u PGCLIENTENCODING \
        "${command[@]}" >"$log" 2>&1 &
    node=$!
}

# Waits until a node's database has block 3.
wait_for_blocks() {
    local database=$1 log=$2 height='' end=$((SECONDS + limit))
    while [ "$SECONDS" -lt "$end" ]; do
        height=$(query "$database" 'SELECT max(height) FROM kwild_chain.chain' 2>/dev/null || true)
        [ "${height:-0}" -lt 3 ] || return 0
        kill -0 "$node" 2>/dev/null || die "kwild ended by itself: $(grep -hE '[Ee]rror|panic' "$log" | head -n 1 | cut -c 1-400)"
        sleep 0.3
    done
    die "kwild did not reach height 3 within $limit s (height ${height:-none})"
}

# Starts kwild of a family on a root and waits for height 3 in its database.
start_node() {
    launch "$1" "$2" "$4"
    wait_for_blocks "$3" "$4"
}

# The flags of a node's own, in `flags`: its database, free ports, quick blocks.
node_flags() {
    local family=$1 database=$2 socket=$3
    if [ "$family" = v0.9 ]; then
        flags=(--app.pg-db-host "$PGHOST" --app.pg-db-port "$PGPORT" --app.pg-db-user "$PGUSER" --app.pg-db-pass "$password"
            --app.pg-db-name "$database" --app.jsonrpc-listen-addr "127.0.0.1:$(free_port)"
            --app.admin-listen-addr "$socket" --chain.rpc.listen-addr "tcp://127.0.0.1:$(free_port)"
            --chain.p2p.listen-addr "tcp://127.0.0.1:$(free_port)" --chain.consensus.timeout-commit 500ms)
    else
        flags=(--db.host "$PGHOST" --db.port "$PGPORT" --db.user "$PGUSER" --db.pass "$password" --db.dbname "$database"
            --rpc.listen "127.0.0.1:$(free_port)" --p2p.listen "127.0.0.1:$(free_port)" --admin.listen "$socket"
            --consensus.propose-timeout 500ms --consensus.empty-block-timeout 1s)
    fi
}

make_root() {
    local family=$1 root=$2 database=$3 snapshot=$4 flags
    node_flags "$family" "$database" "$work/a.sock"
    "$REGENESIS" setup init -r "$root" -g "$work/$family/snap/genesis.json" -s "$snapshot" -k "$work/$family/key" "${flags[@]}" \
        >"$work/$family/init.out" 2>"$work/$family/init.err" || { cat "$work/$family/init.err" >&2; return 1; }
}

# Runs setup confirm on a root; wants this exit code and these words.
confirm() {
    local wanted=$1 words=$2 code=0
    shift 2
    "$REGENESIS" setup confirm "$@" >"$work/confirm.out" 2>"$work/confirm.err" || code=$?
    if [ "$code" -ne "$wanted" ] || ! grep -qF -- "$words" "$work/confirm.out" "$work/confirm.err"; then
        cat "$work/confirm.out" "$work/confirm.err" >&2
        die "setup confirm ended with $code, wanted $wanted and the words \"$words\""
    fi
    say "   $(head -n 1 "$work/confirm.out")"
}

# A copy of a root with another text: what a python expression makes of the bytes `s`; the genesis pins it.
make_bad_root() {
    local family=$1 good=$2 bad=$3
    cp -r "$good" "$bad"
    sed -i "s|$good|$bad|g" "$bad/config.toml"
    python3 - "$bad" "$family" "$4" <<'P'
import base64, gzip, hashlib, json, sys
root, family, change = sys.argv[1:]
state, path = root + "/genesis-state.sql.gz", root + "/genesis.json"
s = gzip.open(state).read()
changed = eval(change)
assert changed != s
genesis, digest = json.load(open(path)), hashlib.sha256(changed).digest()
if family == "v0.9":
    genesis["app_hash"] = base64.b64encode(digest).decode()
else:
    genesis["state_hash"] = digest.hex()
json.dump(genesis, open(path, "w"))
gzip.open(state, "wb").write(changed)
P
}

# kwild must end by itself on the root.
must_end() {
    local family=$1 root=$2 log=$3 end command
    if [ "$family" = v0.9 ]; then command=("$KWILD09" --root-dir "$root"); else command=("$KWILD" start -r "$root"); fi
    HOME=$work env -u PGHOST -u PGPORT -u PGUSER -u PGPASSWORD -u PGDATABASE -u PGOPTIONS -u PGCLIENTENCODING \
        "${command[@]}" >"$log" 2>&1 &
    node=$!
    end=$((SECONDS + limit))
    while kill -0 "$node" 2>/dev/null; do
        [ "$SECONDS" -lt "$end" ] || die "kwild did not end within $limit s"
        sleep 0.2
    done
    node=''
    say "   $(grep -hoE '(failed to|Error|error)[^{]*' "$log" | head -n 1 | cut -c 1-160)"
}

# The same, and the database must be left as one that kwild does not take for initialised.
must_not_start() {
    must_end "$1" "$2" "$4"
    [ -z "$(query "$3" "SELECT 1 FROM pg_namespace WHERE nspname = 'kwild_voting'")" ] || die "the database looks initialised"
}

family_test() {
    local family=$1 world key table change name snapshot
    name="regenesis_interop_$$_${family//[.v]/}"
    mkdir "$work/$family"
    case $family in
    v0.9)
        world=tests/data/v0.9/worlds/quartet
        key=$world/keys/node0.private_key
        snapshot=$work/$family/snap/kwildb-snapshot.sql.gz
        ;;
    v0.10)
        world=tests/data/v0.10/worlds/quartet
        key=$world/nodekey.node0.json
        snapshot=$work/$family/snap/snapshot.sql.gz
        ;;
    esac
    install -m 0600 "$key" "$work/$family/key"
    export PGDATABASE=postgres

    step="$family: the old network's database"
    say "== $step"
    make_database "${name}_old"
    gunzip -c "$world/database.sql.gz" | psql --no-psqlrc --quiet --no-password --set ON_ERROR_STOP=1 --dbname "${name}_old" >/dev/null

    step="$family: snapshot create"
    say "== $step"
    "$REGENESIS" snapshot create --dbname "${name}_old" --snapdir "$work/$family/snap" --genesis "$world/genesis.original.json" \
        --chain-id "interop-$$" >"$work/$family/create.out" 2>"$work/$family/create.err" || { cat "$work/$family/create.err" >&2; exit 1; }
    # One node must be able to make blocks alone.
    python3 - "$work/$family/snap/genesis.json" "$family" "$work/$family/key" <<'P'
import json, sys
path, family, key = sys.argv[1:]
genesis = json.load(open(path))
if family == "v0.9":
    mine = bytes.fromhex(open(key).read().strip())[32:].hex()
    genesis["validators"] = [v for v in genesis["validators"] if v["pub_key"] == mine]
else:
    genesis["validators"] = [v for v in genesis["validators"] if v["pubkey"] == genesis["leader"]["key"]]
assert len(genesis["validators"]) == 1, "the key is no validator's"
json.dump(genesis, open(path, "w"), indent=2)
P
    step="$family: setup restore --dry-run"
    say "== $step"
    "$REGENESIS" setup restore --dry-run -s "$snapshot" -g "$work/$family/snap/genesis.json" --host "$PGHOST" --port "$PGPORT" \
        --user "$PGUSER" >"$work/$family/dry.out" 2>"$work/$family/dry.err" || { cat "$work/$family/dry.out" "$work/$family/dry.err" >&2; exit 1; }

    step="$family: manifest sign"
    say "== $step"
    "$REGENESIS" manifest sign --snapdir "$work/$family/snap" --key "$work/$family/key" --state-dir "$work/$family/state" \
        >"$work/$family/sign.out" 2>"$work/$family/sign.err" || { cat "$work/$family/sign.err" >&2; exit 1; }

    step="$family: setup init"
    say "== $step"
    make_database "${name}_new"
    make_root "$family" "$work/$family/root" "${name}_new" "$snapshot"

    step="$family: kwild on the new root to height 3"
    say "== $step"
    start_node "$family" "$work/$family/root" "${name}_new" "$work/$family/kwild.log"

    step="$family: setup confirm on the running node must say that it holds what was signed"
    say "== $step"
    confirm 0 'holds what was signed' --root-dir "$work/$family/root" --manifest "$work/$family/snap"
    mkdir "$work/$family/manifest"
    cp "$work/$family/snap/manifest.regenesis" "$work/$family/manifest"
    confirm 0 'holds what was signed' --manifest "$work/$family/manifest" --dbname "${name}_new"

    step="$family: setup confirm must name the table of which one row was changed"
    say "== $step"
    stop_node
    case $family in
    v0.9)
        table=$(query "${name}_new" "SELECT schemaname || '.sellers' FROM pg_tables WHERE tablename = 'sellers'")
        change="UPDATE $table SET name = name || 'x' WHERE id = 7"
        ;;
    v0.10)
        table=ledger.accts
        change="UPDATE $table SET amount = amount + 1 WHERE id = (SELECT min(id) FROM $table)"
        ;;
    esac
    query "${name}_new" "$change" >/dev/null
    confirm 3 "DAMAGE $table" --root-dir "$work/$family/root" --manifest "$work/$family/snap"
    confirm 3 "DAMAGE $table" --manifest "$work/$family/manifest" --dbname "${name}_new"

    step="$family: kwild must end at a statement that fails, and start with the good text after it"
    say "== $step"
    make_database "${name}_bad"
    make_root "$family" "$work/$family/good" "${name}_bad" "$snapshot"
    make_bad_root "$family" "$work/$family/good" "$work/$family/failing" 's[:s.rindex(b"COMMIT;")] + b"SELECT 1/0;\nCOMMIT;\n"'
    must_not_start "$family" "$work/$family/failing" "${name}_bad" "$work/$family/failing.log"
    step="$family: kwild must end at a text that was cut, and start with the good text after it"
    say "== $step"
    make_bad_root "$family" "$work/$family/good" "$work/$family/cut" 's[:s.rindex(b"COMMIT;")]'
    must_not_start "$family" "$work/$family/cut" "${name}_bad" "$work/$family/cut.log"
    start_node "$family" "$work/$family/good" "${name}_bad" "$work/$family/good.log"
    confirm 0 'holds what was signed' --root-dir "$work/$family/good" --manifest "$work/$family/snap"
    stop_node

    step="$family: kwild on a database whose clients speak LATIN1 must hold every row"
    say "== $step"
    make_database "${name}_latin"
    query "${name}_latin" "ALTER DATABASE \"${name}_latin\" SET client_encoding = 'LATIN1'" >/dev/null
    make_root "$family" "$work/$family/latin" "${name}_latin" "$snapshot"
    start_node "$family" "$work/$family/latin" "${name}_latin" "$work/$family/latin.log"
    confirm 0 'holds what was signed' --root-dir "$work/$family/latin" --manifest "$work/$family/snap"
    stop_node

    step="$family: setup check must say that kwild cannot run on a read-only database, and kwild must end there"
    say "== $step"
    make_database "${name}_readonly"
    make_root "$family" "$work/$family/readonly" "${name}_readonly" "$snapshot"
    query "${name}_readonly" "ALTER DATABASE \"${name}_readonly\" SET default_transaction_read_only = on" >/dev/null
    if "$REGENESIS" setup check -r "$work/$family/readonly" >"$work/$family/check.out" 2>&1; then
        die "setup check says nothing of a read-only database"
    fi
    grep -m 1 -o 'default_transaction_read_only is on.*' "$work/$family/check.out" | cut -c 1-160 >&2 || die "setup check names another cause"
    must_end "$family" "$work/$family/readonly" "$work/$family/readonly.log"

    step="$family: kwild on a database with a schema kwild_voting, to height 3 without a restore"
    say "== $step"
    make_database "${name}_void"
    query "${name}_void" 'CREATE SCHEMA kwild_voting' >/dev/null
    make_root "$family" "$work/$family/void" "${name}_void" "$snapshot"
    start_node "$family" "$work/$family/void" "${name}_void" "$work/$family/void.log"

    step="$family: setup confirm must say that nothing was restored"
    say "== $step"
    confirm 3 'NOT restored' --root-dir "$work/$family/void" --manifest "$work/$family/snap"
    confirm 3 'NOT restored' --manifest "$work/$family/manifest" --dbname "${name}_void"
    stop_node
}

# Four validators of the recorded network: publish, four joins at once, check, four kwild, confirm. No peer is named by hand.
network_test() {
    local family=$1 world name keys=() number flags joins=() root log
    name="regenesis_interop_$$_${family//[.v]/}n"
    case $family in
    v0.9)
        world=tests/data/v0.9/worlds/quartet
        for number in 0 1 2 3; do keys+=("$world/keys/node$number.private_key"); done
        ;;
    v0.10)
        world=tests/data/v0.10/worlds/quartet
        # Number 3 had left the network.
        for number in 0 1 2 4; do keys+=("$world/nodekey.node$number.json"); done
        ;;
    esac
    mkdir "$work/$family-net"
    export PGDATABASE=postgres

    step="$family network: publish"
    say "== $step"
    make_database "${name}_old"
    gunzip -c "$world/database.sql.gz" | psql --no-psqlrc --quiet --no-password --set ON_ERROR_STOP=1 --dbname "${name}_old" >/dev/null
    "$REGENESIS" key gen ed25519 -o "$work/$family-net/lead.key" >/dev/null
    "$REGENESIS" publish --dbname "${name}_old" --snapdir "$work/$family-net/snap" --genesis "$world/genesis.original.json" \
        --chain-id "interop-net-$$" --key "$work/$family-net/lead.key" --state-dir "$work/$family-net/state" \
        --listen /ip4/127.0.0.1/tcp/0 >"$work/$family-net/ticket" 2>"$work/$family-net/publish.err" &
    lead=$!
    for _ in $(seq 600); do
        [ ! -s "$work/$family-net/ticket" ] || break
        kill -0 "$lead" 2>/dev/null || { cat "$work/$family-net/publish.err" >&2; die "publish ended"; }
        sleep 0.1
    done
    [ -s "$work/$family-net/ticket" ] || die "publish gives no ticket"

    step="$family network: four joins at once, no peer flag, one of them from media"
    say "== $step"
    "$REGENESIS" bundle export --dir "$work/$family-net/snap" --to "$work/$family-net/medium" --state-dir "$work/$family-net/state" \
        >/dev/null 2>"$work/$family-net/export.err" || { cat "$work/$family-net/export.err" >&2; die "bundle export failed"; }
    for number in 0 1 2 3; do
        local media=()
        [ "$number" != 3 ] || media=(--media "$work/$family-net/medium")
        root=$work/$family-net/root$number
        databases+=("${name}_new$number")
        install -m 0600 "${keys[$number]}" "$work/$family-net/key$number"
        node_flags "$family" "${name}_new$number" "$work/n$number.sock"
        # Each compares its old node's database, which here is one, with what the lead signed.
        "$REGENESIS" join --ticket-file "$work/$family-net/ticket" --root-dir "$root" --key-file "$work/$family-net/key$number" \
            --old-dbname "${name}_old" --old-host "$PGHOST" --old-port "$PGPORT" --old-user "$PGUSER" --create-db --wait everyone \
            --linger none --timeout "${limit}s" --state-dir "$work/$family-net/state$number" --listen /ip4/127.0.0.1/tcp/0 \
            "${media[@]}" "${flags[@]}" >"$root.out" 2>"$root.err" &
        joins+=($!)
    done
    for number in 0 1 2 3; do
        wait "${joins[$number]}" || { cat "$work/$family-net/root$number.err" >&2; die "join $number failed"; }
        grep -h 'peers ' "$work/$family-net/root$number.out" >&2
    done
    grep -q 'reading interop-net' "$work/$family-net/root3.err" || die "the fourth did not read its medium"
    local file
    for file in genesis.json genesis-state.sql.gz; do
        cmp "$work/$family-net/root0/$file" "$work/$family-net/root3/$file" || die "the root from media is another one"
    done
    stop_lead

    step="$family network: setup check on each root"
    say "== $step"
    for number in 0 1 2 3; do
        root=$work/$family-net/root$number
        "$REGENESIS" setup check -r "$root" --connect-timeout 30s >"$root.check" 2>&1 || { cat "$root.check" >&2; die "setup check refuses root $number"; }
        grep -q 'names 3 of 3 other validators' "$root.check" || { cat "$root.check" >&2; die "root $number does not know the others"; }
        tail -n 1 "$root.check" >&2
    done

    step="$family network: four kwild to height 3"
    say "== $step"
    if [ "$family" = v0.9 ]; then
        # Nodes of a new network that load their snapshots at once on one server wait for each other for ever.
        for number in 0 1 2 3; do
            log=$work/$family-net/root$number.log0
            launch "$family" "$work/$family-net/root$number" "$log"
            local end=$((SECONDS + limit))
            until grep -q 'ABCI application is ready' "$log"; do
                kill -0 "$node" 2>/dev/null || die "kwild $number ended by itself: $(tail -n 1 "$log" | cut -c 1-400)"
                [ "$SECONDS" -lt "$end" ] || die "kwild $number did not restore within $limit s"
                sleep 0.2
            done
            stop_node
        done
    fi
    for number in 0 1 2 3; do
        launch "$family" "$work/$family-net/root$number" "$work/$family-net/root$number.log"
        nodes+=("$node")
    done
    for number in 0 1 2 3; do
        node=${nodes[$number]}
        wait_for_blocks "${name}_new$number" "$work/$family-net/root$number.log"
        say "   kwild $number is at height $(query "${name}_new$number" 'SELECT max(height) FROM kwild_chain.chain')"
    done
    step="$family network: setup confirm on each node"
    say "== $step"
    for number in 0 1 2 3; do
        confirm 0 'holds what was signed' --root-dir "$work/$family-net/root$number" --manifest "$work/$family-net/root$number"
    done
    stop_nodes
}

cd "$checkout"
for part in ${PARTS:-one network}; do
    case $part in one) run=family_test ;; network) run=network_test ;; *) die "no such part: $part" ;; esac
    [ -z "$KWILD09" ] || "$run" v0.9
    [ -z "$KWILD" ] || "$run" v0.10
done
say "all as it should be"
