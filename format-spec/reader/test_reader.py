"""Tests of the reader: python -m unittest test_reader"""

import io
import os
import stat
import struct
import tempfile
import unittest

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import sample_repository as sample
from sample_repository import OTHER, OWNER, STRANGER, SampleRepository, encode
from strongroom_reader import cbor, crypto
from strongroom_reader import objects as o
from strongroom_reader.check import Checkpoints, check
from strongroom_reader.errors import Damaged, Refused, Unknown
from strongroom_reader.journal import Journal, Store
from strongroom_reader.repository import Repository
from strongroom_reader.restore import Restore, find_entry, write_content


class Cbor(unittest.TestCase):
    def test_every_rule_broken_once(self):
        for bad in (
            "1817", "190018", "1a00000100", "1b0000000000010000", "5f4100ff", "9f00ff", "c000", "f90000", "f6", "1c",
            "62c328", "4200", "a202000100", "a201000100", "a1616100", "9b00ffffffffffffff", "3bffffffffffffffff",
            "0000", "", "81" * 17 + "00",
        ):
            with self.subTest(bad), self.assertRaises(Refused):
                cbor.decode(bytes.fromhex(bad))

    def test_round_trips(self):
        for value in (0, 23, 24, 255, 256, (1 << 64) - 1, -1, -24, -25, -(1 << 63), b"", "\u00e9", [1, [b"x"]], {1: 2, 300: {0: []}}):
            self.assertEqual(cbor.decode(encode(value)), value)
        self.assertEqual(cbor.decode(bytes.fromhex("81" * 16 + "00")), eval("[" * 16 + "0" + "]" * 16))

    def test_fields(self):
        check = cbor.record("m", first=cbor.uint, second=cbor.maybe(cbor.text))
        self.assertEqual(check({1: 5, 128: b"ignored"}).first, 5)
        for bad, error in (({2: "x"}, Refused), ({1: 5, 127: 0}, Unknown), ({1: -1}, Refused), ([], Refused)):
            with self.assertRaises(error):
                check(bad)


class Crypto(unittest.TestCase):
    """Values that the format's first sketch printed, and those of RFC 9180 and RFC 8032."""

    def test_derivation(self):
        expected = "a8106efe031e8e4f8186a1666ce2b2c185a789247b41e7c740bf6d082d2b90d7"
        self.assertEqual(crypto.Identity(sample.IDENTITY).chunk_id(b"hello").hex(), expected)
        gear = "81771b6eef5820a8afab11d1ed6ccc79127546768d4c9f6b7323cb4e6436c636"
        self.assertEqual(crypto.derive("gear table", sample.IDENTITY, 2048)[:32].hex(), gear)
        commitment = crypto.key_commitment(sample.DATA, sample.REPOSITORY, sample.DATA_ID, 1)
        self.assertEqual(commitment.hex(), "795741969603247b136904c2710445785bb28ee0c8efad9961c5f48bc8a28fcd")

    def test_frame(self):
        frame = bytes.fromhex(
            "55" * 32 + "0c97bc4730a96afc3ac6ff465afd13b52f7185d43984a4736dfc8bdc657db0042ba907bfe07846a2706c27f2853e2291"
            "6385ca41c6e1743ee0e0b70a7541299c5979670a5d7164cc90158dc7587fbc98d86569b6bceb8d2c07931188e5ad2fff"
            "d5c2ea0d7b2979b5df3f268b8cd9cbabc9c1cad106"
        )
        chunk_id = crypto.Identity(sample.IDENTITY).chunk_id(b"hello")
        record = o.FRAME_LAYOUT.pack(149, 5, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0)
        aad = crypto.frame_aad(record, o.CHUNK_LAYOUT.pack(chunk_id, 5))
        subkey = crypto.derive("seal frame", sample.DATA)
        self.assertEqual(crypto.open_frame(subkey, sample.REPOSITORY, sample.DATA_ID, aad, frame), b"hello")
        author = sample.public(OWNER.key)
        crypto.verify_author(author, aad, frame)
        for at in (0, 40, 66, 75):
            bad = bytearray(frame)
            bad[at] ^= 1
            with self.assertRaises(Refused):
                crypto.open_frame(subkey, sample.REPOSITORY, sample.DATA_ID, aad, bytes(bad))
        for at in (0, 40, 75, 100):
            bad = bytearray(frame)
            bad[at] ^= 1
            with self.assertRaises(Refused):
                crypto.verify_author(author, aad, bytes(bad))

    def test_object(self):
        data = bytes.fromhex(
            "5354524e47524d3101010000700000000a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c" + "66" * 32
            + "b5ab128c646988cda713a0e7899f6f7a986c159a4fe6ee254782a88045f82b14609f7ba756c099c375466833954bc14137d6e7"
        )
        # The sketch sealed a header of kind 1 with the journal's subkey.
        okm = crypto.keyed(crypto.derive("seal journal", sample.METADATA), data[:80], 64)
        self.assertEqual(okm[32:], data[80:112])
        plain = crypto._open(okm[:32], struct.pack("<BxxxQ", 2, 0), data[112:], b"journal/0000000000000000")
        self.assertEqual(plain, b"\xa1\x01\x01")

    def test_hpke_of_rfc_9180_appendix_a_2(self):
        plain = crypto.hpke_open(
            bytes.fromhex("8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb"),
            bytes.fromhex("1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a"),
            bytes.fromhex("4f6465206f6e2061204772656369616e2055726e"),
            bytes.fromhex("436f756e742d30"),
            bytes.fromhex("1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28"),
        )
        self.assertEqual(plain, b"Beauty is truth, truth beauty")
        with self.assertRaises(Refused):
            crypto.hpke_open(bytes([1]) * 32, bytes(32), b"", b"", bytes(48))

    def test_signatures_are_strict(self):
        key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"))
        public, signature = sample.public(key), key.sign(b"")
        self.assertEqual(public.hex(), "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
        crypto.verify(public, b"", signature)
        order = (1 << 252) + 27742317777372353535851937790883648493
        s = int.from_bytes(signature[32:], "little") + order
        identity = bytes([1]) + bytes(31)
        for point, bad in ((public, signature[:32] + s.to_bytes(32, "little")), (identity, identity + bytes(32)), (public, bytes(64))):
            with self.assertRaises(Refused):
                crypto.verify(point, b"", bad)

    def test_key_files(self):
        self.assertEqual(crypto.read_key_file(sample.KEY_FILE_TEXT).recipient, crypto.KeyFile(sample.KEY_FILE).recipient)
        private = crypto.read_key_file(sample.KEY_FILE_TEXT.replace("strongroom-key-1:", "strongroom-x25519-1:"))
        self.assertEqual(private.recipient, crypto.PrivateKey(sample.KEY_FILE).recipient)
        for old, new in (("5a5a", "5b5a"), ("key-1", "key-2"), ("strongroom-key-1:", "# "), ("5a5a", "zz")):
            with self.assertRaises(Refused):
                crypto.read_key_file(sample.KEY_FILE_TEXT.replace(old, new, 1))

    def test_zstd_shapes(self):
        plain = b"abcabcabc" * 500
        compress = sample.zstandard.ZstdCompressor(level=3).compress
        good = compress(plain)
        self.assertEqual(crypto.decompress(good, len(plain), b""), plain)
        checksum = sample.zstandard.ZstdCompressor(write_checksum=True).compress(plain)
        no_size = sample.zstandard.ZstdCompressor(write_content_size=False).compress(plain)
        skippable = b"\x50\x2a\x4d\x18" + bytes(4)
        bomb = bytearray(good)
        bomb[5:7] = b"\xff\xff"
        for bad in (good[:-1], good + b"\0", good + good, skippable + good, checksum, no_size, bytes(bomb), b""):
            with self.assertRaises(Refused):
                crypto.decompress(bad, len(plain), b"")
        with self.assertRaises(Refused):
            crypto.decompress(good, len(plain) + 1, b"")


class Formats(unittest.TestCase):
    def test_paths(self):
        for bad in (b"", b"/a", b"a/", b"a//b", b".", b"..", b"a/../b", b"a\0b", b"x" * 40000):
            with self.assertRaises(Refused):
                o.check_path(bad)
        paths = [b"a", b"a/b", b"a/b/c", b"a/z", b"a!", b"a.txt", b"b"]
        self.assertEqual(sorted(paths, key=o.path_order), paths)

    def test_an_entry_has_the_fields_of_its_kind_only(self):
        directory = {1: b"d", 2: 2, 3: 0o755, 4: 0, 5: 0, 8: 1, 9: 1, 10: 1}
        o.decode_tree_entry(directory)
        o.decode_tree_entry({1: b"s", 2: 8, 12: b""})
        for bad in (
            directory | {12: b""}, directory | {13: b"x"}, directory | {3: 0o10000}, directory | {11: [[b"b", b""], [b"a", b""]]},
            directory | {11: []}, {1: b"s", 2: 8, 12: b"", 4: 0}, {1: b"s", 2: 8}, {1: b"d", 2: 2}, directory | {2: 9},
            {1: b"s", 2: 8, 12: (bytes([1]) * 32 + struct.pack("<I", 1)) * 9},
        ):
            with self.subTest(bad), self.assertRaises(Refused):
                o.decode_tree_entry(bad)

    def test_nodes(self):
        self.assertEqual(o.decode_node(struct.pack("<BBBBI", 1, 3, 0, 0, 2) + b"{}").items, b"{}")
        child = bytes([1]) * 32 + struct.pack("<QQH", 2, 3, 1) + b"a"
        later = bytes([1]) * 32 + struct.pack("<QQH", 2, 3, 1) + b"b"
        self.assertEqual(len(o.decode_node(struct.pack("<BBBBI", 1, 1, 1, 0, 2) + child + later).items), 2)
        for bad in (
            struct.pack("<BBBBI", 1, 1, 1, 0, 2) + later + child, struct.pack("<BBBBI", 1, 1, 1, 0, 0),
            struct.pack("<BBBBI", 1, 1, 17, 0, 1) + child, struct.pack("<BBBBI", 2, 3, 0, 0, 0), struct.pack("<BBBBI", 1, 3, 1, 0, 0),
            struct.pack("<BBBBI", 1, 2, 0, 0, 1) + bytes(36), struct.pack("<BBBBI", 1, 1, 1, 0, 1) + child + b"x", b"",
        ):
            with self.subTest(bad), self.assertRaises(Refused):
                o.decode_node(bad)


class Whole(unittest.TestCase):
    """A repository with raw, zstd and delta frames, trees of two levels, every kind of file, and void entries."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.repo = SampleRepository(os.path.join(self.folder, "repo"))
        self.snapshot_id = self.write_snapshot()

    def write_snapshot(self):
        r = self.repo
        old = r.chunk(struct.pack("<I", 0xEC30A437) + b"row 000007 of the day before\n" * 3000)
        new = r.chunk(old[1][:9000] + b"CHANGED" + old[1][9007:])
        newer = r.chunk(new[1][:20000] + b"AGAIN" + new[1][20005:])
        small, raw = r.chunk(b"hello"), r.chunk(bytes(range(256)))
        first, second = sample.PackBuilder(o.DATA_PACK), sample.PackBuilder(o.DATA_PACK)
        first.add([small, raw])
        first.add([old], codec=1)
        second.add([new], codec=1, bases=[old], depth=1)
        second.add([newer], codec=1, bases=[raw, new], depth=2)
        r.put_pack(first)
        r.put_pack(second, padding=5000)

        def record(chunk):
            return chunk[0] + struct.pack("<I", len(chunk[1]))

        r.nodes = []
        hole = bytes(32) + struct.pack("<I", 3_000_000)
        big = [record(old), hole, record(new), record(newer)] * 5
        leaves = [r.node(2, 0, 10, b"".join(big[:10])), r.node(2, 0, 10, b"".join(big[10:]))]

        def size(items):
            return sum(int.from_bytes(item[32:], "little") for item in items)

        branch = b"".join(leaf + struct.pack("<QQ", size(part), 10) for leaf, part in zip(leaves, (big[:10], big[10:])))
        list_root = r.node(2, 1, 2, branch)
        self.big = (old[1] + bytes(3_000_000) + new[1] + newer[1]) * 5
        self.assertEqual(size(big), len(self.big))
        meta = {3: 0o640, 4: os.getuid(), 5: os.getgid(), 8: 1_600_000_000_123_456_789, 9: 1, 10: 1}
        entries = [
            {1: b"dir", 2: 2} | meta | {3: 0o750},
            {1: b"dir/big", 2: 1, 12: [list_root, 1, len(self.big), 20]} | meta,
            {1: b"dir/empty", 2: 1, 12: b""} | meta,
            {1: b"dir/fifo", 2: 6} | meta,
            {1: b"dir/link", 2: 3, 13: b"../na\xffme"} | meta | {3: 0o777},
            {1: b"na\xffme", 2: 1, 12: record(small) + record(raw)} | meta,
            {1: b"other", 2: 1, 12: record(small) + record(raw), 15: b"na\xffme"} | meta,
            {1: b"stream.sql", 2: 8, 12: record(small) + bytes(32) + struct.pack("<I", 3)},
        ]
        halves = [entries[:5], entries[5:]]
        children, total = b"", 0
        for half in halves:
            node = r.node(1, 0, len(half), b"".join(map(encode, half)))
            size_ = sum(e[12][2] if isinstance(e.get(12), list) else size([e.get(12, b"")[i : i + 36] for i in range(0, len(e.get(12, b"")), 36)]) for e in half)
            total += size_
            children += node + struct.pack("<QQH", len(half), size_, len(half[-1][1])) + half[-1][1]
        root = r.node(1, 1, 2, children)
        facts = r.node(3, 0, 2, b"{}")
        nodes = sample.PackBuilder(o.METADATA_PACK)
        nodes.add(r.nodes[:3])
        nodes.add(r.nodes[3:], codec=1)
        r.put_pack(nodes)
        return r.snapshot(r.manifest([root, 1, 8, total], facts=[facts, 2]), indexes=[r.put_index()])

    def open(self, credential=None):
        credential = credential or crypto.KeyFile(sample.KEY_FILE)
        return Journal(Store(self.repo.folder), credential)

    def test_restore_cat_facts_and_check(self):
        for credential in (crypto.KeyFile(sample.KEY_FILE), crypto.Passphrase(sample.PASSPHRASE)):
            journal = self.open(credential)
            self.assertEqual([s.id for s in journal.snapshots.values()], [self.snapshot_id])
        repository, target = Repository(journal), os.path.join(self.folder, "target")
        self.assertEqual(repository.warnings, [])
        snapshot = journal.snapshots[1]
        Restore(repository, target, self.fail).run(snapshot)
        with open(os.path.join(target, "dir/big"), "rb") as file:
            self.assertEqual(file.read(), self.big)
        status = os.stat(os.path.join(target, "dir/big"))
        self.assertEqual((stat.S_IMODE(status.st_mode), status.st_mtime_ns), (0o640, 1_600_000_000_123_456_789))
        self.assertLess(status.st_blocks * 512, len(self.big) // 2)
        self.assertEqual(os.stat(os.path.join(target, "dir")).st_mtime_ns, 1_600_000_000_123_456_789)
        self.assertEqual(os.readlink(os.fsencode(target) + b"/dir/link"), b"../na\xffme")
        self.assertTrue(os.path.samefile(os.fsencode(target) + b"/na\xffme", os.path.join(target, "other")))
        self.assertTrue(stat.S_ISFIFO(os.stat(os.path.join(target, "dir/fifo")).st_mode))
        out = io.BytesIO()
        write_content(repository, find_entry(repository, snapshot, b"stream.sql"), out)
        self.assertEqual(out.getvalue(), b"hello\0\0\0")
        self.assertEqual(repository.facts(snapshot), b"{}")
        self.assertEqual(check(repository, self.fail), (5, 3, 6))
        with self.assertRaises(Refused):
            Restore(repository, target, self.fail)

    def test_void_entries_change_nothing(self):
        r, manifest = self.repo, self.repo.manifest([bytes([1]) * 32, 0, 0, 0], nonce=b"m" * 16)
        other = r.manifest([bytes([1]) * 32, 0, 0, 0], source="other", nonce=b"o" * 16)
        body = {1: manifest, 2: [], 3: [], 4: []}
        first_manifest = self.open().snapshots[1].encoded
        r.append(2, body, STRANGER)
        r.append(2, body, OTHER)
        r.append(2, body, OWNER, fields={1: 99})
        r.append(2, body, OWNER, fields={2: 0})
        r.append(2, body, OWNER, fields={3: bytes(32)})
        r.append(2, {1: first_manifest, 2: [], 3: [], 4: []}, OWNER)
        r.append(4, {1: [], 2: []}, OTHER)
        r.append(4, {1: [], 2: [bytes([1]) * 32]}, OWNER)
        r.append(1, r.policy(), OTHER)
        r.sequence = 1
        r.append(1, r.policy(root=OTHER.key), OWNER)
        r.append(1, r.policy(), OWNER)
        r.append(9, {1: bytes(32), 2: [], 3: []}, OTHER)
        r.append(2, body, OWNER, key_id=b"z" * 16)
        voids = list(range(2, r.number))
        r.append(11, {1: "restore", 3: -1, 4: "{}"}, OTHER)
        r.append_bytes(b"garbage")
        r.append(9, {1: self.snapshot_id, 2: ["x"], 3: ["nightly"]}, OTHER)
        r.append(11, {1: "restore", 3: -1, 4: "{}"}, OTHER)
        r.snapshot(other, OTHER)
        journal = self.open()
        self.assertEqual([number for number, _ in journal.voids], voids + [voids[-1] + 2])
        self.assertEqual((list(journal.snapshots), journal.damaged), ([1, r.number - 1], []))
        self.assertEqual(journal.snapshots[1].tags, {"x"})
        self.assertEqual(journal.snapshots[1].time_ms, 1_700_000_000_000 + voids[-1] + 1)

    def test_garbage_hides_no_damage_before_it(self):
        r = self.repo
        damaged = r.number
        r.append(11, {1: "check", 3: 0, 4: "{}"}, OWNER)
        r.append_bytes(b"garbage")
        r.append(11, {1: "restore", 3: -1, 4: "{}"}, OTHER)
        self.assertEqual([number for number, _ in self.open().voids], [damaged + 1])
        r.put(f"journal/{damaged:016x}", b"what was an entry once")
        journal = self.open()
        self.assertEqual([number for number, _ in journal.damaged], [damaged, damaged + 1])
        self.assertEqual(journal.voids, [])
        # The signers behind them still agree with each other.
        r.append(11, {1: "restore", 3: -1, 4: "{}"}, OWNER)
        self.assertEqual(len(self.open().damaged), 2)
        r.append(1, r.policy(settled=damaged), OWNER)
        journal = self.open()
        self.assertEqual([number for number, _ in journal.damaged], [damaged + 1])
        self.assertEqual([number for number, _ in journal.voids], [damaged])

    def test_only_verifiers_attest_and_the_first_one_stays(self):
        r, (pack, other, *_) = self.repo, self.open().packs
        first = bytes([1]) * 32
        r.append(7, {1: [[pack, bytes(32)]]}, OTHER)
        r.append(7, {1: [[pack, first], [bytes(32), first]]}, OWNER)
        r.append(7, {1: [[pack, bytes(32)], [other, first]]}, OWNER)
        journal = self.open()
        self.assertEqual(([number for number, _ in journal.voids], journal.attested), ([2], {pack: (first, 3), other: (first, 4)}))

    def test_only_maintainers_forget_and_forgetting_is_final(self):
        r, first = self.repo, self.open().snapshots[1].encoded
        r.append(3, {1: [self.snapshot_id], 2: ""}, OTHER)
        r.append(3, {1: [self.snapshot_id, bytes(32)], 2: ""}, OWNER)
        self.assertEqual(list(self.open().snapshots), [1])
        r.append(3, {1: [self.snapshot_id], 2: "older than 30 days"}, OWNER)
        r.append(3, {1: [self.snapshot_id], 2: ""}, OWNER)
        r.snapshot(first)
        journal = self.open()
        self.assertEqual([number for number, _ in journal.voids], [2, 3, 5, 6])
        self.assertEqual((journal.snapshots, journal.forgotten), ({}, {self.snapshot_id}))
        self.assertEqual(len(journal.packs), 3)

    def test_what_is_held_is_forgotten_by_nobody(self):
        r, held = self.repo, [self.snapshot_id]
        r.append(10, {1: held, 2: "legal", 3: 1, 4: "case 7"}, STRANGER)
        r.append(10, {1: held + [bytes(32)], 2: "legal", 3: 1, 4: ""}, OWNER)
        self.assertEqual(self.open().snapshots[1].holds, {})
        r.append(10, {1: held * 2, 2: "legal", 3: 1, 4: "case 7"}, OTHER)
        r.append(10, {1: held, 2: "audit", 3: 1, 4: ""}, OTHER)
        r.append(10, {1: held, 2: "legal", 3: 1, 4: "again"}, OWNER)
        r.append(3, {1: held, 2: ""}, OWNER)
        r.append(1, r.policy(forgotten=held), OWNER)
        r.sequence -= 1
        r.append(10, {1: held, 2: "legal", 3: 0, 4: ""}, OTHER)
        r.append(10, {1: held, 2: "other", 3: 0, 4: ""}, OWNER)
        journal = self.open()
        self.assertEqual([number for number, _ in journal.voids], [2, 3, 7, 8, 9, 10])
        self.assertEqual(journal.snapshots[1].holds, {"legal": 4, "audit": 5})
        r.append(10, {1: held, 2: "legal", 3: 0, 4: "settled"}, OWNER)
        r.append(3, {1: held, 2: ""}, OWNER)
        r.append(10, {1: held, 2: "audit", 3: 0, 4: "settled"}, OWNER)
        r.append(3, {1: held, 2: ""}, OWNER)
        journal = self.open()
        self.assertEqual([number for number, _ in journal.voids], [2, 3, 7, 8, 9, 10, 12])
        self.assertEqual((journal.snapshots, journal.forgotten), ({}, set(held)))

    def test_what_is_retired_never_counts_again(self):
        r, journal = self.repo, self.open()
        (pack, (kind, length)), *others = journal.packs.items()
        key, new = ([bytes([n]) * 16, bytes([n]) * 32] for n in (1, 2))
        manifests = [r.manifest([bytes(32), 0, 0, 0], nonce=bytes([n]) * 16) for n in range(2)]
        r.append(2, {1: manifests[0], 2: [], 3: [], 4: [key]}, OWNER)
        r.append(7, {1: [[pack, bytes(32)]]}, OWNER)
        never, copy = bytes([3]) * 32, bytes([4]) * 32
        body = {1: [pack, never], 2: [[kind, copy, 5000], [kind, never, 5000]], 3: [], 4: [new], 5: [key[0]]}
        r.append(5, body, OTHER)
        self.assertEqual((self.open().retired, list(self.open().attested)), ({}, [pack]))
        r.append(5, body, OWNER)
        r.append(2, {1: manifests[1], 2: [[kind, pack, length], [kind, never, 5000]], 3: [], 4: [key, new]}, OWNER)
        r.append(5, body | {2: [[kind, pack, length]]}, OWNER)
        journal = self.open()
        self.assertEqual([number for number, _ in journal.voids], [4])
        self.assertEqual(list(journal.packs), [pack_id for pack_id, _ in others] + [copy])
        self.assertEqual((journal.retired, journal.retired_keys), ({pack: 5, never: 5}, {key[0]: 5}))
        self.assertEqual([s.keys for s in journal.snapshots.values()], [[], [tuple(new)], [tuple(new)]])
        self.assertEqual((journal.attested, journal.packs.keys() ^ journal.brought_by.keys()), ({}, set()))

    def test_policies_forget_and_features_are_refused(self):
        r = self.repo
        r.append(1, r.policy(forgotten=[self.snapshot_id]), OWNER)
        journal = self.open()
        self.assertEqual((journal.snapshots, journal.voids), ({}, []))
        r.append(1, r.policy(features=["warp-drive"]), OWNER)
        with self.assertRaises(Unknown):
            self.open()

    def test_what_is_newer_is_void_but_for_a_policy_of_the_root_key(self):
        r = self.repo
        r.append(6, {}, STRANGER)
        r.append(6, {}, OTHER)
        r.append(99, {}, OWNER)
        r.append(11, {1: "check", 3: 0, 4: "{}"}, OWNER, fields={7: 0})
        journal = self.open()
        voids, damaged = ([number for number, _ in found] for found in (journal.voids, journal.damaged))
        self.assertEqual((voids, damaged), ([3, 4, 5], [2]))  # nobody who is listed has followed the stranger yet
        policy = r.policy(more={127: 0})
        r.append(1, policy | {2: bytes(64)}, OWNER)
        self.assertEqual([number for number, _ in self.open().voids], [2, 3, 4, 5, 6])
        r.append(1, policy, OWNER)
        with self.assertRaises(Unknown):
            self.open()

    def test_damage_is_told_from_garbage(self):
        r = self.repo
        r.append(11, {1: "check", 3: 0, 4: "{}"}, OWNER)
        r.append(11, {1: "check", 3: 0, 4: "{}"}, OWNER)
        name = os.path.join(r.folder, "journal", f"{2:016x}")
        with open(name, "r+b") as file:
            file.seek(200)
            file.write(b"\0\0")
        journal = self.open()
        self.assertEqual(([n for n, _ in journal.damaged], journal.voids), ([2], []))
        os.remove(name)
        self.assertEqual([n for n, _ in self.open().damaged], [2])

    def test_bad_places_of_a_chunk_are_passed_over(self):
        """An index that describes a pack as another, and frames that are damaged where there is a second copy."""
        r = self.repo
        liar = sample.PackBuilder(o.DATA_PACK, OTHER)
        liar.add([(r.names.chunk_id(b"hello"), b"HELLO")])
        liar.add([(r.names.chunk_id(bytes(range(256))), b"x")])
        r.put_pack(liar)
        manifest = r.manifest([bytes([1]) * 32, 0, 0, 0], source="other", nonce=b"o" * 16)
        r.snapshot(manifest, OTHER, indexes=[r.put_index(OTHER)])
        repository = Repository(self.open())
        places = repository._places[o.DATA_PACK, r.names.chunk_id(b"hello")]
        self.assertEqual(len(places), 2)
        for order in (places, places[::-1]):
            repository._places[o.DATA_PACK, r.names.chunk_id(b"hello")] = order
            self.assertEqual(repository.chunk(r.names.chunk_id(b"hello"), 5), b"hello")

    def test_a_lost_index_object_is_no_loss(self):
        for folder, _, names in os.walk(os.path.join(self.repo.folder, "index")):
            for name in names:
                os.remove(os.path.join(folder, name))
        repository = Repository(self.open())
        self.assertEqual(len(repository.warnings), 4)
        out = io.BytesIO()
        write_content(repository, find_entry(repository, repository.journal.snapshots[1], b"dir/big"), out)
        self.assertEqual(out.getvalue(), self.big)

    def test_every_damaged_byte_of_a_pack_is_found(self):
        journal = self.open()
        name = os.path.join(self.repo.folder, Repository(journal).pack_name(next(iter(journal.packs))))
        with open(name, "rb") as file:
            good = file.read()
        for at in range(0, len(good), 97):
            bad = bytearray(good)
            bad[at] ^= 4
            with open(name, "wb") as file:
                file.write(bad)
            found = []
            check(Repository(journal), found.append)
            self.assertEqual(len(found), 1, at)

    def test_checkpoints_are_compared(self):
        r, gone = self.repo, [bytes([9]) * 32, bytes([1]) * 32]
        manifest = r.manifest([bytes(32), 0, 0, 0], nonce=b"g" * 16)
        r.append(2, {1: manifest, 2: [], 3: [], 4: []}, OWNER)
        forgotten = r.names.snapshot_id(manifest)
        r.append(3, {1: [forgotten], 2: ""}, OWNER)
        r.append(5, {1: gone, 2: [], 3: [], 4: [], 5: [bytes([1]) * 16]}, OWNER)
        r.append(10, {1: [self.snapshot_id], 2: "legal", 3: 1, 4: ""}, OTHER)
        journal = self.open()
        s = journal.snapshots[1]
        state = {
            1: 5, 2: journal.entry_hash, 8: journal.chain, 9: [], 3: [list(p) for p in journal.policies],
            4: [[1, s.id, OWNER.id, s.entry_hash, s.time_ms, s.encoded, [], ["nightly"], [["legal", 5]]]],
            5: [list(i) for i in journal.indexes.values()], 6: [[[k, p, n], journal.brought_by[p]] for p, (k, n) in journal.packs.items()], 7: [],
            10: [forgotten], 11: [[pack, 4] for pack in sorted(gone)], 12: [[bytes([1]) * 16, 4]],
        }
        name = f"checkpoints/{(1 << 64) - 6:016x}"
        lies = (
            {4: [[*state[4][0][:8], []]]}, {6: []}, {8: bytes(32)}, {9: [[next(iter(journal.packs)), bytes(32)]]}, {10: []}, {11: [[gone[0], 4]]},
            {11: [[pack, 4] for pack in gone]}, {12: [[bytes([1]) * 16, 3]]}, {12: []},
        )
        cases = [(state, OWNER, 0), (state, OTHER, 1), *((state | lie, OWNER, 1) for lie in lies)]
        for content, signer, expected in cases:
            self.repo.put(name, sample.seal_object(o.CHECKPOINT, name, encode(content), signer))
            found = []
            checkpoints = Checkpoints(found.append)
            Journal(Store(self.repo.folder), crypto.KeyFile(sample.KEY_FILE), None, checkpoints.after_entry)
            self.assertEqual((checkpoints.count, len(found)), (1, expected), found)

    def test_wrong_credentials_and_another_repository(self):
        for credential in (crypto.KeyFile(bytes(32)), crypto.Passphrase("guess")):
            with self.assertRaises(Damaged):
                self.open(credential)
        with self.assertRaises(Refused):
            Journal(Store(self.repo.folder), crypto.KeyFile(sample.KEY_FILE), "00" * 16)


if __name__ == "__main__":
    unittest.main()
