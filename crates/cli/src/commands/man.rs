//! `man`: manual pages, made of the same description as the help.

use std::path::Path;

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_mangen::{Man, generate_to};

use crate::arguments::Arguments;
use crate::context::Context;
use crate::exit::Outcome;

/// One page a command, `strongroom-key-rotate.1`; without a folder that of the program itself, to standard output.
pub(crate) fn run(context: &Context<'_>, folder: Option<&Path>) -> anyhow::Result<Outcome> {
    let Some(folder) = folder else {
        let mut page = Vec::new();
        Man::new(Arguments::command()).render(&mut page)?;
        crate::output::text!("{}", String::from_utf8_lossy(&page));
        return Ok(Outcome::Done);
    };
    std::fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    generate_to(Arguments::command(), folder)
        .with_context(|| format!("the pages cannot be written into {}", folder.display()))?;
    context.terminal.say(&format!("wrote manual pages into {}", folder.display()));
    Ok(Outcome::Done)
}
