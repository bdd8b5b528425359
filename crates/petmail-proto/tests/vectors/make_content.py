#!/usr/bin/env python3
"""Makes content.json beside this file.

Independent of the Rust code: written from the specification with blake3 and pyca/cryptography (AES-256-GCM). Needs
`pip install blake3==1.0.11 cryptography==50.0.2`. All inputs come from SHA-512 of a label, so a second run writes the same bytes.
"""

import hashlib
import json
import math
import pathlib

from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import AESGCM


def bytes_for(label, size):
    stream = b""
    counter = 0
    while len(stream) < size:
        stream += hashlib.sha512(f"petmail vector {label} {counter}".encode()).digest()
        counter += 1
    return stream[:size]


def u32(value):
    return value.to_bytes(4, "big")


def u64(value):
    return value.to_bytes(8, "big")


def var(value):
    return u32(len(value)) + value


def keyed(key, data):
    return blake3(data, key=key).digest()


def padded(length):
    if length < 2:
        return length
    exponent = length.bit_length() - 1
    kept = math.floor(math.log2(exponent)) + 1 if exponent > 0 else 0
    mask = (1 << max(exponent - kept, 0)) - 1
    return (length + mask) & ~mask


def chunk(secret, content):
    name = blake3(content).digest()
    key = keyed(secret, b"petmail.org/v1/content/chunk-key\0" + name)
    plain = content + bytes(padded(len(content)) - len(content))
    return name, key, AESGCM(key).encrypt(bytes(12), plain, None)


def flipped(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


secret = bytes_for("content secret", 32)
one, two = bytes_for("chunk one", 1_000), bytes_for("chunk two", 77)
(hash1, key1, sealed1), (hash2, key2, sealed2) = chunk(secret, one), chunk(secret, two)
pack = b"s1" + sealed1 + sealed2
pack_id = blake3(pack).digest()


def part(offset, length, name, key, index=0):
    return u32(index) + u32(offset) + u32(length) + name + key


def file(path, size, modified, *parts):
    return b"\1" + var(path) + u64(size) + u64(modified) + u32(len(parts)) + b"".join(parts)


def folder(path):
    return b"\0" + var(path)


def manifest(entries, packs=None):
    packs = [(pack_id, len(pack))] if packs is None else packs
    listed = b"".join(name + u32(length) for name, length in packs)
    return b"n1" + u32(len(packs)) + listed + u32(len(entries)) + b"".join(entries)


first = part(2, len(one), hash1, key1)
second = part(2 + len(sealed1), len(two), hash2, key2)
good = manifest([folder(b"a"), file("a/ü.txt".encode(), 1_077, 1_700_000_000_000, first, second), file(b"b", 0, 0)])
refused = [
    ("another version", b"n2" + good[2:], "Wire(Malformed)"),
    ("cut off", good[:-1], "Wire(Truncated)"),
    ("a byte too many", good + b"\0", "Wire(TrailingBytes)"),
    ("an entry that is neither", manifest([b"\2" + var(b"a")]), "Wire(Malformed)"),
    ("a path that is no UTF-8", manifest([folder(b"\xff")]), "Wire(Malformed)"),
    ("a path up", manifest([folder(b"../a")]), "BadPath"),
    ("an absolute path", manifest([folder(b"/a")]), "BadPath"),
    ("twice", manifest([folder(b"a"), folder(b"a")]), "BadOrder"),
    ("another order", manifest([folder(b"b"), folder(b"a")]), "BadOrder"),
    ("a file with something in it", manifest([file(b"a", 0, 0), file(b"a/b", 0, 0)]), "BadOrder"),
    ("longer than its chunks", manifest([file(b"a", 1_001, 0, first)]), "BadChunk"),
    ("a pack that is not listed", manifest([file(b"a", 1_000, 0, part(2, len(one), hash1, key1, 1))]), "BadChunk"),
    ("a chunk beyond its pack", manifest([file(b"a", 1_000, 0, first)], [(pack_id, 1_000)]), "BadChunk"),
    ("a pack that is too long", manifest([], [(pack_id, (8 << 20) + 1)]), "BadChunk"),
    ("an empty chunk", manifest([file(b"a", 0, 0, part(2, 0, hash1, key1))]), "BadChunk"),
]
vectors = {
    "secret": secret.hex(),
    "chunks": [
        {"content": content.hex(), "hash": name.hex(), "key": key.hex(), "sealed": sealed.hex()}
        for content, (name, key, sealed) in [(one, (hash1, key1, sealed1)), (two, (hash2, key2, sealed2))]
    ],
    "padded": [[length, padded(length)] for length in [0, 1, 2, 3, 9, 100, 1_000, 65_537, 1_048_577, 4_194_304]],
    "pack": pack.hex(),
    "pack_id": pack_id.hex(),
    "pack_refused": [
        {"fault": "another version", "bytes": (b"s2" + pack[2:]).hex(), "error": "Damaged"},
        {"fault": "a flipped bit", "bytes": flipped(pack, 100).hex(), "error": "Damaged"},
        {"fault": "cut off", "bytes": pack[:-1].hex(), "error": "Damaged"},
        {"fault": "empty", "bytes": "", "error": "Damaged"},
    ],
    "manifest": good.hex(),
    "manifest_refused": [{"fault": fault, "bytes": data.hex(), "error": error} for fault, data, error in refused],
}
path = pathlib.Path(__file__).with_name("content.json")
path.write_text(json.dumps(vectors, indent=1) + "\n")
