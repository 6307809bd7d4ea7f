//! Counted, content-defined trees (`format-spec/tree.md`): entries by path, chunks by position.
//!
//! Where nodes end depends on a keyed hash of their items, so the same items give the same nodes whatever came
//! before, and a change rewrites the path from its leaf to the root and nothing else.

mod builder;
mod cursor;
mod shape;

pub use builder::{ContentBuilder, TreeBuilder};
pub(crate) use cursor::Below;
pub use cursor::{EntryCursor, ListCursor, NodeSource};
pub use shape::{ChunkShape, EntryShape, Shape};
