//! Archives of `pg_dump --format=custom`, read while they stream: the table of contents first, then the data of each
//! table as a block of its own. All blocks behind the head are the archive again, byte for byte; some of them are an
//! archive that restores these tables only.
//!
//! The format is in PostgreSQL's own sources (`src/bin/pg_dump/pg_backup_archiver.c`, `pg_backup_custom.c`): versions 1.12
//! (PostgreSQL 9.6) to 1.16 (PostgreSQL 18).

mod block;
mod error;
mod integer;
mod reader;
mod toc;

pub use block::{Block, BlockKind};
pub use error::ArchiveError;
pub use reader::ArchiveReader;
pub use toc::{Section, Toc, TocEntry};

#[cfg(test)]
mod tests;
