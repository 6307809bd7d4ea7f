//! The signed, padded plaintext inside a sealed object (`format-spec/objects.md#signed-body`).
//!
//! `content length u32 | content | signer 16 | signature 64 | zeros`. The signature covers everything before
//! itself, and the header of the object.

use crate::little_endian::Fields;
use crate::{FormatError, Signature, WriterId, padme};

/// Smallest plaintext of a journal entry, bytes.
pub const ENTRY_FLOOR_BYTES: u64 = 1024;
/// Smallest plaintext of every other small object, bytes.
pub const OBJECT_FLOOR_BYTES: u64 = 4096;

/// A decoded body; `signed` is what the signature covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Body<'a> {
    /// What the object says.
    pub content: &'a [u8],
    /// Who says so.
    pub signer: WriterId,
    /// Signs `signed`, and the header.
    pub signature: Signature,
    /// The bytes from the content length to the signer.
    pub signed: &'a [u8],
}

/// The part of the plaintext that is signed.
///
/// # Errors
/// `Limit` when `content` is 4 GiB or longer.
pub fn signed_part(content: &[u8], signer: WriterId) -> Result<Vec<u8>, FormatError> {
    let length = u32::try_from(content.len()).map_err(|_| FormatError::Limit {
        what: "body length",
        value: content.len() as u64,
        limit: u32::MAX.into(),
    })?;
    let mut out = Vec::with_capacity(content.len() + 20);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(content);
    out.extend_from_slice(&signer.0);
    Ok(out)
}

/// Appends the signature and pads with zeros to the Padmé length, at least `floor_bytes`.
#[must_use]
pub fn finish(mut signed: Vec<u8>, signature: &Signature, floor_bytes: u64) -> Vec<u8> {
    signed.extend_from_slice(&signature.0);
    let padded = padme(signed.len() as u64, floor_bytes);
    signed.resize(usize::try_from(padded).unwrap_or(signed.len()), 0);
    signed
}

impl<'a> Body<'a> {
    /// Splits an opened plaintext.
    ///
    /// # Errors
    /// `Truncated`, `Rule` (padding that is not zeros).
    pub fn decode(plaintext: &'a [u8]) -> Result<Self, FormatError> {
        let mut fields = Fields::new(plaintext, "signed body");
        let length = fields.u32()? as usize;
        let content = fields.take(length)?;
        let signer = WriterId(fields.array()?);
        let signed = &plaintext[..length + 20];
        let signature = Signature(fields.array()?);
        fields.zeros_to_end()?;
        Ok(Self { content, signer, signature, signed })
    }
}
