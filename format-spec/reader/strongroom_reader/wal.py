"""Objects of log archives (wal.md)."""

import re

from . import crypto, objects as o
from .cbor import decode, record, sized, text, u32, uint
from .errors import Damaged, Refused, require

HEAD_LENGTH, HEAD_PLAIN, PART_BYTES, FILE_LIMIT, ATTEMPTS = 4096, 3968, 32 << 20, 1 << 30, 64
FILE = re.compile(r"[0-9A-F]{24}(\.partial|\.[0-9A-F]{8}\.backup)?|[0-9A-F]{8}\.history", re.ASCII)
RAW, ZSTD = 0, 1
OBJECT_LIMIT = HEAD_LENGTH + 64 + PART_BYTES + 16 * (PART_BYTES >> 20)


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


class LogArchives:
    """The log archives of a repository, by the state of its journal."""

    def __init__(self, journal):
        self._journal, self._store = journal, journal.store
        self._policies = [o.decode_policy(encoded) for _, encoded, _ in journal.policies]

    def _public_of(self, signer_id, source):
        signers = (signer for policy in reversed(self._policies) for signer in policy.signers)
        for signer in signers:
            if signer.id == signer_id and signer.roles & o.WRITE and {"*", source} & set(signer.sources):
                return signer.public
        return None

    def _head(self, name, stored):
        metadata = self._journal.keys.metadata(o.decode_header(stored).key)
        return open_head(metadata, self._journal.identity, name, stored, self._public_of)

    def files(self):
        """Heads of all first parts that can be read; and the names of objects that cannot."""
        heads, unreadable = [], []
        for wal_id in self._store.list("wal"):
            try:
                head = self._head(f"wal/{wal_id}", self._store.read(f"wal/{wal_id}", OBJECT_LIMIT))
                heads += [head] if head.part == 0 else []
            except Refused as error:
                unreadable.append((f"wal/{wal_id}", error))
        return heads, unreadable

    def _part(self, source, system, file, part):
        """Head and plaintext of a part: of the first attempt that is whole; None when there is none."""
        why = None
        for attempt in range(ATTEMPTS):
            name = "wal/" + self._journal.identity.wal_id(source, system, file, part, attempt).hex()
            if not self._store.has(name):
                break
            try:
                stored = self._store.read(name, OBJECT_LIMIT)
                head = self._head(name, stored)
                key = self._journal.keys.open(head.key[0], o.PURPOSE_DATA, head.key[1])
                return head, open_part(head, self._journal.identity, name, stored, self._journal.repository, key)
            except Refused as error:
                why = error
        if why:
            raise Damaged(f"{file}: {why}")
        return None

    def write(self, source, system, file, out):
        """Writes a file; whether the archive has it."""
        first = self._part(source, system, file, 0)
        if first is None:
            return False
        head, plain = first
        hasher = self._journal.identity.log_hasher()
        for part in range(-(-head.file_bytes // PART_BYTES)):
            if part > 0:
                found = self._part(source, system, file, part)
                require(found, f"part {part} of {file} is not there")
                same = (found[0].file_bytes, found[0].file_hash) == (head.file_bytes, head.file_hash)
                require(same, f"part {part} of {file} is of another file of that name")
                plain = found[1]
            hasher.update(plain)
            out.write(plain)
        require(hasher.digest() == head.file_hash, f"the parts of {file} do not make it up")
        return True
