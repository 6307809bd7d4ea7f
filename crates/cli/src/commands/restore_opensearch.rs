//! `restore --to`: a snapshot of OpenSearch, into a cluster.

use std::path::PathBuf;

use serde_json::json;
use strongroom_engines::http::{HttpError, HttpTarget};
use strongroom_engines::opensearch::{DEFAULT_PORT, IndexSwitches, Indices, Rename, Selection};
use strongroom_repository::Repository;
use strongroom_repository::state::Snapshot;

use super::restored;
use crate::arguments::Restore;
use crate::context::Context;
use crate::exit::{Outcome, Usage};
use crate::render;

/// Connections over which documents are loaded, where nobody says how many.
const JOBS: usize = 2;

/// The cluster, with the login of the environment where the URL has none.
pub(super) fn target(url: &str, ca_file: Option<&PathBuf>) -> Result<HttpTarget, HttpError> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let user = variable("OPENSEARCH_USERNAME").or_else(|| variable("OPENSEARCH_USER"));
    let mut target = HttpTarget::parse(url, DEFAULT_PORT)?.with_login(user, variable("OPENSEARCH_PASSWORD"));
    target.ca_file = ca_file.filter(|file| !file.as_os_str().is_empty()).cloned();
    Ok(target)
}

pub(super) fn to_server(
    context: &Context<'_>,
    repository: &mut Repository,
    snapshot: &Snapshot,
    to: &str,
    arguments: &Restore,
) -> anyhow::Result<Outcome> {
    let asked = &arguments.server;
    let to = target(to, asked.ca_file.as_ref())?;
    let renames =
        asked.rename.iter().map(|text| Rename::parse(text).map_err(|error| Usage(error.to_string())));
    let renames = renames.collect::<Result<Vec<_>, Usage>>()?;
    let switches = IndexSwitches {
        selection: Selection {
            include: arguments.include.clone(),
            exclude: arguments.exclude.clone(),
            hidden: true,
        },
        renames,
        drop_existing: asked.drop_existing,
        switch_aliases: asked.switch_aliases,
        schema_only: asked.schema_only,
        jobs: arguments.jobs.unwrap_or(JOBS).max(1),
    };
    restored::into_server(context, repository, snapshot, |reader| {
        let indices = Indices::open(reader, snapshot)?;
        let done = indices.restore(&to, &switches, &context.terminal, context.readers(None))?;
        let text = format!(
            "restored {} indices ({} documents, {}) of snapshot {}",
            done.indices.len(),
            done.documents,
            render::bytes(done.bytes),
            snapshot.id().short()
        );
        let detail = json!({
            "server": to.to_string(), "indices": done.indices, "documents": done.documents, "bytes": done.bytes,
            "templates_and_pipelines": done.parts, "aliases": done.aliases,
        });
        Ok((detail, text))
    })
}
