"""The vectors of ../vectors, held against this reader: what they say comes out, and what must be refused is."""

import json
import pathlib
import struct
import tempfile
import unittest

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from strongroom_reader import crypto, objects as o, parity, wal
from strongroom_reader.cbor import decode
from strongroom_reader.check import Checkpoints
from strongroom_reader.errors import Refused
from strongroom_reader.journal import Journal, Store
from strongroom_reader.repository import Repository

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


def wal_body(case, head, plain):
    """The body of a log archive's object, made again."""
    salt, name = raw(case["body_salt"]), case["name"].encode()
    okm = crypto.keyed(crypto.derive("seal wal", DATA), REPOSITORY + DATA_ID + salt, 64)
    padded = plain + bytes(wal.padme(len(plain), 256 << 10) - len(plain))
    out = salt + okm[32:]
    for counter, start in enumerate(range(0, len(padded), 1 << 20)):
        nonce = struct.pack("<BxxxQ", 2 if start + (1 << 20) >= len(padded) else 1, counter)
        out += ChaCha20Poly1305(okm[:32]).encrypt(nonce, padded[start : start + (1 << 20)], name)
    return out


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
        chain = crypto.digest(raw(vectors["chain"]["config"]))
        for stored in vectors["chain"]["entries"]:
            chain = crypto.chain(chain, crypto.digest(raw(stored)))
        self.assertEqual(chain.hex(), vectors["chain"]["chain"])
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
        kinds = {"policy": 1, "snapshot": 2, "forget": 3, "reindex": 4, "retire": 5, "attested": 7, "tag": 9, "note": 11, "hold": 10, "expire": 6}
        for number, case in enumerate(vectors["entries"]):
            entry = o.decode_entry(raw(case["content"]))
            self.assertEqual((entry.number, entry.kind), (number, kinds[case["kind"]]))
            if case["kind"] == "attested":
                self.assertEqual(entry.body.packs, [(bytes([5]) * 32, bytes([12]) * 32)])
            if case["kind"] == "forget":
                self.assertEqual(entry.body.snapshots, [bytes([1]) * 32, bytes([13]) * 32])
            if case["kind"] == "hold":
                self.assertEqual(entry.body.snapshots, [bytes([1]) * 32, bytes([13]) * 32])
                self.assertEqual((entry.body.name, entry.body.on, entry.body.reason), ("legal", 1, "case 7"))
            if case["kind"] == "expire":
                self.assertEqual((entry.body.source, entry.body.system), ("postgres", 7311000000000000001))
                self.assertEqual(entry.body.ranges[1:], [(1, 0xA00000007, 0xA00000007), (2, 0, 0xA00000007)])
            if case["kind"] == "retire":
                self.assertEqual(entry.body.retired, [bytes([5]) * 32, bytes([14]) * 32])
                self.assertEqual(entry.body.packs, [(1, bytes([15]) * 32, 1 << 23)])
                self.assertEqual(entry.body.keys, [(bytes([16]) * 16, bytes([16]) * 32)])
                self.assertEqual(entry.body.retired_keys, [bytes([13]) * 16, bytes([14]) * 16])
        checkpoint = o.CHECKPOINT_FIELDS(decode(raw(vectors["checkpoint"]["content"])))
        self.assertEqual((checkpoint.number, len(checkpoint.voids), checkpoint.chain), (9, 1, bytes([10]) * 32))
        tags, holds = checkpoint.snapshots[0][-2:]
        self.assertEqual((tags, holds), (["nightly", "weekly"], [("audit", 8), ("legal", 5)]))
        self.assertEqual(checkpoint.attested, [((bytes([5]) * 32, bytes([12]) * 32), 8)])
        self.assertEqual(checkpoint.forgotten, [bytes([13]) * 32])
        self.assertEqual(checkpoint.retired, [(bytes([14]) * 32, 7), (bytes([15]) * 32, 8)])
        self.assertEqual(checkpoint.retired_keys, [(bytes([13]) * 16, 7)])
        encoded = raw(vectors["policy"]["encoded"])
        crypto.verify_object(author, crypto.KIND_POLICY, REPOSITORY + encoded, raw(vectors["policy"]["root_signature"]))
        policy = o.decode_policy(encoded)
        self.assertEqual((policy.sequence, policy.settled, policy.object_lock), (3, 41, (2, 30, 2555)))
        self.assertEqual((policy.deltas, policy.base_keys, policy.parity), (0, 7, 5))
        found = [(r.type, r.purposes, r.writer) for r in policy.recipients]
        self.assertEqual(found, [(2, 0x50, None), (4, 0x7E, None), (3, 0x2C, bytes([8]) * 16)])
        for recipient, label in zip(policy.recipients[1:], ("kms key id", "x25519 id")):
            self.assertEqual(recipient.id, crypto.derive(label, recipient.public, 16))

    def test_wal(self):
        vectors, key, identity = load("wal.json"), metadata_key(), crypto.Identity(IDENTITY)
        author = raw(load("derivation.json")["author_public_key"])
        source, system = vectors["inputs"]["source"], int(vectors["inputs"]["system_identifier"])
        for case in vectors["names"]:
            found = identity.wal_id(source, system, case["file"], case["part"], case["attempt"])
            self.assertEqual(found.hex(), case["id"])
        for case in vectors["objects"]:
            plain = raw(case["plaintext"]) if case["plaintext"] else counting(case["plain_length"])
            head = wal.decode_head(raw(case["head"]))
            stored = raw(case["stored_head"]) + wal_body(case, head, plain)
            self.assertEqual((len(stored), crypto.digest(stored).hex()), (case["stored_length"], case["stored_blake3"]))
            found = wal.open_head(key, identity, case["name"], stored, lambda signer, source: author)
            self.assertEqual(vars(found), vars(head))
            self.assertEqual(wal.open_part(head, identity, case["name"], stored, REPOSITORY, DATA), plain)
            changed = bytearray(stored)
            changed[5000] ^= 1
            with self.assertRaises(Refused):
                wal.open_part(head, identity, case["name"], bytes(changed), REPOSITORY, DATA)
            with self.assertRaises(Refused):
                wal.open_head(key, identity, "wal/" + "00" * 32, stored, lambda signer, source: author)
        for case in vectors["refused"]:
            with self.assertRaises(Refused, msg=case["what"]):
                wal.decode_head(raw(case["head"]))

    def test_parity(self):
        for case in load("parity.json")["cases"]:
            pack_id, length = raw(case["pack_id"]), case["pack_length"]
            count = parity.recovery_count(length, case["percent"])
            shape = parity.Shape(length, count)
            self.assertEqual(
                (case["block_bytes"], case["data_blocks"], case["recovery_blocks"], case["length"]),
                (shape.block_bytes, shape.data_blocks, count, shape.length),
            )
            if length > 100_000:
                continue
            pack = counting(length)
            found = parity.encode(case["kind"], pack, count)
            self.assertEqual(crypto.digest(found).hex(), case["blake3"])
            self.assertEqual(found.hex(), case.get("object", found.hex()))
            # As many bad blocks as there are recovery blocks, the first and the last among them, heal; one more does not.
            bad = [at % shape.data_blocks for at in range(-1, count - 1)]
            damaged = bytearray(pack)
            for at in bad:
                damaged[at * shape.block_bytes] ^= 1
            self.assertEqual(parity.heal(bytes(damaged), found, pack_id), pack)
            self.assertEqual(parity.heal(pack + b"more", found, pack_id), pack)
            worse = bytearray(found)
            worse[shape.head_length] ^= 1
            for data, one in ((damaged, bytes(worse)), (damaged, found[1:]), (damaged, found[: shape.head_length - 1])):
                with self.assertRaises(Refused):
                    parity.heal(bytes(data), one, pack_id)

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
        credentials = {
            "passphrase": crypto.Passphrase(inputs["passphrase"]),
            "key_file": crypto.read_key_file(case["key_file_text"]),
            "x25519": crypto.read_key_file(case["x25519_file_text"]),
        }
        for wrap in case["wraps"]:
            body = o.decode_key_body(o.SIGNED_KEY(decode(raw(wrap["stored"]))).body)
            for name, credential in credentials.items():
                found = credential.unwrap(body, REPOSITORY)
                self.assertEqual(found and found.hex(), case["key"] if name == wrap["type"] else None, wrap["type"])
        for name in ("key_file", "x25519"):
            self.assertEqual(credentials[name].recipient.hex(), case["ids"][name])
        self.assertEqual(crypto.derive("root key id", raw(case["ids"]["root_public_key"]), 16).hex(), case["ids"]["root_key"])
        self.assertIn(f"x25519:{inputs['x25519_public']}:", case["x25519_public_text"])

    def test_a_kms_blob(self):
        case = load("keys.json")
        kms, signed = case["aws_kms"], o.SIGNED_KEY(decode(raw(case["aws_kms"]["stored"])))
        author = raw(load("derivation.json")["author_public_key"])
        crypto.verify_object(author, crypto.KIND_KEY, REPOSITORY + signed.body, signed.signature)
        body = o.decode_key_body(signed.body)
        crypto.check_kms(body)
        self.assertEqual((body.arn, body.writer.hex(), body.blob.hex()), (kms["arn"], kms["writer"], kms["blob"]))
        self.assertEqual(body.recipient.hex(), case["ids"]["aws_kms"])
        names = {5: "signing"}
        context = [
            ["sr:key-id", body.key.hex()], ["sr:purpose", names[body.purpose]],
            ["sr:repository", REPOSITORY.hex()], ["sr:writer", body.writer.hex()],
        ]
        self.assertEqual(context, kms["encryption_context"])

    def test_nodes(self):
        identity = crypto.Identity(IDENTITY)
        for case in load("nodes.json"):
            self.assertEqual(identity.node_id(raw(case["node"])).hex(), case["id"])
            o.decode_node(raw(case["node"]))


    def test_packs(self):
        vectors, key = load("packs.json"), metadata_key()
        index = o.decode_body(key.open(o.INDEX, "", raw(vectors["compacted_index"]["stored"])))
        self.assertEqual(index.content.hex(), vectors["compacted_index"]["content"])
        _, packs = o.decode_index(index.content)
        for case, (pack_id, header, encoded) in zip(vectors["packs"], packs, strict=True):
            self.assertEqual((pack_id.hex(), header.hex(), encoded.hex()), (case["id"], case["header"], case["footer"]))
            self.assertEqual(o.Footer(encoded).pack_length, case["length"])
        data = raw(vectors["one_chunk"])
        self.assertEqual(crypto.digest(data).hex(), vectors["packs"][0]["id"])
        start, end = o.footer_range(data[-o.TRAILER_LENGTH :], len(data))
        _, pack_key = key.object_key(o.DATA_PACK, data[: o.HEADER_LENGTH])
        footer = o.Footer(crypto.open_pack_part(pack_key, 4, data[start:end]))
        self.assertEqual((footer.encoded.hex(), footer.footer_start), (vectors["packs"][0]["footer"], start))
        frame = footer.frames[0]
        sealed, aad = data[frame.start : frame.start + frame.sealed], crypto.frame_aad(*footer.bound(frame))
        subkey = crypto.derive("seal frame", DATA)
        self.assertEqual(crypto.open_frame(subkey, REPOSITORY, DATA_ID, aad, sealed), b"x")


class Stores(unittest.TestCase):
    """Whole small repositories: a base, and what is exchanged in it."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.count = 0

    def open(self, vectors, base, changes, credential="key_file", after_entry=lambda journal: None):
        self.count += 1
        root = self.folder / str(self.count)
        for name, data in (base | changes).items():
            if data is not None:
                path = root / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(raw(data))
        return Journal(Store(str(root)), crypto.read_key_file(vectors[credential]), None, after_entry)

    def assert_state(self, journal, expected):
        self.assertEqual([number for number, _ in sorted(journal.voids)], [number for number, _ in expected["void"]])
        damaged = [number for number, _ in journal.damaged]
        self.assertEqual((journal.number, damaged), (expected["head"], expected["damaged"]))
        self.assertEqual((journal.policy.sequence, journal.policy.settled or 0), (expected["policy"], expected["settled"]))
        self.assertEqual((journal.chain.hex(), journal.metadata.id.hex()), (expected["chain"], expected["metadata_key"]))
        attested = sorted([pack.hex(), by.hex(), last] for pack, (by, last) in journal.attested.items())
        self.assertEqual(attested, expected["attested"])
        snapshots = [
            {"entry": s.number, "id": s.id.hex(), "time_ms": s.time_ms, "tags": sorted(s.tags),
             "keys": [key_id.hex() for key_id, _ in s.keys], "holds": [list(hold) for hold in sorted(s.holds.items())]}
            for s in journal.snapshots.values()
        ]
        self.assertEqual(snapshots, expected["snapshots"])
        self.assertEqual(sorted(index.hex() for index in journal.indexes), expected["indexes"])
        packs = [
            [kind, pack.hex(), length, journal.brought_by[pack].hex()]
            for pack, (kind, length) in sorted(journal.packs.items())
        ]
        self.assertEqual(packs, expected["packs"])
        self.assertEqual(sorted(snapshot.hex() for snapshot in journal.forgotten), expected["forgotten"])
        for name in ("retired", "retired_keys"):
            found = sorted([what.hex(), number] for what, number in getattr(journal, name).items())
            self.assertEqual(found, expected[name])

    def test_chains(self):
        vectors = load("journal.json")
        for case in vectors["chains"]:
            for credential in ("key_file", "recovery_key", "host_key"):
                with self.subTest(case["what"], credential=credential):
                    compare = Checkpoints(self.fail).after_entry
                    journal = self.open(vectors, case["objects"], {}, credential, compare)
                    self.assert_state(journal, case["state"])

    def test_steps(self):
        """The state after each entry of a chain."""
        vectors = load("journal.json")
        for case in vectors["chains"]:
            state, entries = {}, sorted(name for name in case["objects"] if name.startswith("journal/"))
            for number, changed in enumerate(case.get("steps", [])):
                state |= changed
                with self.subTest(case["what"], entry=number):
                    later = dict.fromkeys(entries[number + 1 :])
                    self.assert_state(self.open(vectors, case["objects"], later), state)

    def test_states(self):
        vectors = load("journal.json")
        for case in vectors["states"]:
            with self.subTest(case["what"]):
                self.assert_state(self.open(vectors, vectors["base"], case["objects"]), case["state"])

    def test_refused(self):
        vectors = load("journal.json")
        for case in vectors["refused"]:
            with self.subTest(case["what"]), self.assertRaises(Refused):
                self.open(vectors, vectors["base"], case["objects"])

    def test_reading(self):
        vectors = load("reading.json")
        for case in vectors["cases"]:
            repository = Repository(self.open(vectors, vectors["base"], case["objects"]))
            snapshot = next(iter(repository.journal.snapshots.values()))
            found = set()
            for entry in repository.entries(snapshot):
                path = entry.path.decode()
                found.add(path)
                expected = case["files"][path]
                with self.subTest(case["what"] + ": " + path):
                    content = list(repository.content(entry))
                    if isinstance(expected, dict):
                        with self.assertRaises(Refused):
                            [repository.chunk(*item) for item in content]
                    else:
                        data = b"".join(repository.chunk(*item) for item in content)
                        self.assertEqual(crypto.digest(data).hex(), expected)
            self.assertEqual(found, case["files"].keys())


def trailer(data):
    return o.footer_range(data, 10_000)


def sealed_entry(data):
    body = o.decode_body(metadata_key().open(o.ENTRY, "journal/0000000000000000", data))
    author = raw(load("derivation.json")["author_public_key"])
    crypto.verify_object(author, o.ENTRY, data[: o.HEADER_LENGTH] + body.signed, body.signature)


def flipped_entry(data):
    stored = bytearray(raw(load("objects.json")["entries"][0]["stored"]))
    stored[int.from_bytes(data, "little")] ^= 1
    sealed_entry(bytes(stored))


def segments(order):
    """The object of three_segments in objects.json, sealed again, with its segments in another order."""
    head = b"STRNGRM1" + struct.pack("<BBHI", o.INDEX, 1, 0, 112) + REPOSITORY + METADATA_ID + b"\x31" * 32
    okm = crypto.keyed(crypto.derive("seal index", METADATA), head, 64)
    content = (bytes(range(251)) * 8356)[: (2 << 20) + 5]
    signed = struct.pack("<I", len(content)) + content + b"\x07" * 16
    message = b"strongroom 2026 v1 signature" + bytes([o.INDEX]) + crypto.digest(head + okm[32:] + signed)
    plain = signed + Ed25519PrivateKey.from_private_bytes(b"\x07" * 32).sign(message)
    plain += bytes(-len(plain) % (1 << 16))  # Padmé of this length
    parts = [plain[start : start + (1 << 20)] for start in range(0, len(plain), 1 << 20)]
    sealed = [
        ChaCha20Poly1305(okm[:32]).encrypt(struct.pack("<BxxxQ", 1 + (part is parts[-1]), number), part, b"")
        for number, part in enumerate(parts)
    ]
    whole = head + okm[32:] + b"".join(sealed)
    expected = load("objects.json")["three_segments"]
    assert (len(whole), crypto.digest(whole).hex()) == (expected["length"], expected["blake3"])
    o.decode_body(metadata_key().open(o.INDEX, "", head + okm[32:] + b"".join(sealed[number] for number in order)))


def signature(data):
    crypto.verify_object(data[:32], o.ENTRY, b"header and body", data[32:])


DECODERS = {
    "flipped_entry_0": flipped_entry,
    "segments_of_three": segments,
    "signature": signature,
    "cbor": decode,
    "config": lambda data: o.CONFIG(decode(data)),
    "key_body": o.decode_key_body,
    "key_body_of_kms": lambda data: crypto.check_kms(o.decode_key_body(data)),
    "policy": o.decode_policy,
    "journal_entry": o.decode_entry,
    "checkpoint": lambda data: o.CHECKPOINT_FIELDS(decode(data)),
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
