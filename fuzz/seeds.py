#!/usr/bin/env python3
"""Takes seeds for the fuzz targets out of the golden vectors, and out of a repository read with the independent reader
of format-spec/reader.

Usage: python fuzz/seeds.py [REPOSITORY KEY_FILE]   (writes fuzz/seeds/<target>/, a few small files each)
"""
import hashlib
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "format-spec" / "reader"))
from strongroom_reader import crypto, objects as o  # noqa: E402
from strongroom_reader.journal import Journal  # noqa: E402
from strongroom_reader.repository import Repository  # noqa: E402

MOST, LARGEST = 20, 6000
counts = {}


def keep(target, data):
    data = bytes(data)
    if len(data) <= LARGEST and counts.get(target, 0) < MOST:
        path = HERE / "seeds" / target / hashlib.sha256(data).hexdigest()[:16]
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            counts[target] = counts.get(target, 0) + 1


def from_vectors(folder):
    def load(name):
        return json.loads((folder / name).read_text(encoding="utf-8"))

    objects, footer = load("objects.json"), load("footer.json")
    keep("config", bytes.fromhex(objects["config"]["stored"]))
    keep("checkpoint", bytes.fromhex(objects["checkpoint"]["content"]))
    keep("index", bytes.fromhex(objects["index"]["content"]))
    keep("pack_footer", bytes.fromhex(footer["footer"]))
    keep("pack_trailer", o.struct.pack("<II8sQ", 4112, 0, b"STRNGEND", 10_000))
    for entry in objects["entries"]:
        keep("journal_entry", bytes.fromhex(entry["content"]))
        keep("cbor", bytes.fromhex(entry["content"]))
    for case in load("nodes.json"):
        keep("tree_node", bytes.fromhex(case["node"]))
        if case["kind"] == "entries":
            keep("tree_entry", bytes.fromhex(case["node"])[8:])
    keep("policy", bytes.fromhex(objects["policy"]["encoded"]))
    for case in load("parity.json")["cases"]:
        if "object" in case:
            keep("parity_object", bytes.fromhex(case["object"]))
    parts = load("parts.json")
    for case in [parts["part"], *parts["refused"][:3]]:
        keep("part", bytes.fromhex(case["content"]))
    for case in load("wal.json")["objects"]:
        keep("wal_head", bytes.fromhex(case["head"]))
    keys = load("keys.json")
    for wrap in [*keys["wraps"], keys["aws_kms"]]:
        keep("key_object", bytes.fromhex(wrap["stored"]))
    keep("key_file", keys["x25519_file_text"].encode())


def from_negative(cases):
    """What is refused is a seed too: it lies close to a rule."""
    targets = {name: name for name in ("policy", "journal_entry", "checkpoint")} | {"key_body": "key_object"}
    for case in cases:
        if case["decoder"] in targets and len(case["bytes"]) < 2 * 1000:
            keep(targets[case["decoder"]], bytes.fromhex(case["bytes"]))


class Archive:
    """What pg_dump --format=custom --compress=0 writes of a table, an empty one, and two large objects."""

    def __init__(self, minor):
        self.minor, self.bytes = minor, bytearray(b"PGDMP" + bytes([1, minor, 0, 4, 8, 1]))
        self.bytes += b"\0" if minor >= 15 else self.integer(0)
        for part in (0, 0, 3, 21, 10, 126, 0):
            self.bytes += self.integer(part)
        for text in ("shop", "17.2", "17.2"):
            self.bytes += self.text(text)
        entries = [(1, "TABLE", "users"), (2, "TABLE DATA", "users"), (3, "TABLE DATA", "empty"), (4, "BLOBS", "BLOBS")]
        self.bytes += self.integer(len(entries))
        for entry in entries:
            self.entry(*entry)
        pieces = [*(b"%d\tname\\n\n" % row for row in range(20)), b"\\.\n\n\n"]
        for dump_id, rows in ((2, pieces), (3, pieces[-1:])):
            self.bytes += b"\1" + self.integer(dump_id) + b"".join(map(self.piece, rows)) + self.integer(0)
        objects = (self.integer(oid) + self.piece(b"large\nobject") + self.integer(0) for oid in (16400, 16401))
        self.bytes += b"\3" + self.integer(4) + b"".join(objects) + self.integer(0)

    @staticmethod
    def integer(value):
        return bytes([value < 0]) + abs(value).to_bytes(4, "little")

    def text(self, text):
        return self.integer(-1) if text is None else self.piece(text.encode())

    def piece(self, data):
        return self.integer(len(data)) + data

    def entry(self, dump_id, kind, tag):
        self.bytes += self.integer(dump_id) + self.integer(kind in ("TABLE DATA", "BLOBS"))
        self.bytes += b"".join(map(self.text, ("1259", "16385", tag, kind))) + self.integer(3)
        self.bytes += b"".join(map(self.text, ("CREATE", "DROP", None, "public", "")))
        self.bytes += self.text("heap") if self.minor >= 14 else b""
        self.bytes += self.integer(ord("r")) if self.minor >= 16 else b""
        self.bytes += self.text("owner") + self.text("false")
        self.bytes += (self.text("1") if dump_id > 1 else b"") + self.text(None) + bytes([1] * 9)


def from_archives():
    for minor in range(12, 17):
        whole = Archive(minor).bytes
        keep("pg_archive", whole)
        # A length that is a lie.
        keep("pg_archive", whole[:40] + b"\xff\xff\xff\x7f" + whole[44:])


def tap(module, name, target):
    original = getattr(module, name)

    def tapped(data, *rest, **more):
        keep(target, data)
        return original(data, *rest, **more)

    setattr(module, name, tapped)


def main(repository, key_file):
    tap(o, "decode_entry", "journal_entry")
    tap(o, "decode_index", "index")
    tap(o, "decode_policy", "policy")
    tap(o, "decode_node", "tree_node")
    tap(o, "decode_key_body", "key_object")
    original_footer = o.Footer

    def footer(data):
        made = original_footer(data)
        keep("pack_footer", made.encoded)
        return made

    o.Footer = footer
    original_decompress = crypto.decompress

    def decompress(payload, plain_length, prefix):
        # The target's shape: plain length, prefix length, payload.
        keep("zstd_frame", payload + (len(prefix) & 0xFFFF).to_bytes(2, "little") + plain_length.to_bytes(4, "little"))
        return original_decompress(payload, plain_length, prefix)

    crypto.decompress = decompress
    root = pathlib.Path(repository)
    keep("config", (root / "config").read_bytes())
    for path in sorted(root.glob("keys/*/*")):
        keep("key_object", path.read_bytes())
    for path in sorted(root.glob("journal/*")):
        keep("object_header", path.read_bytes()[:112])
        keep("sealed_object", path.read_bytes())
    for path in sorted(root.glob("checkpoints/*")):
        keep("sealed_object", path.read_bytes())
    keep("key_file", pathlib.Path(key_file).read_bytes())
    from strongroom_reader import __main__ as reader

    journal = Journal(reader.Store(repository), crypto.read_key_file(pathlib.Path(key_file).read_text()), None, lambda journal: None)
    opened = Repository(journal)
    for snapshot in journal.snapshots.values():
        keep("manifest", snapshot.encoded)
        for entry in opened.entries(snapshot):
            keep("entry_path", entry.path)
            if getattr(entry, "content", None) is not None:
                next(iter(opened.content(entry)), None)


if __name__ == "__main__":
    vectors = HERE.parent / "format-spec" / "vectors"
    from_archives()
    from_vectors(vectors)
    main(*(sys.argv[1:] or [str(vectors / "repository-v1/repository"), str(vectors / "repository-v1/key")]))
    from_negative(json.loads((vectors / "negative.json").read_text(encoding="utf-8")))
