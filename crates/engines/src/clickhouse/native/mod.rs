//! ClickHouse's `Native` format, as it comes over HTTP: blocks of columns, each with its name, its type and its values.
//!
//! A stream is not decoded, only followed: what matters is where each block ends and how many rows it has. An exception in
//! the middle of a stream is text behind a piece of a block, under a status of success; whoever follows the blocks sees that.

mod scanner;
mod types;

pub use scanner::{NativeError, Scanner};
pub use types::ColumnType;
