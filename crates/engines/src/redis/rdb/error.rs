//! Why bytes are no dump of Redis.

/// What was wrong with it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RdbError {
    /// It cannot be read on.
    #[error("it cannot be read")]
    Read(#[source] std::io::Error),
    /// It ends in the middle.
    #[error("it ends after {offset} bytes, in the middle")]
    Truncated {
        /// Where.
        offset: u64,
    },
    /// It begins as something else.
    #[error("it does not begin as a dump of Redis does")]
    NotRdb,
    /// It is of a version that is not known here.
    #[error("it is of version {version}, and the newest that is known here is {newest}")]
    Version {
        /// Which.
        version: u32,
        /// Known.
        newest: u32,
    },
    /// Its checksum is wrong.
    #[error("its checksum is wrong: it says {stored:016x}, and its bytes come to {computed:016x}")]
    Checksum {
        /// What it says.
        stored: u64,
        /// What its bytes come to.
        computed: u64,
    },
    /// A value of a kind that is not known here.
    #[error("a value of type {code} at byte {offset} is none that is known here")]
    Type {
        /// As it stands there.
        code: u8,
        /// Where.
        offset: u64,
    },
    /// It says what makes no sense.
    #[error("{what} at byte {offset} makes no sense")]
    Malformed {
        /// What.
        what: &'static str,
        /// Where.
        offset: u64,
    },
    /// What is made of it cannot be written.
    #[error("what is made of it cannot be written")]
    Write(#[source] std::io::Error),
}
