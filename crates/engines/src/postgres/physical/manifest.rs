//! What a restored data directory has to hold, as `pg_verifybackup` reads it
//! (<https://www.postgresql.org/docs/current/backup-manifest-format.html>). It says sizes and no checksums: every byte was
//! verified when it was restored.

use std::fmt::Write as _;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use sha2::{Digest, Sha256};
use strongroom_format::tree_entry::EntryKind;
use strongroom_repository::tree::EntryCursor;

use super::super::error::PostgresError;
use super::{DATA, PhysicalSnapshot, SPACE, STOP, TABLESPACES};
use crate::engine::EngineError;

/// The log is told of by its positions, and not by its files.
const LOG: &str = "pg_wal/";

impl PhysicalSnapshot<'_> {
    /// Writes the manifest of what restoring the snapshot makes.
    ///
    /// # Errors
    /// `Scratch` when it cannot be written; what reading the tree fails with.
    pub(super) fn write_manifest(&self, file: &Path) -> Result<(), EngineError> {
        let wrong = |source: io::Error| PostgresError::Scratch { what: file.into(), why: source.to_string() };
        let mut out =
            Hashed { out: BufWriter::new(std::fs::File::create(file).map_err(wrong)?), hash: Sha256::new() };
        out.write_all(b"{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n\"Files\": [").map_err(wrong)?;
        let mut cursor = EntryCursor::new(self.reader, &self.snapshot.manifest.tree)?;
        let mut comma = "\n";
        while let Some(entry) = cursor.next_entry()? {
            let place = place_of(entry.path.as_bytes()).filter(|place| !place.starts_with(LOG.as_bytes()));
            if let Some(place) = place.filter(|_| matches!(entry.kind, EntryKind::File(_))) {
                // Hexadecimal does for any name.
                write!(
                    out,
                    "{comma}{{ \"Encoded-Path\": \"{}\", \"Size\": {} }}",
                    hex(&place),
                    entry.bytes()
                )
                .map_err(wrong)?;
                comma = ",\n";
            }
        }
        let facts = &self.facts;
        write!(
            out,
            "\n],\n\"WAL-Ranges\": [\n{{ \"Timeline\": {}, \"Start-LSN\": \"{}\", \"End-LSN\": \"{}\" }}\n],\n",
            facts.timeline, facts.start_lsn, facts.stop_lsn
        )
        .map_err(wrong)?;
        let Hashed { mut out, hash } = out;
        let sum = hex(&hash.finalize());
        writeln!(out, "\"Manifest-Checksum\": \"{sum}\"}}").and_then(|()| out.flush()).map_err(wrong)?;
        Ok(())
    }
}

/// Where in the data directory an entry of a snapshot lies.
fn place_of(path: &[u8]) -> Option<Vec<u8>> {
    let below = |folder: &str| path.strip_prefix(folder.as_bytes())?.strip_prefix(b"/");
    let space = || Some([TABLESPACES.as_bytes(), b"/", below(SPACE)?].concat());
    below(DATA).or_else(|| below(STOP)).map(<[u8]>::to_vec).or_else(space)
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // A string takes all that is written to it.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Hashes what passes.
struct Hashed<W> {
    out: W,
    hash: Sha256,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_lie_where_the_server_looks() {
        let of = |path: &str| place_of(path.as_bytes()).map(|place| String::from_utf8(place).unwrap());
        assert_eq!(of("data/base/5/16450").as_deref(), Some("base/5/16450"));
        assert_eq!(of("stop/global/pg_control").as_deref(), Some("global/pg_control"));
        assert_eq!(
            of("space/16400/PG_15_202209061/5/1").as_deref(),
            Some("pg_tblspc/16400/PG_15_202209061/5/1")
        );
        assert_eq!(of("database"), None);
    }
}
