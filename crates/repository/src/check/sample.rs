//! Which packs a sample reads, so that in the course of time it reads all.

use strongroom_format::PackId;

/// A pack that may be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Candidate {
    /// The entry that attested it last.
    pub(super) attested: Option<u64>,
    /// Drawn at random.
    pub(super) ticket: [u8; 8],
    pub(super) id: PackId,
}

/// That percentage of them, at least one, sorted.
///
/// Of four, three are those that were attested the longest ago or never. The fourth is anyone of the others: a pack that
/// cannot be opened, because it is damaged or in cold storage, is never attested, and may not keep others from their turn.
pub(super) fn draw(mut candidates: Vec<Candidate>, percent: u8) -> Vec<PackId> {
    let count = (candidates.len() * usize::from(percent.min(100))).div_ceil(100).max(1);
    candidates.sort_unstable();
    // A quarter on average, of a single one too.
    let luck = candidates.first().map_or(0, |first| usize::from(first.ticket[7] % 4));
    let oldest = count - (count + luck) / 4;
    if let Some(others) = candidates.get_mut(oldest..) {
        others.sort_unstable_by_key(|candidate| candidate.ticket);
    }
    let mut drawn: Vec<_> = candidates.iter().take(count).map(|candidate| candidate.id).collect();
    drawn.sort_unstable();
    drawn
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn candidate(n: u8, attested: Option<u64>, round: u8) -> Candidate {
        let ticket = *blake3::hash(&[n, round]).as_bytes().first_chunk().unwrap();
        Candidate { attested, ticket, id: PackId([n; 32]) }
    }

    #[test]
    fn as_many_as_asked_for_and_at_least_one() {
        let of =
            |packs: u8, percent| draw((0..packs).map(|n| candidate(n, None, 0)).collect(), percent).len();
        assert_eq!((of(100, 7), of(101, 7), of(3, 1), of(3, 100), of(3, 200), of(0, 50)), (7, 8, 1, 3, 3, 0));
    }

    #[test]
    fn all_are_read_in_the_course_of_time() {
        let mut attested = [None; 100];
        for round in 0..14 {
            let candidates = (0..100).map(|n| candidate(n, attested[usize::from(n)], round)).collect();
            for PackId(id) in draw(candidates, 10) {
                attested[usize::from(id[0])] = Some(u64::from(round));
            }
        }
        assert!(attested.iter().all(Option::is_some), "14 times 10%, of which three quarters in turn");
    }

    #[test]
    fn what_cannot_be_opened_keeps_nothing_from_its_turn() {
        let mut read = BTreeSet::new();
        for round in 0..100 {
            let candidates = (0..10).map(|n| candidate(n, None, round).unopened_below(5, n, &read)).collect();
            read.extend(draw(candidates, 10).into_iter().filter(|PackId(id)| id[0] >= 5));
        }
        assert_eq!(read.len(), 5);
    }

    impl Candidate {
        /// Attested once it was read, unless it is one of those that do not open.
        fn unopened_below(self, bad: u8, n: u8, read: &BTreeSet<PackId>) -> Self {
            Self { attested: (n >= bad && read.contains(&self.id)).then_some(1), ..self }
        }
    }
}
