//! Parts of groups: what one of several workers stored, before one entry commits all of them
//! (`format-spec/objects.md#part`).

use crate::cbor::{Decoder, Encoder};
use crate::entry::{IndexRef, PackRef};
use crate::manifest::Manifest;
use crate::pack::KeyRef;
use crate::policy::{decode_key, encode_key};
use crate::reference::{decode_index, decode_pack, encode_index, encode_pack};
use crate::{FormatError, PackId};

/// Largest part a reader accepts, bytes.
pub const PART_LIMIT_BYTES: u64 = 64 << 20;
/// Most parts of a group.
pub const COUNT_LIMIT: u32 = 4096;
/// Longest name of a group, bytes.
pub const GROUP_LIMIT_BYTES: usize = 255;
/// Longest bits of the frames of one pack, bytes: more than a pack has room for.
const FRAMES_LIMIT_BYTES: u64 = 128 << 10;

/// What one worker of a group stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The group.
    pub group: String,
    /// Which part of it, from 1.
    pub number: u32,
    /// How many parts the group has.
    pub count: u32,
    /// The entry that it was decided at.
    pub base: u64,
    /// What the snapshot would be if there were only this part: [`Manifest::encode`].
    pub manifest: Vec<u8>,
    /// Packs it stored.
    pub packs: Vec<PackRef>,
    /// Index objects it stored.
    pub indexes: Vec<IndexRef>,
    /// The data keys that these are sealed under.
    pub keys: Vec<KeyRef>,
    /// Frames it found stored already, by pack, sorted.
    pub relied: Vec<ReliedPack>,
    /// Whether something of the parent's tree was taken over without a look.
    pub reuses_parent: bool,
}

/// Frames of a pack that a part relies on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReliedPack {
    /// The pack.
    pub pack: PackId,
    /// A bit for each frame, that of frame n at bit n % 8 of byte n / 8; the last byte is not 0.
    pub frames: Vec<u8>,
}

impl ReliedPack {
    /// The numbers of its frames.
    pub fn numbers(&self) -> impl Iterator<Item = u32> + '_ {
        let bits = |(at, byte): (u32, &u8)| {
            let byte = *byte;
            (0..8).filter(move |bit| byte >> bit & 1 == 1).map(move |bit| at * 8 + bit)
        };
        (0..).zip(&self.frames).flat_map(bits)
    }

    /// These frames of a pack.
    #[must_use]
    pub fn new(pack: PackId, numbers: impl IntoIterator<Item = u32>) -> Self {
        let mut frames = Vec::new();
        for number in numbers {
            let at = number as usize / 8;
            if frames.len() <= at {
                frames.resize(at + 1, 0);
            }
            frames[at] |= 1 << (number % 8);
        }
        Self { pack, frames }
    }
}

impl Part {
    /// The content of the sealed object.
    ///
    /// # Errors
    /// `Limit`, `Rule`: what a reader would refuse.
    pub fn encode(&self) -> Result<Vec<u8>, FormatError> {
        self.check()?;
        Ok(self.encode_unchecked())
    }

    /// The same without looking whether a reader would take it: for vectors of what is refused.
    #[doc(hidden)]
    #[must_use]
    pub fn encode_unchecked(&self) -> Vec<u8> {
        let mut encoder = Encoder::default();
        encoder.map(|map| {
            map.text(1, &self.group);
            map.uint(2, self.number.into());
            map.uint(3, self.count.into());
            map.uint(4, self.base);
            map.bytes(5, &self.manifest);
            map.field(6, |e| e.array(&self.packs, encode_pack));
            map.field(7, |e| e.array(&self.indexes, encode_index));
            map.field(8, |e| e.array(&self.keys, encode_key));
            map.field(9, |e| e.array(&self.relied, encode_relied));
            map.uint(10, self.reuses_parent.into());
        });
        encoder.into_bytes()
    }

    /// Reads the content of a sealed object.
    ///
    /// # Errors
    /// `Cbor`, `Missing`, `UnknownField`, `Unknown`, `Limit`, `Rule`.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut fields = Fields::default();
        let mut decoder = Decoder::new(bytes);
        decoder.map("part", |key, value| fields.read(key, value))?;
        decoder.end("part")?;
        let part = fields.into_part()?;
        part.check()?;
        Ok(part)
    }

    fn check(&self) -> Result<(), FormatError> {
        let rule = |what, rule| Err(FormatError::Rule { what, rule });
        check_group(&self.group)?;
        limit("number of parts", self.count.into(), COUNT_LIMIT.into())?;
        if self.number == 0 || self.number > self.count {
            return rule("number of a part", "it is between 1 and how many there are");
        }
        if Manifest::decode(&self.manifest)?.origin.is_some() {
            return rule("manifest of a part", "it is of no copy");
        }
        if self.relied.windows(2).any(|pair| pair[0].pack >= pair[1].pack) {
            return rule("packs that a part relies on", "they are sorted, and none is there twice");
        }
        if self.relied.iter().any(|relied| relied.frames.last().is_none_or(|last| *last == 0)) {
            return rule("frames that a part relies on", "their last byte is not 0");
        }
        let longest = self.relied.iter().map(|relied| relied.frames.len()).max().unwrap_or(0);
        limit("frames that a part relies on", longest as u64, FRAMES_LIMIT_BYTES)
    }
}

/// Whether a group may be called so.
///
/// # Errors
/// `Rule`, `Limit`.
pub fn check_group(name: &str) -> Result<(), FormatError> {
    limit("name of a group", name.len() as u64, GROUP_LIMIT_BYTES as u64)?;
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err(FormatError::Rule {
            what: "name of a group",
            rule: "it has characters, and none of control",
        });
    }
    Ok(())
}

#[derive(Default)]
struct Fields {
    group: Option<String>,
    number: Option<u32>,
    count: Option<u32>,
    base: Option<u64>,
    manifest: Option<Vec<u8>>,
    packs: Option<Vec<PackRef>>,
    indexes: Option<Vec<IndexRef>>,
    keys: Option<Vec<KeyRef>>,
    relied: Option<Vec<ReliedPack>>,
    reuses_parent: Option<bool>,
}

impl Fields {
    fn read(&mut self, key: u64, value: &mut Decoder<'_>) -> Result<bool, FormatError> {
        match key {
            1 => self.group = Some(value.text()?.to_owned()),
            2 => self.number = Some(number("number of a part", value)?),
            3 => self.count = Some(number("number of parts", value)?),
            4 => self.base = Some(value.uint()?),
            5 => self.manifest = Some(value.bytes()?.to_vec()),
            6 => self.packs = Some(value.array(decode_pack)?),
            7 => self.indexes = Some(value.array(decode_index)?),
            8 => self.keys = Some(value.array(decode_key)?),
            9 => self.relied = Some(value.array(decode_relied)?),
            10 => {
                self.reuses_parent = Some(match value.uint()? {
                    0 => false,
                    1 => true,
                    _ => {
                        return Err(FormatError::Rule {
                            what: "whether a part takes over",
                            rule: "it is 0 or 1",
                        });
                    }
                });
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn into_part(self) -> Result<Part, FormatError> {
        let missing = |what| FormatError::Missing { what };
        Ok(Part {
            group: self.group.ok_or(missing("name of a group"))?,
            number: self.number.ok_or(missing("number of a part"))?,
            count: self.count.ok_or(missing("number of parts"))?,
            base: self.base.ok_or(missing("base of a part"))?,
            manifest: self.manifest.ok_or(missing("manifest of a part"))?,
            packs: self.packs.ok_or(missing("packs of a part"))?,
            indexes: self.indexes.ok_or(missing("index objects of a part"))?,
            keys: self.keys.ok_or(missing("data keys of a part"))?,
            relied: self.relied.ok_or(missing("packs that a part relies on"))?,
            reuses_parent: self.reuses_parent.ok_or(missing("whether a part takes over"))?,
        })
    }
}

fn encode_relied(encoder: &mut Encoder, relied: &ReliedPack) {
    encoder.array_head(2);
    encoder.bytes(&relied.pack.0);
    encoder.bytes(&relied.frames);
}

fn decode_relied(decoder: &mut Decoder<'_>) -> Result<ReliedPack, FormatError> {
    decoder.tuple(2, |v| Ok(ReliedPack { pack: PackId::try_from(v.bytes()?)?, frames: v.bytes()?.to_vec() }))
}

fn number(what: &'static str, value: &mut Decoder<'_>) -> Result<u32, FormatError> {
    let value = value.uint()?;
    u32::try_from(value).map_err(|_| FormatError::Limit { what, value, limit: u32::MAX.into() })
}

fn limit(what: &'static str, value: u64, limit: u64) -> Result<(), FormatError> {
    if value > limit { Err(FormatError::Limit { what, value, limit }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Origin;
    use crate::manifest::tests::{body, manifest};
    use crate::{RepositoryId, SnapshotId};

    fn part() -> Part {
        let body = body();
        Part {
            group: "nightly-2026-11-22".into(),
            number: 2,
            count: 3,
            base: 17,
            manifest: body.manifest,
            packs: body.packs,
            indexes: body.indexes,
            keys: body.keys,
            relied: vec![ReliedPack::new(PackId([1; 32]), [0, 9]), ReliedPack::new(PackId([2; 32]), [7])],
            reuses_parent: true,
        }
    }

    #[test]
    fn round_trip() {
        assert_eq!(Part::decode(&part().encode().unwrap()), Ok(part()));
        let empty = Part { packs: vec![], indexes: vec![], keys: vec![], relied: vec![], ..part() };
        assert_eq!(Part::decode(&empty.encode().unwrap()), Ok(empty));
    }

    #[test]
    fn frames_are_bits() {
        let relied = ReliedPack::new(PackId([1; 32]), [9, 0, 300]);
        assert_eq!(relied.numbers().collect::<Vec<_>>(), [0, 9, 300]);
        assert_eq!((relied.frames.len(), relied.frames[0], relied.frames[1]), (38, 1, 2));
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let origin = Origin { repository: RepositoryId([1; 16]), snapshot: SnapshotId([2; 32]), time_ms: 3 };
        let copied = Manifest { origin: Some(origin), ..manifest() }.encode();
        let changes: [&dyn Fn(&mut Part); 10] = [
            &|part| part.group.clear(),
            &|part| part.group = "a\nb".into(),
            &|part| part.group = "g".repeat(GROUP_LIMIT_BYTES + 1),
            &|part| part.number = 0,
            &|part| part.number = 4,
            &|part| part.count = COUNT_LIMIT + 1,
            &|part| part.manifest = copied.clone(),
            &|part| part.manifest.push(0),
            &|part| part.relied.reverse(),
            &|part| part.relied[0].frames.push(0),
        ];
        for (at, change) in changes.into_iter().enumerate() {
            let mut bad = part();
            change(&mut bad);
            assert!(bad.encode().is_err(), "{at}");
            assert!(Part::decode(&bad.encode_unchecked()).is_err(), "{at}");
        }
    }
}
