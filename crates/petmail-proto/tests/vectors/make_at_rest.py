#!/usr/bin/env python3
"""Makes at_rest.json beside this file.

Independent of the Rust code: written from the specification with libsodium through PyNaCl (XChaCha20-Poly1305) and
argon2-cffi. Needs `pip install pynacl==1.6.2 argon2-cffi==25.1.0`. All inputs come from SHA-512 of a label, so a second run
writes the same bytes.
"""

import hashlib
import json
import pathlib

from argon2.low_level import Type, hash_secret_raw
from nacl import bindings as b

CHUNK = 65536
PASSPHRASE = "correct horse, bättery staple"


def bytes_for(label, size):
    stream = b""
    counter = 0
    while len(stream) < size:
        stream += hashlib.sha512(f"petmail vector {label} {counter}".encode()).digest()
        counter += 1
    return stream[:size]


def sha256(data):
    return hashlib.sha256(data).digest()


def u16(value):
    return value.to_bytes(2, "big")


def u32(value):
    return value.to_bytes(4, "big")


def aead(key, nonce, value, associated):
    return b.crypto_aead_xchacha20poly1305_ietf_encrypt(value, associated, nonce, key)


def wrapped(title, version, memory, passes, lanes, salt, key_id, nonce, key):
    head = title + u16(version) + u32(memory) + u32(passes) + u32(lanes) + salt + key_id
    wrapping = hash_secret_raw(
        PASSPHRASE.encode(), salt, time_cost=max(passes, 1), memory_cost=max(memory, 8), parallelism=max(lanes, 1), hash_len=32, type=Type.ID
    )
    body = head + nonce + aead(wrapping, nonce, key, head)
    return body + sha256(body)[:8]


def flipped(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def checked(data, at, value):
    """With other parameters, and a check that fits them."""
    body = data[:at] + u32(value) + data[at + 4 : -8]
    return body + sha256(body)[:8]


def stream(key, content):
    chunks = [content[at : at + CHUNK] for at in range(0, len(content), CHUNK)] or [b""]
    sealed = []
    for number, chunk in enumerate(chunks):
        last = number == len(chunks) - 1
        sealed.append(aead(key, bytes(19) + u32(number) + bytes([last]), chunk, b""))
    return sealed


key, key_id = bytes_for("at rest key", 32), bytes_for("at rest key id", 16)
salt, nonce = bytes_for("at rest salt", 16), bytes_for("at rest nonce", 24)
place, value = b"contacts\0" + u32(7), b"a value"
VAULT, BACKUP = b"petmail vault  \n", b"petmail backup \n"
vault = wrapped(VAULT, 1, 65536, 3, 1, salt, key_id, nonce, key)
backup = wrapped(BACKUP, 1, 65536, 3, 1, salt, key_id, nonce, key)
sealed = nonce + aead(key, nonce, value, place)
content = bytes_for("at rest content", 2 * CHUNK + 5)

vectors = {
    "about": "Made by make_at_rest.py; see there.",
    "passphrase": PASSPHRASE,
    "key": key.hex(),
    "key_id": key_id.hex(),
    "salt": salt.hex(),
    "nonce": nonce.hex(),
    "place": place.hex(),
    "value": value.hex(),
    "sealed": sealed.hex(),
    "vault": vault.hex(),
    "backup": backup.hex(),
    "content_bytes": len(content),
    "content_label": "at rest content",
    "chunk_sha256": [sha256(chunk).hex() for chunk in stream(key, content)],
    "empty_stream": stream(key, b"")[0].hex(),
    "sealed_refused": [
        {"fault": "another nonce", "bytes": flipped(sealed, 0).hex(), "error": "Damaged"},
        {"fault": "another byte", "bytes": flipped(sealed, 25).hex(), "error": "Damaged"},
        {"fault": "another tag", "bytes": flipped(sealed, len(sealed) - 1).hex(), "error": "Damaged"},
        {"fault": "for another place", "bytes": (nonce + aead(key, nonce, value, place + b"x")).hex(), "error": "Damaged"},
        {"fault": "cut", "bytes": sealed[:-1].hex(), "error": "Damaged"},
        {"fault": "no tag", "bytes": sealed[:30].hex(), "error": "Damaged"},
    ],
    "vault_refused": [
        {"fault": "title of a backup", "bytes": backup.hex(), "error": "Foreign"},
        {"fault": "nothing", "bytes": "", "error": "Foreign"},
        {"fault": "version 2", "bytes": wrapped(VAULT, 2, 8, 1, 1, salt, key_id, nonce, key).hex(), "error": "Newer { found: 2 }"},
        {"fault": "version 0", "bytes": wrapped(VAULT, 0, 8, 1, 1, salt, key_id, nonce, key).hex(), "error": "Damaged"},
        {"fault": "another salt", "bytes": flipped(vault, 30).hex(), "error": "Damaged"},
        {"fault": "another check", "bytes": flipped(vault, len(vault) - 1).hex(), "error": "Damaged"},
        {"fault": "cut", "bytes": vault[:-1].hex(), "error": "Damaged"},
        {"fault": "a byte more", "bytes": (vault + b"\0").hex(), "error": "Damaged"},
        {"fault": "too much memory", "bytes": checked(vault, 18, 1024 * 1024 + 1).hex(), "error": "Damaged"},
        {"fault": "too little memory", "bytes": checked(vault, 18, 7).hex(), "error": "Damaged"},
        {"fault": "too many passes", "bytes": checked(vault, 22, 17).hex(), "error": "Damaged"},
        {"fault": "no pass", "bytes": checked(vault, 22, 0).hex(), "error": "Damaged"},
        {"fault": "too many lanes", "bytes": checked(vault, 26, 17).hex(), "error": "Damaged"},
        {"fault": "no lane", "bytes": checked(vault, 26, 0).hex(), "error": "Damaged"},
    ],
}
path = pathlib.Path(__file__).parent / "at_rest.json"
path.write_text(json.dumps(vectors, indent=1, ensure_ascii=False) + "\n")
