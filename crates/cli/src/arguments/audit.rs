//! Of `audit` and `drill`.

use clap::builder::PossibleValue;
use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use strongroom_ops::audit::{DrillResult, Kind};

use super::report::{parse_begin, parse_moment};

#[derive(Debug, Args)]
pub(crate) struct Audit {
    /// Since this time, or this long ago (`30d`)
    #[arg(long, value_name = "TIME", value_parser = parse_begin)]
    pub(crate) since: Option<Timestamp>,
    /// Until this time
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    pub(crate) until: Option<Timestamp>,
    /// Only of this source; may be repeated
    #[arg(long, value_name = "NAME")]
    pub(crate) source: Vec<String>,
    /// Only of this kind; may be repeated
    #[arg(long, value_name = "KIND", value_enum)]
    pub(crate) kind: Vec<KindArgument>,
}

/// A kind of the audit trail.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KindArgument(pub(crate) Kind);

impl ValueEnum for KindArgument {
    fn value_variants<'a>() -> &'a [Self] {
        const ALL: [KindArgument; Kind::ALL.len()] = {
            let mut all = [KindArgument(Kind::Other); Kind::ALL.len()];
            let mut at = 0;
            while at < all.len() {
                all[at] = KindArgument(Kind::ALL[at]);
                at += 1;
            }
            all
        };
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.0.name()))
    }
}

#[derive(Debug, Args)]
pub(crate) struct Drill {
    #[command(subcommand)]
    pub(crate) action: DrillAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DrillAction {
    /// Record that a drill was held
    Record(DrillRecord),
    /// List drills: those that the configuration asks for and those that were held
    List,
}

#[derive(Debug, Args)]
pub(crate) struct DrillRecord {
    /// Name of the drill in the configuration ([drills.NAME]): monthly, quarterly
    #[arg(long, value_name = "NAME")]
    pub(crate) kind: String,
    /// Its result
    #[arg(long, value_name = "RESULT", value_enum)]
    pub(crate) result: DrillResultArgument,
    /// Time until everything was back: 42m
    #[arg(long, value_name = "TIME", value_parser = strongroom_ops::config::parse_duration)]
    pub(crate) took: Option<std::time::Duration>,
    /// When it was held (default: now)
    #[arg(long, value_name = "TIME", value_parser = parse_begin)]
    pub(crate) at: Option<Timestamp>,
    /// What was restored; may be repeated (default: all)
    #[arg(long, value_name = "NAME")]
    pub(crate) source: Vec<String>,
    /// Remarks
    #[arg(long, value_name = "TEXT")]
    pub(crate) note: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DrillResultArgument {
    /// Everything came back, in time
    Passed,
    /// Something did not come back, or not in time
    Failed,
}

impl From<DrillResultArgument> for DrillResult {
    fn from(argument: DrillResultArgument) -> Self {
        match argument {
            DrillResultArgument::Passed => Self::Passed,
            DrillResultArgument::Failed => Self::Failed,
        }
    }
}
