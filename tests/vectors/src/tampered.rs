//! Sealed objects and signatures that somebody changed: the negative vectors that need keys.

use anyhow::{Context, Result};
use strongroom_format::registry::ObjectKind;
use strongroom_format::{PublicKey, Salt, Signature};
use strongroom_keys::seal::SEGMENT_BYTES;
use strongroom_keys::sign::{Signer, verify_object};
use strongroom_keys::{KeysError, Secret};

use crate::fixed::{self, counting};
use crate::negative::Add;
use crate::statements::{sealed_entry, statements};

const ENTRY_0: &str = "journal/0000000000000000";
const SEGMENT: usize = SEGMENT_BYTES + 16;
/// What is signed in the vectors of signatures.
const SIGNED: &[u8] = b"header and body";
/// The order of Ed25519's group (RFC 8032 section 5.1), little-endian.
const ORDER: &str = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";

/// X25519 public keys that give a shared secret of zeros, whatever the private key (RFC 7748 section 6.1).
const LOW_ORDER: [&str; 7] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

/// Opens an entry 0, and verifies its signature.
pub(crate) fn open_entry_0(bytes: &[u8]) -> Result<(), KeysError> {
    fixed::metadata().open(ObjectKind::Entry, ENTRY_0, bytes)?.verify(&fixed::author().public()).map(drop)
}

/// Flips the lowest bit of one byte of the first entry of objects.json, and opens it. `at` is a u16.
pub(crate) fn open_flipped_entry_0(at: &[u8]) -> Result<(), KeysError> {
    let (_, mut bytes) = sealed_entry(0, statements().swap_remove(0).1).map_err(|_| KeysError::WrongKind)?;
    let at = at.try_into().map(u16::from_le_bytes).map_err(|_| KeysError::WrongKind)?;
    *bytes.get_mut(usize::from(at)).ok_or(KeysError::WrongKind)? ^= 1;
    open_entry_0(&bytes)
}

/// Puts the segments of `three_segments` of objects.json together in another order, and opens that.
pub(crate) fn open_segments(order: &[u8]) -> Result<(), KeysError> {
    let content = counting((2 << 20) + 5);
    let salt = Salt([0x31; 32]);
    let good = fixed::metadata().seal(ObjectKind::Index, "", 4096, &content, &fixed::author(), salt)?;
    let (header, body) = good.split_at(112);
    let segments: Vec<&[u8]> = body.chunks(SEGMENT).collect();
    let mut bytes = header.to_vec();
    for number in order {
        bytes.extend_from_slice(segments.get(usize::from(*number)).ok_or(KeysError::WrongKind)?);
    }
    fixed::metadata().open(ObjectKind::Index, "", &bytes)?.verify(&fixed::author().public()).map(drop)
}

/// Verifies a public key's signature, one behind the other, of an entry whose signed bytes are `header and body`.
pub(crate) fn verify_signature(bytes: &[u8]) -> Result<(), KeysError> {
    let (public, signature) = bytes.split_at_checked(32).ok_or(KeysError::WrongKind)?;
    let (public, signature) = (PublicKey::try_from(public)?, Signature::try_from(signature)?);
    verify_object(&public, ObjectKind::Entry, &[SIGNED], &signature)
}

/// Adds them all.
pub(crate) fn all(add: &mut Add<'_>) -> Result<()> {
    entries(add)?;
    for at in 0..112_u16 {
        add("flipped_entry_0", format!("bit 0 of byte {at}"), at.to_le_bytes().to_vec());
    }
    for (what, order) in [
        ("swapped", &[1, 0, 2][..]),
        ("the last one first", &[2, 0, 1]),
        ("one dropped", &[0, 2]),
        ("the last one dropped", &[0, 1]),
        ("the first one dropped", &[1, 2]),
        ("one twice", &[0, 1, 1, 2]),
        ("one behind the last", &[0, 1, 2, 1]),
        ("none", &[]),
    ] {
        add("segments_of_three", format!("segments: {what}"), order.to_vec());
    }
    for point in LOW_ORDER {
        add("x25519_public", format!("the point of low order {}", &point[..8]), hex::decode(point)?);
    }
    signatures(add)
}

fn entries(add: &mut Add<'_>) -> Result<()> {
    let (_, good) = sealed_entry(0, statements().swap_remove(0).1)?;
    let flip = |at: usize| {
        let mut bad = good.clone();
        bad[at] ^= 1;
        bad
    };
    add("sealed_entry_0", "another ciphertext".into(), flip(200));
    add("sealed_entry_0", "another tag".into(), flip(good.len() - 1));
    add("sealed_entry_0", "the last byte missing".into(), good[..good.len() - 1].to_vec());
    add("sealed_entry_0", "only the header".into(), good[..112].to_vec());
    add("sealed_entry_0", "a segment added".into(), [&good[..], &good[112..]].concat());
    let (_, other) = sealed_entry(1, statements().swap_remove(0).1)?;
    add("sealed_entry_0", "entry 1 under the name of entry 0".into(), other);
    let seal = |kind, name: &str, signer: &Signer| {
        fixed::metadata().seal(kind, name, 1024, b"not this one's", signer, Salt([9; 32]))
    };
    let stranger = Signer::new(fixed::AUTHOR_ID, &Secret::new([8; 32]));
    add("sealed_entry_0", "another's signature".into(), seal(ObjectKind::Entry, ENTRY_0, &stranger)?);
    let checkpoint = seal(ObjectKind::Checkpoint, ENTRY_0, &fixed::author())?;
    add("sealed_entry_0", "a checkpoint".into(), checkpoint);
    Ok(())
}

fn signatures(add: &mut Add<'_>) -> Result<()> {
    let public = fixed::author().public().0;
    let good = fixed::author().sign_object(ObjectKind::Entry, &[SIGNED]).0;
    let mut add = |what: &str, public: &[u8], signature: &[u8]| {
        add("signature", format!("signature: {what}"), [public, signature].concat());
    };
    for (what, at) in [("another R", 0), ("another S", 32)] {
        let mut bad = good;
        bad[at] ^= 1;
        add(what, &public, &bad);
    }
    let other = fixed::author().sign_object(ObjectKind::Index, &[SIGNED]).0;
    add("of an object of another kind", &public, &other);
    add("by another key", &Signer::new(fixed::AUTHOR_ID, &Secret::new([8; 32])).public().0, &good);
    // Without the check of RFC 8032 section 5.1.7 this would be a second signature of the same bytes.
    let mut malleable = good;
    let order: [u8; 32] = hex::decode(ORDER)?.try_into().ok().context("32 bytes")?;
    let mut carry = 0_u16;
    for (byte, more) in malleable[32..].iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(more) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    add("S is not below the group's order", &public, &malleable);
    // The neutral element as public key and R signs everything with S = 0, cofactor or not.
    let mut neutral = [0; 64];
    neutral[0] = 1;
    add("a public key and R of small order", &neutral[..32], &neutral);
    Ok(())
}
