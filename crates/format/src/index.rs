//! Index objects: which chunks lie in which frames of which packs (`format-spec/objects.md#index`).
//!
//! An index repeats the header and footer of each pack it covers, so it can be rebuilt from packs alone and
//! every footer's signature can be checked from the index alone.

use crate::header::HEADER_LENGTH;
use crate::little_endian::Fields;
use crate::registry::ObjectKind;
use crate::{FormatError, PackId, SourceTag, pack};

/// Largest index object a reader accepts, bytes.
pub const INDEX_LIMIT_BYTES: u64 = 64 << 20;

const INDEX_VERSION: u16 = 1;

/// One pack as an index describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexedPack {
    /// The pack.
    pub id: PackId,
    /// The pack's stored header.
    pub header: [u8; HEADER_LENGTH],
    /// The pack's footer, without its padding.
    pub footer: Vec<u8>,
}

/// The content of an index object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Keyed hash of the source's name.
    pub source_tag: SourceTag,
    /// The packs it covers.
    pub packs: Vec<IndexedPack>,
}

impl Index {
    /// Length of the encoding of one pack with a footer of `footer_length` bytes.
    #[must_use]
    pub fn pack_length(footer_length: usize) -> usize {
        32 + HEADER_LENGTH + 4 + footer_length
    }

    /// The stored form.
    ///
    /// # Errors
    /// `Limit` for a footer or count that does not fit.
    pub fn encode(&self) -> Result<Vec<u8>, FormatError> {
        let limit = |value: usize| FormatError::Limit {
            what: "index",
            value: value as u64,
            limit: INDEX_LIMIT_BYTES,
        };
        let mut out = Vec::new();
        out.extend_from_slice(&INDEX_VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(
            &u32::try_from(self.packs.len()).map_err(|_| limit(self.packs.len()))?.to_le_bytes(),
        );
        out.extend_from_slice(&self.source_tag.0);
        for pack in &self.packs {
            out.extend_from_slice(&pack.id.0);
            out.extend_from_slice(&pack.header);
            out.extend_from_slice(
                &u32::try_from(pack.footer.len()).map_err(|_| limit(pack.footer.len()))?.to_le_bytes(),
            );
            out.extend_from_slice(&pack.footer);
        }
        Ok(out)
    }

    /// Reads the stored form. Footers are split off, not decoded.
    ///
    /// # Errors
    /// `Truncated`, `Trailing`, `Unknown`.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut fields = Fields::new(bytes, "index");
        let version = fields.u16()?;
        if version != INDEX_VERSION {
            return Err(FormatError::Unknown { what: "index version", value: version.into() });
        }
        let flags = fields.u16()?;
        if flags != 0 {
            return Err(FormatError::Unknown { what: "index flags", value: flags.into() });
        }
        let count = fields.u32()? as usize;
        let source_tag = SourceTag(fields.array()?);
        if count > fields.rest().len() / Self::pack_length(pack::unpadded_length(0, 0, 0, 0)) {
            return Err(FormatError::Truncated { what: "index" });
        }
        let mut packs = Vec::with_capacity(count);
        for _ in 0..count {
            let id = PackId(fields.array()?);
            let header = fields.array()?;
            let length = fields.u32()? as usize;
            packs.push(IndexedPack { id, header, footer: fields.take(length)?.to_vec() });
        }
        fields.end()?;
        Ok(Self { source_tag, packs })
    }
}

impl IndexedPack {
    /// The pack's header, decoded: it must be that of a pack.
    ///
    /// # Errors
    /// As [`crate::header::Header::decode`]; `Rule` for another kind of object.
    pub fn decoded_header(&self) -> Result<crate::header::Header, FormatError> {
        let header = crate::header::Header::decode(&self.header)?;
        match header.kind {
            ObjectKind::DataPack | ObjectKind::MetadataPack => Ok(header),
            _ => Err(FormatError::Rule { what: "index", rule: "it covers packs only" }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_counts_are_bounded_by_bytes() {
        let index = Index {
            source_tag: SourceTag([7; 16]),
            packs: vec![IndexedPack {
                id: PackId([1; 32]),
                header: [2; HEADER_LENGTH],
                footer: vec![3; 200],
            }],
        };
        let bytes = index.encode().unwrap();
        assert_eq!(Index::decode(&bytes), Ok(index));
        let mut huge = bytes.clone();
        huge[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(Index::decode(&huge), Err(FormatError::Truncated { what: "index" }));
        assert_eq!(Index::decode(&[bytes, vec![0]].concat()), Err(FormatError::Trailing { what: "index" }));
    }
}
