//! What a server has ready for its archive, and what of it was given up because there was too much.
//!
//! A server keeps each segment until `archive_command` says that it is archived: while the repository cannot be reached its
//! disk fills, and in the end it stops. Whoever would rather lose the log than the server sets a limit. When more waits than
//! that, and pushing fails or is too slow, all that waits is *dropped*: the server is told that it is archived, and it is not.
//!
//! The decision that shapes it: nothing is dropped without a trace that survives a crash ([`Dropped`], in a folder of this
//! host). It is told in the repository's journal as soon as that can be reached again, and only then forgotten here.

mod dropped;
mod ready;

pub use dropped::{Dropped, DroppedFiles, DroppedRange, SpoolError};
pub use ready::{bytes_of, ready};
