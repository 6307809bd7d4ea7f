//! The head of a journal, short enough to be noted elsewhere: whoever holds it can tell whether anything up to that
//! entry was replaced, removed or rolled back since.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use strongroom_format::ContentHash;
use strongroom_keys::derive::chain;

/// An entry, and the chain over what is stored up to it (`format-spec/journal.md#chain`). As text `N:HEX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalHead {
    /// The entry.
    pub number: u64,
    /// The chain over the bytes of `config` and of every entry up to it.
    pub chain: ContentHash,
}

impl fmt::Display for JournalHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.number, self.chain)
    }
}

/// What was given is no head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "write it as `strongroom journal verify` prints it: the number of an entry, `:`, 64 hexadecimal digits"
)]
pub struct InvalidHead;

impl FromStr for JournalHead {
    type Err = InvalidHead;

    fn from_str(text: &str) -> Result<Self, InvalidHead> {
        let (number, digits) = text.trim().split_once(':').ok_or(InvalidHead)?;
        let chain = ContentHash::from_hex(&digits.to_lowercase()).ok_or(InvalidHead)?;
        Ok(Self { number: number.parse().map_err(|_| InvalidHead)?, chain })
    }
}

/// The chain over the bytes that are stored. Unlike a state's it takes nobody's word for bytes that are gone: an entry
/// that was replaced shows in it whatever is signed behind it, and whoever declared it settled.
pub(super) struct StoredChain {
    chain: ContentHash,
    next: u64,
    /// The entry's hash and the chain at entries that somebody asked for.
    marks: BTreeMap<u64, Option<Mark>>,
}

/// The chain at an entry.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    pub(super) entry_hash: ContentHash,
    pub(super) chain: ContentHash,
}

impl StoredChain {
    /// Before the first entry.
    pub(super) fn new(config_hash: ContentHash) -> Self {
        Self { chain: config_hash, next: 0, marks: BTreeMap::new() }
    }

    /// Has the chain at an entry that is yet to come noted.
    pub(super) fn mark(&mut self, number: u64) {
        self.marks.insert(number, None);
    }

    /// What was noted at an entry; `None` where the journal is shorter.
    pub(super) fn marked(&self, number: u64) -> Option<Mark> {
        self.marks.get(&number).copied().flatten()
    }

    /// Adds the next entry by the hash of its stored bytes, 32 zeros if there are none.
    pub(super) fn push(&mut self, entry_hash: ContentHash) {
        self.chain = chain(self.chain, entry_hash);
        if let Some(mark) = self.marks.get_mut(&self.next) {
            *mark = Some(Mark { entry_hash, chain: self.chain });
        }
        self.next += 1;
    }

    /// The last entry and the chain up to it.
    pub(super) fn head(&self) -> JournalHead {
        JournalHead { number: self.next.saturating_sub(1), chain: self.chain }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_text() {
        let head = JournalHead { number: 41, chain: ContentHash([0xab; 32]) };
        assert_eq!(head.to_string().parse(), Ok(head));
        assert_eq!(head.to_string().to_uppercase().parse(), Ok(head));
        for wrong in ["", "41", ":ab", "41:ab", "x:00", &head.to_string()[1..][1..], &format!("{head}0")] {
            assert_eq!(wrong.parse::<JournalHead>(), Err(InvalidHead), "{wrong}");
        }
    }

    #[test]
    fn marks_are_of_the_entries_that_were_asked_for() {
        let mut stored = StoredChain::new(ContentHash([1; 32]));
        [1, 7].into_iter().for_each(|number| stored.mark(number));
        let mut expected = ContentHash([1; 32]);
        for number in 0..3_u8 {
            stored.push(ContentHash([number; 32]));
            expected = chain(expected, ContentHash([number; 32]));
            if number == 1 {
                assert_eq!(stored.marked(1).map(|mark| mark.chain), Some(expected));
            }
        }
        assert_eq!(stored.head(), JournalHead { number: 2, chain: expected });
        assert!(stored.marked(7).is_none() && stored.marked(0).is_none());
    }
}
