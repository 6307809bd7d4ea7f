//! Merging runs, so that lookups ask few: the smallest ones, those that together are a third of the next among them.
//!
//! A merge reads runs that never change, outside of any transaction, and then takes their place in one, unless they are
//! gone. What belongs to packs that are gone is left out. One process merges at a time; nobody waits for it.

use std::cmp::Reverse;
use std::collections::binary_heap::PeekMut;
use std::collections::{BTreeSet, BinaryHeap};

use super::Place;
use super::database::{self, Counter};
use super::error::CacheError;
use super::pack_table::Numbers;
use super::run::{Record, Run, RunSummary, RunWriter, Scan};

/// Runs that are merged at once, and as many as there may be while many are added.
pub(super) const MANY: usize = 48;
/// How much larger than all smaller ones together a run is left as it is.
const STEP: u64 = 3;
/// Entries of packs that are gone that are no reason to write all again.
const DEAD_ENTRIES: u64 = 1 << 16;
/// For reading runs, together.
const BUFFER_BYTES: usize = 12 << 20;

/// Which runs to merge: how many of the smallest, `entries` being sorted.
fn due(entries: &[u64], live: u64, more_to_come: bool) -> usize {
    let Some(smallest) = entries.first() else { return 0 };
    if more_to_come {
        // Those of about one size: they are merged again at the end.
        let same = entries.iter().take_while(|entries| **entries <= smallest.saturating_mul(4)).count();
        return if entries.len() >= MANY { same.max(2) } else { 0 };
    }
    let all: u64 = entries.iter().sum();
    if all > live.saturating_add(live / 2).saturating_add(DEAD_ENTRIES) {
        return entries.len();
    }
    let (mut count, mut smaller) = (0, 0_u64);
    for (before, entries) in entries.iter().enumerate() {
        if before > 0 && *entries <= smaller.saturating_mul(STEP) {
            count = before + 1;
        }
        smaller += entries;
    }
    count
}

impl Place {
    /// Merges what is due, and removes files that no list names. Says whether the list changed.
    pub(super) fn merge(&self, more_to_come: bool) -> Result<bool, CacheError> {
        let Some(_lock) = self.files.lock()? else { return Ok(false) };
        let mut has_merged = false;
        loop {
            let listed = self.database.write(|transaction| {
                let listed = database::runs(transaction)?;
                let numbers: BTreeSet<u64> = listed.iter().map(|(number, _)| *number).collect();
                self.files.sweep(&numbers);
                Ok(listed)
            })?;
            let live = self.database.read(|connection| {
                connection.query_row("SELECT coalesce(sum(chunks), 0) FROM pack", [], |row| row.get(0))
            })?;
            let entries: Vec<u64> = listed.iter().map(|(_, summary)| summary.entries.into()).collect();
            let mut count = due(&entries, live, more_to_come);
            while entries[..count].iter().sum::<u64>() > u32::MAX.into() {
                count -= 1;
            }
            let is_worth_it = count > 1 || (count == 1 && entries.len() == 1);
            if !is_worth_it {
                return Ok(has_merged);
            }
            self.merge_runs(&listed[..count])?;
            has_merged = true;
        }
    }

    fn merge_runs(&self, sources: &[(u64, RunSummary)]) -> Result<(), CacheError> {
        let number = self.database.write(|transaction| Ok(Counter::Run.count(transaction)?))?;
        let live = self.database.read(Numbers::read)?;
        let entries: u64 = sources.iter().map(|(_, summary)| u64::from(summary.entries)).sum();
        let medium = self.files.create(number, Run::file_bytes(entries))?;
        let mut writer = RunWriter::new(medium, entries);
        let mut merged = Merged::open(self, sources)?;
        while let Some(record) = merged.next()? {
            if live.contains(record.pack) {
                writer.push(record)?;
            }
        }
        let (medium, summary) = writer.finish()?;
        self.files.keep(number, medium);
        let is_committed = self.database.write(|transaction| {
            let listed = database::runs(transaction)?;
            if !sources.iter().all(|source| listed.contains(source)) {
                return Ok(false);
            }
            for (source, _) in sources {
                transaction.prepare_cached("DELETE FROM run WHERE no = ?1")?.execute([source])?;
            }
            if summary.entries > 0 {
                database::list_run(transaction, number, &summary)?;
            }
            Counter::Changed.count(transaction)?;
            Ok(true)
        })?;
        if is_committed {
            sources.iter().for_each(|(source, _)| self.files.remove(*source));
        }
        if !is_committed || summary.entries == 0 {
            self.files.remove(number);
        }
        Ok(())
    }
}

/// The records of several runs, in order.
struct Merged {
    scans: Vec<Scan>,
    next: BinaryHeap<Reverse<(Record, usize)>>,
}

impl Merged {
    fn open(place: &Place, sources: &[(u64, RunSummary)]) -> Result<Self, CacheError> {
        let mut merged = Self { scans: Vec::new(), next: BinaryHeap::new() };
        for (number, summary) in sources {
            let medium =
                place.files.open(*number).map_err(CacheError::file("a run of the index cannot be opened"))?;
            let mut scan = Scan::open(medium, *summary, BUFFER_BYTES / sources.len())?;
            if let Some(record) = scan.next()? {
                merged.next.push(Reverse((record, merged.scans.len())));
            }
            merged.scans.push(scan);
        }
        Ok(merged)
    }

    fn next(&mut self) -> Result<Option<Record>, CacheError> {
        let Some(mut top) = self.next.peek_mut() else { return Ok(None) };
        let Reverse((record, scan)) = *top;
        match self.scans[scan].next()? {
            Some(next) => *top = Reverse((next, scan)),
            None => drop(PeekMut::pop(top)),
        }
        Ok(Some(record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_runs_are_left_whatever_comes() {
        let mut entries: Vec<u64> = Vec::new();
        let (mut written, mut total) = (0, 0);
        for round in 0_u64..5000 {
            let new = 1 + (round * 7919) % 1000;
            total += new;
            entries.push(new);
            entries.sort_unstable();
            loop {
                let count = due(&entries, total, false);
                if count < 2 {
                    break;
                }
                let merged: u64 = entries.drain(..count).sum();
                written += merged;
                entries.push(merged);
                entries.sort_unstable();
            }
            assert!(entries.len() <= 10, "{entries:?}");
        }
        assert!(written < 12 * total, "each entry was written {} times", written / total);
    }

    #[test]
    fn while_many_are_added_runs_of_one_size_are_merged() {
        assert_eq!(due(&[10; MANY - 1], 0, true), 0);
        assert_eq!(due(&[10; MANY], 0, true), MANY);
        let with_large = [[10; MANY].as_slice(), &[10 * MANY as u64]].concat();
        assert_eq!(due(&with_large, 0, true), MANY);
    }

    #[test]
    fn what_is_mostly_gone_is_written_again() {
        assert_eq!(due(&[1_000_000], 900_000, false), 0);
        assert_eq!(due(&[1_000_000], 100_000, false), 1);
        assert_eq!(due(&[10, 1_000_000], 100_000, false), 2);
        assert_eq!(due(&[], 0, false), 0);
    }
}
