//! The rules of the protocol, each a switch.

use std::fmt;

/// A rule, as `format-spec/protocols.md` numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// A1. An entry's number is taken once: names are created, never replaced.
    NumbersAreTakenOnce,
    /// A2. An entry that was decided at another state than the one before it is void.
    VoidUnlessDecidedBefore,
    /// A3. An entry of a signer who is not listed, or lacks the role, is void.
    VoidUnlessListed,
    /// A4. Packs that a signer brought before it was revoked stay.
    WhatWasBroughtStays,
    /// C1. What an entry names is durable before it.
    ContentFirst,
    /// C2. Only packs that entries name count.
    OnlyWhatIsNamedCounts,
    /// C3. Retired packs do not count.
    RetiredDoesNotCount,
    /// W1. A writer whose entry's number is taken looks at what came, and checks anew what it relies on.
    WriterRebases,
    /// W2. What a writer brings is checked against all that was ever retired.
    OwnPacksAreChecked,
    /// W3. A subtree of the parent is reused only while the parent is there.
    ParentIsThere,
    /// W4. What a frame builds on is relied on like a chunk.
    BasesAreReliedOn,
    /// W5. A frame that is copied out of a retired pack has its bases copied too, or relied on.
    RescuesTakeBases,
    /// W6. No frame is brought that is sealed under a retired key.
    KeysAreChecked,
    /// G1. A part is checked from the state that it was decided at.
    PartsFromTheirBase,
    /// G2. All parts are checked from the smallest of their bases.
    SmallestBase,
    /// G3. Packs that a part uploaded are checked against all that was ever retired.
    PartsPacksAreChecked,
    /// P1. A pack is retired only if every snapshot finds its chunks without it, and the chunks' bases.
    BasesAreNeeded,
    /// P2. ... and every frame of every pack that stays its bases, needed or not.
    AllThatStaysKeepsItsBases,
    /// P3. A base is one only in a shallower frame.
    BasesAreShallower,
    /// P4. A retire entry is looked at as a whole: none of its packs stands in for another.
    EntryAsAWhole,
    /// P5. A pruner whose entry's number is taken looks at what came, and decides again.
    PrunerDecidesAgain,
    /// P6. The copies that it brings are checked against all that was ever retired.
    CopiesAreChecked,
    /// P7. What an entry named meanwhile is no leftover.
    LeftoversAreUnnamed,
    /// P8. While an entry is damaged nothing is retired.
    DamageStopsRetiring,
    /// K1. A data key is retired only if nothing that counts, copies included, is sealed under it.
    CopiesKeepKeys,
    /// K2. ... which is looked at again when others wrote meanwhile.
    KeysAreDecidedAgain,
    /// D1. Only what is retired is deleted.
    RetireBeforeDelete,
    /// X1. New index objects say all that the old ones said of packs that count.
    IndexesSayAll,
}

impl Rule {
    /// All of them, in the order of the specification.
    pub const ALL: [Self; 28] = [
        Self::NumbersAreTakenOnce,
        Self::VoidUnlessDecidedBefore,
        Self::VoidUnlessListed,
        Self::WhatWasBroughtStays,
        Self::ContentFirst,
        Self::OnlyWhatIsNamedCounts,
        Self::RetiredDoesNotCount,
        Self::WriterRebases,
        Self::OwnPacksAreChecked,
        Self::ParentIsThere,
        Self::BasesAreReliedOn,
        Self::RescuesTakeBases,
        Self::KeysAreChecked,
        Self::PartsFromTheirBase,
        Self::SmallestBase,
        Self::PartsPacksAreChecked,
        Self::BasesAreNeeded,
        Self::AllThatStaysKeepsItsBases,
        Self::BasesAreShallower,
        Self::EntryAsAWhole,
        Self::PrunerDecidesAgain,
        Self::CopiesAreChecked,
        Self::LeftoversAreUnnamed,
        Self::DamageStopsRetiring,
        Self::CopiesKeepKeys,
        Self::KeysAreDecidedAgain,
        Self::RetireBeforeDelete,
        Self::IndexesSayAll,
    ];
}

/// Which rules are kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    dropped: Option<Rule>,
}

impl Rules {
    /// All rules.
    pub const ALL: Self = Self { dropped: None };

    /// All but one.
    #[must_use]
    pub const fn without(rule: Rule) -> Self {
        Self { dropped: Some(rule) }
    }

    /// Whether a rule is kept.
    #[must_use]
    pub fn keep(self, rule: Rule) -> bool {
        self.dropped != Some(rule)
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.dropped {
            None => f.write_str("all rules"),
            Some(rule) => write!(f, "all rules but {rule:?}"),
        }
    }
}
