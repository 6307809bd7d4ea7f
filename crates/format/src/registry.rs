//! Every number the format assigns, in one place (`format-spec/registry.md`).

use crate::FormatError;

macro_rules! numbered {
    ($(#[$doc:meta])* $name:ident: $what:literal { $($(#[$vdoc:meta])* $variant:ident = $value:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum $name { $($(#[$vdoc])* $variant = $value),+ }

        impl $name {
            /// The number that is stored.
            #[must_use]
            pub const fn number(self) -> u8 { self as u8 }
        }

        impl TryFrom<u64> for $name {
            type Error = FormatError;
            fn try_from(value: u64) -> Result<Self, FormatError> {
                match value {
                    $($value => Ok(Self::$variant),)+
                    _ => Err(FormatError::Unknown { what: $what, value }),
                }
            }
        }
    };
}

numbered!(
    /// What an object is: byte 8 of its header, and part of what a signature covers.
    ObjectKind: "object kind" {
        /// Frames of chunks.
        DataPack = 1,
        /// Frames of tree nodes.
        MetadataPack = 2,
        /// Which chunks lie in which frames of which packs.
        Index = 3,
        /// One entry of the journal.
        Entry = 4,
        /// The folded state after an entry.
        Checkpoint = 5,
        /// What one worker of a group stored.
        Part = 6,
        /// A part of a file of a log archive.
        Wal = 7,
        /// A wrapped key: signed, plain CBOR.
        Key = 16,
        /// A policy: signed by the root key, inside an entry.
        Policy = 17,
    }
);

numbered!(
    /// What a key is for.
    Purpose: "key purpose" {
        /// Opens frames of chunks; one a backup run.
        Data = 1,
        /// Opens everything else that is sealed.
        Metadata = 2,
        /// Names chunks, nodes and objects.
        Identity = 3,
        /// The X25519 private key that data keys are sealed to.
        Vault = 4,
        /// An Ed25519 seed of one writer.
        Signing = 5,
        /// The Ed25519 seed that signs policies.
        Root = 6,
    }
);

impl Purpose {
    /// Its name, as people and encryption contexts have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Metadata => "metadata",
            Self::Identity => "identity",
            Self::Vault => "vault",
            Self::Signing => "signing",
            Self::Root => "root",
        }
    }
}

numbered!(
    /// How a key is wrapped.
    RecipientType: "recipient type" {
        /// Argon2id over a passphrase.
        Passphrase = 1,
        /// A file of 32 random bytes.
        KeyFile = 2,
        /// HPKE to an X25519 public key; the vault is one.
        X25519 = 3,
        /// A KMS key of AWS.
        AwsKms = 4,
    }
);

numbered!(
    /// What a journal entry says.
    EntryKind: "entry kind" {
        /// Signers, recipients, features.
        Policy = 1,
        /// A snapshot and the packs and index objects it brings.
        Snapshot = 2,
        /// Snapshots that are gone.
        Forget = 3,
        /// New index objects replace old ones.
        Reindex = 4,
        /// Packs that no longer count.
        Retire = 5,
        /// Segments of a log archive that may be deleted.
        Expire = 6,
        /// Every chunk of these packs opened.
        Attested = 7,
        /// A restore of this snapshot was tested (reserved).
        Verified = 8,
        /// Tags added to and taken from snapshots.
        Tag = 9,
        /// Legal holds, put on snapshots and taken off.
        Hold = 10,
        /// Audit of restores, checks and failed runs.
        Note = 11,
        /// Brings back frames of a forgotten snapshot (reserved).
        Reinstate = 12,
    }
);

numbered!(
    /// How the plaintext of a frame is stored.
    Codec: "frame codec" {
        /// As it is.
        Raw = 0,
        /// One zstd frame (RFC 8878).
        Zstd = 1,
    }
);

numbered!(
    /// Kinds of chunker a stream may have been cut by.
    ChunkerKind: "chunker" {
        /// Keyed FastCDC (`format-spec/chunking.md`).
        FastCdc = 1,
        /// Chunks of one size, aligned to it.
        Fixed = 2,
    }
);

impl ChunkerKind {
    /// As machines are told it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::FastCdc => "fastcdc",
            Self::Fixed => "fixed",
        }
    }
}

numbered!(
    /// Who may lift an object lock.
    LockMode: "object lock mode" {
        /// Whoever has a special right.
        Governance = 1,
        /// Nobody.
        Compliance = 2,
    }
);

numbered!(
    /// Which writers' packs a writer may deduplicate against.
    Trust: "deduplication trust" {
        /// Only its own.
        Own = 0,
        /// Its own, and packs that a verifier has attested.
        Attested = 1,
        /// All.
        All = 2,
    }
);

/// Roles of a signer: a set of bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roles(pub u8);

impl EntryKind {
    /// The role that its signer needs; for taking a hold off see [`crate::entry::Statement::role`].
    #[must_use]
    pub const fn role(self) -> Roles {
        match self {
            Self::Policy | Self::Reinstate => Roles::ADMIN,
            Self::Snapshot => Roles::WRITE,
            Self::Forget | Self::Reindex | Self::Retire | Self::Expire => Roles::MAINTAIN,
            Self::Attested | Self::Verified => Roles::VERIFY,
            Self::Tag | Self::Hold | Self::Note => Roles(0),
        }
    }
}

impl Roles {
    /// Snapshots of the listed sources.
    pub const WRITE: Roles = Roles(1);
    /// Forget, reindex, retire, expire; checkpoints.
    pub const MAINTAIN: Roles = Roles(2);
    /// Attested, verified.
    pub const VERIFY: Roles = Roles(4);
    /// Policies, taking holds off.
    pub const ADMIN: Roles = Roles(8);
    /// All of them: a repository of one user.
    pub const ALL: Roles = Roles(15);

    /// Each role with its name, as people write it.
    pub const NAMED: [(Roles, &str); 4] = [
        (Roles::WRITE, "write"),
        (Roles::MAINTAIN, "maintain"),
        (Roles::VERIFY, "verify"),
        (Roles::ADMIN, "admin"),
    ];

    /// The names of the roles that are held.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMED.into_iter().filter(move |(role, _)| self.holds(*role)).map(|(_, name)| name)
    }

    /// Whether every role of `other` is held.
    #[must_use]
    pub fn holds(self, other: Roles) -> bool {
        self.0 & other.0 == other.0
    }
}
