"""The vectors of ../vectors, held against this reader: what they say comes out, and what must be refused is."""

import json
import pathlib
import unittest

from strongroom_reader import crypto, objects as o
from strongroom_reader.cbor import decode
from strongroom_reader.errors import Refused

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "vectors"
IDENTITY, METADATA, DATA = (bytes([n]) * 32 for n in (1, 2, 3))
REPOSITORY, METADATA_ID, DATA_ID = (bytes([n]) * 16 for n in (10, 12, 13))


def load(name):
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


def raw(text):
    return bytes.fromhex(text)


def counting(length):
    return bytes(n % 251 for n in range(length))


def metadata_key():
    return crypto.MetadataKey(METADATA_ID, REPOSITORY, METADATA)


class Golden(unittest.TestCase):
    def test_derivation(self):
        vectors, identity = load("derivation.json"), crypto.Identity(IDENTITY)
        for case in vectors["chunk_ids"]:
            self.assertEqual(identity.chunk_id(counting(case["length"])).hex(), case["id"])
        for case in vectors["node_ids"]:
            self.assertEqual(identity.node_id(counting(case["length"])).hex(), case["id"])
        gear = crypto.derive("gear table", IDENTITY, 2048)
        self.assertEqual(crypto.digest(gear).hex(), vectors["gear_table_blake3"])
        boundary = crypto.derive("tree boundary", IDENTITY)
        for case in vectors["boundary"]:
            found = crypto.keyed(boundary, bytes([case["level"]]) + raw(case["item"]))
            self.assertEqual(int.from_bytes(found[:8], "little"), case["hash"])
        self.assertEqual(identity.snapshot_id(raw(vectors["snapshot_id"]["manifest"])).hex(), vectors["snapshot_id"]["id"])
        for case in vectors["commitments"]:
            found = crypto.key_commitment(DATA, REPOSITORY, DATA_ID, case["purpose"])
            self.assertEqual(found.hex(), case["commitment"])
        signature = vectors["signature"]
        public = raw(vectors["author_public_key"])
        crypto.verify_object(public, signature["kind"], raw(signature["signed"]), raw(signature["signature"]))

    def test_cbor(self):
        for case in load("cbor.json"):
            found = decode(raw(case["cbor"]))
            if "map" in case:
                self.assertEqual(found, {int(key): value for key, value in case["map"].items()})
            elif "bytes" in case:
                self.assertEqual(found, raw(case["bytes"]))
            else:
                self.assertEqual(found, case.get("int", case.get("text")))

    def test_objects(self):
        vectors, key = load("objects.json"), metadata_key()
        author = raw(load("derivation.json")["author_public_key"])
        stored = raw(vectors["config"]["stored"])
        self.assertEqual(crypto.digest(stored)[:16].hex(), vectors["config"]["fingerprint"])
        self.assertEqual(o.CONFIG(decode(stored)).root, author)
        cases = [(o.ENTRY, case["name"], case) for case in vectors["entries"]]
        cases += [(o.INDEX, "", vectors["index"]), (o.CHECKPOINT, vectors["checkpoint"]["name"], vectors["checkpoint"])]
        for kind, name, case in cases:
            data = raw(case["stored"])
            body = o.decode_body(key.open(kind, name, data))
            crypto.verify_object(author, kind, data[: o.HEADER_LENGTH] + body.signed, body.signature)
            self.assertEqual(body.content.hex(), case["content"])
        for number, case in enumerate(vectors["entries"]):
            entry = o.decode_entry(raw(case["content"]))
            self.assertEqual((entry.number, entry.kind), (number, {"policy": 1, "snapshot": 2, "reindex": 4, "tag": 9, "note": 11}[case["kind"]]))
        checkpoint = o.CHECKPOINT_FIELDS(decode(raw(vectors["checkpoint"]["content"])))
        self.assertEqual((checkpoint.number, len(checkpoint.voids)), (9, 1))

    def test_footer(self):
        case = load("footer.json")
        _, key = metadata_key().object_key(case["kind"], raw(case["header"]))
        plain = crypto.open_pack_part(key, 4, raw(case["sealed"]))
        footer = o.Footer(plain)
        self.assertEqual(footer.encoded.hex(), case["footer"])
        self.assertEqual((len(footer.keys), len(footer.authors), len(footer.frames), len(footer.bases)), (2, 2, 2, 2))
        self.assertEqual(crypto.open_pack_part(key, 3, raw(case["padding_of_64"])), bytes(48))

    def test_frames(self):
        subkey = crypto.derive("seal frame", DATA)
        author = raw(load("derivation.json")["author_public_key"])
        for case in load("frames.json"):
            records = raw(case["chunks"]) + raw(case["bases"])
            for name in ("record", "moved_record"):
                fields = o.Frame(*o.FRAME_LAYOUT.unpack(raw(case[name])), 0)
                bound = o.FRAME_LAYOUT.pack(*fields._replace(first_chunk=0, first_base=0, key=0, author=0)[:12])
                aad = crypto.frame_aad(bound, records)
                crypto.verify_author(author, aad, raw(case["sealed"]))
                plain = crypto.open_frame(subkey, REPOSITORY, DATA_ID, aad, raw(case["sealed"]))
                if fields.codec == 1:
                    plain = crypto.decompress(plain, fields.plain, raw(case["prefix"]))
                self.assertEqual(plain.hex(), case["plain"], case["name"])

    def test_keys(self):
        case = load("keys.json")
        inputs = case["inputs"]
        self.assertEqual(crypto.read_key_file(case["key_file_text"]).hex(), inputs["key_file"])
        credentials = {
            "passphrase": crypto.Passphrase(inputs["passphrase"]),
            "key_file": crypto.KeyFile(raw(inputs["key_file"])),
        }
        for wrap in case["wraps"]:
            body = o.decode_key_body(o.SIGNED_KEY(decode(raw(wrap["stored"]))).body)
            if wrap["type"] == "x25519":
                key = crypto.unwrap_x25519(body, REPOSITORY, raw(inputs["x25519_private"]))
            else:
                key = crypto.unwrap_direct(body, REPOSITORY, credentials[wrap["type"]].wrap_key(body))
            self.assertEqual(key.hex(), case["key"], wrap["type"])

    def test_nodes(self):
        identity = crypto.Identity(IDENTITY)
        for case in load("nodes.json"):
            self.assertEqual(identity.node_id(raw(case["node"])).hex(), case["id"])
            o.decode_node(raw(case["node"]))


def trailer(data):
    return o.footer_range(data, 10_000)


def sealed_entry(data):
    body = o.decode_body(metadata_key().open(o.ENTRY, "journal/0000000000000000", data))
    author = raw(load("derivation.json")["author_public_key"])
    crypto.verify_object(author, o.ENTRY, data[: o.HEADER_LENGTH] + body.signed, body.signature)


DECODERS = {
    "cbor": decode,
    "config": lambda data: o.CONFIG(decode(data)),
    "key_body": o.decode_key_body,
    "policy": o.decode_policy,
    "journal_entry": o.decode_entry,
    "header": o.decode_header,
    "footer": o.Footer,
    "index": o.decode_index,
    "node": o.decode_node,
    "entry": lambda data: o.decode_tree_entry(decode(data)),
    "path": o.check_path,
    "trailer_of_10000": trailer,
    "zstd_of_5000": lambda data: crypto.decompress(data, 5000, b""),
    "sealed_entry_0": sealed_entry,
    "x25519_public": lambda data: crypto.hpke_open(DATA, data, b"", b"", bytes(48)),
}


class Negative(unittest.TestCase):
    def test_all_are_refused(self):
        for case in load("negative.json"):
            with self.subTest(case["decoder"] + ": " + case["what"]), self.assertRaises(Refused):
                DECODERS[case["decoder"]](raw(case["bytes"]))


if __name__ == "__main__":
    unittest.main()
