//! Retention: which snapshots a policy keeps, and why.
//!
//! Each source of each host is judged by itself, as it has parents of its own, unless they are grouped otherwise; by the
//! times that the journal records of the store, in UTC. The newest snapshot of a group always stays, the newest of which
//! everything could be read, and what is under a hold. Periods are counted as restic counts them: the newest snapshot of
//! each of the last so many hours, days, weeks (from Monday), months or years that have one.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use strongroom_format::SnapshotId;
use strongroom_format::checkpoint::Hold;

use crate::state::Snapshot;

/// A stretch of time of which one snapshot is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Period {
    /// From one full hour to the next.
    Hour,
    /// From midnight, UTC.
    Day,
    /// From Monday.
    Week,
    /// From the first.
    Month,
    /// From January.
    Year,
}

/// What is to be forgotten, and what not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// What is judged at all.
    pub filter: Filter,
    /// What is judged together.
    pub group_by: GroupBy,
    /// What is kept of each group.
    pub keep: Keep,
}

/// Which snapshots are judged: those that pass every part that is not empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of one of these sources.
    pub sources: Vec<String>,
    /// Of one of these hosts.
    pub hosts: Vec<String>,
    /// With all tags of one of these lists.
    pub tags: Vec<Vec<String>>,
}

impl Filter {
    /// Whether a snapshot is judged.
    #[must_use]
    pub fn passes(&self, snapshot: &Snapshot) -> bool {
        let (manifest, tags) = (&snapshot.manifest, &snapshot.state.tags);
        let has_all = |wanted: &Vec<String>| wanted.iter().all(|tag| tags.contains(tag));
        (self.sources.is_empty() || self.sources.contains(&manifest.source))
            && (self.hosts.is_empty() || self.hosts.contains(&manifest.host))
            && (self.tags.is_empty() || self.tags.iter().any(has_all))
    }
}

/// Which snapshots are judged together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum GroupBy {
    /// Those of one source of one host.
    #[default]
    HostAndSource,
    /// Those of one source, whatever host took them: for hosts that come and go.
    Source,
    /// All.
    Nothing,
}

impl GroupBy {
    /// What snapshots of one group have in common: host and source.
    fn group(self, snapshot: &Snapshot) -> (&str, &str) {
        let manifest = &snapshot.manifest;
        match self {
            Self::HostAndSource => (&manifest.host, &manifest.source),
            Self::Source => ("", &manifest.source),
            Self::Nothing => ("", ""),
        }
    }
}

/// What is to be kept of each group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keep {
    /// The newest so many.
    pub last: u32,
    /// The newest of each of so many periods.
    pub periods: BTreeMap<Period, u32>,
    /// All that are no older than the newest by this.
    pub within: Option<Duration>,
    /// The newest of each period, among those that are no older than the newest by this.
    pub periods_within: BTreeMap<Period, Duration>,
    /// All that have one of these tags.
    pub tags: Vec<String>,
    /// All that have one of these tags and are no older than the newest by this.
    pub tags_within: Vec<(String, Duration)>,
}

/// Why a snapshot stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// It is the newest of its group.
    Newest,
    /// It is the newest of its group of which everything could be read.
    NewestWhole,
    /// It is among the last so many.
    Last,
    /// It is the newest of a period.
    NewestOf(Period),
    /// It is young enough.
    Within,
    /// It has this tag.
    Tag(String),
    /// It is under this hold.
    Held(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newest => f.write_str("newest of its group"),
            Self::NewestWhole => f.write_str("newest whole one of its group"),
            Self::Last => f.write_str("last"),
            Self::NewestOf(Period::Hour) => f.write_str("hourly"),
            Self::NewestOf(Period::Day) => f.write_str("daily"),
            Self::NewestOf(Period::Week) => f.write_str("weekly"),
            Self::NewestOf(Period::Month) => f.write_str("monthly"),
            Self::NewestOf(Period::Year) => f.write_str("yearly"),
            Self::Within => f.write_str("within"),
            Self::Tag(tag) => write!(f, "tag {tag}"),
            Self::Held(name) => write!(f, "held: {name}"),
        }
    }
}

impl Keep {
    /// Whether nothing is asked for: then all but the newest of each group would go.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What a policy says of a snapshot.
#[derive(Debug, Clone)]
pub struct Judged {
    /// The snapshot.
    pub id: SnapshotId,
    /// Its source.
    pub source: String,
    /// The host that it was taken on.
    pub host: String,
    /// When it was taken, by the store's clock, ms since 1970.
    pub time_ms: i64,
    /// Why it stays; if for nothing, it goes.
    pub reasons: Vec<Reason>,
}

impl Judged {
    /// Whether it stays.
    #[must_use]
    pub fn stays(&self) -> bool {
        !self.reasons.is_empty()
    }
}

/// A snapshot as retention sees it.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'s> {
    /// The snapshot.
    pub snapshot: &'s Snapshot,
    /// When it was taken, by the store's clock, ms since 1970.
    pub time_ms: i64,
}

/// Why each of the snapshots stays, which are in the order of the journal; those without a reason go.
#[must_use]
pub fn decide(candidates: &[Candidate<'_>], group_by: GroupBy, keep: &Keep) -> Vec<Vec<Reason>> {
    let mut groups: BTreeMap<(&str, &str), Vec<usize>> = BTreeMap::new();
    for (at, candidate) in candidates.iter().enumerate() {
        groups.entry(group_by.group(candidate.snapshot)).or_default().push(at);
    }
    let mut reasons = vec![Vec::new(); candidates.len()];
    for mut places in groups.into_values() {
        let last = places.last().copied();
        // The newest first: the journal's order, whatever clocks said. Only copies come later than they were taken.
        let mut newest_ms = i64::MIN;
        let mut order = BTreeMap::new();
        for at in &places {
            let Candidate { snapshot, time_ms } = candidates[*at];
            if snapshot.manifest.origin.is_none() {
                newest_ms = newest_ms.max(time_ms);
            }
            order.insert(*at, if snapshot.manifest.origin.is_some() { time_ms } else { newest_ms });
        }
        places.sort_by_key(|at| Reverse((order.get(at).copied(), *at)));
        let of_group: Vec<_> = places.iter().map(|at| view(&candidates[*at])).collect();
        for (at, why) in places.iter().zip(decide_group(&of_group, keep)) {
            reasons[*at] = why;
        }
        // The journal's last stays too.
        if let Some(why) = last.map(|at| &mut reasons[at])
            && !why.contains(&Reason::Newest)
        {
            why.insert(0, Reason::Newest);
        }
    }
    reasons
}

/// What a decision depends on.
struct Seen<'s> {
    time_ms: i64,
    /// Whether everything could be read.
    is_whole: bool,
    tags: &'s [String],
    holds: &'s [Hold],
}

fn view<'s>(candidate: &Candidate<'s>) -> Seen<'s> {
    let Candidate { snapshot, time_ms } = *candidate;
    let is_whole = snapshot.manifest.totals.unreadable == 0;
    Seen { time_ms, is_whole, tags: &snapshot.state.tags, holds: &snapshot.state.holds }
}

/// Of one group, the newest first.
fn decide_group(snapshots: &[Seen<'_>], keep: &Keep) -> Vec<Vec<Reason>> {
    let Some(newest_ms) = snapshots.iter().map(|snapshot| snapshot.time_ms).max() else { return Vec::new() };
    let is_within = |snapshot: &Seen<'_>, limit: Duration| {
        let age_ms = u128::from(newest_ms.abs_diff(snapshot.time_ms));
        age_ms <= limit.as_millis()
    };
    let newest_whole = snapshots.iter().position(|snapshot| snapshot.is_whole);
    let mut counted: BTreeMap<Period, (u32, Option<i64>)> = BTreeMap::new();
    let mut within: BTreeMap<Period, Option<i64>> = BTreeMap::new();
    let mut all = Vec::with_capacity(snapshots.len());
    for (rank, snapshot) in snapshots.iter().enumerate() {
        let mut reasons = Vec::new();
        if rank == 0 {
            reasons.push(Reason::Newest);
        } else if Some(rank) == newest_whole {
            reasons.push(Reason::NewestWhole);
        }
        if rank < keep.last as usize {
            reasons.push(Reason::Last);
        }
        for (period, most) in &keep.periods {
            let number = period.number(snapshot.time_ms);
            let (count, last) = counted.entry(*period).or_default();
            if *count < *most && *last != Some(number) {
                *count += 1;
                *last = Some(number);
                reasons.push(Reason::NewestOf(*period));
            }
        }
        for (period, limit) in &keep.periods_within {
            let number = period.number(snapshot.time_ms);
            let last = within.entry(*period).or_default();
            if is_within(snapshot, *limit) && *last != Some(number) {
                *last = Some(number);
                if !reasons.contains(&Reason::NewestOf(*period)) {
                    reasons.push(Reason::NewestOf(*period));
                }
            }
        }
        if keep.within.is_some_and(|limit| is_within(snapshot, limit)) {
            reasons.push(Reason::Within);
        }
        let in_time =
            keep.tags_within.iter().filter(|(_, limit)| is_within(snapshot, *limit)).map(|(tag, _)| tag);
        let tags = keep.tags.iter().chain(in_time).filter(|tag| snapshot.tags.contains(tag));
        reasons.extend(tags.cloned().map(Reason::Tag));
        reasons.extend(snapshot.holds.iter().map(|hold| Reason::Held(hold.name.clone())));
        all.push(reasons);
    }
    all
}

impl Period {
    /// The number of the period that a time lies in, from some beginning.
    fn number(self, time_ms: i64) -> i64 {
        const HOUR_MS: i64 = 3_600_000;
        const DAY_MS: i64 = 24 * HOUR_MS;
        match self {
            Self::Hour => time_ms.div_euclid(HOUR_MS),
            Self::Day => time_ms.div_euclid(DAY_MS),
            // 1970 began on a Thursday.
            Self::Week => (time_ms.div_euclid(DAY_MS) + 3).div_euclid(7),
            Self::Month => {
                let date = date(time_ms);
                i64::from(date.year()) * 12 + i64::from(date.month())
            }
            Self::Year => date(time_ms).year().into(),
        }
    }
}

/// The day in UTC; times beyond what a calendar has lie at its end.
fn date(time_ms: i64) -> jiff::civil::Date {
    let end = if time_ms < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_millisecond(time_ms).unwrap_or(end).to_zoned(TimeZone::UTC).date()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::state::example::snapshot as example;

    const DAY: u64 = 86_400;

    fn ms(time: &str) -> i64 {
        time.parse::<Timestamp>().unwrap().as_millisecond()
    }

    /// Whether each stays, given and told from the oldest to the newest.
    fn stays(times_ms: &[i64], keep: &Keep) -> Vec<bool> {
        let newest_first: Vec<_> = times_ms
            .iter()
            .rev()
            .map(|time_ms| Seen { time_ms: *time_ms, is_whole: true, tags: &[], holds: &[] })
            .collect();
        decide_group(&newest_first, keep).iter().rev().map(|reasons| !reasons.is_empty()).collect()
    }

    fn periods(counts: &[(Period, u32)]) -> Keep {
        Keep { periods: counts.iter().copied().collect(), ..Keep::default() }
    }

    #[test]
    fn the_newest_of_each_period_stays() {
        let times = [
            "2026-01-31T23:00:00Z",
            "2026-02-01T01:00:00Z",
            "2026-02-01T01:59:59Z",
            "2026-02-01T02:00:00Z",
            "2026-02-02T00:00:00Z",
        ]
        .map(ms);
        assert_eq!(stays(&times, &periods(&[(Period::Hour, 3)])), [false, false, true, true, true]);
        assert_eq!(stays(&times, &periods(&[(Period::Day, 2)])), [false, false, false, true, true]);
        // The second of February 2026 is a Monday.
        assert_eq!(stays(&times, &periods(&[(Period::Week, 2)])), [false, false, false, true, true]);
        assert_eq!(stays(&times, &periods(&[(Period::Month, 2)])), [true, false, false, false, true]);
        assert_eq!(stays(&times, &periods(&[(Period::Year, 7)])), [false, false, false, false, true]);
    }

    #[test]
    fn ages_count_from_the_newest_and_not_from_now() {
        let times = ["2020-03-01T00:00:00Z", "2020-03-30T12:00:00Z", "2020-03-31T00:00:00Z"].map(ms);
        let keep = |days| Keep { within: Some(Duration::from_secs(days * DAY)), ..Keep::default() };
        assert_eq!(stays(&times, &keep(30)), [true, true, true]);
        assert_eq!(stays(&times, &keep(29)), [false, true, true]);
        let daily = Keep {
            periods_within: [(Period::Month, Duration::from_secs(400 * DAY))].into(),
            ..Keep::default()
        };
        assert_eq!(stays(&times, &daily), [false, false, true]);
    }

    #[test]
    fn a_clock_that_went_back_takes_nothing_from_the_newest() {
        let times = ["2026-05-02T00:00:00Z", "2026-05-01T00:00:00Z"].map(ms);
        assert_eq!(stays(&times, &Keep::default()), [false, true]);
        assert_eq!(stays(&times, &Keep { last: 2, ..Keep::default() }), [true, true]);
    }

    #[test]
    fn the_newest_whole_snapshot_stays_too() {
        let seen = |is_whole, tags| Seen { time_ms: 0, is_whole, tags, holds: &[] };
        let tags = ["legal".to_owned()];
        let snapshots = [seen(false, &[][..]), seen(false, &tags), seen(true, &[]), seen(true, &[])];
        let keep = Keep { tags: tags.to_vec(), ..Keep::default() };
        let expected =
            [vec![Reason::Newest], vec![Reason::Tag("legal".into())], vec![Reason::NewestWhole], vec![]];
        assert_eq!(decide_group(&snapshots, &keep), expected);
    }

    fn snapshot(host: &str, source: &str, tags: &[&str]) -> Snapshot {
        let mut snapshot = example();
        snapshot.manifest.host = host.into();
        snapshot.manifest.source = source.into();
        snapshot.state.tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        snapshot
    }

    #[test]
    fn groups_are_judged_by_themselves() {
        let snapshots = [("pod1", "db"), ("pod2", "db"), ("pod2", "logs"), ("pod1", "db")]
            .map(|(host, source)| snapshot(host, source, &[]));
        let candidates = snapshots.each_ref().map(|snapshot| Candidate { snapshot, time_ms: 0 });
        let stays = |group_by| {
            let reasons = decide(&candidates, group_by, &Keep::default());
            reasons.iter().map(|reasons| !reasons.is_empty()).collect::<Vec<_>>()
        };
        assert_eq!(stays(GroupBy::HostAndSource), [false, true, true, true]);
        assert_eq!(stays(GroupBy::Source), [false, false, true, true]);
        assert_eq!(stays(GroupBy::Nothing), [false, false, false, true]);
    }

    #[test]
    fn a_filter_passes_what_each_of_its_parts_passes() {
        let snapshots = [
            snapshot("a", "db", &["nightly", "full"]),
            snapshot("b", "db", &["nightly"]),
            snapshot("b", "logs", &[]),
        ];
        let passes = |filter: &Filter| snapshots.each_ref().map(|snapshot| filter.passes(snapshot));
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let tags = |tags: &[&[&str]]| Filter {
            tags: tags.iter().map(|tags| list(tags)).collect(),
            ..Filter::default()
        };
        assert_eq!(passes(&Filter::default()), [true, true, true]);
        assert_eq!(passes(&tags(&[&["nightly"]])), [true, true, false]);
        assert_eq!(passes(&tags(&[&["nightly", "full"]])), [true, false, false]);
        assert_eq!(passes(&tags(&[&["full"], &["nightly"]])), [true, true, false]);
        let db = Filter { sources: list(&["db"]), ..Filter::default() };
        assert_eq!(passes(&db), [true, true, false]);
        assert_eq!(passes(&Filter { hosts: list(&["b", "c"]), ..db }), [false, true, false]);
        assert_eq!(passes(&Filter { hosts: list(&["a"]), ..tags(&[&["nightly"]]) }), [true, false, false]);
    }

    #[test]
    fn what_is_held_stays_and_says_so() {
        let holds = ["case 7", "legal"].map(|name| Hold { name: name.into(), number: 3 });
        let seen = |holds| Seen { time_ms: 0, is_whole: true, tags: &[], holds };
        let snapshots = [seen(&[][..]), seen(&holds), seen(&[])];
        let held = vec![Reason::Held("case 7".into()), Reason::Held("legal".into())];
        assert_eq!(held[1].to_string(), "held: legal");
        assert_eq!(decide_group(&snapshots, &Keep::default()), [vec![Reason::Newest], held, vec![]]);
    }

    proptest! {
        #[test]
        fn keeping_more_never_forgets_more(
            mut times in prop::collection::vec(0_i64..4_000_000_000_000, 1..60),
            last in 0_u32..5,
            days in 0_u32..20,
            months in 0_u32..20,
        ) {
            times.sort_unstable();
            let keep = |more| Keep { last: last + more, ..periods(&[(Period::Day, days + more), (Period::Month, months + more)]) };
            let (some, more) = (stays(&times, &keep(0)), stays(&times, &keep(1)));
            prop_assert!(some.iter().zip(&more).all(|(some, more)| *more || !*some));
            prop_assert!(*some.last().unwrap());
            let kept = some.iter().filter(|stays| **stays).count();
            prop_assert!(kept <= (last + days + months + 1) as usize);
        }
    }
}
