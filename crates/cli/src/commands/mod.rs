//! One module a command.

mod alerts;
mod audit;
mod backup;
mod backup_clickhouse;
mod backup_ledger;
mod backup_s3;
mod cat;
mod check;
mod commit;
mod config;
mod copy;
mod copy_logs;
mod diff;
mod drill;
mod find;
mod forget;
mod hold;
mod init;
mod journal;
mod key;
mod ls;
mod man;
mod monitor;
mod mount;
mod object_lock;
mod patterns;
mod policy;
mod prune;
mod quickstart;
mod recovery;
mod repair;
mod report;
mod restore;
mod restore_clickhouse;
mod restore_ledger;
mod restore_opensearch;
mod restore_postgres;
mod restore_redis;
mod restore_s3;
mod restore_server;
mod restored;
mod run;
mod serve;
mod show;
mod snapshots;
mod stats;
mod tag;
mod verify;
mod wal;
mod wal_agent;
mod wal_expire;
mod wal_get;
mod wal_push;
mod wal_queue;
mod wal_receive;

use clap::CommandFactory as _;

use crate::arguments::{Arguments, Command, Engine};
use crate::context::Context;
use crate::exit::Outcome;
pub(crate) use run::kill_children;

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let context = Context::new(&arguments.global)?;
    let outcome = match &arguments.command {
        Command::Init(init) => init::run(&context, init),
        Command::Backup(backup) => match &backup.engine {
            Engine::Files(files) => backup::files(&context, files),
            Engine::Stdin(stdin) => backup::stdin(&context, stdin),
            Engine::Postgres(postgres) => backup::postgres(&context, postgres),
            Engine::Opensearch(opensearch) => backup::opensearch(&context, opensearch),
            Engine::Redis(redis) => backup::redis(&context, redis),
            Engine::Clickhouse(clickhouse) => backup_clickhouse::run(&context, clickhouse),
            Engine::Ledger(ledger) => backup_ledger::run(&context, ledger),
            Engine::S3(s3) => backup_s3::backup(&context, s3),
            Engine::Command(command) => backup::command(&context, command),
        },
        Command::Commit(commit) => commit::run(&context, commit),
        Command::Run(arguments) => run::run(&context, arguments),
        Command::Serve(arguments) => serve::run(&context, arguments),
        Command::Monitor(arguments) => monitor::run(&context, arguments),
        Command::Report(arguments) => report::run(&context, arguments),
        Command::Drill(drill) => drill::run(&context, &drill.action),
        Command::Audit(arguments) => audit::run(&context, arguments),
        Command::Man { output } => man::run(&context, output.as_deref()),
        Command::Snapshots(snapshots) => snapshots::run(&context, snapshots),
        Command::Ls(ls) => ls::run(&context, ls),
        Command::Find(find) => find::run(&context, find),
        Command::Diff(diff) => diff::run(&context, diff),
        Command::Show(show) => show::run(&context, show),
        Command::Stats => stats::run(&context),
        Command::Restore(restore) => restore::run(&context, restore),
        Command::Verify(verify) => verify::run(&context, verify),
        Command::Cat(cat) => cat::run(&context, cat),
        Command::Mount(arguments) => mount::run(&context, arguments),
        Command::Check(check) => check::run(&context, check),
        Command::Tag(tag) => tag::run(&context, tag),
        Command::Hold(hold) => hold::run(&context, &hold.action),
        Command::Forget(forget) => forget::run(&context, forget),
        Command::Copy(arguments) => copy::run(&context, arguments),
        Command::Sync(arguments) => copy::sync(&context, arguments),
        Command::Prune(prune) => prune::run(&context, prune),
        Command::Key(key) => key::run(&context, &key.action),
        Command::Policy(policy) => policy::run(&context, &policy.action),
        Command::Config(config) => config::run(&context, &config.action),
        Command::Journal(journal) => journal::run(&context, &journal.action),
        Command::Repair(repair) => repair::run(&context, &repair.action),
        Command::ObjectLock(lock) => object_lock::run(&context, &lock.action),
        Command::WalPush(push) => wal_push::run(&context, push),
        Command::WalAgent(agent) => wal_agent::run(&context, agent),
        Command::WalGet(get) => wal_get::run(&context, get),
        Command::Wal(wal) => wal::run(&context, &wal.action),
        Command::Completions { shell } => {
            // Not straight to standard output: there it panics when nobody reads on.
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Arguments::command(), "strongroom", &mut script);
            crate::output::text!("{}", String::from_utf8_lossy(&script));
            Ok(Outcome::Done)
        }
        Command::Quickstart { dir } => quickstart::run(&context, dir.as_deref()),
    };
    context.terminal.finish();
    outcome
}
