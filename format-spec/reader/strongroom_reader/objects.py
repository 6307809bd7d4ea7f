"""Bytes -> the objects of objects.md and tree.md. Strict; nothing here needs a key."""

import struct
from collections import namedtuple

from .cbor import blob, decode, decode_many, known, many, maybe, record, row, sint, sized, text, u32, uint
from .errors import Refused, Unknown, require

DATA_PACK, METADATA_PACK, INDEX, ENTRY, CHECKPOINT, WAL = 1, 2, 3, 4, 5, 7
PURPOSE_DATA, PURPOSE_METADATA, PURPOSE_IDENTITY, PURPOSE_VAULT = 1, 2, 3, 4
PASSPHRASE, KEY_FILE, X25519, AWS_KMS = 1, 2, 3, 4
WRITE, MAINTAIN, VERIFY, ADMIN = 1, 2, 4, 8
POLICY, SNAPSHOT, FORGET, REINDEX, RETIRE, EXPIRE, ATTESTED, TAG, HOLD, NOTE = 1, 2, 3, 4, 5, 6, 7, 9, 10, 11
HEADER_LENGTH, TRAILER_LENGTH, FOOTER_UNIT, TAG_LENGTH, FRAME_OVERHEAD = 112, 16, 4096, 16, 144
CONFIG_LIMIT, KEY_LIMIT, PACK_LIMIT, INDEX_LIMIT = 4096, 16 << 10, 128 << 20, 64 << 20
ENTRY_LIMIT, CHECKPOINT_LIMIT = 64 << 20, 128 << 20
FRAME_LIMIT = CHUNK_LIMIT = NODE_LIMIT = 8 << 20
HOLE = bytes(32)
ID16, ID32, SIGNATURE = sized(16), sized(32), sized(64)

Header = namedtuple("Header", "kind repository key salt commitment")
Body = namedtuple("Body", "content signer signature signed")


def decode_header(data):
    require(len(data) >= HEADER_LENGTH, "an object header is cut short")
    magic, kind, suite, flags, length = struct.unpack_from("<8sBBHI", data)
    require(magic == b"STRNGRM1", "an object does not begin with its magic number")
    if suite != 1 or flags != 0 or length != HEADER_LENGTH or kind not in (1, 2, 3, 4, 5, 6, 7, 16, 17):
        raise Unknown("an object header has a kind, suite, flag or length that is not known")
    return Header(kind, *struct.unpack_from("16s16s32s32s", data, 16))


def decode_body(plain):
    length = int.from_bytes(plain[:4], "little")
    require(len(plain) >= 4 and len(plain) - 84 >= length, "a signed body is cut short")
    end = length + 20
    require(not any(plain[end + 64 :]), "the padding of a body is not zeros")
    return Body(plain[4 : 4 + length], plain[end - 16 : end], plain[end : end + 64], plain[:end])


CONFIG = record(
    "config", version=known("format version", 1), repository=ID16, suite=known("cipher suite", 1), root=ID32,
)

# Keys

SIGNED_KEY = record("key object", body=blob, signature=SIGNATURE)
KEY_BODY = record(
    "key body", key=ID16, purpose=known("key purpose", 1, 2, 3, 4, 5, 6), commitment=ID32,
    type=known("recipient type", PASSPHRASE, KEY_FILE, X25519, AWS_KMS), recipient=ID16, signer=ID16, salt=maybe(ID32),
    wrap_commitment=maybe(ID32), sealed=maybe(sized(48)), argon2_salt=maybe(ID16), memory_kib=maybe(u32),
    passes=maybe(u32), lanes=maybe(u32), encapsulated=maybe(ID32), arn=maybe(text), writer=maybe(ID16), blob=maybe(blob),
)
_DIRECT, _KMS = ["salt", "wrap_commitment", "sealed"], ["arn", "writer", "blob"]
_ARGON2 = ["argon2_salt", "memory_kib", "passes", "lanes"]
KEY_FIELDS = {PASSPHRASE: _DIRECT + _ARGON2, KEY_FILE: _DIRECT, X25519: ["sealed", "encapsulated"], AWS_KMS: _KMS}


def decode_key_body(data):
    body = KEY_BODY(decode(data))
    for field in {*_DIRECT, *_ARGON2, *_KMS, "encapsulated"}:
        is_there = getattr(body, field) is not None
        require(is_there == (field in KEY_FIELDS[body.type]), "a key body has the fields of its recipient type and no others")
    if body.type == PASSPHRASE:
        require(1 <= body.lanes <= 16 and 1 <= body.passes <= 10, "Argon2 lanes or passes beyond the limit")
        require(8 * body.lanes <= body.memory_kib <= 1 << 20, "Argon2 memory beyond the limit")
    if body.type == AWS_KMS:
        require(1 <= len(body.arn.encode()) <= 2048, "the length of an ARN is beyond the limit")
        require(1 <= len(body.blob) <= 6144, "the length of a KMS blob is beyond the limit")
    return body


# Policy and journal entries

def bits(what, known_bits):
    """An integer with no other bits than these."""

    def check(value):
        if uint(value) & ~known_bits:
            raise Unknown(f"{what} {value} has bits that are not known")
        return value

    return check


def level(value):
    """The level of a root."""
    require(uint(value) <= 16, "a tree is deeper than the limit")
    return value


KEY_REF = row(ID16, ID32)
SIGNER = record("signer", id=ID16, public=ID32, roles=bits("roles", 0x0F), sources=many(text), name=text)
RECIPIENT = record(
    "recipient", type=known("recipient type", 1, 2, 3, 4), id=ID16, purposes=bits("purposes", 0x7E), public=blob, label=text,
    writer=maybe(ID16),
)


def days(value):
    require(1 <= uint(value) <= 36_500, "the days of an object lock are beyond the limits")
    return value


def no_deltas(value):
    require(uint(value) != 1, "that deltas are allowed is left out")
    return known("whether deltas are allowed", 0)(value)


def base_keys(value):
    require(1 <= uint(value) <= 64, "the runs whose data keys are kept are beyond the limits")
    return value


def parity(value):
    require(1 <= uint(value) <= 100, "the percentage of parity is beyond the limits")
    return value


POLICY_FIELDS = record(
    "policy", sequence=uint, root=ID32, signers=many(SIGNER), recipients=many(RECIPIENT), features=many(text),
    metadata=KEY_REF, identity=KEY_REF, vault=KEY_REF, vault_public=ID32,
    trust=known("deduplication trust", 0, 1, 2), forgotten=many(ID32), settled=maybe(uint),
    object_lock=maybe(row(known("object lock mode", 1, 2), days, days)), deltas=maybe(no_deltas), base_keys=maybe(base_keys),
    parity=maybe(parity),
)


def ranges(value):
    """Ranges of segments: in order, none overlapping another."""
    found = many(row(u32, uint, uint))(value)
    require(len(found) <= 1024, "too many ranges of segments")
    require(all(timeline > 0 and first <= last for timeline, first, last in found), "a range of no segments")
    pairs = zip(found, found[1:])
    require(all((a[0], a[2]) < (b[0], b[1]) for a, b in pairs), "ranges of segments are not in order, or overlap")
    return found


PACK_REF = row(known("pack kind", DATA_PACK, METADATA_PACK), ID32, uint)
INDEX_REF = row(ID32, ID16, uint)
ATTESTATION = row(ID32, ID32)
STATEMENTS = {
    POLICY: record("policy entry", policy=blob, root_signature=SIGNATURE),
    SNAPSHOT: record(
        "snapshot entry", manifest=blob, packs=many(PACK_REF), indexes=many(INDEX_REF), keys=many(KEY_REF),
    ),
    FORGET: record("forget entry", snapshots=many(ID32), reason=text),
    REINDEX: record("reindex entry", added=many(INDEX_REF), removed=many(ID32)),
    RETIRE: record(
        "retire entry", retired=many(ID32), packs=many(PACK_REF), indexes=many(INDEX_REF), keys=many(KEY_REF),
        retired_keys=many(ID16),
    ),
    EXPIRE: record("expire entry", source=text, system=uint, ranges=ranges, reason=text),
    ATTESTED: record("attested entry", packs=many(ATTESTATION)),
    TAG: record("tag entry", snapshot=ID32, add=many(text), remove=many(text)),
    HOLD: record("hold entry", snapshots=many(ID32), name=text, on=known("hold, on or off", 0, 1), reason=text),
    NOTE: record("note entry", event=text, snapshot=maybe(ID32), time_ns=sint, detail=text),
}
ENTRY_FIELDS = record(
    "journal entry", number=uint, base=uint, previous=ID32, previous_time_ms=uint,
    kind=known("entry kind", *STATEMENTS), body=lambda value: value,
)
MANIFEST = record(
    "manifest", source=text, engine=text, host=text, user=text, tool=text, started_ns=sint, finished_ns=sint,
    parent=maybe(ID32), generation=uint, tree=row(ID32, level, uint, uint),
    streams=many(row(blob, known("chunker", 1, 2), many(uint), uint)), facts=maybe(row(ID32, uint)),
    totals=row(uint, uint, uint, uint, uint, uint), nonce=ID16, arguments=many(blob), tags=many(text),
)
SNAPSHOT_STATE = row(uint, ID32, ID16, ID32, uint, blob, many(KEY_REF), many(text), many(row(text, uint)))
CHECKPOINT_FIELDS = record(
    "checkpoint", number=uint, entry_hash=ID32, policies=many(row(uint, blob, SIGNATURE)),
    snapshots=many(SNAPSHOT_STATE), indexes=many(INDEX_REF), packs=many(row(PACK_REF, ID16)), voids=many(row(uint, text)),
    chain=ID32, attested=many(row(ATTESTATION, uint)), forgotten=many(ID32), retired=many(row(ID32, uint)),
    retired_keys=many(row(ID16, uint)), expired=maybe(many(row(text, uint, many(row(u32, uint, uint, uint))))),
)


def decode_policy(data):
    policy = POLICY_FIELDS(decode(data))
    if policy.features:
        raise Unknown(f"the policy requires {policy.features[0]!r}, which this reader does not know")
    require(len({signer.id for signer in policy.signers}) == len(policy.signers), "a signer is listed twice")
    return policy


def decode_entry(content):
    entry = ENTRY_FIELDS(decode(content))
    entry.body = STATEMENTS[entry.kind](entry.body)
    return entry


# Packs and indexes

Frame = namedtuple(
    "Frame", "sealed plain prefix first_chunk first_base chunk_count base_count key author codec depth closure start"
)
FRAME_LAYOUT, CHUNK_LAYOUT = struct.Struct("<IIIIIHHHHBBH"), struct.Struct("<32sI")


class Footer:
    """A pack's footer; frames know where in the pack they start."""

    def __init__(self, data):
        require(len(data) >= 36, "a footer is cut short")
        version, flags, frames, chunks, bases, keys, authors = struct.unpack_from("<HHIIIHH", data)
        if version != 1 or flags != 0:
            raise Unknown("a footer has a version or flags that are not known")
        self.pack_length, self.padding, reserved = struct.unpack_from("<QII", data, 20)
        require(reserved == 0, "reserved bytes are not zeros")
        self.length = 36 + 48 * keys + 16 * authors + 32 * frames + 36 * (chunks + bases) + 112
        require(self.length <= len(data), "a footer is cut short")
        require(not any(data[self.length :]), "the padding of a footer is not zeros")
        at = 36
        self.keys = [struct.unpack_from("16s32s", data, at + 48 * i) for i in range(keys)]
        at += 48 * keys
        self.authors = [data[at + 16 * i : at + 16 * i + 16] for i in range(authors)]
        at += 16 * authors
        frames_at, at = at, at + 32 * frames
        self.chunks = list(CHUNK_LAYOUT.iter_unpack(data[at : at + 36 * chunks]))
        at += 36 * chunks
        self.bases = list(CHUNK_LAYOUT.iter_unpack(data[at : at + 36 * bases]))
        at += 36 * bases
        self.content_hash, self.signer, self.signature = struct.unpack_from("32s16s64s", data, at)
        self.signed, self.encoded = data[: at + 48], data[: self.length]
        for chunk_id, length in self.chunks + self.bases:
            require(0 < length <= CHUNK_LIMIT and chunk_id != HOLE, "a chunk record breaks a rule")
        self._read_frames(data[frames_at : frames_at + 32 * frames])

    def _read_frames(self, data):
        self.frames, chunk, base, start = [], 0, 0, HEADER_LENGTH
        for fields in FRAME_LAYOUT.iter_unpack(data):
            frame = Frame(*fields, start)
            check_frame(frame)
            require(frame.key < len(self.keys) and frame.author < len(self.authors), "a frame's key or author is in no table")
            require((frame.first_chunk, frame.first_base) == (chunk, base), "a frame's records do not follow")
            self.frames.append(frame)
            chunk, base, start = chunk + frame.chunk_count, base + frame.base_count, start + frame.sealed
            require(sum(length for _, length in self.chunks_of(frame)) == frame.plain, "chunks do not add up to a frame")
            require(sum(length for _, length in self.bases_of(frame)) == frame.prefix, "bases do not add up to a prefix")
        require(self.frames and (chunk, base) == (len(self.chunks), len(self.bases)), "records that belong to no frame")
        require(self.padding == 0 or self.padding >= TAG_LENGTH, "padding has no room for its tag")
        self.padding_start, self.footer_start = start, start + self.padding
        padded = -(-self.length // FOOTER_UNIT) * FOOTER_UNIT
        total = self.footer_start + padded + TAG_LENGTH + TRAILER_LENGTH
        require(total == self.pack_length <= PACK_LIMIT, "a pack's length is not the sum of its parts")

    def chunks_of(self, frame):
        return self.chunks[frame.first_chunk : frame.first_chunk + frame.chunk_count]

    def bases_of(self, frame):
        return self.bases[frame.first_base : frame.first_base + frame.base_count]

    def bound(self, frame):
        """What the frame is bound to: its record without its place, and its chunk and base records."""
        record_bytes = FRAME_LAYOUT.pack(*frame._replace(first_chunk=0, first_base=0, key=0, author=0)[:12])
        return record_bytes, b"".join(CHUNK_LAYOUT.pack(*r) for r in self.chunks_of(frame) + self.bases_of(frame))


def check_frame(frame):
    if frame.codec > 1:
        raise Unknown(f"frame codec {frame.codec} is not known")
    require(frame.plain <= FRAME_LIMIT and frame.prefix <= FRAME_LIMIT, "a frame or prefix beyond the limit")
    require(FRAME_OVERHEAD < frame.sealed <= frame.plain + FRAME_OVERHEAD, "a frame's sealed length breaks a rule")
    require(frame.depth <= 8 and frame.closure <= 32 and frame.chunk_count > 0, "a frame's depth, closure or count")
    has_bases = frame.base_count > 0
    require((frame.depth > 0) == has_bases == (frame.closure > 0), "depth and closure are 0 exactly without bases")
    raw = not has_bases and frame.sealed == frame.plain + FRAME_OVERHEAD
    require(frame.codec == 1 or raw, "a raw frame has no bases and is stored as it is")


def footer_range(trailer, object_length):
    """Where the sealed footer lies in a pack of this length."""
    require(HEADER_LENGTH + TRAILER_LENGTH < object_length <= PACK_LIMIT, "a pack's length is beyond the limits")
    length, zero, magic = struct.unpack("<II8s", trailer)
    require(magic == b"STRNGEND" and zero == 0, "a pack does not end with its magic number")
    require(length > FOOTER_UNIT and length % FOOTER_UNIT == TAG_LENGTH, "a footer's length is not a multiple of 4096 and a tag")
    end = object_length - TRAILER_LENGTH
    require(end - length >= HEADER_LENGTH, "a footer is longer than its pack")
    return end - length, end


def decode_index(data):
    """Source tag, and (pack ID, header, footer bytes) of each pack."""
    require(len(data) >= 24, "an index is cut short")
    version, flags, count, source_tag = struct.unpack_from("<HHI16s", data)
    if version != 1 or flags != 0:
        raise Unknown("an index has a version or flags that are not known")
    packs, at = [], 24
    for _ in range(count):
        require(len(data) - at >= 148, "an index is cut short")
        pack_id, header, length = struct.unpack_from("<32s112sI", data, at)
        at += 148 + length
        require(at <= len(data), "an index is cut short")
        packs.append((pack_id, header, data[at - length : at]))
    require(at == len(data), "bytes follow the end of an index")
    return source_tag, packs


# Trees

ENTRIES, CHUNKS, BLOB = 1, 2, 3
Node = namedtuple("Node", "kind level items")  # leaves: entries, chunk records, bytes; inner nodes: children
Child = namedtuple("Child", "node count bytes last")


def path_order(path):
    return path.replace(b"/", b"\0")


def check_path(value):
    path = blob(value)
    require(0 < len(path) <= 32 << 10 and b"\0" not in path, "a path is empty, too long, or has a NUL")
    require(not any(part in (b"", b".", b"..") for part in path.split(b"/")), f"a path leaves its folder: {path!r}")
    return path


def check_items(data):
    require(len(data) % 36 == 0, "chunk records are cut short")
    items = list(CHUNK_LAYOUT.iter_unpack(data))
    require(all(0 < length and (length <= CHUNK_LIMIT or i == HOLE) for i, length in items), "a chunk's length")
    return items


def check_content(value):
    """("inline", records), or ("list", root, level, bytes, chunks)."""
    if type(value) is list:
        return ("list", *row(ID32, level, uint, uint)(value))
    items = check_items(blob(value))
    require(len(items) <= 8, "more than 8 chunks stand in an entry")
    return ("inline", items)


FILE, DIRECTORY, SYMLINK, CHARACTER_DEVICE, BLOCK_DEVICE, FIFO, SOCKET, STREAM = range(1, 9)
TREE_ENTRY = record(
    "entry", path=check_path, kind=known("kind of entry", *range(1, 9)),
    mode=maybe(lambda value: uint(value, 4095)), uid=maybe(u32), gid=maybe(u32), user=maybe(text),
    group=maybe(text), mtime_ns=maybe(sint), ctime_ns=maybe(sint), inode=maybe(uint),
    xattrs=maybe(many(row(blob, blob))), content=maybe(check_content), target=maybe(blob),
    device=maybe(row(u32, u32)), link_to=maybe(check_path),
)


def decode_tree_entry(value):
    entry = TREE_ENTRY(value)
    metadata = [entry.mode, entry.uid, entry.gid, entry.mtime_ns, entry.ctime_ns, entry.inode]
    if entry.kind == STREAM:
        optional = [entry.user, entry.group, entry.xattrs, entry.link_to]
        require(all(v is None for v in metadata + optional), "a stream has no metadata")
    else:
        require(all(v is not None for v in metadata), "an entry lacks metadata")
    for value, kinds in (
        (entry.content, (FILE, STREAM)),
        (entry.target, (SYMLINK,)),
        (entry.device, (CHARACTER_DEVICE, BLOCK_DEVICE)),
    ):
        require((value is not None) == (entry.kind in kinds), "an entry has the fields of its kind only")
    names = [name for name, _ in entry.xattrs or []]
    require(entry.xattrs != [], "extended attributes are there and none")
    require(all(a < b for a, b in zip(names, names[1:])), "extended attributes are not sorted")
    return entry


def decode_node(data):
    require(8 <= len(data) <= NODE_LIMIT, "a node's length is beyond the limits")
    version, kind, level, flags, count = struct.unpack_from("<BBBBI", data)
    if version != 1 or flags != 0 or kind not in (ENTRIES, CHUNKS, BLOB):
        raise Unknown("a node has a version, flags or kind that are not known")
    rest = data[8:]
    if kind == BLOB:
        require(level == 0 and count == len(rest), "a blob is one leaf and knows its length")
        return Node(kind, level, rest)
    require(count <= 1024 and level <= 16 and (level == 0 or count > 0), "a node's level or count is beyond the limits")
    if level > 0:
        items = _children(rest, kind, count)
    elif kind == ENTRIES:
        items = [decode_tree_entry(value) for value in decode_many(rest, count)]
    else:
        items = check_items(rest)
    require(len(items) == count, "a node has another number of items than it says")
    if kind == ENTRIES:
        paths = [path_order(item.last if level > 0 else item.path) for item in items]
        require(all(a < b for a, b in zip(paths, paths[1:])), "paths do not ascend")
    return Node(kind, level, items)


def _children(rest, kind, count):
    items, at = [], 0
    for _ in range(count):
        require(len(rest) - at >= 48, "a node is cut short")
        node, first, second = struct.unpack_from("<32sQQ", rest, at)
        at += 48
        if kind == CHUNKS:  # bytes, chunks
            items.append(Child(node, second, first, None))
            continue
        length = int.from_bytes(rest[at : at + 2], "little")
        require(len(rest) - at >= 2 + length, "a node is cut short")
        items.append(Child(node, first, second, check_path(rest[at + 2 : at + 2 + length])))
        at += 2 + length
    if at != len(rest):
        raise Refused("bytes follow the end of a node")
    return items
