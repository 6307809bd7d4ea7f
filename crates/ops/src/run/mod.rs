//! What is due of a configuration, what of it runs somewhere already, and what became of it: as notes in the journal, so that every
//! host and every later run knows.
//!
//! A run is begun by a note and ended by another. Of two that begin the same at once the one goes on whose note comes first. What
//! takes longer leaves more notes; one that was killed counts as running until the lease of its last ends, but not where it ran: there
//! a lock tells it.

mod note;
mod plan;
mod scheduler;

pub(crate) use self::note::{BEGAN, ENDED};
pub use self::note::{Began, Ended, RunResult, Work};
pub use self::plan::{Chosen, Job, Plan};
pub use self::scheduler::{Due, Scheduler};
