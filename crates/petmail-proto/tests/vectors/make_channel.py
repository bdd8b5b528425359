#!/usr/bin/env python3
"""Makes channel.json beside this file: the messages of a channel, from the payload's JSON to msgA.

Independent of the Rust code: written from the specification with libsodium, through PyNaCl (boxes, signatures) and ctypes
(HSalsa20, to forge boxes with keys of low order), and the standard library's hashlib and hmac. Needs
`pip install pynacl==1.6.2`, the system's libsodium >= 1.0.18, and token.json and delivery.json, which make_server.py writes.
All inputs come from SHA-512 of a label, so a second run writes the same bytes.
"""

import base64
import ctypes
import ctypes.util
import hashlib
import hmac
import json
import pathlib

from nacl import bindings as b
from nacl.public import PrivateKey
from nacl.signing import SigningKey

sodium = ctypes.CDLL(ctypes.util.find_library("sodium"))
assert sodium.sodium_init() >= 0
here = pathlib.Path(__file__).parent
tokens = json.loads((here / "token.json").read_text())
deliveries = json.loads((here / "delivery.json").read_text())

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493


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


def hkdf(key, info):
    """HKDF-SHA256 (RFC 5869) without salt, 32 bytes: one block of the expansion."""
    extracted = hmac.digest(bytes(32), key, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")


def public(secret):
    return bytes(PrivateKey(secret).public_key)


def sign(seed, label, message):
    return bytes(SigningKey(seed).sign(label.encode() + b"\0" + message).signature)


def hsalsa20(key):
    out = ctypes.create_string_buffer(32)
    assert sodium.crypto_core_hsalsa20(out, bytes(16), key, None) == 0
    return out.raw


def flip(data, index):
    changed = bytearray(data)
    changed[index] ^= 1
    return bytes(changed)


# --- the channel

cid_key = bytes_for("CIDKey", 32)
token_key = hkdf(cid_key, b"petmail.org/v1/CIDKey/token\0")
box_key = hkdf(cid_key, b"petmail.org/v1/CIDKey/box\0")
reset_key = hkdf(cid_key, b"petmail.org/v1/CIDKey/reset\0")
signing_seed = bytes_for("channel signing key", 32)
receiver_key = bytes_for("receiver key", 32)
receiver_public = public(receiver_key)
tid = bytes_for("tid", 8)
mid = bytes_for("mid", 16)
attempt, epoch, seqnum = 1, 1_800_000_000_000, 258
ephemeral_key = bytes_for("single-use key", 32)
box_nonce = bytes_for("msgD nonce", 24)
cid_nonce = bytes_for("CIDBox nonce", 24)


def cid_token(tid=tid, attempt=attempt, epoch=epoch, seqnum=seqnum, key=token_key):
    info = b"petmail.org/v1/CIDToken\0" + tid + bytes([attempt]) + u64(epoch) + u64(seqnum)
    return hkdf(key, info)


def transcript(pubkey2, receiver=receiver_public, epoch=epoch, seqnum=seqnum, suite=b"c1"):
    return suite + pubkey2 + receiver + u64(epoch) + u64(seqnum)


def signature(pubkey2, seed=signing_seed, label="petmail.org/v1/ephemeral", **changes):
    return sign(seed, label, transcript(pubkey2, **changes))


def padded(text, padding, form=b"p1"):
    return u32(len(form + text)) + form + text + bytes(padding)


def msg_e(payload, pubkey2, epoch=epoch, seqnum=seqnum, sig=None):
    return u64(epoch) + u64(seqnum) + (signature(pubkey2) if sig is None else sig) + payload


def msg_d(plain, to=receiver_public, ephemeral=ephemeral_key):
    return public(ephemeral) + box_nonce + b.crypto_box(plain, box_nonce, to, ephemeral)


def cid_box(d, receiver=receiver_public, epoch=epoch, seqnum=seqnum, key=box_key):
    envelope = bytes([attempt]) + u64(epoch) + u64(seqnum) + sha256(d) + receiver
    return cid_nonce + b.crypto_secretbox(envelope, cid_nonce, key)


def msg_c(d, box=None, token=None, suite=b"c1"):
    return suite + (cid_token() if token is None else token) + (cid_box(d) if box is None else box) + d


def payload_json(text):
    name = base64.urlsafe_b64encode(mid).rstrip(b"=").decode()
    return json.dumps({"mid": name, "basic": text}, separators=(",", ":"), ensure_ascii=False).encode()


pubkey2 = public(ephemeral_key)

# --- one good message of each size, and at each edge

OVERHEAD_C = 2 + 32 + (24 + 16 + 81) + (32 + 24 + 16) + (8 + 8 + 64) + (4 + 2)
OVERHEAD_A = 2 + 48 + 2 + 2 + 64
delivery_key = bytes.fromhex(deliveries["delivery_public_key"])
message_token = bytes.fromhex(tokens["message_token"])
delivery_ephemeral = bytes_for("channel delivery ephemeral", 32)


def msg_a(c):
    epk = public(delivery_ephemeral)
    nonce = hashlib.blake2b(epk + delivery_key, digest_size=24).digest()
    return b"a1" + epk + b.crypto_box(b"b1" + b"t1" + message_token + c, nonce, delivery_key, delivery_ephemeral)


def sealed(name, text, msg_a_bytes):
    text_json = payload_json(text)
    c_bytes = msg_a_bytes - OVERHEAD_A
    padding = c_bytes - OVERHEAD_C - len(text_json)
    assert padding >= 0
    c = msg_c(msg_d(msg_e(padded(text_json, padding), pubkey2)))
    a = msg_a(c)
    assert len(c) == c_bytes and len(a) == msg_a_bytes
    return {
        "name": name,
        "character": text[0],
        "characters": len(text),
        "json_bytes": len(text_json),
        "msg_c_bytes": c_bytes,
        "msg_c_head": c[: 2 + 32 + 121 + 32].hex(),
        "msg_c_sha256": sha256(c).hex(),
        "msg_a_sha256": sha256(a).hex(),
    }


def room(msg_a_bytes):
    """The longest text of one-byte characters that fits."""
    return msg_a_bytes - OVERHEAD_A - OVERHEAD_C - len(payload_json(""))


KIB = [4 << 10, 16 << 10, 64 << 10, 256 << 10]
messages = [sealed("short, two bytes a character", "é" * 3, KIB[0])]
for size, larger in zip(KIB, KIB[1:] + [None]):
    messages.append(sealed(f"fills {size >> 10} KiB", "x" * room(size), size))
    if larger:
        messages.append(sealed(f"one byte more than {size >> 10} KiB takes", "x" * (room(size) + 1), larger))

# --- one fault each

text = payload_json("hello")
good_payload = padded(text, 8)
good_e = msg_e(good_payload, pubkey2)
good_d = msg_d(good_e)
good = msg_c(good_d)
faults = []


def refused(fault, data, error):
    faults.append({"fault": fault, "bytes": data.hex(), "error": error})


def refused_e(fault, plain, error):
    """A fault in msgE, everything around it as it should be."""
    refused(fault, msg_c(msg_d(plain)), error)


# The parts of msgC.
refused("later suite c2", msg_c(good_d, suite=b"c2"), "Malformed(Malformed)")
refused("ends in the suite", good[:1], "Malformed(Truncated)")
refused("ends in the CIDToken", good[: 2 + 31], "Malformed(Truncated)")
refused("ends in the CIDBox", good[: 2 + 32 + 120], "Malformed(Truncated)")

# The CIDToken.
refused("CIDToken of another transport", msg_c(good_d, token=cid_token(tid=flip(tid, 7))), "Token")
refused("CIDToken of another attempt", msg_c(good_d, token=cid_token(attempt=0)), "Token")
refused("CIDToken of another epoch", msg_c(good_d, token=cid_token(epoch=epoch + 1)), "Token")
refused("CIDToken of another number", msg_c(good_d, token=cid_token(seqnum=seqnum + 1)), "Token")
refused("CIDToken made with the box key", msg_c(good_d, token=cid_token(key=box_key)), "Token")

# The CIDBox.
other_box_key = hkdf(bytes_for("another CIDKey", 32), b"petmail.org/v1/CIDKey/box\0")
refused("CIDBox of another contact", msg_c(good_d, box=cid_box(good_d, key=other_box_key)), "NotForThisChannel")
refused("CIDBox made with the token key", msg_c(good_d, box=cid_box(good_d, key=token_key)), "NotForThisChannel")
refused("CIDBox with its last bit flipped", msg_c(good_d, box=flip(cid_box(good_d), -1)), "NotForThisChannel")
refused("CIDBox for another msgD", msg_c(good_d, box=cid_box(flip(good_d, -1))), "Envelope")
refused("msgD cut after the CIDBox was made", good[:-1], "Envelope")
other_receiver = public(bytes_for("another receiver key", 32))
refused(
    "CIDBox names another receiver key",
    msg_c(good_d, box=cid_box(good_d, receiver=other_receiver)),
    "Envelope",
)
refused(
    "CIDBox says another epoch than msgE",
    msg_c(good_d, box=cid_box(good_d, epoch=epoch + 1), token=cid_token(epoch=epoch + 1)),
    "Numbers",
)
refused(
    "CIDBox says another number than msgE",
    msg_c(good_d, box=cid_box(good_d, seqnum=seqnum + 1), token=cid_token(seqnum=seqnum + 1)),
    "Numbers",
)

# msgD.
refused("msgD ends in the single-use key", msg_c(good_d[:31]), "Malformed(Truncated)")
refused("msgD ends in the nonce", msg_c(good_d[: 32 + 23]), "Box(DoesNotOpen)")
refused("msgD ends in the authenticator", msg_c(good_d[: 32 + 24 + 15]), "Box(DoesNotOpen)")
refused("msgD for another receiver key", msg_c(msg_d(good_e, to=other_receiver)), "Box(DoesNotOpen)")
refused("msgD with its last bit flipped", msg_c(flip(good_d, -1)), "Box(DoesNotOpen)")


def forged_d(key, shared):
    """A msgD that opens wherever X25519 of the receiver's secret and `key` is `shared`."""
    plain = msg_e(good_payload, key)
    return key + box_nonce + b.crypto_secretbox(plain, box_nonce, hsalsa20(shared))


# RFC 7748, section 6.1: with these X25519 gives zero, so that everybody knows the box's key.
order_8 = [
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
]
low_order = [bytes(32), bytes([1]) + bytes(31), *map(bytes.fromhex, order_8), (P - 1).to_bytes(32, "little")]
for name, key in zip(["0", "1", "of order 8", "of order 8, the other", "p - 1"], low_order):
    refused(f"single-use key of low order: {name}", msg_c(forged_d(key, bytes(32))), "Box(BadPublicKey)")
# p + 9 means the base point: the shared secret is the receiver's public key.
above_p = (P + 9).to_bytes(32, "little")
refused("single-use key not canonical: p + 9", msg_c(forged_d(above_p, receiver_public)), "Box(BadPublicKey)")
high_bit = pubkey2[:31] + bytes([pubkey2[31] | 0x80])
shared = b.crypto_scalarmult(ephemeral_key, receiver_public)
refused("single-use key not canonical: bit 255", msg_c(forged_d(high_bit, shared)), "Box(BadPublicKey)")

# msgE, cut at each field.
refused_e("msgE ends in the epoch", good_e[:7], "Malformed(Truncated)")
refused_e("msgE ends in the number", good_e[:15], "Malformed(Truncated)")
refused_e("msgE ends in the signature", good_e[: 16 + 63], "Malformed(Truncated)")
refused_e("msgE ends in the payload's length", good_e[: 80 + 3], "Malformed(Truncated)")
refused_e("msgE ends in the payload", good_e[: 80 + 4 + 2 + len(text) - 1], "Malformed(Truncated)")

# The signature.
refused_e("signed by another key", msg_e(good_payload, pubkey2, sig=signature(pubkey2, seed=bytes_for("x", 32))), "Signature")
for fault, changes in {
    "signed under the label of introductions": {"label": "petmail.org/v1/introduction"},
    "signed for another epoch": {"epoch": epoch + 1},
    "signed for another number": {"seqnum": seqnum + 1},
    "signed for another receiver key": {"receiver": other_receiver},
    "signed for another suite": {"suite": b"c2"},
}.items():
    refused_e(fault, msg_e(good_payload, pubkey2, sig=signature(pubkey2, **changes)), "Signature")
refused_e(
    "signed for another single-use key",
    msg_e(good_payload, pubkey2, sig=signature(public(bytes_for("another single-use key", 32)))),
    "Signature",
)
sig = signature(pubkey2)
above_l = int.from_bytes(sig[32:], "little") + L
refused_e(
    "signature with S above the group's order",
    msg_e(good_payload, pubkey2, sig=sig[:32] + above_l.to_bytes(32, "little")),
    "Signature",
)

# The payload.
refused_e("payload of form p2", msg_e(padded(text, 8, form=b"p2"), pubkey2), "Malformed(Malformed)")
refused_e("padding not zero at its start", msg_e(padded(text, 0) + b"\1" + bytes(7), pubkey2), "Malformed(Malformed)")
refused_e("padding not zero at its end", msg_e(padded(text, 7) + b"\1", pubkey2), "Malformed(Malformed)")
length = len(text) + 2
refused_e(
    "payload's length beyond the end",
    msg_e(u32(length + 9) + good_payload[4:], pubkey2),
    "Malformed(Truncated)",
)
refused_e("payload's length of four gigabytes", msg_e(u32(2**32 - 1) + good_payload[4:], pubkey2), "Malformed(Truncated)")
refused_e("payload shorter than its form", msg_e(u32(1) + b"p" + bytes(8), pubkey2), "Malformed(Malformed)")
refused_e("payload's length one too short", msg_e(u32(length - 1) + good_payload[4:], pubkey2), "Malformed(Malformed)")
refused_e("payload's length one too long", msg_e(u32(length + 1) + good_payload[4:], pubkey2), "BadPayload")
refused_e("payload no JSON", msg_e(padded(text[:-1], 8), pubkey2), "BadPayload")
refused_e("payload no object", msg_e(padded(b"[]", 8), pubkey2), "BadPayload")
refused_e("payload without a mid", msg_e(padded(b'{"basic":"hello"}', 8), pubkey2), "BadPayload")
refused_e("payload with two mids", msg_e(padded(text[:-1] + b"," + text[1:], 8), pubkey2), "BadPayload")
refused_e("payload not UTF-8", msg_e(padded(text.replace(b"hello", b"hell\xff"), 8), pubkey2), "BadPayload")

# A verifying key of small order has signatures that hold for every message: R the identity, S zero.
small_order_key = bytes([1]) + bytes(31)
everybodys = msg_e(good_payload, pubkey2, sig=small_order_key + bytes(32))

# --- key resets: kid, new key, highest epoch seen, signed for one token and one receiver

reset_random = bytes_for("reset's random bytes", 32)
reset_nonce = bytes_for("reset's nonce", 24)
reset_epoch, reset_index, seen_epoch = 1_800_000_000_500, 3, 1_799_999_999_000
reset_public = public(bytes_for("receiver key after a restore", 32))
their_verifying_key = bytes(SigningKey(bytes_for("the other side's channel signing key", 32)).verify_key)
# A reset fills the smallest msgA: 4,096 bytes without what delivery, the token, the CIDBox and msgD's frame add.
RESET_PLAIN = 4096 - 118 - 2 - 32 - len(cid_box(good_d)) - 32 - 24 - 16


reset_transports = b'{"serial":1800000000501,"list":[]}'


# --- channel resets: a new half of the channel, signed by the key before and by its own


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


new_signing_seed = bytes_for("channel signing key after a theft", 32)
new_cid_key = bytes_for("CIDKey after a theft", 32)


def channel_reset_body(verifying_key=bytes(SigningKey(new_signing_seed).verify_key), suites=("c1",), key=reset_public):
    record = {
        "verifying_key": b64(verifying_key),
        "receiver_key": {"kid": {"epoch": reset_epoch, "index": reset_index}, "key": b64(key)},
        "cid_key": b64(new_cid_key),
        "transports": json.loads(reset_transports),
        "suites": list(suites),
    }
    return json.dumps({"generation": 5, "record": record}, separators=(",", ":")).encode()


def channel_reset(body=None, old=signing_seed, new=new_signing_seed, label="petmail.org/v1/channel-reset", signed=None):
    body = channel_reset_body() if body is None else body
    covered = body if signed is None else signed
    covered = u32(len(covered)) + covered
    return {
        "body": body.decode(),
        "by_old": b64(sign(old, label, covered)),
        "by_new": b64(sign(new, label, covered)),
    }


later = channel_reset_body().replace(b'"generation":5', b'"generation":6')
channel_reset_faults = [
    {"fault": fault, "bytes": json.dumps(packet).encode().hex(), "error": error}
    for fault, packet, error in [
        ("not signed by the key before", channel_reset(old=new_signing_seed), "Signature"),
        ("not signed by the new key", channel_reset(new=signing_seed), "Signature"),
        ("signed as a key reset", channel_reset(label="petmail.org/v1/key-reset"), "Signature"),
        ("another generation than was signed", channel_reset(later, signed=channel_reset_body()), "Signature"),
        ("no common suite", channel_reset(channel_reset_body(suites=["c9"])), "Record(NoCommonSuite)"),
        ("a receiver key of low order", channel_reset(channel_reset_body(key=bytes(32))), "Record(BadReceiverKey)"),
        ("too long", channel_reset(channel_reset_body() + b" " * 8192), "Malformed"),
        ("no such JSON", channel_reset(b"{}"), "Malformed"),
    ]
]
reset_channel_resets = json.dumps([channel_reset()], separators=(",", ":")).encode()


def rst(kid_epoch=reset_epoch, key=reset_public, transports=reset_transports, resets=reset_channel_resets):
    head = u64(kid_epoch) + u32(reset_index) + key + u64(seen_epoch)
    return head + u32(len(transports)) + transports + u32(len(resets)) + resets


def reset_signature(body, token=None, receiver=their_verifying_key, label="petmail.org/v1/key-reset"):
    return sign(signing_seed, label, (cid_token() if token is None else token) + sha256(receiver) + body)


def reset_d(body, sig=None, pad=None, key=reset_key):
    plain = (reset_signature(body) if sig is None else sig) + body
    plain += bytes(RESET_PLAIN - len(plain)) if pad is None else pad
    return reset_random + reset_nonce + b.crypto_secretbox(plain, reset_nonce, key)


def reset_c(d, receiver=bytes(32)):
    return msg_c(d, box=cid_box(d, receiver=receiver))


good_rst = rst()
good_reset = reset_c(reset_d(good_rst))
assert len(good_reset) == 4096 - 118
reset_faults = [
    {"fault": fault, "bytes": data.hex(), "error": error}
    for fault, data, error in [
        ("an envelope for a key that is not zero", reset_c(reset_d(good_rst), receiver=receiver_public), "Envelope"),
        ("boxed with the key of CIDBoxes", reset_c(reset_d(good_rst, key=box_key)), "Envelope"),
        ("signed for another token", reset_c(reset_d(good_rst, sig=reset_signature(good_rst, token=bytes(32)))), "Signature"),
        ("signed for another receiver", reset_c(reset_d(good_rst, sig=reset_signature(good_rst, receiver=bytes(32)))), "Signature"),
        ("signed as a single-use key", reset_c(reset_d(good_rst, sig=reset_signature(good_rst, label="petmail.org/v1/ephemeral"))), "Signature"),
        ("another kid than was signed", reset_c(reset_d(rst(kid_epoch=reset_epoch + 1), sig=reset_signature(good_rst))), "Signature"),
        ("a new key of low order", reset_c(reset_d(rst(key=bytes(32)))), "Malformed(Malformed)"),
        ("padding not zero", reset_c(reset_d(good_rst, pad=bytes(RESET_PLAIN - 65 - len(good_rst)) + b"\1")), "Malformed(Malformed)"),
        ("transports that are no JSON", reset_c(reset_d(rst(transports=b"{"))), "Malformed(Malformed)"),
        ("other transports than were signed", reset_c(reset_d(rst(transports=b""), sig=reset_signature(good_rst))), "Signature"),
        ("channel resets that are no JSON", reset_c(reset_d(rst(resets=b"["))), "Malformed(Malformed)"),
        ("other channel resets than were signed", reset_c(reset_d(rst(resets=b""), sig=reset_signature(good_rst))), "Signature"),
        ("cut off", reset_c(reset_random + reset_nonce[:9]), "Malformed(Truncated)"),
        ("a body cut off", reset_c(reset_d(good_rst[:-1], pad=b"")), "Malformed(Truncated)"),
    ]
]

value = {
    "made_by": "make_channel.py (PyNaCl, libsodium, hmac), independent of the Rust code",
    "cid_key": cid_key.hex(),
    "token_key": token_key.hex(),
    "box_key": box_key.hex(),
    "reset_key": reset_key.hex(),
    "signing_seed": signing_seed.hex(),
    "verifying_key": bytes(SigningKey(signing_seed).verify_key).hex(),
    "receiver_key": receiver_key.hex(),
    "receiver_public_key": receiver_public.hex(),
    "tid": tid.hex(),
    "mid": mid.hex(),
    "attempt": attempt,
    "epoch": epoch,
    "seqnum": seqnum,
    "ephemeral_key": ephemeral_key.hex(),
    "pubkey2": pubkey2.hex(),
    "box_nonce": box_nonce.hex(),
    "cid_nonce": cid_nonce.hex(),
    "cid_token": cid_token().hex(),
    "transcript": transcript(pubkey2).hex(),
    "signature": sig.hex(),
    "json": text.decode(),
    "msg_e": good_e.hex(),
    "msg_d": good_d.hex(),
    "cid_box": cid_box(good_d).hex(),
    "msg_c": good.hex(),
    "delivery_key": deliveries["delivery_key"],
    "delivery_ephemeral": delivery_ephemeral.hex(),
    "message_token": tokens["message_token"],
    "messages": messages,
    "refused": faults,
    "reset_random": reset_random.hex(),
    "reset_nonce": reset_nonce.hex(),
    "reset_epoch": reset_epoch,
    "reset_index": reset_index,
    "reset_public_key": reset_public.hex(),
    "seen_epoch": seen_epoch,
    "reset_transports": reset_transports.decode(),
    "reset_channel_resets": reset_channel_resets.decode(),
    "new_signing_seed": new_signing_seed.hex(),
    "channel_reset": json.dumps(channel_reset()).encode().hex(),
    "channel_reset_refused": channel_reset_faults,
    "their_verifying_key": their_verifying_key.hex(),
    "reset_msg_c": good_reset.hex(),
    "reset_refused": reset_faults,
    "small_order_key": small_order_key.hex(),
    "small_order_msg_c": msg_c(msg_d(everybodys)).hex(),
}
(here / "channel.json").write_text(json.dumps(value, indent=1) + "\n")
