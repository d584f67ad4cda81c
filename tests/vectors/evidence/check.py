#!/usr/bin/env python3
"""Reads manifests and evidence by proto/manifest.proto alone, in plain python: no library, no code of the program.

python3 check.py manifest FILE                 prints its id, checks every signature over its head, and adds up what they come to
python3 check.py certificate FILE GENESIS      checks every statement, and adds up the power of those that are ready
python3 check.py equivocation FILE             checks both signatures of the lead
python3 check.py issue FILE                    checks that the lead has signed a manifest of this number
python3 check.py revocation FILE               checks who has taken a manifest back
python3 check.py exclusion FILE                checks who has taken a validator's access back
python3 check.py binding FILE                  checks which validator says that a node is its own
python3 check.py signature FILE                checks one signature of a manifest, as members of a swarm pass it on
python3 check.py refusal FILE                  checks who refuses to sign a manifest, and why
Prints one line of JSON; fails with the reason where something does not hold.
"""

import hashlib
import json
import struct
import sys

# --- protobuf, strictly: ascending fields, shortest varints ---------------------------------------------------------


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            assert byte or shift == 7, "a number in more bytes than it needs"
            return value, at


def fields(data):
    """[(number, value)]: an int for a varint, bytes for what has a length."""
    at, last, out = 0, 0, []
    while at < len(data):
        key, at = varint(data, at)
        number, kind = key >> 3, key & 7
        assert number >= last, "fields out of order"
        last = number
        if kind == 0:
            value, at = varint(data, at)
        else:
            assert kind == 2, "a wire type that no message has"
            length, at = varint(data, at)
            assert at + length <= len(data), "cut"
            value, at = data[at : at + length], at + length
        out.append((number, value))
    return out


def one(message, number, default=b""):
    found = [value for n, value in message if n == number]
    assert len(found) <= 1, "a field twice"
    return found[0] if found else default


def key_of(message):
    parts = fields(message)
    return one(parts, 1, 0), one(parts, 2)


def encode(number, value):
    def number_bytes(n):
        out = bytearray()
        while n >= 0x80:
            out.append(n & 0x7F | 0x80)
            n >>= 7
        return bytes(out + bytes([n]))

    if isinstance(value, int):
        return number_bytes(number << 3) + number_bytes(value) if value else b""
    return number_bytes(number << 3 | 2) + number_bytes(len(value)) + value if value else b""


# --- BLAKE3, the plain hash -----------------------------------------------------------------------------------------

IV = [0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19]
ORDER = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8]
MASK = 0xFFFFFFFF


def compress(value, block, counter, length, flags):
    m = list(struct.unpack("<16I", block.ljust(64, b"\0")))
    s = value + IV[:4] + [counter & MASK, counter >> 32, length, flags]

    def turn(x, by):
        return (x >> by | x << (32 - by)) & MASK

    def mix(a, b, c, d, x, y):
        for word, first, second in ((x, 16, 12), (y, 8, 7)):
            s[a] = (s[a] + s[b] + word) & MASK
            s[d] = turn(s[d] ^ s[a], first)
            s[c] = (s[c] + s[d]) & MASK
            s[b] = turn(s[b] ^ s[c], second)

    for _ in range(7):
        for i in range(4):
            mix(i, 4 + i, 8 + i, 12 + i, m[2 * i], m[2 * i + 1])
        for i in range(4):
            mix(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4, m[8 + 2 * i], m[9 + 2 * i])
        m = [m[i] for i in ORDER]
    return [s[i] ^ s[i + 8] for i in range(8)]


def blake3(data):
    def subtree(data, index, root):
        if len(data) <= 1024:
            value, blocks = IV, [data[i : i + 64] for i in range(0, len(data), 64)] or [b""]
            for i, block in enumerate(blocks):
                flags = (i == 0) | (i == len(blocks) - 1) << 1
                flags |= (root and i == len(blocks) - 1) << 3
                value = compress(value, block, index, len(block), flags)
            return value
        left = 1024
        while left * 2 < len(data):
            left *= 2
        a, b = subtree(data[:left], index, False), subtree(data[left:], index + left // 1024, False)
        return compress(IV, struct.pack("<16I", *a, *b), 0, 64, 4 | root << 3)

    return struct.pack("<8I", *subtree(data, 0, True))


# --- ed25519 and secp256k1, verification only -----------------------------------------------------------------------

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P


def ed_add(a, b):
    x1, y1, x2, y2 = *a, *b
    k = D * x1 * x2 * y1 * y2 % P
    return (x1 * y2 + x2 * y1) * pow(1 + k, -1, P) % P, (y1 * y2 + x1 * x2) * pow(1 - k, -1, P) % P


def ed_times(n, point):
    out = (0, 1)
    while n:
        if n & 1:
            out = ed_add(out, point)
        point, n = ed_add(point, point), n >> 1
    return out


def ed_point(data):
    number = int.from_bytes(data, "little")
    y, sign = number & (2**255 - 1), number >> 255
    assert y < P, "no point"
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * pow(2, (P - 1) // 4, P) % P
    assert x * x % P == square, "no point"
    return (P - x if x & 1 != sign else x), y


def ed25519(public, message, signature):
    s = int.from_bytes(signature[32:], "little")
    h = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % L
    base = ed_point((4 * pow(5, -1, P) % P).to_bytes(32, "little"))
    return s < L and ed_times(s, base) == ed_add(ed_point(signature[:32]), ed_times(h, ed_point(public)))


Q = 2**256 - 2**32 - 977
N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
G = (
    0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
    0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8,
)


def ec_add(a, b):
    if a is None or b is None:
        return b or a
    if a[0] == b[0]:
        if (a[1] + b[1]) % Q == 0:
            return None
        slope = 3 * a[0] * a[0] * pow(2 * a[1], -1, Q)
    else:
        slope = (b[1] - a[1]) * pow(b[0] - a[0], -1, Q)
    x = (slope * slope - a[0] - b[0]) % Q
    return x, (slope * (a[0] - x) - a[1]) % Q


def ec_times(n, point):
    out = None
    while n:
        if n & 1:
            out = ec_add(out, point)
        point, n = ec_add(point, point), n >> 1
    return out


def secp256k1(public, message, signature):
    x = int.from_bytes(public[1:], "big")
    y = pow(x**3 + 7, (Q + 1) // 4, Q)
    assert y * y % Q == (x**3 + 7) % Q, "no point"
    y = Q - y if y & 1 != public[0] & 1 else y
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    if not (0 < r < N and 0 < s <= N // 2):
        return False
    inverse, e = pow(s, -1, N), int.from_bytes(hashlib.sha256(message).digest(), "big")
    point = ec_add(ec_times(e * inverse % N, G), ec_times(r * inverse % N, (x, y)))
    return point is not None and point[0] % N == r


def verify(kind, public, message, signature):
    assert {1: ed25519, 2: secp256k1}[kind](public, message, signature), f"the signature by {public.hex()} does not hold"


# --- what the messages mean -----------------------------------------------------------------------------------------


def head(manifest_id, sequence, chain_id, lead, domain=b"regenesis/manifest-head/v1\0"):
    return domain + encode(1, manifest_id) + encode(2, sequence) + encode(3, chain_id) + encode(4, lead)


def signed_statement(data, domain):
    """Who says it, as kind of key and key, and the fields of what is said."""
    said = fields(data)
    payload, signature = one(said, 1), one(said, 2)
    kind, public = key_of(signature)
    verify(kind, public, domain + payload, one(fields(signature), 3))
    return kind, public, fields(payload)


def manifest(data):
    signed = fields(data)
    payload = one(signed, 1)
    parts = fields(payload)
    manifest_id = blake3(b"regenesis/manifest/v1\0" + payload)
    lead = one(fields(one(parts, 12)), 4)
    message = head(manifest_id, one(parts, 3, 0), one(fields(one(parts, 2)), 3), lead)
    signers = []
    for number, signature in signed:
        if number == 2:
            kind, public = key_of(signature)
            verify(kind, public, message, one(fields(signature), 3))
            signers.append((kind, public))
    assert signers == sorted(set(signers)), "one signs twice, or they are not sorted"
    rules = fields(one(parts, 12))
    fraction, allowed = fields(one(rules, 5)), {key_of(lead)}
    if fraction:
        old = {key_of(v): one(fields(v), 3, 0) for n, v in parts if n == 10}
        allowed |= set(old)
        signed, total = sum(old.get(signer, 0) for signer in signers), sum(old.values())
        enough = signed * one(fraction, 2, 0) > total * one(fraction, 1, 0)
    else:
        allowed |= {key_of(cosigner) for n, cosigner in rules if n == 2}
        signed, total = len(signers), one(rules, 1, 0)
        enough = signed >= total
    assert set(signers) <= allowed, "one signs who may not"
    found = {"id": manifest_id.hex(), "signers": [public.hex() for _, public in signers]}
    return found | {"signed": signed, "of": total, "enough": enough}


def certificate(data, genesis):
    found = json.loads(genesis)
    powers = {(v["type"], v["pubkey"]): v["power"] for v in found["validators"]}
    evidence = fields(data)
    assert one(evidence, 1) == 1, "a newer format"
    parts = fields(one(evidence, 2))
    assert one(parts, 2) == hashlib.sha256(genesis).digest(), "another genesis"
    ready = {}
    for number, statement in parts:
        if number != 3:
            continue
        kind, public, words = signed_statement(statement, b"regenesis/readiness/v1\0")
        assert one(words, 1) == one(parts, 1), "another manifest"
        assert one(words, 4) == one(parts, 2), "another genesis"
        key = ({1: "ed25519", 2: "secp256k1"}[kind], public.hex())
        assert key not in ready, "one signer twice"
        ready[key] = powers[key]
    leader = (found["leader"]["type"], found["leader"]["key"])
    assert leader in ready or leader not in powers, "without the leader"
    power, total = sum(ready.values()), sum(powers.values())
    return {"manifest_id": one(parts, 1).hex(), "power": power, "total_power": total, "ok": power * 3 > total * 2}


def equivocation(data):
    evidence = fields(data)
    assert one(evidence, 1) == 1, "a newer format"
    parts = fields(one(evidence, 3))
    chain_id, lead, sequence = one(parts, 1), one(parts, 2), one(parts, 3, 0)
    kind, public = key_of(lead)
    ids = []
    for number in (4, 5):
        said = fields(one(parts, number))
        verify(kind, public, head(one(said, 1), sequence, chain_id, lead), one(said, 2))
        ids.append(one(said, 1).hex())
    assert ids[0] < ids[1], "not two manifests, or not sorted"
    return {"lead": public.hex(), "chain_id": chain_id.decode(), "sequence": sequence, "manifest_ids": ids}


def signed_head(data, number, domain):
    evidence = fields(data)
    assert one(evidence, 1) == 1, "a newer format"
    return signatures(fields(one(evidence, number)), lambda said: domain + said)


def signatures(parts, message_of):
    manifest_id, sequence, chain_id, lead = one(parts, 1), one(parts, 2, 0), one(parts, 3), one(parts, 4)
    message, signers = message_of(head(manifest_id, sequence, chain_id, lead, b"")), []
    for n, signature in parts:
        if n == 5:
            kind, public = key_of(signature)
            verify(kind, public, message, one(fields(signature), 3))
            signers.append((kind, public))
    assert signers and signers == sorted(set(signers)), "no signature, one twice, or not sorted"
    found = {"manifest_id": manifest_id.hex(), "sequence": sequence, "chain_id": chain_id.decode()}
    return found | {"lead_signed": key_of(lead) in signers, "signers": len(signers)}


def issue(data):
    found = signed_head(data, 4, b"regenesis/manifest-head/v1\0")
    assert found["lead_signed"], "the lead has not signed it"
    return found


def revocation(data):
    return signed_head(data, 5, b"regenesis/revocation/v1\0")


def exclusion(data):
    evidence = fields(data)
    assert one(evidence, 1) == 1, "a newer format"
    parts = fields(one(evidence, 6))
    validator = one(parts, 2)
    said = signatures(fields(one(parts, 1)), lambda h: b"regenesis/exclusion/v1\0" + encode(1, h) + encode(2, validator))
    return said | {"validator": key_of(validator)[1].hex()}


def binding(data):
    _, public, words = signed_statement(data, b"regenesis/binding/v1\0")
    assert len(one(words, 1)) == 32 and one(words, 2, 0) <= one(words, 3, 0), "no node, or an end before its beginning"
    return {"validator": public.hex(), "node": one(words, 1).hex(), "new_chain_id": one(words, 4).decode()}


def signature(data):
    # What is signed of a manifest is its head, and the head is what the statement says.
    _, public, words = signed_statement(data, b"regenesis/manifest-head/v1\0")
    return {"manifest_id": one(words, 1).hex(), "sequence": one(words, 2, 0), "signer": public.hex()}


def refusal(data):
    _, public, words = signed_statement(data, b"regenesis/refusal/v1\0")
    reason = one(words, 5).decode()
    assert len(one(words, 1)) == 32 and 0 < len(reason.encode()) <= 100 and reason.isprintable(), "no words"
    return {"manifest_id": one(words, 1).hex(), "signer": public.hex(), "reason": reason}


KINDS = {
    f.__name__: f
    for f in (manifest, certificate, equivocation, issue, revocation, exclusion, binding, signature, refusal)
}


def main(kind, *paths):
    files = []
    for path in paths:
        with open(path, "rb") as file:
            files.append(file.read())
    print(json.dumps(KINDS[kind](*files)))


if __name__ == "__main__":
    main(*sys.argv[1:])
