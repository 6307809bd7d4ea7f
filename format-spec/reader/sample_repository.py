"""Writes a small repository, so that the tests need no other program. For tests only: every key is known."""

import os
import struct

import zstandard
from argon2.low_level import Type, hash_secret_raw
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from strongroom_reader import crypto
from strongroom_reader import objects as o
from strongroom_reader.crypto import derive, digest, key_commitment, keyed

REPOSITORY = bytes([10]) * 16
IDENTITY, METADATA, DATA, VAULT = (bytes([i]) * 32 for i in (1, 2, 3, 4))
IDENTITY_ID, METADATA_ID, DATA_ID, VAULT_ID = (bytes([i]) * 16 for i in (11, 12, 13, 14))
ROOT = Ed25519PrivateKey.from_private_bytes(b"\x09" * 32)
KEY_FILE = b"\x5a" * 32
KEY_FILE_TEXT = f"# a comment\n\nstrongroom-key-1:{KEY_FILE.hex()}:{digest(KEY_FILE)[:4].hex()}\n"
PASSPHRASE = "corre\u0301ct horse"


def encode(value):
    """Deterministic CBOR. Maps are dicts with integer keys."""
    if isinstance(value, int):
        return head(0, value) if value >= 0 else head(1, -1 - value)
    if isinstance(value, bytes):
        return head(2, len(value)) + value
    if isinstance(value, str):
        return head(3, len(value.encode())) + value.encode()
    if isinstance(value, (list, tuple)):
        return head(4, len(value)) + b"".join(map(encode, value))
    return head(5, len(value)) + b"".join(encode(k) + encode(value[k]) for k in sorted(value))


def head(major, value):
    if value < 24:
        return bytes([major << 5 | value])
    for info, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if value < 1 << (8 * size):
            return bytes([major << 5 | info]) + value.to_bytes(size, "big")
    raise ValueError(value)


def public(key):
    return key.public_key().public_bytes_raw()


class Signer:
    def __init__(self, number):
        self.id, self.key = bytes([number]) * 16, Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)

    def sign_object(self, kind, signed):
        return self.key.sign(b"strongroom 2026 v1 signature" + bytes([kind]) + digest(signed))


OWNER, OTHER, STRANGER = Signer(7), Signer(8), Signer(6)


def seal_object(kind, path, content, signer, key_id=METADATA_ID, key=METADATA, floor=1024):
    header, aead = begin(kind, key_id, key)
    signed = struct.pack("<I", len(content)) + content + signer.id
    plain = signed + signer.sign_object(kind, header + signed)
    plain += bytes(max(floor - len(plain), 0))
    step, out = 1 << 20, header
    for counter, start in enumerate(range(0, len(plain), step)):
        nonce = struct.pack("<BxxxQ", 2 if start + step >= len(plain) else 1, counter)
        out += aead.encrypt(nonce, plain[start : start + step], path.encode())
    return out


def begin(kind, key_id=METADATA_ID, key=METADATA):
    head_ = b"STRNGRM1" + struct.pack("<BBHI", kind, 1, 0, 112) + REPOSITORY + key_id + os.urandom(32)
    okm = keyed(derive(crypto.SUBKEY_LABELS[kind], key), head_, 64)
    return head_ + okm[32:], ChaCha20Poly1305(okm[:32])


class PackBuilder:
    def __init__(self, kind, author=OWNER):
        self.kind, self.author = kind, author
        self.frames, self.chunks, self.bases, self.sealed = [], [], [], b""
        self.key = (DATA_ID, DATA) if kind == o.DATA_PACK else (METADATA_ID, METADATA)

    def add(self, named, codec=0, bases=(), depth=0):
        """named, bases: [(ID, bytes)]."""
        plain, prefix = (b"".join(data for _, data in part) for part in (named, bases))
        payload = plain
        if codec:
            raw = zstandard.ZstdCompressionDict(prefix, dict_type=zstandard.DICT_TYPE_RAWCONTENT) if prefix else None
            payload = zstandard.ZstdCompressor(level=3, dict_data=raw, write_dict_id=False).compress(plain)
        place = (len(self.chunks), len(self.bases), len(named), len(bases), 0, 0)
        bound = (0, 0, len(named), len(bases), 0, 0)
        sizes, tail = (len(payload) + 144, len(plain), len(prefix)), (codec, depth, 1 if bases else 0)
        records = b"".join(o.CHUNK_LAYOUT.pack(i, len(data)) for i, data in [*named, *bases])
        aad = o.FRAME_LAYOUT.pack(*sizes, *bound, *tail) + digest(records)
        key_id, key = self.key
        label, salt = "seal frame" if self.kind == o.DATA_PACK else "seal node frame", os.urandom(32)
        okm = keyed(derive(label, key), REPOSITORY + key_id + salt, 64)
        sealed = salt + okm[32:] + ChaCha20Poly1305(okm[:32]).encrypt(bytes(12), payload, aad)
        message = b"strongroom 2026 v1 frame author" + digest(sealed) + aad
        self.sealed += sealed + self.author.key.sign(message)
        self.frames.append(o.FRAME_LAYOUT.pack(*sizes, *place, *tail))
        self.chunks += [(i, len(data)) for i, data in named]
        self.bases += [(i, len(data)) for i, data in bases]

    def finish(self, padding=100):
        header, aead = begin(self.kind)
        start = header + self.sealed + aead.encrypt(struct.pack("<BxxxQ", 3, 0), bytes(padding - 16), b"")
        key_id, key = self.key
        purpose = o.PURPOSE_DATA if self.kind == o.DATA_PACK else o.PURPOSE_METADATA
        tables = key_id + key_commitment(key, REPOSITORY, key_id, purpose) + self.author.id
        tables += b"".join(self.frames) + b"".join(o.CHUNK_LAYOUT.pack(*r) for r in self.chunks + self.bases)
        footer_length = -(-(36 + len(tables) + 112) // 4096) * 4096 + 16
        length = len(start) + footer_length + 16
        fixed = struct.pack("<HHIIIHHQII", 1, 0, len(self.frames), len(self.chunks), len(self.bases), 1, 1, length, padding, 0)
        signed = fixed + tables + digest(start) + self.author.id
        footer = signed + self.author.sign_object(self.kind, header + signed)
        padded = footer + bytes(footer_length - 16 - len(footer))
        data = start + aead.encrypt(struct.pack("<BxxxQ", 4, 0), padded, b"")
        return header, footer, data + struct.pack("<II8s", footer_length, 0, b"STRNGEND")


class SampleRepository:
    def __init__(self, folder):
        self.folder, self.names = folder, crypto.Identity(IDENTITY)
        self.number, self.packs, self.indexed, self.sequence = 0, [], [], 0
        self.vault_public = crypto.x25519_public(VAULT)
        for key_id, key, purpose in (
            (IDENTITY_ID, IDENTITY, o.PURPOSE_IDENTITY),
            (METADATA_ID, METADATA, o.PURPOSE_METADATA),
            (DATA_ID, DATA, o.PURPOSE_DATA),
        ):
            self.wrap_to_vault(key_id, key, purpose)
        self.wrap_directly(2, derive("key file id", KEY_FILE, 16), derive("wrap key file", KEY_FILE))
        stretched = hash_secret_raw("corr\u00e9ct horse".encode(), b"s" * 16, 1, 64, 1, 32, Type.ID, 0x13)
        costs = {10: b"s" * 16, 11: 64, 12: 1, 13: 1}
        self.wrap_directly(1, b"p" * 16, derive("wrap passphrase", stretched), costs)
        config = encode({1: 1, 2: REPOSITORY, 3: 1, 4: public(ROOT)})
        self.put("config", config)
        self.chain = digest(config)
        self.append(1, self.policy(), OWNER)

    def put(self, name, data):
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)

    def put_key(self, body):
        data = encode(body)
        signed = encode({1: data, 2: OWNER.sign_object(crypto.KIND_KEY, REPOSITORY + data)})
        self.put(f"keys/{body[1].hex()}/{body[5].hex()}", signed)

    def wrap_to_vault(self, key_id, key, purpose):
        info = b"strongroom 2026 v1 key wrap" + REPOSITORY + key_id + bytes([purpose])
        encapsulated, sealed = hpke_seal(self.vault_public, info, key)
        commitment = key_commitment(key, REPOSITORY, key_id, purpose)
        self.put_key({1: key_id, 2: purpose, 3: commitment, 4: 3, 5: VAULT_ID, 6: OWNER.id, 9: sealed, 14: encapsulated})

    def wrap_directly(self, kind, recipient, wrap_key, costs=None):
        purpose, salt = o.PURPOSE_VAULT, os.urandom(32)
        context = REPOSITORY + VAULT_ID + bytes([purpose, kind]) + recipient + salt
        if costs:
            context += costs[10] + struct.pack("<III", costs[11], costs[12], costs[13])
        okm = keyed(wrap_key, context, 64)
        sealed = ChaCha20Poly1305(okm[:32]).encrypt(bytes(12), VAULT, context)
        commitment = key_commitment(VAULT, REPOSITORY, VAULT_ID, purpose)
        body = {1: VAULT_ID, 2: purpose, 3: commitment, 4: kind, 5: recipient, 6: OWNER.id, 7: salt, 8: okm[32:], 9: sealed}
        self.put_key(body | (costs or {}))

    def policy(self, forgotten=(), root=ROOT, features=(), settled=0, more=None):
        def reference(key_id, key, purpose):
            return [key_id, key_commitment(key, REPOSITORY, key_id, purpose)]

        signers = [
            {1: OWNER.id, 2: public(OWNER.key), 3: 15, 4: ["*"], 5: "owner"},
            {1: OTHER.id, 2: public(OTHER.key), 3: 1, 4: ["other"], 5: "other"},
        ]
        policy = {
            1: self.sequence, 2: public(ROOT), 3: signers, 4: [], 5: list(features),
            6: reference(METADATA_ID, METADATA, o.PURPOSE_METADATA),
            7: reference(IDENTITY_ID, IDENTITY, o.PURPOSE_IDENTITY),
            8: reference(VAULT_ID, VAULT, o.PURPOSE_VAULT), 9: self.vault_public, 10: 1, 11: list(forgotten),
        }
        self.sequence += 1
        encoded = encode(policy | ({12: settled} if settled else {}) | (more or {}))
        message = b"strongroom 2026 v1 signature" + bytes([crypto.KIND_POLICY]) + digest(REPOSITORY + encoded)
        return {1: encoded, 2: root.sign(message)}

    def append(self, kind, body, signer=OWNER, **changes):
        entry = {1: self.number, 2: max(self.number - 1, 0), 3: self.chain, 4: 1_700_000_000_000 + self.number, 5: kind, 6: body}
        name = f"journal/{self.number:016x}"
        return self.append_bytes(seal_object(o.ENTRY, name, encode(entry | changes.pop("fields", {})), signer, **changes))

    def append_bytes(self, data):
        self.put(f"journal/{self.number:016x}", data)
        self.number, self.chain = self.number + 1, digest(self.chain + digest(data))
        return self.number - 1

    def chunk(self, data):
        return self.names.chunk_id(data), data

    def node(self, kind, level, count, payload):
        data = struct.pack("<BBBBI", 1, kind, level, 0, count) + payload
        self.nodes.append((self.names.node_id(data), data))
        return self.nodes[-1][0]

    def put_pack(self, builder, padding=100):
        header, footer, data = builder.finish(padding)
        pack_id, folder = digest(data), "packs" if builder.kind == o.DATA_PACK else "meta"
        self.put(f"{folder}/{pack_id.hex()[:2]}/{pack_id.hex()}", data)
        self.packs.append([builder.kind, pack_id, len(data)])
        self.indexed.append(struct.pack("<32s112sI", pack_id, header, len(footer)) + footer)
        return pack_id, header, footer

    def put_index(self, signer=OWNER, tag=b"t" * 16):
        content = struct.pack("<HHI16s", 1, 0, len(self.indexed), tag) + b"".join(self.indexed)
        data = seal_object(o.INDEX, "", content, signer, floor=4096)
        self.put(f"index/{tag.hex()}/{digest(data).hex()}", data)
        self.indexed = []
        return [digest(data), tag, len(data)]

    def manifest(self, tree, source="files", facts=None, nonce=b"n" * 16):
        manifest = {
            1: source, 2: "files", 3: "host", 4: "user", 5: "test", 6: 1, 7: -2, 9: 0, 10: tree, 11: [[b"", 1, [1, 2, 3, 4], 5]],
            13: [0] * 6, 14: nonce, 15: [], 16: ["nightly"],
        }
        return encode(manifest | ({12: facts} if facts else {}))

    def snapshot(self, manifest, signer=OWNER, indexes=(), **changes):
        packs, self.packs = self.packs, []
        self.append(2, {1: manifest, 2: packs, 3: list(indexes), 4: []}, signer, **changes)
        return self.names.snapshot_id(manifest)


def hpke_seal(public_key, info, plain):
    """RFC 9180, written again from its text rather than from the reader."""
    import hashlib
    import hmac as hmac_

    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

    def extract(suite, salt, label, key):
        return hmac_.digest(salt or bytes(32), b"HPKE-v1" + suite + label + key, hashlib.sha256)

    def expand(suite, key, label, context, length):
        context = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + context
        return hmac_.digest(key, context + b"\x01", hashlib.sha256)[:length]

    kem, suite = b"KEM\x00\x20", b"HPKE\x00\x20\x00\x01\x00\x03"
    ephemeral = X25519PrivateKey.generate()
    encapsulated = ephemeral.public_key().public_bytes_raw()
    shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(public_key))
    secret = expand(kem, extract(kem, b"", b"eae_prk", shared), b"shared_secret", encapsulated + public_key, 32)
    context = b"\0" + extract(suite, b"", b"psk_id_hash", b"") + extract(suite, b"", b"info_hash", info)
    secret = extract(suite, secret, b"secret", b"")
    key, nonce = expand(suite, secret, b"key", context, 32), expand(suite, secret, b"base_nonce", context, 12)
    return encapsulated, ChaCha20Poly1305(key).encrypt(nonce, plain, b"")
