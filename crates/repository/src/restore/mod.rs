//! Restoring: contents of many files at once, or one content in order.
//!
//! Jobs are gathered in windows and grouped by the frame they lie in, so that a frame is fetched and opened once
//! a window, whatever the order of files. Memory holds a few windows of jobs and a bounded cache of frames.

mod ordered;
mod queue;

pub use ordered::write_in_order;
pub(crate) use ordered::{Output, read_in_order};
pub use queue::{ContentQueue, ContentTarget, restore_contents};
