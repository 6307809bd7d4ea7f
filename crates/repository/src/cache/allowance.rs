//! How the memory that an index may take is divided.

use super::run::Run;

/// What the index may hold in memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowance {
    bytes: u64,
}

impl Default for Allowance {
    fn default() -> Self {
        Self::of(384 << 20)
    }
}

impl Allowance {
    pub(crate) fn of(bytes: u64) -> Self {
        Self { bytes }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The least that an index of so many chunks and packs can do with: without filters.
    pub(crate) fn least_bytes(chunks: u64, packs: u64) -> u64 {
        let least = Self::of(0);
        let lookups = Run::resident_bytes(chunks, false) + packs * super::pack_table::PACK_BYTES;
        lookups + least.database_bytes() + least.locality_bytes() as u64 + least.intake_bytes() as u64
    }

    /// Pages of the database.
    pub(super) fn database_bytes(&self) -> u64 {
        (self.bytes / 64).clamp(1 << 20, 8 << 20)
    }

    /// Neighbours of what was looked up.
    pub(super) fn locality_bytes(&self) -> usize {
        usize::try_from((self.bytes / 32).clamp(1 << 20, 16 << 20)).unwrap_or(1 << 20)
    }

    /// What is loaded and not yet written.
    pub(super) fn intake_bytes(&self) -> usize {
        usize::try_from((self.bytes / 8).clamp(4 << 20, 48 << 20)).unwrap_or(4 << 20)
    }

    /// Tables of runs and packs.
    pub(super) fn lookup_bytes(&self) -> u64 {
        self.bytes.saturating_sub(self.database_bytes() + self.locality_bytes() as u64)
    }
}
