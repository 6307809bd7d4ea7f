"""Deriving, opening and verifying (sealing.md)."""

import hmac
import struct
import unicodedata

import zstandard
from argon2.low_level import Type, hash_secret_raw
from blake3 import blake3
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hmac import HMAC

from .errors import Refused, require
from .objects import HEADER_LENGTH, KEY_FILE, PASSPHRASE, PURPOSE_METADATA, X25519, decode_header

SEGMENT_BYTES = 1 << 20
SUBKEY_LABELS = {1: "seal footer", 2: "seal footer", 3: "seal index", 4: "seal journal", 5: "seal checkpoint", 7: "seal wal head"}
KIND_KEY, KIND_POLICY = 16, 17
# y-coordinates of the points of small order on edwards25519, and their other encodings.
_P = (1 << 255) - 19
_ORDER_8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD83D3D706A17C7
SMALL_ORDER = {0, 1, _P - 1, _P, _P + 1, _ORDER_8, _P - _ORDER_8}


def derive(label, key, size=32):
    return blake3(key, derive_key_context="strongroom 2026 v1 " + label).digest(length=size)


def keyed(key, message, size=32):
    return blake3(message, key=key).digest(length=size)


def digest(data):
    return blake3(data).digest()


def chain(before, entry_hash):
    """The journal's chain after one more entry."""
    return digest(before + entry_hash)


def key_commitment(key, repository, key_id, purpose):
    return keyed(derive("key commitment", key), repository + key_id + bytes([purpose]))


class Identity:
    """What the identity secret derives, as far as a reader needs it."""

    def __init__(self, secret):
        self._chunk, self._node = derive("chunk id", secret), derive("node id", secret)
        self._snapshot = derive("snapshot id", secret)
        self._object_name, self._log_file = derive("object name", secret), derive("wal file", secret)

    def chunk_id(self, data):
        return keyed(self._chunk, data)

    def node_id(self, data):
        return keyed(self._node, data)

    def wal_id(self, source, system, file, part, attempt):
        message = b"wal" + struct.pack("<QIIB", system, part, attempt, len(file)) + file.encode() + source.encode()
        return keyed(self._object_name, message)

    def log_hash(self, data):
        return keyed(self._log_file, data)

    def log_hasher(self):
        return blake3(key=self._log_file)

    def snapshot_id(self, manifest):
        return keyed(self._snapshot, manifest)


def _open(key, nonce, sealed, aad):
    try:
        return ChaCha20Poly1305(key).decrypt(nonce, sealed, aad)
    except InvalidTag:
        raise Refused("an authentication tag does not match: the bytes were changed") from None


def split(subkey, message, commitment):
    """The AEAD key of one sealing, after its commitment is found to match."""
    okm = keyed(subkey, message, 64)
    require(hmac.compare_digest(okm[32:], commitment), "a key commitment does not match: changed bytes, or another key")
    return okm[:32]


class MetadataKey:
    def __init__(self, key_id, repository, secret):
        self.id, self._repository, self._secret = key_id, repository, secret
        self.commitment = key_commitment(secret, repository, key_id, PURPOSE_METADATA)
        self.node_subkey = derive("seal node frame", secret)

    def object_key(self, kind, data):
        """Header and AEAD key of a sealed object of this kind."""
        header = decode_header(data)
        require(header.repository == self._repository, "the object belongs to another repository")
        require(header.kind == kind, "the object is of another kind than its name says")
        require(header.key == self.id, "the object is sealed under another key")
        subkey = derive(SUBKEY_LABELS[kind], self._secret)
        return header, split(subkey, data[: HEADER_LENGTH - 32], header.commitment)

    def open(self, kind, logical_path, data):
        """The plaintext of a whole object, its signature not verified."""
        _, key = self.object_key(kind, data)
        return open_segments(key, logical_path, data[HEADER_LENGTH:])


def open_segments(key, logical_path, sealed):
    step, plain = SEGMENT_BYTES + 16, []
    starts = range(0, len(sealed), step)
    require(len(starts) > 0, "the object has no segment")
    for counter, start in enumerate(starts):
        nonce = struct.pack("<BxxxQ", 2 if start == starts[-1] else 1, counter)
        plain.append(_open(key, nonce, sealed[start : start + step], logical_path.encode()))
    return b"".join(plain)


def open_pack_part(key, part, sealed):
    """Padding (part 3) or footer (part 4) of a pack."""
    return _open(key, struct.pack("<BxxxQ", part, 0), sealed, b"")


def frame_aad(bound_record, records):
    return bound_record + digest(records)


def open_frame(subkey, repository, key_id, aad, sealed):
    key = split(subkey, repository + key_id + sealed[:32], sealed[32:64])
    return _open(key, bytes(12), sealed[64:-64], aad)


def decompress(payload, plain_length, prefix):
    """The one shape of zstd frame that is allowed; the prefix is raw content."""
    require(payload[:4] == b"\x28\xb5\x2f\xfd" and len(payload) > 4, "not a zstd frame")
    descriptor = payload[4]
    require(descriptor & 0x3F == 0x20, "a zstd frame is a single segment without dictionary ID and checksum")
    length, offset = ((1, 0), (2, 256), (4, 0), (8, 0))[descriptor >> 6]
    size = int.from_bytes(payload[5 : 5 + length], "little") + offset
    require(len(payload) >= 5 + length and size == plain_length, "the content size of a zstd frame is not its frame's")
    raw = zstandard.ZstdCompressionDict(prefix, dict_type=zstandard.DICT_TYPE_RAWCONTENT) if prefix else None
    try:
        plain = zstandard.ZstdDecompressor(dict_data=raw).decompress(payload, allow_extra_data=False)
    except (zstandard.ZstdError, ValueError) as error:
        raise Refused(f"zstd: {error}") from None
    require(len(plain) == plain_length, "a zstd frame ends early")
    return plain


# Signatures


def verify(public, message, signature):
    """Ed25519, strictly: no points of small order; OpenSSL checks the rest of RFC 8032."""
    for point in (public, signature[:32]):
        require(int.from_bytes(point, "little") & ((1 << 255) - 1) not in SMALL_ORDER, "a point of small order")
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        raise Refused("a signature does not hold") from None


def verify_object(public, kind, signed, signature):
    verify(public, b"strongroom 2026 v1 signature" + bytes([kind]) + digest(signed), signature)


def verify_author(public, aad, sealed):
    verify(public, b"strongroom 2026 v1 frame author" + digest(sealed[:-64]) + aad, sealed[-64:])


# Wraps


def read_key_file(content):
    """The credential that a key file holds: a symmetric key, or the private half of an X25519 key."""
    lines = [line.strip() for line in content.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    parts = lines[0].split(":") if len(lines) == 1 else []
    kinds = {"strongroom-key-1": KeyFile, "strongroom-x25519-1": PrivateKey}
    require(len(parts) == 3 and parts[0] in kinds and len(parts[1]) == 64, "not a key file")
    try:
        key = bytes.fromhex(parts[1])
    except ValueError:
        raise Refused("the key of the key file is not 64 hexadecimal digits") from None
    require(len(key) == 32 and digest(key)[:4].hex() == parts[2], "the key file's checksum does not match")
    return kinds[parts[0]](key)


class KeyFile:
    def __init__(self, key):
        self._key, self.recipient = key, derive("key file id", key, 16)

    def unwrap(self, body, repository):
        """The key, or None where the wrap is another recipient's."""
        if body.type == KEY_FILE and body.recipient == self.recipient:
            return unwrap_direct(body, repository, derive("wrap key file", self._key))
        return None


class PrivateKey:
    def __init__(self, private):
        self._private, self.recipient = private, derive("x25519 id", x25519_public(private), 16)

    def unwrap(self, body, repository):
        if body.type == X25519 and body.recipient == self.recipient:
            return unwrap_x25519(body, repository, self._private)
        return None


class Passphrase:
    def __init__(self, passphrase):
        self._passphrase, self._stretched = unicodedata.normalize("NFC", passphrase).encode(), {}

    def unwrap(self, body, repository):
        if body.type != PASSPHRASE:
            return None
        costs = (body.argon2_salt, body.passes, body.memory_kib, body.lanes)
        if costs not in self._stretched:
            stretched = hash_secret_raw(self._passphrase, *costs, 32, Type.ID, 0x13)
            self._stretched[costs] = derive("wrap passphrase", stretched)
        return unwrap_direct(body, repository, self._stretched[costs])


def unwrap_direct(body, repository, wrap_key):
    context = repository + body.key + bytes([body.purpose, body.type]) + body.recipient + body.salt
    if body.type == PASSPHRASE:
        context += body.argon2_salt + struct.pack("<III", body.memory_kib, body.passes, body.lanes)
    key = split(wrap_key, context, body.wrap_commitment)
    return _check_key(body, repository, _open(key, bytes(12), body.sealed, context))


def unwrap_x25519(body, repository, private):
    info = b"strongroom 2026 v1 key wrap" + repository + body.key + bytes([body.purpose])
    return _check_key(body, repository, hpke_open(private, body.encapsulated, info, b"", body.sealed))


def check_kms(body):
    """A wrap that only a KMS opens names the KMS key of its recipient."""
    require(derive("kms key id", body.arn.encode(), 16) == body.recipient, "the ARN is not the recipient's")


def _check_key(body, repository, key):
    expected = key_commitment(key, repository, body.key, body.purpose)
    require(hmac.compare_digest(expected, body.commitment), "an unwrapped key does not match its commitment")
    return key


def x25519_public(private):
    key = X25519PrivateKey.from_private_bytes(private).public_key()
    return key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def _hmac(key, message):
    mac = HMAC(key, hashes.SHA256())
    mac.update(message)
    return mac.finalize()


def _expand(key, info, length):
    out = block = b""
    for counter in range(1, -(-length // 32) + 1):
        block = _hmac(key, block + info + bytes([counter]))
        out += block
    return out[:length]


def hpke_open(private, encapsulated, info, aad, sealed):
    """RFC 9180, base mode, one message: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20Poly1305."""

    def extract(suite, salt, label, key):
        return _hmac(salt or bytes(32), b"HPKE-v1" + suite + label + key)

    def expand(suite, key, label, info, length):
        return _expand(key, struct.pack(">H", length) + b"HPKE-v1" + suite + label + info, length)

    kem, suite = b"KEM\x00\x20", b"HPKE\x00\x20\x00\x01\x00\x03"
    try:
        shared = X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(encapsulated))
    except ValueError:
        raise Refused("an encapsulated key of low order") from None
    secret = extract(kem, b"", b"eae_prk", shared)
    secret = expand(kem, secret, b"shared_secret", encapsulated + x25519_public(private), 32)
    context = b"\0" + extract(suite, b"", b"psk_id_hash", b"") + extract(suite, b"", b"info_hash", info)
    secret = extract(suite, secret, b"secret", b"")
    key, nonce = expand(suite, secret, b"key", context, 32), expand(suite, secret, b"base_nonce", context, 12)
    return _open(key, nonce, sealed, aad)
