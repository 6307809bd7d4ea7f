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
/// How the path of a group of metrics begins there, and the group of whoever names none.
const GROUP: (&str, &str) = ("/metrics/job", "/metrics/job/strongroom");
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

/// In place of what was pushed to the same group before.
fn push(url: &str, page: &str) -> anyhow::Result<()> {
    let (gateway, path) = group_of(url);
    let target = HttpTarget::parse(gateway, PUSH_PORT).context("--push")?;
    let http = Http::new(&target, PATIENCE)?;
    let headers = [("content-type", "text/plain; version=0.0.4")];
    let question = Question { method: "PUT", path, query: &[], headers: &headers };
    http.send(question, SendBody::from_reader(&mut page.as_bytes()))
        .context("the metrics were not pushed")?;
    Ok(())
}

/// The gateway, and the group there that a URL means.
fn group_of(url: &str) -> (&str, &str) {
    let url = url.trim_end_matches('/');
    match url.find(GROUP.0) {
        Some(at) => url.split_at(at),
        None => (url, GROUP.1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_may_name_its_group() {
        let own = "/metrics/job/backups/cluster/eu-1";
        for (url, gateway, group) in [
            ("http://push:9091", "http://push:9091", GROUP.1),
            ("http://push:9091/behind/", "http://push:9091/behind", GROUP.1),
            ("http://push:9091/metrics/job/backups/cluster/eu-1", "http://push:9091", own),
            ("https://x/behind/metrics/job/backups/cluster/eu-1/", "https://x/behind", own),
            ("push/metrics/job@base64/YS9i", "push", "/metrics/job@base64/YS9i"),
        ] {
            assert_eq!(group_of(url), (gateway, group));
        }
    }
}
