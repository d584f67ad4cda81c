#!/usr/bin/env python3
"""State digest of a snapshot's text, written from the definition in src/kwil/digest.rs and nothing else.

Made vectors.json beside it: `pip install blake3`, then `python3 tests/vectors/digest/digest.py`. Tests only read that file.
Holds the whole text in memory, and trusts it.
"""

import gzip
import hashlib
import json
import re
from pathlib import Path

from blake3 import blake3

HERE = Path(__file__).parent
DATA = HERE.parent.parent / "data"
TOKEN = re.compile(
    rb"""(\$[A-Za-z_0-9]*\$).*?\1|(?<![A-Za-z0-9_])[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*"
         |--[^\n]*|[A-Za-z0-9_]+|.""",
    re.S | re.X,
)


def u64(n):
    return n.to_bytes(8, "big")


def string(s):
    return u64(len(s)) + s


def sorted_digest(domain, hashes):
    return blake3(domain + b"".join(sorted(hashes))).digest()


def pieces(text):
    """Statements as (bytes, tokens), and after each COPY its rows as a list."""
    at = 0
    while at < len(text):
        end = text.index(b"\n", at) + 1
        line = text[at:end].strip()
        if not line or line.startswith((b"--", b"\\")):
            at = end
            continue
        tokens = []
        for match in TOKEN.finditer(text, at):
            if match[0].strip() and not match[0].startswith(b"--"):
                tokens.append(match[0])
            if match[0] == b";":
                break
        end = text.index(b"\n", match.end()) + 1
        yield text[at:end], tokens
        at = end
        if tokens[0] == b"COPY":
            rows = []
            while True:
                end = text.index(b"\n", at) + 1
                row, at = text[at:end], end
                if row == b"\\.\n":
                    break
                rows.append(row)
            yield rows, None


def name(token):
    return token[1:-1].replace(b'""', b'"') if token.startswith(b'"') else token.lower()


def naturals(tables):
    """Rewrites the rows of kwild_engine."""

    def fields(table):
        columns, rows = tables.get((b"kwild_engine", table), ([], []))
        return [dict(zip(columns, row[:-1].split(b"\t"))) for row in rows]

    actions = {r[b"id"]: r[b"namespace"] + b"\t" + r[b"name"] for r in fields(b"actions")}
    namespaces = {r[b"id"]: r[b"name"] for r in fields(b"namespaces")}
    roles = {r[b"id"]: r[b"name"] for r in fields(b"roles")}
    extensions = {r[b"id"]: r[b"namespace_id"] for r in fields(b"initialized_extensions")}

    def named(names):
        return lambda reference: reference if reference == b"\\N" else names.get(reference, b"\\?")

    def extension(reference):
        return named(namespaces)(extensions[reference]) if reference in extensions else b"\\?"

    rewrite = {
        b"actions": {},
        b"namespaces": {},
        b"roles": {},
        b"parameters": {b"action_id": named(actions)},
        b"return_fields": {b"action_id": named(actions)},
        b"initialized_extensions": {b"namespace_id": named(namespaces)},
        b"extension_initialization_parameters": {b"extension_id": extension},
        b"role_privileges": {b"role_id": named(roles), b"namespace_id": named(namespaces)},
        b"user_roles": {b"role_id": named(roles)},
    }
    for table, references in rewrite.items():
        if (b"kwild_engine", table) not in tables:
            continue
        columns, rows = tables[b"kwild_engine", table]
        references[b"id"] = lambda _: b""
        tables[b"kwild_engine", table] = columns, [
            b"\t".join(references.get(c, lambda f: f)(f) for c, f in zip(columns, row[:-1].split(b"\t"))) + b"\n"
            for row in rows
        ]


def digest(text, validators):
    tables, copied = {}, None
    for piece, tokens in pieces(text):
        if tokens is None:
            tables[copied] = columns, piece
            continue
        if tokens[0] == b"COPY":
            copied = name(tokens[1]), name(tokens[3])
            columns = [name(t) for t in tokens[5 : tokens.index(b")")] if t != b","] if b")" in tokens else []
    naturals(tables)
    shown, state = [], b"regenesis/state/v1\0" + u64(len(tables))
    for (schema, table), (columns, rows) in sorted(tables.items(), key=lambda item: b".".join(item[0])):
        rows_digest = sorted_digest(b"regenesis/table/v1\0", [hashlib.sha256(row).digest() for row in rows])
        state += string(schema) + string(table) + u64(len(columns)) + b"".join(map(string, columns))
        state += u64(len(rows)) + rows_digest
        shown.append(
            {
                "name": f"{schema.decode()}.{table.decode()}",
                "columns": [c.decode() for c in columns],
                "rows": len(rows),
                "digest": rows_digest.hex(),
            }
        )
    state += u64(len(validators))
    for kind, key, power in sorted((v["type"].encode(), bytes.fromhex(v["key"]), v["power"]) for v in validators):
        state += string(kind) + string(key) + u64(power)
    return {
        "state_digest": blake3(state).hexdigest(),
        "tables": shown,
    }


def genesis_validators(path):
    validators = json.loads(path.read_text())["validators"]
    # v0.9 names no type.
    key = lambda v: v.get("pubkey") or v["pub_key"]
    return [{"type": v.get("type", "ed25519"), "key": key(v), "power": int(v["power"])} for v in validators]


def main():
    vectors = []
    for path in sorted(HERE.glob("*.sql")):
        validators = json.loads(path.with_suffix(".validators.json").read_text())
        vectors.append({"file": path.name, "validators": validators, **digest(path.read_bytes(), validators)})
    for path in sorted(DATA.glob("*/worlds/**/*snapshot.sql.gz")):
        genesis = path.parent / "genesis.json"
        validators = genesis_validators(genesis)
        found = digest(gzip.decompress(path.read_bytes()), validators)
        # Their tables are many; the digest is over them.
        found["tables"] = None
        vectors.append({"file": f"../../data/{path.relative_to(DATA)}", "validators": validators, **found})
    (HERE / "vectors.json").write_text(json.dumps(vectors, indent=1) + "\n")


if __name__ == "__main__":
    main()
