//! Negative vectors: bytes that must be refused, each with the one error expected.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use strongroom_format::cbor::{Decoder, Encoder, MapEncoder};
use strongroom_format::checkpoint::Checkpoint;
use strongroom_format::config::Config;
use strongroom_format::entry::JournalEntry;
use strongroom_format::header::Header;
use strongroom_format::index::Index;
use strongroom_format::key_object::{Argon2Parameters, KeyObject, Wrap};
use strongroom_format::node::{ListItem, Node};
use strongroom_format::pack::{Footer, decode_trailer, encode_trailer};
use strongroom_format::parity::PARITY_LIMIT_PERCENT;
use strongroom_format::path::EntryPath;
use strongroom_format::policy::{BASE_KEYS_LIMIT, ObjectLock, Policy};
use strongroom_format::registry::{Codec, LockMode, Purpose};
use strongroom_format::tree_entry::TreeEntry;
use strongroom_format::{
    ChunkId, Commitment, FormatError, KeyId, PublicKey, RecipientId, Salt, WriterId, zstd_frame,
};
use strongroom_keys::KeysError;
use strongroom_keys::kms::MemoryKms;
use strongroom_keys::random::SeededRandom;
use strongroom_keys::wrap::{Unwrap, WrapTo, aws_kms_recipient};
use strongroom_repository::zstd::Decompressor;

use crate::fixed::{self, REPOSITORY};
use crate::golden::{KMS_ARN, entries, example_footer, full_policy, kms_object, policy};
use crate::statements::{sealed_entry, statements};
use crate::tampered;

/// What decodes these bytes.
type Decode = fn(&[u8]) -> Result<(), KeysError>;

/// The decoders by the names that negative.json uses.
const DECODERS: [(&str, Decode); 20] = [
    ("cbor", |bytes| Ok(Decoder::new(bytes).skip()?)),
    ("config", |bytes| Ok(Config::decode(bytes).map(drop)?)),
    ("key_body", |bytes| Ok(KeyObject::decode(bytes).map(drop)?)),
    ("key_body_of_kms", |bytes| {
        let object = KeyObject::decode(bytes)?;
        Unwrap::Kms(&MemoryKms::new(SeededRandom::new(b"kms"))).unwrap(&object, REPOSITORY).map(drop)
    }),
    ("policy", |bytes| Ok(Policy::decode(bytes).map(drop)?)),
    ("journal_entry", |bytes| Ok(JournalEntry::decode(bytes).map(drop)?)),
    ("checkpoint", |bytes| Ok(Checkpoint::decode(bytes).map(drop)?)),
    ("header", |bytes| Ok(Header::decode(bytes).map(drop)?)),
    ("footer", |bytes| Ok(Footer::decode(bytes).map(drop)?)),
    ("index", |bytes| Ok(Index::decode(bytes).map(drop)?)),
    ("node", |bytes| Ok(Node::decode(bytes).map(drop)?)),
    ("entry", |bytes| Ok(TreeEntry::decode(&mut Decoder::new(bytes)).map(drop)?)),
    ("path", |bytes| Ok(EntryPath::new(bytes).map(drop)?)),
    ("trailer_of_10000", |bytes| {
        let trailer = bytes.try_into().map_err(|_| FormatError::Truncated { what: "pack trailer" })?;
        Ok(decode_trailer(trailer, 10_000).map(drop)?)
    }),
    ("zstd_of_5000", |bytes| decompress(bytes).map(drop)),
    ("sealed_entry_0", tampered::open_entry_0),
    ("flipped_entry_0", tampered::open_flipped_entry_0),
    ("segments_of_three", tampered::open_segments),
    ("signature", tampered::verify_signature),
    ("x25519_public", |bytes| {
        let public = PublicKey::try_from(bytes)?;
        let key = strongroom_keys::wrap::NamedKey {
            id: KeyId([1; 16]),
            purpose: Purpose::Data,
            secret: strongroom_keys::Secret::new([1; 32]),
        };
        let random = SeededRandom::new(b"x");
        WrapTo::X25519 { recipient: RecipientId([1; 16]), public }
            .wrap(&key, REPOSITORY, &fixed::author(), &random)
            .map(drop)
    }),
];

/// The error of a decoder, in a word or two: the variant, and what it concerns.
fn code(error: &KeysError) -> String {
    match error {
        KeysError::Format(error) => format!("{error:?}")
            .split_once(", value")
            .map_or_else(|| format!("{error:?}"), |(head, _)| format!("{head} }}")),
        KeysError::OtherKey { .. } => "OtherKey".into(),
        other => format!("{other:?}"),
    }
}

/// Every negative vector.
///
/// # Errors
/// When one of them is accepted.
pub fn all() -> Result<Value> {
    let mut cases = Vec::new();
    let mut add = |decoder: &'static str, what: String, bytes: Vec<u8>| cases.push((decoder, what, bytes));
    cbor(&mut add);
    headers(&mut add)?;
    plain_objects(&mut add);
    key_bodies(&mut add)?;
    policies(&mut add)?;
    statements_of(&mut add);
    checkpoints(&mut add);
    packs(&mut add)?;
    nodes_and_paths(&mut add)?;
    zstd(&mut add)?;
    tampered::all(&mut add)?;
    let mut out = Vec::new();
    for (decoder, what, bytes) in cases {
        let decode = DECODERS
            .iter()
            .find_map(|(name, decode)| (*name == decoder).then_some(decode))
            .context("a decoder")?;
        let error = decode(&bytes).err().with_context(|| format!("{decoder}: {what} is accepted"))?;
        out.push(
            json!({ "decoder": decoder, "what": what, "bytes": hex::encode(bytes), "error": code(&error) }),
        );
    }
    Ok(json!(out))
}

/// Takes a case: its decoder, what is wrong, and the bytes.
pub(crate) type Add<'a> = dyn FnMut(&'static str, String, Vec<u8>) + 'a;

fn cbor(add: &mut Add<'_>) {
    for (what, bytes) in [
        ("23 in two bytes", "1817"),
        ("24 in three bytes", "190018"),
        ("an indefinite array", "9f00ff"),
        ("an indefinite string", "5f4100ff"),
        ("a tag", "c000"),
        ("a float", "f90000"),
        ("null", "f6"),
        ("text that is not UTF-8", "62c328"),
        ("a string cut short", "4200"),
        ("a key twice", "a201000100"),
        ("keys out of order", "a202000100"),
        ("a text key", "a1616100"),
        ("an array of 2^56", "9b00ffffffffffffff"),
        ("a reserved head", "1c"),
        ("true", "f5"),
        ("a break alone", "ff"),
        ("-24 in two bytes", "3817"),
        ("-2^64", "3bffffffffffffffff"),
        ("a length in two bytes", "5803010203"),
        ("a length in five bytes", "9a0000000100"),
        ("a negative key", "a12000"),
        ("256 in five bytes", "1a00000100"),
        ("nested 17 deep", "818181818181818181818181818181818100"),
    ] {
        add("cbor", what.into(), hex::decode(bytes).unwrap_or_default());
    }
}

fn headers(add: &mut Add<'_>) -> Result<()> {
    let (_, good) = sealed_entry(0, statements().swap_remove(0).1)?;
    for at in 0..16 {
        let mut bad = good[..112].to_vec();
        bad[at] ^= 0x80;
        add("header", format!("bit 7 of byte {at}"), bad);
    }
    add("header", "cut short".into(), good[..111].to_vec());
    Ok(())
}

fn plain_objects(add: &mut Add<'_>) {
    let map = |fill: &dyn Fn(&mut MapEncoder)| {
        let mut encoder = Encoder::default();
        encoder.map(|map| fill(map));
        encoder.into_bytes()
    };
    let config = |version: u64, suite: u64, extra: Option<u64>| {
        map(&|m| {
            m.uint(1, version);
            m.bytes(2, &[10; 16]);
            m.uint(3, suite);
            m.bytes(4, &[1; 32]);
            if let Some(key) = extra {
                m.uint(key, 0);
            }
        })
    };
    add("config", "format version 2".into(), config(2, 1, None));
    add("config", "suite 2".into(), config(1, 2, None));
    add("config", "an unknown critical field".into(), config(1, 1, Some(9)));
    add("config", "no root key".into(), map(&|m| m.uint(1, 1)));
}

/// A key body with the fields that all have, and more.
fn key_body(kind: u64, more: &dyn Fn(&mut MapEncoder)) -> Vec<u8> {
    let mut encoder = Encoder::default();
    encoder.map(|map| {
        map.bytes(1, &[1; 16]);
        map.uint(2, 5);
        map.bytes(3, &[2; 32]);
        map.uint(4, kind);
        map.bytes(5, &aws_kms_recipient(KMS_ARN).0);
        map.bytes(6, &[4; 16]);
        more(map);
    });
    encoder.into_bytes()
}

fn key_bodies(add: &mut Add<'_>) -> Result<()> {
    let argon2 = Argon2Parameters { salt: [9; 16], memory_kib: 2 << 30, passes: 3, lanes: 4 };
    let wrap =
        Wrap::Passphrase { argon2, salt: Salt([5; 32]), commitment: Commitment([6; 32]), sealed: [7; 48] };
    let object = KeyObject {
        key: KeyId([1; 16]),
        purpose: Purpose::Vault,
        commitment: Commitment([2; 32]),
        recipient: RecipientId([3; 16]),
        wrap,
        signer: WriterId([4; 16]),
    };
    add("key_body", "Argon2 of 2 TiB".into(), object.encode());
    let file = KeyObject {
        wrap: Wrap::KeyFile { salt: Salt([5; 32]), commitment: Commitment([6; 32]), sealed: [7; 48] },
        ..object
    };
    let mut trailing = file.encode();
    trailing.push(0);
    add("key_body", "a byte behind the end".into(), trailing);
    type More = fn(&mut MapEncoder);
    let sealed: More = |map| {
        map.bytes(7, &[5; 32]);
        map.bytes(8, &[6; 32]);
        map.bytes(9, &[7; 48]);
    };
    let with_writer = |map: &mut MapEncoder| {
        sealed(map);
        map.bytes(16, &[6; 16]);
    };
    add("key_body", "a key file's wrap with a writer".into(), key_body(2, &with_writer));
    add("key_body", "a recipient of the reserved type 5".into(), key_body(5, &sealed));
    let kms: [More; 3] =
        [|map| map.text(15, KMS_ARN), |map| map.bytes(16, &[6; 16]), |map| map.bytes(17, &[0x55; 184])];
    anyhow::ensure!(
        KeyObject::decode(&key_body(4, &|map| kms.iter().for_each(|add| add(map)))).is_ok(),
        "it is good"
    );
    let foreign: [(&str, More); 5] = [
        ("a salt", |map| map.bytes(7, &[5; 32])),
        ("a commitment of the wrap", |map| map.bytes(8, &[5; 32])),
        ("a sealed key", |map| map.bytes(9, &[7; 48])),
        ("Argon2 passes", |map| map.uint(12, 3)),
        ("an encapsulated key", |map| map.bytes(14, &[8; 32])),
    ];
    for (what, more) in foreign {
        let all = |map: &mut MapEncoder| kms.iter().chain([&more]).for_each(|add| add(map));
        add("key_body", format!("a KMS blob with {what}"), key_body(4, &all));
    }
    for (left_out, what) in ["ARN", "writer", "blob"].into_iter().enumerate() {
        let fields = kms.iter().enumerate().filter(|(at, _)| *at != left_out);
        let others = |map: &mut MapEncoder| fields.clone().for_each(|(_, add)| add(map));
        add("key_body", format!("a KMS blob without its {what}"), key_body(4, &others));
    }
    for (what, arn, blob) in [("an ARN", 0, 1), ("a blob", 1, 0)] {
        add("key_body", format!("{what} of no bytes"), kms_object(&"a".repeat(arn), vec![9; blob]).encode());
    }
    add("key_body", "an ARN of 2049 bytes".into(), kms_object(&"a".repeat(2049), vec![9]).encode());
    add("key_body", "a KMS blob of 6145 bytes".into(), kms_object(KMS_ARN, vec![9; 6145]).encode());
    let kms = kms_object(KMS_ARN, vec![0x55; 184]);
    let other = KeyObject { recipient: RecipientId([3; 16]), ..kms.clone() };
    add("key_body_of_kms", "an ARN that is not the recipient's".into(), other.encode());
    let region = aws_kms_recipient(&KMS_ARN.replace("central", "west"));
    add(
        "key_body_of_kms",
        "another region's recipient".into(),
        KeyObject { recipient: region, ..kms }.encode(),
    );
    Ok(())
}

fn policies(add: &mut Add<'_>) -> Result<()> {
    let twice = Policy { signers: [policy().signers, policy().signers].concat(), ..policy() };
    add("policy", "a signer listed twice".into(), twice.encode());
    type Change = fn(&mut Policy);
    let lock = ObjectLock { mode: LockMode::Governance, data_days: 1, keys_days: 36_500 };
    let good = Policy { object_lock: Some(lock), deltas: true, base_keys: 0, parity: 0, ..full_policy() };
    let changes: [(&str, Change); 5] = [
        ("a role that is not known", |policy| policy.signers[0].roles.0 = 0x10),
        ("a purpose that is not known", |policy| policy.recipients[0].purposes = 1),
        ("an object lock of 0 days", |policy| {
            policy.object_lock = policy.object_lock.map(|lock| ObjectLock { data_days: 0, ..lock });
        }),
        ("an object lock of 36501 days", |policy| {
            policy.object_lock = policy.object_lock.map(|lock| ObjectLock { keys_days: 36_501, ..lock });
        }),
        ("an object lock of 2^32 - 1 days", |policy| {
            policy.object_lock = policy.object_lock.map(|lock| ObjectLock { data_days: u32::MAX, ..lock });
        }),
    ];
    for (what, change) in changes {
        let mut bad = good.clone();
        change(&mut bad);
        add("policy", what.into(), bad.encode());
    }
    let over = Policy { base_keys: BASE_KEYS_LIMIT + 1, ..good.clone() };
    add("policy", "base keys of 65 runs".into(), over.encode());
    let over = Policy { parity: PARITY_LIMIT_PERCENT + 1, ..good.clone() };
    add("policy", "parity of 101 percent".into(), over.encode());
    for (what, field, number) in [
        ("deltas that are said to be allowed", 14, 1),
        ("a number for deltas that is not known", 14, 2),
        ("base keys of 0 runs", 15, 0),
        ("parity of 0 percent", 16, 0),
    ] {
        let mut encoded = good.encode();
        anyhow::ensure!(encoded[0] == 0xad, "a policy with thirteen fields");
        encoded[0] = 0xae;
        encoded.extend_from_slice(&[field, number]);
        add("policy", what.into(), encoded);
    }
    let mut encoded = good.encode();
    let mode = encoded.len().checked_sub(5).context("a mode, one day, 36500 days")?;
    anyhow::ensure!(encoded[mode] == 1, "the mode of the object lock");
    encoded[mode] = 3;
    add("policy", "an object lock of mode 3".into(), encoded.clone());
    encoded[mode] = 1;
    encoded[mode - 1] = 0x82;
    encoded.truncate(mode + 2);
    add("policy", "an object lock of two".into(), encoded);
    Ok(())
}

fn statements_of(add: &mut Add<'_>) {
    let entry = |kind: u64, body: &dyn Fn(&mut MapEncoder)| {
        let mut encoder = Encoder::default();
        encoder.map(|map| {
            map.uint(1, 7);
            map.uint(2, 6);
            map.bytes(3, &[0; 32]);
            map.uint(4, 0);
            map.uint(5, kind);
            map.field(6, |e| e.map(body));
        });
        encoder.into_bytes()
    };
    add("journal_entry", "expired segments without any field".into(), entry(6, &|_| ()));
    for kind in [8, 12] {
        add("journal_entry", format!("the reserved kind {kind}"), entry(kind, &|_| ()));
    }
    add("journal_entry", "the kind 99".into(), entry(99, &|_| ()));
    add("journal_entry", "attested packs without packs".into(), entry(7, &|_| ()));
    let attested = |map: &mut MapEncoder, parts: u64| {
        map.field(1, |e| {
            e.array_head(1);
            e.array_head(parts);
            (0..parts).for_each(|_| e.bytes(&[5; 32]));
        });
    };
    add("journal_entry", "an attested pack without a description".into(), entry(7, &|map| attested(map, 1)));
    add("journal_entry", "an attested pack with three parts".into(), entry(7, &|map| attested(map, 3)));
    let unknown = |map: &mut MapEncoder| {
        attested(map, 2);
        map.uint(2, 0);
    };
    add("journal_entry", "attested packs with an unknown critical field".into(), entry(7, &unknown));
    for (what, bytes) in [("31 bytes", 31), ("33 bytes", 33)] {
        let snapshot = |map: &mut MapEncoder| {
            map.field(1, |e| e.array(&[bytes], |e, length| e.bytes(&vec![5; *length])));
            map.text(2, "");
        };
        add("journal_entry", format!("a forgotten snapshot's ID of {what}"), entry(3, &snapshot));
    }
    for (kind, what, fields) in [(3, "forgotten snapshots", 2), (5, "retired packs", 5), (10, "a hold", 4)] {
        let write = |map: &mut MapEncoder, key| match (kind, key) {
            (3, 2) | (10, 2 | 4) => map.text(key, ""),
            (10, 3) => map.uint(key, 1),
            _ => map.field(key, |e| e.array_head(0)),
        };
        for missing in 1..=fields {
            let others = |map: &mut MapEncoder| {
                (1..=fields).filter(|key| *key != missing).for_each(|key| write(map, key));
            };
            add("journal_entry", format!("{what} without field {missing}"), entry(kind, &others));
        }
        let unknown = |map: &mut MapEncoder| {
            (1..=fields).for_each(|key| write(map, key));
            map.uint(fields + 1, 0);
        };
        add("journal_entry", format!("{what} with an unknown critical field"), entry(kind, &unknown));
    }
    let neither = |map: &mut MapEncoder| {
        map.field(1, |e| e.array(&[[5; 32]], |e, id| e.bytes(id)));
        map.text(2, "legal");
        map.uint(3, 2);
        map.text(4, "");
    };
    add("journal_entry", "a hold that is neither put on nor taken off".into(), entry(10, &neither));
    let key = |map: &mut MapEncoder| {
        (1..=4).for_each(|key| map.field(key, |e| e.array_head(0)));
        map.field(5, |e| e.array(&[[5; 32]], |e, id| e.bytes(id)));
    };
    add("journal_entry", "a retired key's ID of 32 bytes".into(), entry(5, &key));
}

fn checkpoints(add: &mut Add<'_>) {
    let write = |map: &mut MapEncoder, key| match key {
        1 => map.uint(key, 9),
        2 | 8 => map.bytes(key, &[1; 32]),
        _ => map.field(key, |e| e.array_head(0)),
    };
    let checkpoint = |but: u64, change: &dyn Fn(&mut MapEncoder)| {
        let mut encoder = Encoder::default();
        encoder.map(|map| {
            (1..=12).filter(|key| *key != but).for_each(|key| write(map, key));
            change(map);
        });
        encoder.into_bytes()
    };
    for missing in 1..=12 {
        add("checkpoint", format!("a checkpoint without field {missing}"), checkpoint(missing, &|_| ()));
    }
    let expired = checkpoint(0, &|map| map.uint(13, 0));
    add("checkpoint", "a checkpoint that says of log archives what is no array".into(), expired);
    let unknown = checkpoint(0, &|map| map.uint(14, 0));
    add("checkpoint", "a checkpoint with an unknown critical field".into(), unknown);
    // A snapshot of eight parts has no holds, not even none; a hold has a name and an entry.
    for (what, parts, hold) in
        [("without holds", 8, 0), ("with a hold of one part", 9, 1), ("with a hold of three", 9, 3)]
    {
        let snapshot = |map: &mut MapEncoder| {
            map.field(4, |e| {
                e.array_head(1);
                e.array_head(parts);
                e.uint(4);
                [32, 16, 32].iter().for_each(|length| e.bytes(&vec![5; *length]));
                e.uint(0);
                e.bytes(&[0xa0]);
                e.array_head(0);
                e.array_head(0);
                if parts == 9 {
                    e.array_head(1);
                    e.array_head(hold);
                    e.text("legal");
                    (1..hold).for_each(|_| e.uint(4));
                }
            });
        };
        add("checkpoint", format!("a snapshot {what}"), checkpoint(4, &snapshot));
    }
    for (key, what, length) in [(11, "pack", 32), (12, "key", 16)] {
        let bare = |map: &mut MapEncoder| {
            map.field(key, |e| e.array(&[length], |e, length| e.bytes(&vec![5; *length])));
        };
        add("checkpoint", format!("a retired {what} without its entry"), checkpoint(key, &bare));
    }
    let bare = |map: &mut MapEncoder| {
        map.field(9, |e| {
            e.array(&[5], |e, byte| {
                e.array_head(2);
                e.bytes(&[*byte; 32]);
                e.bytes(&[*byte; 32]);
            });
        });
    };
    add("checkpoint", "an attested pack without its entry".into(), checkpoint(9, &bare));
}

fn packs(add: &mut Add<'_>) -> Result<()> {
    type Change = fn(&mut Footer);
    let changes: [(&str, Change); 14] = [
        ("another plain length", |f| f.frames[1].plain_length += 1),
        ("another prefix length", |f| f.frames[1].prefix_length += 1),
        ("depth 9", |f| f.frames[1].depth = 9),
        ("depth without bases", |f| f.frames[0].depth = 1),
        ("bases without depth", |f| f.frames[1].depth = 0),
        ("closure 33", |f| f.frames[1].closure = 33),
        ("a raw frame with bases", |f| f.frames[1].codec = Codec::Raw),
        ("a key that is in no table", |f| f.frames[0].key = 2),
        ("an author that is in no table", |f| f.frames[0].author = 2),
        ("frames in another order", |f| f.frames.swap(0, 1)),
        ("a chunk of no bytes", |f| f.chunks[0].length = 0),
        ("the ID of a hole", |f| f.chunks[0].id = ChunkId::HOLE),
        ("another pack length", |f| f.pack_length += 1),
        ("no frames", |f| f.frames.clear()),
    ];
    for (what, change) in changes {
        let mut footer = example_footer()?;
        change(&mut footer);
        add("footer", what.into(), footer.encode()?);
    }
    let mut counts = example_footer()?.encode()?;
    counts[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
    add("footer", "2^32 - 1 chunks".into(), counts);
    let mut version = example_footer()?.encode()?;
    version[0] = 2;
    add("footer", "version 2".into(), version);
    for (what, length) in [
        ("a footer of 0 bytes", 0),
        ("a misaligned footer", 4096),
        ("a footer beyond the object", 12_304),
        ("a footer of 2^32 - 1 bytes", u32::MAX),
    ] {
        add("trailer_of_10000", what.into(), encode_trailer(length).to_vec());
    }
    let mut magic = encode_trailer(4112);
    magic[15] ^= 1;
    add("trailer_of_10000", "another end magic".into(), magic.to_vec());
    let mut index =
        Index { source_tag: strongroom_format::SourceTag([7; 16]), packs: Vec::new() }.encode()?;
    index[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    add("index", "2^32 - 1 packs".into(), index);
    Ok(())
}

fn nodes_and_paths(add: &mut Add<'_>) -> Result<()> {
    let good = Node::Entries(entries()).encode()?;
    let change = |at: usize, value: u8| {
        let mut bad = good.clone();
        bad[at] = value;
        bad
    };
    add("node", "version 2".into(), change(0, 2));
    add("node", "kind 9".into(), change(1, 9));
    add("node", "flags".into(), change(3, 1));
    add("node", "fewer entries than there are".into(), change(4, 9));
    add("node", "more entries than there are".into(), change(4, 11));
    let long = Node::Chunks(vec![ListItem { id: ChunkId([2; 32]), length: (8 << 20) + 1 }]);
    add("node", "a chunk of more than 8 MiB".into(), long.encode()?);
    let mut encoder = Encoder::default();
    let mut ordered = entries();
    ordered.swap(0, 1);
    ordered.iter().for_each(|entry| entry.encode(&mut encoder));
    let head = [1, 1, 0, 0, u8::try_from(ordered.len())?, 0, 0, 0];
    add("node", "entries out of order".into(), [&head[..], &encoder.into_bytes()].concat());
    for bad in [&b"../x"[..], b"/etc/passwd", b"a/../../x", b"a//b", b"a/", b".", b"a\0b", b""] {
        add("path", format!("the path {:?}", String::from_utf8_lossy(bad)), bad.to_vec());
        let mut encoder = Encoder::default();
        encoder.map(|map| {
            map.bytes(1, bad);
            map.uint(2, 2);
        });
        add(
            "entry",
            format!("an entry with the path {:?}", String::from_utf8_lossy(bad)),
            encoder.into_bytes(),
        );
    }
    Ok(())
}

fn zstd(add: &mut Add<'_>) -> Result<()> {
    // 5000 times the byte 07, as one block of a run: no compressor's version shows in it.
    let block = (5000_u32 << 3 | 1 << 1 | 1).to_le_bytes();
    let size = (5000_u16 - 256).to_le_bytes();
    let good = [&[0x28, 0xb5, 0x2f, 0xfd, 0x60][..], &size, &block[..3], &[7]].concat();
    debug_assert!(zstd_frame::check(&good, 5000).is_ok());
    anyhow::ensure!(decompress(&good).is_ok_and(|plain| plain == [7; 5000]), "the good frame is none");
    let descriptor = |bits: u8| {
        let mut bad = good.clone();
        bad[4] ^= bits;
        bad
    };
    add("zstd_of_5000", "no single segment".into(), descriptor(0x20));
    add("zstd_of_5000", "a dictionary ID".into(), descriptor(0x01));
    add("zstd_of_5000", "a checksum".into(), descriptor(0x04));
    add("zstd_of_5000", "an unused bit".into(), descriptor(0x08));
    let mut size = good.clone();
    size[5..7].copy_from_slice(&[0xff, 0xff]);
    add("zstd_of_5000", "another size".into(), size);
    let mut bomb = good.clone();
    bomb[7..10].copy_from_slice(&((1_u32 << 20) << 3 | 1 << 1 | 1).to_le_bytes()[..3]);
    add("zstd_of_5000", "a bomb: a block of a run of 1 MiB".into(), bomb);
    let mut early = good.clone();
    early[7..10].copy_from_slice(&(4999_u32 << 3 | 1 << 1 | 1).to_le_bytes()[..3]);
    add("zstd_of_5000", "a run of 4999".into(), early);
    let unsized_head = [&[0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58][..], &good[7..]].concat();
    add("zstd_of_5000", "no content size".into(), unsized_head);
    add("zstd_of_5000", "two frames".into(), [&good[..], &good].concat());
    add("zstd_of_5000", "a trailing byte".into(), [&good[..], &[0]].concat());
    add(
        "zstd_of_5000",
        "a skippable frame".into(),
        [&[0x50, 0x2A, 0x4D, 0x18, 0, 0, 0, 0][..], &good].concat(),
    );
    add("zstd_of_5000", "cut short".into(), good[..good.len() - 1].to_vec());
    Ok(())
}

/// A frame of 5000 bytes.
fn decompress(payload: &[u8]) -> Result<Vec<u8>, KeysError> {
    let mut plain = Vec::new();
    Decompressor::new().decompress(payload, &[], 5000, &mut plain).map(|()| plain)
}
