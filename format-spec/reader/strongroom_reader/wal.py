"""Objects of log archives (wal.md)."""

import re

from . import crypto, objects as o
from .cbor import decode, record, sized, text, u32, uint
from .errors import require

HEAD_LENGTH, HEAD_PLAIN, PART_BYTES, FILE_LIMIT, ATTEMPTS = 4096, 3968, 32 << 20, 1 << 30, 64
FILE = re.compile(r"[0-9A-F]{24}(\.partial|\.[0-9A-F]{8}\.backup)?|[0-9A-F]{8}\.history", re.ASCII)
RAW, ZSTD = 0, 1


def file_name(value):
    require(FILE.fullmatch(text(value)) and value[:8] != "00000000", "no name of a log file")
    return value


HEAD = record(
    "head of a log archive", source=text, system=uint, file=file_name, part=u32, attempt=u32, file_bytes=uint,
    file_hash=o.ID32, part_hash=o.ID32, key=o.KEY_REF, codec=o.known("codec", RAW, ZSTD), payload=u32, body_hash=sized(32),
)


def padme(length, floor):
    length = max(length, floor)
    exponent = length.bit_length() - 1
    mask = (1 << max(exponent - exponent.bit_length(), 0)) - 1
    return length + mask & ~mask


def decode_head(content):
    head = HEAD(decode(content))
    require(1 <= len(head.source.encode()) <= 1024, "the length of a source is beyond the limits")
    require(head.attempt < ATTEMPTS, "more attempts than the limit")
    require(1 <= head.file_bytes <= FILE_LIMIT, "the length of a log file is beyond the limits")
    require(head.part * PART_BYTES < head.file_bytes, "a part behind the last")
    head.plain = min(head.file_bytes - head.part * PART_BYTES, PART_BYTES)
    is_right = head.payload == head.plain if head.codec == RAW else 1 <= head.payload < head.plain
    require(is_right, "a payload has another length than its part and codec allow")
    return head


def open_head(metadata, identity, name, stored, public_of):
    """The head of an object, verified; public_of gives the public key of a signer who may write a source, or None."""
    require(len(stored) >= HEAD_LENGTH, "an object of a log archive is cut short")
    sealed = stored[:HEAD_LENGTH]
    plain = metadata.open(o.WAL, name, sealed)
    body = o.decode_body(plain)
    head = decode_head(body.content)
    wal_id = identity.wal_id(head.source, head.system, head.file, head.part, head.attempt)
    require(name == f"wal/{wal_id.hex()}", "an object is a part of another file than its name says")
    public = public_of(body.signer, head.source)
    require(public, "signed by nobody whom a policy lets write the source")
    crypto.verify_object(public, o.WAL, sealed[: o.HEADER_LENGTH] + body.signed, body.signature)
    return head


def open_part(head, identity, name, stored, repository, data_key):
    """The plaintext of a part, given the data key that its head names."""
    body, padded = stored[HEAD_LENGTH:], padme(head.payload, 256 << 10)
    segments = -(-padded // crypto.SEGMENT_BYTES)
    require(len(body) == 64 + padded + 16 * segments, "an object has another length than its head makes it")
    require(crypto.digest(body) == head.body_hash, "a body does not hash to what its head says")
    subkey = crypto.derive("seal wal", data_key)
    key = crypto.split(subkey, repository + head.key[0] + body[:32], body[32:64])
    plain = crypto.open_segments(key, name, body[64:])
    require(not any(plain[head.payload :]), "padding is not zeros")
    plain = plain[: head.payload]
    if head.codec == ZSTD:
        plain = crypto.decompress(plain, head.plain, b"")
    require(identity.log_hash(plain) == head.part_hash, "a part does not hash to what its head says")
    return plain
