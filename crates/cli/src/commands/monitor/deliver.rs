//! Metrics, to where Prometheus finds them.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use strongroom_engines::http::{Http, HttpTarget, Question};
use ureq::SendBody;

use crate::arguments::Monitor;

/// A Pushgateway's port.
const PUSH_PORT: u16 = 9091;
/// How long it may think.
const PATIENCE: Duration = Duration::from_secs(30);

/// To all places that are asked for; gives why some have not got them.
pub(super) fn all(arguments: &Monitor, page: &str) -> Vec<anyhow::Error> {
    let written = arguments
        .textfile
        .as_ref()
        .map(|path| textfile(path, page).with_context(|| format!("{} cannot be written", path.display())));
    let pushed = arguments.push.as_ref().map(|url| push(url, page));
    written.into_iter().chain(pushed).filter_map(Result::err).collect()
}

/// At once or not at all: half a page would be read as a whole one.
fn textfile(path: &Path, page: &str) -> anyhow::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // The collector reads what ends in .prom.
    let mut file = tempfile::Builder::new().prefix(".strongroom-").suffix(".tmp").tempfile_in(folder)?;
    file.write_all(page.as_bytes())?;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// In place of what was pushed before.
fn push(url: &str, page: &str) -> anyhow::Result<()> {
    let target = HttpTarget::parse(url, PUSH_PORT).context("--push")?;
    let http = Http::new(&target, PATIENCE)?;
    let path = "/metrics/job/strongroom";
    let headers = [("content-type", "text/plain; version=0.0.4")];
    let question = Question { method: "PUT", path, query: &[], headers: &headers };
    http.send(question, SendBody::from_reader(&mut page.as_bytes()))
        .context("the metrics were not pushed")?;
    Ok(())
}
