//! The numbers of the format.

/// The newest version whose every part is known here: that of Redis 7.4 and 8.0.
pub(crate) const NEWEST_VERSION: u32 = 12;

/// What stands where a key's type would.
pub(crate) mod op {
    /// Which slot of a cluster comes next.
    pub(crate) const SLOT_INFO: u8 = 244;
    /// A library of functions.
    pub(crate) const FUNCTION: u8 = 245;
    /// What a module keeps beside keys.
    pub(crate) const MODULE_AUX: u8 = 247;
    /// How long ago the next key was used.
    pub(crate) const IDLE: u8 = 248;
    /// How often the next key was used.
    pub(crate) const FREQUENCY: u8 = 249;
    /// Something to know of the dump.
    pub(crate) const AUX: u8 = 250;
    /// How many keys the database has.
    pub(crate) const RESIZE_DATABASE: u8 = 251;
    /// When the next key expires, milliseconds.
    pub(crate) const EXPIRES_MS: u8 = 252;
    /// When the next key expires, seconds.
    pub(crate) const EXPIRES: u8 = 253;
    /// The database of what follows.
    pub(crate) const SELECT_DATABASE: u8 = 254;
    /// The end.
    pub(crate) const END: u8 = 255;
}

/// The types of values.
pub(crate) mod kind {
    pub(crate) const STRING: u8 = 0;
    pub(crate) const LIST: u8 = 1;
    pub(crate) const SET: u8 = 2;
    pub(crate) const ZSET: u8 = 3;
    pub(crate) const HASH: u8 = 4;
    pub(crate) const ZSET_2: u8 = 5;
    pub(crate) const MODULE_2: u8 = 7;
    pub(crate) const HASH_ZIPMAP: u8 = 9;
    pub(crate) const LIST_ZIPLIST: u8 = 10;
    pub(crate) const SET_INTSET: u8 = 11;
    pub(crate) const ZSET_ZIPLIST: u8 = 12;
    pub(crate) const HASH_ZIPLIST: u8 = 13;
    pub(crate) const LIST_QUICKLIST: u8 = 14;
    pub(crate) const STREAM: u8 = 15;
    pub(crate) const HASH_LISTPACK: u8 = 16;
    pub(crate) const ZSET_LISTPACK: u8 = 17;
    pub(crate) const LIST_QUICKLIST_2: u8 = 18;
    pub(crate) const STREAM_2: u8 = 19;
    pub(crate) const SET_LISTPACK: u8 = 20;
    pub(crate) const STREAM_3: u8 = 21;
    pub(crate) const HASH_EXPIRING: u8 = 24;
    pub(crate) const HASH_LISTPACK_EXPIRING: u8 = 25;
}

/// What a value is, whichever encoding it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    String,
    List,
    Set,
    SortedSet,
    Hash,
    Stream,
    Module,
}

impl Kind {
    /// That of a type; none for one that is not known.
    pub(crate) fn of(code: u8) -> Option<Self> {
        Some(match code {
            kind::STRING => Self::String,
            kind::LIST | kind::LIST_ZIPLIST | kind::LIST_QUICKLIST | kind::LIST_QUICKLIST_2 => Self::List,
            kind::SET | kind::SET_INTSET | kind::SET_LISTPACK => Self::Set,
            kind::ZSET | kind::ZSET_2 | kind::ZSET_ZIPLIST | kind::ZSET_LISTPACK => Self::SortedSet,
            kind::HASH
            | kind::HASH_ZIPMAP
            | kind::HASH_ZIPLIST
            | kind::HASH_LISTPACK
            | kind::HASH_EXPIRING
            | kind::HASH_LISTPACK_EXPIRING => Self::Hash,
            kind::STREAM | kind::STREAM_2 | kind::STREAM_3 => Self::Stream,
            kind::MODULE_2 => Self::Module,
            _ => return None,
        })
    }

    /// In facts.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::String => "strings",
            Self::List => "lists",
            Self::Set => "sets",
            Self::SortedSet => "sorted_sets",
            Self::Hash => "hashes",
            Self::Stream => "streams",
            Self::Module => "module_values",
        }
    }
}
