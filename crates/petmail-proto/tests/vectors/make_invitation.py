"""Writes invitation.json, the test vectors for invitations, without any Petmail code.

Run it in a virtual environment with the packages listed under PACKAGES:

    pip install pynacl spake2 argon2-cffi hkdf && python make_invitation.py > invitation.json

Everything is derived from fixed bytes, so that the output is always the same.
"""

import base64
import hashlib
import hmac
import importlib.metadata
import json
import platform
import struct

from argon2.low_level import Type, hash_secret_raw
from hkdf import Hkdf
from nacl.public import PrivateKey
from nacl.secret import SecretBox
from nacl.signing import SigningKey
from spake2 import SPAKE2_Symmetric

PACKAGES = ["pynacl", "spake2", "argon2-cffi", "hkdf"]
APP_ID = b"petmail.org/invitation/v1"

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P


def filler(name, length):
    """Fixed bytes that look random."""
    out = b""
    while len(out) < length:
        out += hashlib.sha256(name.encode() + struct.pack(">I", len(out))).digest()
    return out[:length]


def label(text):
    return text.encode() + b"\0"


def var(data):
    return struct.pack(">I", len(data)) + data


def hkdf(key, info):
    return Hkdf(salt=b"", input_key_material=key, hash=hashlib.sha256).expand(info, 32)


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


# --- stretching

def stretch(code):
    nameplate = code.split("-")[0].encode()
    salt = hashlib.sha256(label("petmail.org/v1/stretch") + var(APP_ID) + var(nameplate)).digest()[:16]
    return hash_secret_raw(code.encode(), salt, 3, 64 * 1024, 1, 32, Type.ID)


def stretch_vectors():
    codes = ["4-adroitness-aardvark-adviser", "7-purple-elephants-never-dance", "12-café-umbrella-sandwich-violet"]
    return [{"code": code, "stretched": stretch(code).hex()} for code in codes]


# --- the curve, for bad points

def recover(y, sign):
    xx = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(xx, (P + 3) // 8, P)
    if x * x % P != xx:
        x = x * pow(2, (P - 1) // 4, P) % P
    if x * x % P != xx:
        return None
    return (P - x if x % 2 != sign and x else x, y)


def add(a, b):
    (x1, y1), (x2, y2) = a, b
    k = D * x1 * x2 * y1 * y2
    x3 = (x1 * y2 + x2 * y1) * pow(1 + k, -1, P)
    y3 = (y1 * y2 + x1 * x2) * pow(1 - k, -1, P)
    return (x3 % P, y3 % P)


def multiply(point, n):
    result = (0, 1)
    while n:
        if n & 1:
            result = add(result, point)
        point = add(point, point)
        n >>= 1
    return result


def encode(point):
    x, y = point
    return (y | (x & 1) << 255).to_bytes(32, "little")


def decode(data):
    n = int.from_bytes(data, "little")
    return recover(n & (2**255 - 1), n >> 255)


def order_eight():
    for y in range(2, 100):
        point = recover(y, 0)
        if point:
            torsion = multiply(point, L)
            if multiply(torsion, 4) != (0, 1):
                return torsion


# --- key exchange

def spake(password, seed):
    exchange = SPAKE2_Symmetric(password, idSymmetric=APP_ID)
    scalar = int.from_bytes(seed, "little") % L
    state = {
        "hashed_params": exchange.hash_params(),
        "side": "S",
        "idS": APP_ID.hex(),
        "password": password.hex(),
        "xy_scalar": scalar.to_bytes(32, "little").hex(),
    }
    exchange = SPAKE2_Symmetric.from_serialized(json.dumps(state).encode())
    return exchange, b"S" + exchange.outbound_message


def pake_vectors():
    vectors = []
    for i in range(3):
        stretched = filler(f"password {i}", 32)
        seeds = [filler(f"seed {i}{side}", 64) for side in "ab"]
        (a, message_a), (b, message_b) = [spake(stretched.hex().encode(), seed) for seed in seeds]
        key_a, key_b = a.finish(message_b), b.finish(message_a)
        assert key_a == key_b
        vectors.append({
            "stretched": stretched.hex(), "seed_a": seeds[0].hex(), "seed_b": seeds[1].hex(),
            "message_a": message_a.hex(), "message_b": message_b.hex(), "key": key_a.hex(),
        })
    return vectors


def bad_pake_vectors():
    """Messages for the exchange of the first good vector, each with one fault."""
    good = pake_vectors()[0]
    honest = bytes.fromhex(good["message_b"])
    torsion = order_eight()
    off_curve = next(y for y in range(2, 100) if recover(y, 0) is None)
    low = next(y for y in range(2, 19) if recover(y, 0))
    return {
        "Length: 32 bytes": honest[:32].hex(),
        "Length: 34 bytes": (honest + b"\0").hex(),
        "Length: empty": "",
        "Prefix: side A of the asymmetric exchange": (b"A" + honest[1:]).hex(),
        "Own: reflected": good["message_a"],
        "NotAPoint: no point has this y": (b"S" + off_curve.to_bytes(32, "little")).hex(),
        "NonCanonical: y above the prime": (b"S" + (low + P).to_bytes(32, "little")).hex(),
        "NonCanonical: identity with its sign set": (b"S" + (1 | 1 << 255).to_bytes(32, "little")).hex(),
        "Identity: the neutral element": (b"S" + encode((0, 1))).hex(),
        "Torsion: order eight": (b"S" + encode(torsion)).hex(),
        "Torsion: order two": (b"S" + encode((0, P - 1))).hex(),
        "Torsion: honest point plus order eight": (b"S" + encode(add(decode(honest[1:]), torsion))).hex(),
    }


# --- sealed phases

def phase_key(key, side, phase):
    digest = lambda text: hashlib.sha256(text.encode()).digest()
    return hkdf(key, b"wormhole:phase:" + digest(side) + digest(phase))


def seal(key, side, phase, plaintext, nonce):
    return bytes(SecretBox(phase_key(key, side, phase)).encrypt(plaintext, nonce))


def seal_vectors():
    vectors = []
    for phase, plaintext in [("version", b"{}"), ("0", filler("plaintext", 100)), ("abort", b"")]:
        key, side, nonce = filler("K", 32), "00112233aabbccdd", filler("nonce " + phase, 24)
        vectors.append({
            "key": key.hex(), "side": side, "phase": phase, "nonce": nonce.hex(), "plaintext": plaintext.hex(),
            "body": seal(key, side, phase, plaintext, nonce).hex(), "verifier": hkdf(key, b"wormhole:verifier").hex(),
        })
    return vectors


# --- introductions

def body0(seed, name, **changes):
    channel = {
        "verifying_key": b64(bytes(SigningKey(seed).verify_key)),
        "receiver_key": {"kid": {"epoch": 1700000000000, "index": 0},
                         "key": b64(bytes(PrivateKey(filler("receiver", 32)).public_key))},
        "cid_key": b64(filler("cid key", 32)),
        "transports": {"serial": 1, "list": []},
        "suites": ["c1"],
    }
    channel.update(changes.pop("channel", {}))
    return json.dumps({"name": name, "purpose": "contact", "channel": channel, **changes}, ensure_ascii=False)


def sign(seed, key, body):
    verifier = hkdf(key, b"wormhole:verifier")
    return SigningKey(seed).sign(label("petmail.org/v1/introduction") + verifier + var(body.encode())).signature


def transcript(side, n, body, sig):
    return var(side.encode()) + n + var(body.encode()) + sig


def commitment(side, n, body, sig):
    return hashlib.sha256(label("petmail.org/v1/commit") + transcript(side, n, body, sig)).digest()


def mac(key, side, n, body, sig):
    mac_key = hkdf(key, label("petmail.org/v1/introduction-mac"))
    return hmac.new(mac_key, transcript(side, n, body, sig), hashlib.sha256).digest()


def frame(n, body, sig):
    return n + sig + var(body.encode())


def introduction_vector():
    key, side, n, seed = filler("K", 32), "00112233aabbccdd", filler("n", 32), filler("signing", 32)
    body = body0(seed, "Zoë")
    sig = sign(seed, key, body)
    packet = {"n": b64(n), "body0": body, "sig0": b64(sig), "mac": b64(mac(key, side, n, body, sig))}
    return {
        "key": key.hex(), "side": side, "n": n.hex(), "signing_seed": seed.hex(), "name": "Zoë", "body0": body,
        "sig0": sig.hex(), "commitment": commitment(side, n, body, sig).hex(), "frame": frame(n, body, sig).hex(),
        "packet": json.dumps(packet),
    }


def bad_introduction_vectors():
    """Frames of phase 0, each with one fault; the commitment is right for all but those named so."""
    key, side, n, seed = filler("K", 32), "00112233aabbccdd", filler("n", 32), filler("signing", 32)
    other_seed, other_key = filler("other signing", 32), filler("other K", 32)
    body = body0(seed, "Zoë")
    sig = sign(seed, key, body)

    def vector(body, sig, n_committed=n, side_committed=side):
        promise = commitment(side_committed, n_committed, body, sig)
        return {"frame": frame(n, body, sig).hex(), "commitment": promise.hex()}

    def signed(body):
        return vector(body, sign(seed, key, body))

    good = vector(body, sig)
    mangled = bytes([sig[0] ^ 1]) + sig[1:]
    malleable = sig[:32] + (int.from_bytes(sig[32:], "little") + L).to_bytes(32, "little")
    return {
        "Commitment: to another nonce": vector(body, sig, n_committed=filler("other n", 32)),
        "Commitment: made by another side": vector(body, sig, side_committed="ffff"),
        "Signature: by another key": vector(body, sign(other_seed, key, body)),
        "Signature: for another exchange": vector(body, sign(seed, other_key, body)),
        "Signature: one bit": vector(body, mangled),
        "Signature: s not reduced": vector(body, malleable),
        "Frame: one byte too many": {**good, "frame": good["frame"] + "00"},
        "Frame: one byte missing": {**good, "frame": good["frame"][:-2]},
        "Frame: empty": {**good, "frame": ""},
        "Malformed: not JSON": signed("Zoë"),
        "Malformed: unknown purpose": signed(body0(seed, "Zoë", purpose="spy")),
        "Malformed: JSON and more": signed(body + "{}"),
        "Name: control character": signed(body0(seed, "Zo\n")),
        "Name: too long": signed(body0(seed, "Z" * 257)),
        "Offer: too long": signed(body0(seed, "Zoë", offer="o" * 2049)),
        "Record: low-order receiver key": signed(body0(seed, "Zoë", channel={
            "receiver_key": {"kid": {"epoch": 1, "index": 0}, "key": b64(bytes(32))}})),
        "Record: no common suite": signed(body0(seed, "Zoë", channel={"suites": ["c9"]})),
    }


def bad_packet_vectors():
    """Introduction packets for the good introduction's exchange and commitment, each with one fault."""
    good = introduction_vector()
    packet = json.loads(good["packet"])
    key, n = bytes.fromhex(good["key"]), bytes.fromhex(good["n"])
    body, sig = good["body0"], bytes.fromhex(good["sig0"])
    wrong_side = b64(mac(key, "ffff", n, body, sig))
    wrong_key = b64(mac(filler("other K", 32), good["side"], n, body, sig))
    other_n = filler("other n", 32)
    return {
        "Mac: of another side": json.dumps({**packet, "mac": wrong_side}),
        "Mac: of another exchange": json.dumps({**packet, "mac": wrong_key}),
        "Mac: body0 changed": json.dumps({**packet, "body0": body.replace("Zoë", "Zoe")}),
        "Commitment: to another nonce": json.dumps({
            **packet, "n": b64(other_n), "mac": b64(mac(key, good["side"], other_n, body, sig))}),
    }


# --- safety

def safety_vectors():
    vectors = []
    for i in range(2):
        nonces = [filler(f"nonce {i}{side}", 32) for side in "ab"]
        keys = [bytes(SigningKey(filler(f"key {i}{side}", 32)).verify_key) for side in "ab"]
        lo, hi = sorted(n + v for n, v in zip(nonces, keys))
        sas = hashlib.sha256(label("petmail.org/v1/sas") + lo + hi).digest()
        vectors.append({
            "n_a": nonces[0].hex(), "v_a": keys[0].hex(), "n_b": nonces[1].hex(), "v_b": keys[1].hex(),
            "first_48_bits": sas[:6].hex(), "digits": " ".join(sorted(thirty_digits(key) for key in keys)),
        })
    return vectors


def thirty_digits(key):
    digest = hashlib.sha512(label("petmail.org/v1/safety-digits") + key).digest()
    for _ in range(5200):
        digest = hashlib.sha512(digest + key).digest()
    return " ".join("%05d" % (int.from_bytes(digest[i:i + 5], "big") % 100000) for i in range(0, 30, 5))


def main():
    versions = {package: importlib.metadata.version(package) for package in PACKAGES}
    print(json.dumps({
        "provenance": {"script": "make_invitation.py", "python": platform.python_version(), "packages": versions},
        "stretch": stretch_vectors(),
        "pake": pake_vectors(),
        "bad_pake": bad_pake_vectors(),
        "seal": seal_vectors(),
        "introduction": introduction_vector(),
        "bad_introduction": bad_introduction_vectors(),
        "bad_packet": bad_packet_vectors(),
        "safety": safety_vectors(),
    }, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
