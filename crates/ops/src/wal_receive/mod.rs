//! Receiving the log of a server into a spool folder, and from there into a repository.
//!
//! Two go on side by side, with a folder of this host between them: [`receive`] keeps `pg_receivewal` running, which flushes
//! what it receives before the server hears of it; whoever has the repository pushes what is [finished](Spool::finished), and
//! only then [removes](Spool::remove) it. So the server may forget what this host has, this host what the repository has, and
//! either side may be killed or away at any time.
//!
//! The last whole segment stays in the spool until there is another: by it `pg_receivewal` knows where to go on.

mod spool;
mod supervise;

pub use spool::{Spool, SpoolFolderError};
pub use supervise::{ReceiveError, receive};
