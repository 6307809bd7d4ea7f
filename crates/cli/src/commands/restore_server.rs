//! `restore --to`: which engine does it, and what of the arguments it takes.

use strongroom_engines::{opensearch, redis, s3};
use strongroom_repository::Repository;
use strongroom_repository::state::Snapshot;

use super::{restore_clickhouse, restore_opensearch, restore_postgres, restore_redis, restore_s3};
use crate::arguments::{OverwritePolicy, Restore};
use crate::context::Context;
use crate::exit::{Outcome, Usage};

type Run = fn(&Context<'_>, &mut Repository, &Snapshot, &str, &Restore) -> anyhow::Result<Outcome>;

/// Of an engine.
struct ToServer {
    engine: &'static str,
    run: Run,
    /// Flags that not every engine takes.
    takes: &'static [&'static str],
}

const ENGINES: [ToServer; 5] = [
    ToServer {
        engine: "postgres",
        run: restore_postgres::to_server,
        takes: &[
            "--database",
            "--table",
            "--schema",
            "--exclude-table",
            "--into",
            "--create",
            "--single-transaction",
            "--schema-only",
            "--data-only",
            "--disable-triggers",
            "--no-owner",
            "--no-privileges",
        ],
    },
    ToServer {
        engine: "clickhouse",
        run: restore_clickhouse::to_server,
        takes: &[
            "--database",
            "--table",
            "--partition",
            "--shard",
            "--rename",
            "--into",
            "--schema-only",
            "--data-only",
            "--ca-file",
        ],
    },
    ToServer {
        engine: opensearch::ENGINE,
        run: restore_opensearch::to_server,
        takes: &["--include", "--exclude", "--rename", "--switch-aliases", "--schema-only", "--ca-file"],
    },
    ToServer {
        engine: redis::ENGINE,
        run: restore_redis::to_server,
        takes: &["--include", "--exclude", "--database", "--into", "--ca-file"],
    },
    ToServer {
        engine: s3::ENGINE,
        run: restore_s3::to_server,
        takes: &["--include", "--exclude", "--ca-file", "--with-configuration", "--current-only"],
    },
];

/// Into the server of that URL.
pub(super) fn run(
    context: &Context<'_>,
    repository: &mut Repository,
    snapshot: &Snapshot,
    to: &str,
    arguments: &Restore,
) -> anyhow::Result<Outcome> {
    let engine = &snapshot.manifest.engine;
    let Some(found) = ENGINES.iter().find(|one| one.engine == engine.as_str()) else {
        let text =
            format!("a snapshot of {engine} is restored into a folder: give --target DIR in place of --to");
        return Err(Usage(text).into());
    };
    let server = &arguments.server;
    let given = [
        ("--include", !arguments.include.is_empty()),
        ("--exclude", !arguments.exclude.is_empty()),
        ("--database", server.database.is_some()),
        ("--table", !server.table.is_empty()),
        ("--partition", !server.partition.is_empty()),
        ("--shard", server.shard.is_some()),
        ("--rename", !server.rename.is_empty()),
        ("--switch-aliases", server.switch_aliases),
        ("--ca-file", server.ca_file.is_some()),
        ("--schema", !server.schema.is_empty()),
        ("--exclude-table", !server.exclude_table.is_empty()),
        ("--into", server.into.is_some()),
        ("--create", server.create),
        ("--single-transaction", server.single_transaction),
        ("--schema-only", server.schema_only),
        ("--data-only", server.data_only),
        ("--disable-triggers", server.disable_triggers),
        ("--no-owner", server.no_owner),
        ("--no-privileges", server.no_privileges),
        ("--tablespace", !server.tablespace.is_empty()),
        ("--with-configuration", server.with_configuration),
        ("--current-only", server.current_only),
        ("--aof", server.aof),
        ("--delta", arguments.delta),
        ("--overwrite", arguments.overwrite != OverwritePolicy::Never),
    ];
    if let Some((flag, _)) = given.iter().find(|(flag, is_given)| *is_given && !found.takes.contains(flag)) {
        return Err(Usage(format!("{flag} is not for restoring a snapshot of {engine} into a server")).into());
    }
    (found.run)(context, repository, snapshot, to, arguments)
}
