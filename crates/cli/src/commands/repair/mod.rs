//! `repair`: mends what can be mended, and says what cannot.

mod index;
mod packs;
mod snapshots;
mod versions;

use crate::arguments::RepairAction;
use crate::context::Context;
use crate::exit::Outcome;

pub(crate) fn run(context: &Context<'_>, action: &RepairAction) -> anyhow::Result<Outcome> {
    match action {
        RepairAction::Index { all, dry_run } => index::run(context, *all, *dry_run),
        RepairAction::Packs { packs, give_up_gone, dry_run } => {
            packs::run(context, packs, *give_up_gone, *dry_run)
        }
        RepairAction::Snapshots { read_data, leave_out, forget, dry_run } => {
            let how = snapshots::How { read_data: *read_data, leave_out: *leave_out, forget: *forget };
            snapshots::run(context, how, *dry_run)
        }
        RepairAction::Versions { dry_run } => versions::run(context, *dry_run),
    }
}
