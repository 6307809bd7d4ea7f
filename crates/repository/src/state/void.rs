//! Entries that change nothing.

/// Why an entry is void.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum VoidReason {
    /// It did not open when the entry behind it was decided either: garbage.
    DoesNotOpen,
    /// What a listed signer signed is no entry, or one of a kind that no feature in force brings.
    Malformed,
    /// Its signer is not in the policy.
    UnlistedSigner,
    /// Its signature does not hold.
    Signature,
    /// Its signer lacks the role.
    Role,
    /// Its signer may not write this source.
    Source,
    /// Its number is not that of its name.
    Number,
    /// It was decided at another entry than the one before.
    Base,
    /// It does not follow the bytes that were stored before it.
    PreviousHash,
    /// A snapshot with this ID has been seen.
    SnapshotSeen,
    /// A policy that the root key in force did not sign, or that does not count up by one.
    RootSignature,
    /// A policy that changes the identity secret.
    Identity,
    /// It names what is not there.
    Unknown,
    /// It forgets a snapshot that is under a hold.
    Held,
    /// Its manifest cannot be read.
    Manifest,
}

impl std::fmt::Display for VoidReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::DoesNotOpen => "it does not open, and did not when the next entry was written",
            Self::Malformed => "it is no well-formed entry of a kind that this repository has",
            Self::UnlistedSigner => "signed by nobody the policy lists",
            Self::Signature => "its signature does not hold",
            Self::Role => "its signer lacks the role",
            Self::Source => "its signer may not write this source",
            Self::Number => "it has another number than its name",
            Self::Base => "it was not decided at the entry before",
            Self::PreviousHash => "it does not follow the entries before",
            Self::SnapshotSeen => "a snapshot with this ID was seen before",
            Self::RootSignature => "the root key did not sign this policy",
            Self::Identity => "it changes the identity secret",
            Self::Unknown => "it names what is not there",
            Self::Held => "it forgets a snapshot that is under a hold",
            Self::Manifest => "its manifest cannot be read",
        })
    }
}
