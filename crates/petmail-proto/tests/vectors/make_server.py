#!/usr/bin/env python3
"""Makes token.json, delivery.json, retrieval.json and server.json beside this file.

Independent of the Rust code: written from the specification with libsodium, through PyNaCl (boxes, signatures, AEAD) and
ctypes (Ristretto255, which PyNaCl leaves out). Needs `pip install pynacl==1.6.2` and the system's libsodium >= 1.0.18.
All inputs come from SHA-512 of a label, so a second run writes the same bytes.
"""

import base64
import ctypes
import ctypes.util
import hashlib
import json
import pathlib

from nacl import bindings as b
from nacl.public import PrivateKey
from nacl.signing import SigningKey

sodium = ctypes.CDLL(ctypes.util.find_library("sodium"))
assert sodium.sodium_init() >= 0


def call(name, size, *arguments):
    out = ctypes.create_string_buffer(size)
    status = getattr(sodium, name)(out, *arguments)
    return out.raw, status


def good(name, size, *arguments):
    out, status = call(name, size, *arguments)
    assert status == 0, name
    return out


def bytes_for(label, size):
    stream = b""
    counter = 0
    while len(stream) < size:
        stream += hashlib.sha512(f"petmail vector {label} {counter}".encode()).digest()
        counter += 1
    return stream[:size]


def sha256(data):
    return hashlib.sha256(data).digest()


def u32(value):
    return value.to_bytes(4, "big")


def u64(value):
    return value.to_bytes(8, "big")


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def flip(data, index, bit=0):
    changed = bytearray(data)
    changed[index] ^= 1 << bit
    return bytes(changed)


def public(secret):
    return bytes(PrivateKey(secret).public_key)


def seal(recipient_public, plaintext, ephemeral):
    """crypto_box_seal with a given ephemeral key: epk || box(nonce = BLAKE2b(epk || pk), plaintext)."""
    epk = public(ephemeral)
    nonce = hashlib.blake2b(epk + recipient_public, digest_size=24).digest()
    return epk + b.crypto_box(plaintext, nonce, recipient_public, ephemeral)


def sign(seed, label, message):
    return bytes(SigningKey(seed).sign(label.encode() + b"\0" + message).signature)


def verifying(seed):
    return bytes(SigningKey(seed).verify_key)


def scalar(wide):
    out = ctypes.create_string_buffer(32)
    sodium.crypto_core_ristretto255_scalar_reduce(out, wide)
    return out.raw


def base(s):
    return good("crypto_scalarmult_ristretto255_base", 32, s)


def mult(s, point):
    return good("crypto_scalarmult_ristretto255", 32, s, point)


def add(left, right):
    return good("crypto_core_ristretto255_add", 32, left, right)


def write(name, value):
    value = {"made_by": "make_server.py (PyNaCl, libsodium), independent of the Rust code", **value}
    path = pathlib.Path(__file__).with_name(name)
    path.write_text(json.dumps(value, indent=1) + "\n")


def refused(fault, data, error):
    return {"fault": fault, "bytes": data.hex(), "error": error}


# --- tokens

x_wide, m_wide, r_wide, s1_wide, s2_wide = (bytes_for(f"token {i}", 64) for i in range(5))
x, r, s1, s2 = (scalar(wide) for wide in (x_wide, r_wide, s1_wide, s2_wide))
X = base(x)
M = good("crypto_core_ristretto255_from_hash", 32, m_wide)
account_token = base(r) + add(mult(r, X), M)
sender_token = add(account_token[:32], base(s1)) + add(account_token[32:], mult(s1, X))
message_token = add(sender_token[:32], base(s2)) + add(sender_token[32:], mult(s2, X))
assert good("crypto_core_ristretto255_sub", 32, message_token[32:], mult(x, message_token[:32])) == M
not_a_point = bytes([0x01]) + bytes(31)
assert sodium.crypto_core_ristretto255_is_valid_point(not_a_point) == 0

write(
    "token.json",
    {
        "secret_key_uniform": x_wide.hex(),
        "secret_key": x.hex(),
        "public_key": X.hex(),
        "slot_uniform": m_wide.hex(),
        "slot": M.hex(),
        "slot_id": sha256(M).hex(),
        "account_randomness": r_wide.hex(),
        "account_token": account_token.hex(),
        "sender_randomness": s1_wide.hex(),
        "sender_token": sender_token.hex(),
        "message_randomness": s2_wide.hex(),
        "message_token": message_token.hex(),
        "refused": [
            refused("first element is the identity", bytes(32) + message_token[32:], "BadToken"),
            refused("first element is no point", not_a_point + message_token[32:], "BadToken"),
            refused("second element is no point", message_token[:32] + not_a_point, "BadToken"),
            refused("second element is not canonical", message_token[:32] + b"\xff" * 32, "BadToken"),
        ],
    },
)

# --- deliveries

delivery_key = bytes_for("delivery key", 32)
delivery_public = public(delivery_key)
buckets = {"Kib4": 4096, "Kib16": 16384, "Kib64": 65536, "Kib256": 262144}


def msg_a(msg_c, token, ephemeral, a=b"a1", bb=b"b1", t=b"t1", to=delivery_public):
    return a + seal(to, bb + t + token + msg_c, ephemeral)


delivered = []
for index, (name, size) in enumerate(buckets.items()):
    ephemeral = bytes_for(f"delivery ephemeral {index}", 32)
    msg_c = bytes_for(f"msgC {index}", size - 118)
    sealed = msg_a(msg_c, message_token, ephemeral)
    assert len(sealed) == size
    delivered.append(
        {
            "bucket": name,
            "ephemeral": ephemeral.hex(),
            "msg_c_label": f"msgC {index}",
            "msg_c_sha256": sha256(msg_c).hex(),
            "msg_a_sha256": sha256(sealed).hex(),
        }
    )

ephemeral = bytes_for("delivery ephemeral bad", 32)
msg_c = bytes_for("msgC 0", 4096 - 118)
sealed = msg_a(msg_c, message_token, ephemeral)
other_key = public(bytes_for("another delivery key", 32))
write(
    "delivery.json",
    {
        "delivery_key": delivery_key.hex(),
        "delivery_public_key": delivery_public.hex(),
        "token": message_token.hex(),
        "delivered": delivered,
        "refused": [
            refused("one byte short", sealed[:-1], "Length { found: 4095 }"),
            refused("one byte long", sealed + b"\0", "Length { found: 4097 }"),
            refused("later suite a2", b"a2" + sealed[2:], "UnknownFormat"),
            refused("later suite b2", msg_a(msg_c, message_token, ephemeral, bb=b"b2"), "UnknownFormat"),
            refused("later token t2", msg_a(msg_c, message_token, ephemeral, t=b"t2"), "UnknownFormat"),
            refused("for another server", msg_a(msg_c, message_token, ephemeral, to=other_key), "DoesNotOpen"),
            refused("last bit flipped", flip(sealed, -1), "DoesNotOpen"),
            refused("ephemeral key of low order", b"a1" + bytes(32) + sealed[34:], "DoesNotOpen"),
            refused("ephemeral key not canonical", sealed[:33] + bytes([sealed[33] | 0x80]) + sealed[34:], "DoesNotOpen"),
        ],
    },
)

# --- retrieval

retrieval_key = bytes_for("retrieval key", 32)
retrieval_public = public(retrieval_key)
retrieval_token = bytes_for("retrieval token", 32)
symmetric_key = bytes_for("symmetric key", 32)
now = 1_800_000_000_000
list_ephemeral = bytes_for("list ephemeral", 32)
list_plain = b"l1" + u64(now) + retrieval_token
list_request = seal(retrieval_public, list_plain, list_ephemeral)
request_key = list_request[:32]

ticket_key = bytes_for("ticket key", 32)
account_id = bytes_for("account id", 16)
number = 77
hour = 3_600_000


def ticket(kind, expiry, nonce, tail=b"", message=number):
    plain = account_id + u64(message) + bytes([kind]) + u64(expiry) + tail
    return nonce + b.crypto_aead_xchacha20poly1305_ietf_encrypt(plain, None, nonce, ticket_key)


fetch_nonce, delete_nonce = bytes_for("fetch nonce", 24), bytes_for("delete nonce", 24)
fetch_token, delete_token = ticket(1, now + hour, fetch_nonce), ticket(2, now + hour, delete_nonce)


def entry(length, message, inline=None):
    flag = bytes([1 if message is not None else 0]) if inline is None else bytes([inline])
    return fetch_token + delete_token + u32(length) + flag + (message or b"")


def event(entries, number=0, more=0, count=None, prefix=b"e1", tail=b"", key=request_key):
    body = prefix + u64(number) + key + bytes([more]) + u32(len(entries) if count is None else count)
    return body + b"".join(entries) + tail


event_nonce = bytes_for("event nonce", 24)


def secretbox(plain):
    return event_nonce + b.crypto_secretbox(plain, event_nonce, symmetric_key)


entries = [entry(5, b"hello"), entry(200_000, None)]
refusal = b"r1" + request_key + u64(now) + bytes([1])
over = 64 * 1024 - 118 + 1
fetch_request = b"f1" + u32(2) + fetch_token * 2
delete_request = b"x1" + u32(1) + delete_token
fetch_answer = b"m1" + u32(2) + b"\x01" + u32(5) + b"hello" + b"\x00"

store_nonce, grant_nonce = bytes_for("store nonce", 24), bytes_for("grant nonce", 24)
storage_ticket = ticket(3, now + hour, store_nonce, message=0)
packs = [bytes_for(f"pack {i}", 32) for i in range(3)]


def grant(prefix=b"g1", key=request_key, tail=b""):
    plain = prefix + key + storage_ticket + u64(1_000_000_000) + u64(8_388_608) + tail
    return grant_nonce + b.crypto_secretbox(plain, grant_nonce, symmetric_key)


def look_up(prefix=b"q1", count=3, tail=b""):
    return prefix + u32(count) + b"".join(packs) + tail


def found(prefix=b"u1", count=3, last=2**32 - 1, tail=b""):
    return prefix + u32(count) + u32(0) + u32(8_388_607) + u32(last) + tail


write(
    "retrieval.json",
    {
        "retrieval_key": retrieval_key.hex(),
        "retrieval_token": retrieval_token.hex(),
        "symmetric_key": symmetric_key.hex(),
        "now": now,
        "list_ephemeral": list_ephemeral.hex(),
        "list_request": list_request.hex(),
        "request_key": request_key.hex(),
        "list_refused": [
            refused("later version l2", seal(retrieval_public, b"l2" + list_plain[2:], list_ephemeral), "Malformed"),
            refused("token one byte short", seal(retrieval_public, list_plain[:-1], list_ephemeral), "Malformed"),
            refused("a byte follows", seal(retrieval_public, list_plain + b"\0", list_ephemeral), "Malformed"),
            refused("for another server", seal(other_key, list_plain, list_ephemeral), "DoesNotOpen"),
            refused("ephemeral key of low order", bytes(32) + list_request[32:], "DoesNotOpen"),
            refused("empty", b"", "DoesNotOpen"),
        ],
        "ticket_key": ticket_key.hex(),
        "account": account_id.hex(),
        "number": number,
        "fetch_nonce": fetch_nonce.hex(),
        "fetch_token": fetch_token.hex(),
        "delete_nonce": delete_nonce.hex(),
        "delete_token": delete_token.hex(),
        "fetch_token_refused": [
            refused("a delete token", delete_token, "Forged"),
            refused("expired by a millisecond", ticket(1, now - 1, fetch_nonce), "Expired"),
            refused("unknown kind", ticket(3, now + hour, fetch_nonce), "Forged"),
            refused("last bit flipped", flip(fetch_token, -1), "Forged"),
            refused("nonce changed", flip(fetch_token, 0), "Forged"),
        ],
        "store_nonce": store_nonce.hex(),
        "storage_ticket": storage_ticket.hex(),
        "storage_ticket_refused": [
            refused("a fetch token", fetch_token, "Forged"),
            refused("a delete token", delete_token, "Forged"),
            refused("expired by a millisecond", ticket(3, now - 1, store_nonce, message=0), "Expired"),
            refused("last bit flipped", flip(storage_ticket, -1), "Forged"),
        ],
        "grant_nonce": grant_nonce.hex(),
        "grant": grant().hex(),
        "grant_refused": [
            refused("later version g2", grant(prefix=b"g2"), "Malformed"),
            refused("for another request", grant(key=bytes(32)), "OtherRequest"),
            refused("a byte follows", grant(tail=b"\0"), "Malformed"),
            refused("last bit flipped", flip(grant(), -1), "DoesNotOpen"),
            refused("a byte short", grant()[:-1], "DoesNotOpen"),
            refused("an event", secretbox(event(entries)), "Malformed"),
            refused("empty", b"", "DoesNotOpen"),
        ],
        "packs": [pack.hex() for pack in packs],
        "look_up": look_up().hex(),
        "look_up_refused": [
            refused("later version q2", look_up(prefix=b"q2"), "Malformed"),
            refused("one pack more than counted", look_up(count=2), "Malformed"),
            refused("one pack fewer than counted", look_up(count=4), "Malformed"),
            refused("count above the bound", look_up(count=1_025), "TooLarge"),
            refused("a byte follows", look_up(tail=b"\0"), "Malformed"),
        ],
        "found": found().hex(),
        "found_refused": [
            refused("later version u2", found(prefix=b"u2"), "Malformed"),
            refused("about another number of packs", found(count=4), "Malformed"),
            refused("more than the longest pack has arrived", found(last=8_388_608), "Malformed"),
            refused("count above the bound", found(count=1_025), "TooLarge"),
            refused("a byte follows", found(tail=b"\0"), "Malformed"),
        ],
        "event_nonce": event_nonce.hex(),
        "event": secretbox(event(entries)).hex(),
        "refusal": secretbox(refusal).hex(),
        "event_refused": [
            refused("number 1 first", secretbox(event(entries, number=1)), "OutOfOrder { expected: 0, found: 1 }"),
            refused("for another request", secretbox(event(entries, key=bytes(32))), "OtherRequest"),
            refused("later version e2", secretbox(event(entries, prefix=b"e2")), "Malformed"),
            refused("more is 2", secretbox(event(entries, more=2)), "Malformed"),
            refused("one entry fewer than counted", secretbox(event(entries, count=3)), "Malformed"),
            refused("one entry more than counted", secretbox(event(entries, count=1)), "Malformed"),
            refused("a byte follows", secretbox(event(entries, tail=b"\0")), "Malformed"),
            refused("inline is 2", secretbox(event([entry(0, None, inline=2)])), "Malformed"),
            refused("count above the bound", secretbox(event([], count=65)), "TooLarge"),
            refused("inline message too long", secretbox(event([entry(over, bytes(over))])), "TooLarge"),
            refused("length above any message", secretbox(event([entry(262144, None)])), "TooLarge"),
            refused("unknown reason of refusal", secretbox(refusal[:-1] + b"\x09"), "Malformed"),
            refused("refusal of another request", secretbox(b"r1" + bytes(32) + refusal[34:]), "OtherRequest"),
            refused("last bit flipped", flip(secretbox(event(entries)), -1), "DoesNotOpen"),
            refused("empty", b"", "DoesNotOpen"),
        ],
        "fetch_request": fetch_request.hex(),
        "delete_request": delete_request.hex(),
        "fetch_answer": fetch_answer.hex(),
        "fetch_request_refused": [
            refused("a delete request", delete_request, "Malformed"),
            refused("count above the bound", b"f1" + u32(17) + fetch_token * 17, "TooLarge"),
            refused("one token fewer than counted", b"f1" + u32(3) + fetch_token * 2, "Malformed"),
            refused("a byte follows", fetch_request + b"\0", "Malformed"),
        ],
        "fetch_answer_refused": [
            refused("presence is 2", b"m1" + u32(1) + b"\x02", "Malformed"),
            refused("message too long", b"m1" + u32(1) + b"\x01" + u32(262144 - 117), "TooLarge"),
            refused("a byte follows", fetch_answer + b"\0", "Malformed"),
        ],
    },
)

# --- descriptors, offers, accounts

identity_seed = bytes_for("identity", 32)
identity = verifying(identity_seed)
pin = bytes_for("pin", 32)
descriptor = {
    "serial": 7,
    "url": "https://mail.example.org/p",
    "roles": ["mailbox"],
    "delivery_key": b64(delivery_public),
    "retrieval_key": b64(retrieval_public),
    "token_keys": [{"kid": 1, "key": b64(X)}],
    "limits": {"max_message_bytes": 262144, "max_tokens": 16},
    "pins": [b64(pin)],
    "not_after": now,
}


def compact(value):
    return json.dumps(value, separators=(",", ":")).encode()


def transported(body, seed=identity_seed, title="petmail-server-1 ", label="petmail.org/v1/server"):
    return title.encode() + b64(sign(seed, label, body)).encode() + b"\n" + body


body = compact(descriptor)
signed = transported(body)


def changed(**fields):
    return transported(compact({**descriptor, **fields}))


keys = descriptor["token_keys"]
descriptor_refused = [
    refused("signed under another label", transported(body, label="petmail.org/v1/redeem"), "BadSignature"),
    refused("signed by another server", transported(body, seed=bytes_for("other identity", 32)), "BadSignature"),
    refused("serial changed after signing", signed.replace(b'"serial":7', b'"serial":8'), "BadSignature"),
    refused("a space follows", signed + b" ", "BadSignature"),
    refused("later version", transported(body, title="petmail-server-2 "), "Malformed"),
    refused("no line feed", signed.replace(b"\n", b" "), "Malformed"),
    refused("signed text is no JSON", transported(body[:-1]), "Malformed"),
    refused("expired by a millisecond", changed(not_after=now - 1), "Expired"),
    refused("no token key", changed(token_keys=[]), "Bounds"),
    refused("two token keys of one number", changed(token_keys=keys * 2), "Bounds"),
    refused("token key is the identity", changed(token_keys=[{"kid": 1, "key": b64(bytes(32))}]), "BadKey"),
    refused("delivery key of low order", changed(delivery_key=b64(bytes(32))), "BadKey"),
]

redeem_token = bytes_for("redeem token", 16)


def offer_text(payload, label="petmail.org/v1/offer"):
    checksum = sha256(label.encode() + b"\0" + payload)[:4]
    return "PETMAIL-OFFER:" + base64.b32encode(payload + checksum).rstrip(b"=").decode()


def offer_payload(version=1, pinned=1, url="https://mail.example.org/p"):
    return bytes([version]) + redeem_token + identity + bytes([pinned]) + (pin if pinned else b"") + url.encode()


offer = offer_text(offer_payload())
swapped = offer[:20] + offer[21] + offer[20] + offer[22:]
assert swapped != offer

signing_seed = bytes_for("account signing", 32)
answers = bytes_for("account answers", 32)
new_answers = bytes_for("new account answers", 32)
new_signing_seed = bytes_for("new account signing", 32)
other_server = verifying(bytes_for("other identity", 32))
redeem_ephemeral = bytes_for("redeem ephemeral", 32)
rekey_ephemeral = bytes_for("rekey ephemeral", 32)
mint_ephemeral = bytes_for("mint ephemeral", 32)


def redeem(server=identity, answer_key=public(answers), signed_key=None, tail=b"", prefix=b"d1", label="petmail.org/v1/redeem"):
    signature = sign(signing_seed, label, sha256(redeem_token) + server + (signed_key or answer_key))
    plain = prefix + redeem_token + verifying(signing_seed) + answer_key + signature + tail
    return seal(retrieval_public, plain, redeem_ephemeral)


def rekey(generation, slot=b"\1", signer=signing_seed, prefix=b"k2", tail=b"", signed=None):
    def asks_for(generation, slot, new_owner=new_signing_seed):
        return u64(generation) + verifying(new_owner) + public(new_answers) + slot

    message = identity + asks_for(**{"generation": generation, "slot": slot, **(signed or {})})
    signature = sign(signer, "petmail.org/v1/rekey", message)
    plain = prefix + verifying(signing_seed) + asks_for(generation, slot) + signature + tail
    return seal(retrieval_public, plain, rekey_ephemeral)


def mint(terms=(60, 65, 70, 80), signer=signing_seed, server=identity, prefix=b"o1", tail=b"", signed_terms=None):
    def asks_for(terms):
        return hashlib.sha256(redeem_token).digest() + b"".join(u64(term) for term in terms)

    signature = sign(signer, "petmail.org/v1/mint", server + asks_for(signed_terms or terms))
    plain = prefix + verifying(signing_seed) + asks_for(terms) + signature + tail
    return seal(retrieval_public, plain, mint_ephemeral)


record = {
    "account": b64(account_id),
    "generation": 0,
    "retrieval_token": b64(retrieval_token),
    "symmetric_key": b64(symmetric_key),
    "token": b64(account_token),
    "kid": 1,
    "slot": 0,
    "quota": {"bytes": 100_000_000, "messages": 100_000},
    "retention_seconds": 2_592_000,
    "notices": [],
    "state": "active",
    "allowance": {"total_bytes": 1000, "given_bytes": 60},
}
answer_nonce = bytes_for("answer nonce", 24)


def answer(value, sender=retrieval_key):
    return answer_nonce + b.crypto_box(compact(value), answer_nonce, public(answers), sender)


write(
    "server.json",
    {
        "identity_seed": identity_seed.hex(),
        "identity_key": identity.hex(),
        "now": now,
        "descriptor": signed.decode(),
        "descriptor_refused": descriptor_refused,
        "redeem_token": redeem_token.hex(),
        "redeem_token_hash": sha256(redeem_token).hex(),
        "pin": pin.hex(),
        "url": "https://mail.example.org/p",
        "offer": offer,
        "offer_without_pin": offer_text(offer_payload(pinned=0)),
        "offer_refused": [
            refused("two characters swapped", swapped.encode(), "Damaged"),
            refused("last character missing", offer[:-1].encode(), "Damaged"),
            refused("a zero for an O", offer.replace("O", "0").replace("PETMAIL-0FFER", "PETMAIL-OFFER").encode(), "Damaged"),
            refused("checksum under another label", offer_text(offer_payload(), "petmail.org/v2/offer").encode(), "Damaged"),
            refused("an invitation code", b"7-guitarist-revenge", "NotAnOffer"),
            refused("later version", offer_text(offer_payload(version=2)).encode(), "NewerVersion"),
            refused("pinned is 2", offer_text(offer_payload(pinned=2)).encode(), "Malformed"),
            refused("address without scheme", offer_text(offer_payload(url="mail.example.org")).encode(), "Malformed"),
        ],
        "retrieval_key": retrieval_key.hex(),
        "account_signing_seed": signing_seed.hex(),
        "account_verifying_key": verifying(signing_seed).hex(),
        "account_answers_key": answers.hex(),
        "redeem_ephemeral": redeem_ephemeral.hex(),
        "redeem_request": redeem().hex(),
        "redeem_refused": [
            refused("signed for another server", redeem(server=other_server), "BadSignature"),
            refused("signed under another label", redeem(label="petmail.org/v1/rekey"), "BadSignature"),
            refused("answer key exchanged", redeem(signed_key=public(new_answers)), "BadSignature"),
            refused("answer key of low order", redeem(answer_key=bytes(32)), "BadKey"),
            refused("later version d2", redeem(prefix=b"d2"), "Malformed"),
            refused("a byte follows", redeem(tail=b"\0"), "Malformed"),
            refused("last bit flipped", flip(redeem(), -1), "DoesNotOpen"),
        ],
        "new_answers_key": new_answers.hex(),
        "new_signing_seed": new_signing_seed.hex(),
        "rekey_ephemeral": rekey_ephemeral.hex(),
        "generation": 3,
        "rekey_request": rekey(3).hex(),
        "rekey_refused": [
            refused("signed for another generation", rekey(4, signed={"generation": 3}), "BadSignature"),
            refused("signed for another slot", rekey(3, signed={"slot": b"\0"}), "BadSignature"),
            refused("signed by the new owner only", rekey(3, signer=new_signing_seed), "BadSignature"),
            refused("signed for another owner", rekey(3, signed={"new_owner": signing_seed}), "BadSignature"),
            refused("neither with a new slot nor without", rekey(3, slot=b"\2"), "Malformed"),
            refused("earlier version k1", rekey(3, prefix=b"k1"), "Malformed"),
            refused("a byte follows", rekey(3, tail=b"\0"), "Malformed"),
            refused("a redeem request", redeem(), "Malformed"),
        ],
        "mint_ephemeral": mint_ephemeral.hex(),
        "mint_request": mint().hex(),
        "mint_refused": [
            refused("signed for another server", mint(server=bytes(32)), "BadSignature"),
            refused("signed for other terms", mint(signed_terms=(60, 65, 70, 81)), "BadSignature"),
            refused("signed by another key", mint(signer=new_signing_seed), "BadSignature"),
            refused("later version o2", mint(prefix=b"o2"), "Malformed"),
            refused("a byte follows", mint(tail=b"\0"), "Malformed"),
            refused("a redeem request", redeem(), "Malformed"),
        ],
        "answer_nonce": answer_nonce.hex(),
        "answer": answer(record).hex(),
        "answer_refused": [
            refused("from another key", answer(record, sender=bytes_for("liar", 32)), "DoesNotOpen"),
            refused("token is no token", answer({**record, "token": b64(bytes(64))}), "BadRecord"),
            refused("too many notices", answer({**record, "notices": ["n"] * 17}), "BadRecord"),
            refused("unknown state", answer({**record, "state": "haunted"}), "Malformed"),
            refused("retrieval token one byte short", answer({**record, "retrieval_token": b64(bytes(31))}), "Malformed"),
        ],
    },
)
