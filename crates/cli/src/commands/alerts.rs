//! Tells the configuration's channels what was found: each finding once, again after a time, and when it is over. What was told stands
//! in the journal; while that cannot be read, in a file of this host's.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use strongroom_ops::config::Config;
use strongroom_ops::notify::{self, Sent};
use strongroom_ops::status::{Finding, Kind};
use strongroom_repository::monitor::Monitor as _;

use crate::context::Context;
use crate::exit;

/// What this host told while the repository could not be opened, below the folder of its state.
const WITHOUT_ACCESS: &str = "alerts.json";

/// Somebody who was not told.
pub(super) struct Untold {
    /// As the configuration calls it.
    pub(super) name: String,
    /// Why.
    pub(super) why: String,
}

impl std::fmt::Display for Untold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} was not told, and is next time: {}", self.name, self.why)
    }
}

/// Tells them, as of now; what was told, `sent` has then. Gives those who were to be told and were not.
pub(super) fn tell(
    context: &Context<'_>,
    config: &Config,
    findings: &[Finding],
    sent: &mut Sent,
    now: Timestamp,
) -> anyhow::Result<Vec<Untold>> {
    let repository = context.url()?.to_string();
    let mut untold = Vec::new();
    for (name, told) in notify::tell(&config.notify, findings, &repository, sent, now) {
        match told {
            Ok(()) => context.terminal.say(&format!("{name} was told")),
            Err(error) => {
                let (why, _) = exit::describe(&anyhow::Error::new(error));
                untold.push(Untold { name: name.to_owned(), why });
            }
        }
    }
    Ok(untold)
}

/// That the repository cannot be opened.
pub(super) fn no_access(why: &str) -> Finding {
    Finding::new(Kind::NoAccess, &format!("the repository cannot be opened: {why}"))
}

/// What was told while it could not be opened: the journal cannot note it.
pub(super) struct WithoutAccess {
    file: PathBuf,
    pub(super) sent: Sent,
}

impl WithoutAccess {
    pub(super) fn read(context: &Context<'_>) -> anyhow::Result<Self> {
        let file = context.state_folder()?.join(WITHOUT_ACCESS);
        let sent = std::fs::read(&file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Ok(Self { file, sent: sent.unwrap_or_default() })
    }

    /// Tells them that it cannot be opened, or without a finding that this is over.
    pub(super) fn tell(
        &mut self,
        context: &Context<'_>,
        config: &Config,
        findings: &[Finding],
        now: Timestamp,
    ) -> anyhow::Result<Vec<Untold>> {
        let before = self.sent.clone();
        let untold = tell(context, config, findings, &mut self.sent, now)?;
        if self.sent != before
            && let Err(error) = write(&self.file, &self.sent)
        {
            let file = self.file.display();
            let what = format!("what was told cannot be kept in {file}, and may be told again: {error}");
            context.terminal.warn(&what);
        }
        Ok(untold)
    }
}

fn write(file: &Path, sent: &Sent) -> std::io::Result<()> {
    if *sent == Sent::default() {
        return match std::fs::remove_file(file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    }
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(file, serde_json::to_vec(sent)?)
}
