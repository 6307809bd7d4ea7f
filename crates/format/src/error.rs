//! What can be wrong with stored bytes.

/// Why bytes are not the object they should be. Reasons are closed, so that tests match exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The bytes end before the structure does.
    #[error("{what} is cut short")]
    Truncated {
        /// The structure.
        what: &'static str,
    },
    /// Bytes follow the end of the structure.
    #[error("bytes follow the end of {what}")]
    Trailing {
        /// The structure.
        what: &'static str,
    },
    /// The magic number is not Strongroom's.
    #[error("{what} does not begin with its magic number")]
    Magic {
        /// The structure.
        what: &'static str,
    },
    /// Written by a newer format than this reader knows.
    #[error(
        "{what} has version, suite or type {value}, which this version does not know; a newer strongroom wrote it"
    )]
    Unknown {
        /// The field.
        what: &'static str,
        /// Its value.
        value: u64,
    },
    /// A field that must be understood is not known.
    #[error("{what} has the field {key}, which this version does not know and must not ignore")]
    UnknownField {
        /// The structure.
        what: &'static str,
        /// The key of the field.
        key: u64,
    },
    /// A required field is missing.
    #[error("{what} is missing")]
    Missing {
        /// The field.
        what: &'static str,
    },
    /// A value lies outside what the format allows.
    #[error("{what} is {value}, beyond the limit of {limit}")]
    Limit {
        /// The field.
        what: &'static str,
        /// Its value.
        value: u64,
        /// The largest (or only) value allowed.
        limit: u64,
    },
    /// A value contradicts another, or a rule of the format.
    #[error("{what} breaks the rule: {rule}")]
    Rule {
        /// The field.
        what: &'static str,
        /// The rule, stated.
        rule: &'static str,
    },
    /// CBOR that is not in the deterministic encoding of RFC 8949 section 4.2.1.
    #[error("not deterministic CBOR: {rule}")]
    Cbor {
        /// The rule that is broken.
        rule: &'static str,
    },
}
