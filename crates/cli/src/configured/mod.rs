//! What a configuration sets of the command line: options that neither the command line nor the environment sets, variables of the
//! environment, and whole commands.

mod words;

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, CommandFactory as _};
use strongroom_ops::config::{Config, FromEnvironment, Problem, Setting, Task, Text, Variable, meant};
use strongroom_ops::run::Work;

use crate::arguments::Arguments;
use crate::context::Context;
use crate::exit::Usage;
pub(crate) use words::{Words, is_repeated, known};

/// What the configuration's own tasks are told by others.
const NOT_THE_TASKS: [&str; 4] = ["source", "snapshot", "snapshots", "dry_run"];

/// Where configurations are looked for by commands that need one, in this order.
const PLACES: [&str; 2] = ["strongroom.toml", "/etc/strongroom/strongroom.toml"];
/// Options of every command that are none of the repository's.
const NOT_THE_REPOSITORYS: [&str; 6] = ["config", "json", "quiet", "timings", "progress", "require_audit"];
/// What a source's backup is told by others: its name, and where what it says goes.
pub(crate) const NOT_THE_SOURCES: [&str; 1] = ["source"];

/// The configuration's file: the one that is named, or for a command that needs one the first that is there.
pub(crate) fn path(named: Option<&PathBuf>) -> PathBuf {
    let there = || PLACES.iter().map(Path::new).find(|path| path.exists());
    named.cloned().or_else(|| there().map(Path::to_owned)).unwrap_or_else(|| PLACES[0].into())
}

/// What a configuration says, and what variables of the environment say in its place.
///
/// # Errors
/// What is wrong with either.
pub(crate) fn read(path: &Path) -> anyhow::Result<(Config, Vec<FromEnvironment>)> {
    let mut config = Config::read(path)?;
    let taken = adopt(&mut config)?;
    Ok((config, taken))
}

/// Variables of the environment go before the file.
fn adopt(config: &mut Config) -> anyhow::Result<Vec<FromEnvironment>> {
    let (taken, problems) = config.adopt(|name| std::env::var(name).ok());
    match problems.first() {
        None => Ok(taken),
        Some(problem) => {
            Err(Usage(format!("a variable of the environment is wrong: {}", problem.what)).into())
        }
    }
}

/// What variables of the environment say alone.
///
/// # Errors
/// What is wrong with them.
pub(crate) fn of_environment() -> anyhow::Result<Config> {
    let mut config = Config::default();
    adopt(&mut config)?;
    Ok(config)
}

/// The same where there is one; without, what variables say alone.
///
/// # Errors
/// As [`read`].
pub(crate) fn config_if_any(context: &Context<'_>) -> anyhow::Result<Config> {
    let path = path(context.global.config.as_ref());
    if context.global.config.is_none() && !path.exists() {
        context.terminal.say("there is no configuration: nothing says what is expected");
        return of_environment();
    }
    Ok(read(&path)?.0)
}

/// The variable of scripts that names a key of AWS KMS.
const KMS_KEY: &str = "KMS_KEY_ID";

/// Who is to open a new repository, where the command line does not say it: a key of scripts goes before the file.
///
/// # Errors
/// What is wrong with the configuration.
pub(crate) fn recipients(context: &Context<'_>) -> anyhow::Result<Vec<String>> {
    if let Some(key) = std::env::var(KMS_KEY).ok().filter(|key| !key.trim().is_empty()) {
        context.terminal.say(&format!("the repository is made for the KMS key that {KMS_KEY} names"));
        return Ok(vec![format!("aws-kms:{}", key.trim())]);
    }
    let Some(path) = &context.global.config else { return Ok(Vec::new()) };
    Ok(read(path)?.0.recipients)
}

/// The whole command line, described.
pub(crate) fn command() -> Command {
    let mut command = Arguments::command();
    command.build();
    command
}

/// The words of the command line, with what the configuration sets.
pub(crate) struct Configured {
    pub(crate) words: Vec<OsString>,
    /// Options of every command that the command line itself has, for commands that are started by this one.
    pub(crate) own: Vec<String>,
}

/// Adds what the configuration sets to the words of the command line. Where it sets variables of the environment, the program begins
/// anew with them.
///
/// # Errors
/// What is wrong with the configuration.
pub(crate) fn words(words: Vec<OsString>) -> anyhow::Result<Configured> {
    let plain = |words| Ok(Configured { words, own: Vec::new() });
    if !may_be_configured(&words) {
        return plain(words);
    }
    let command = command();
    // What is wrong is told by whoever reads them next.
    let Ok(matches) = command.clone().try_get_matches_from(&words) else { return plain(words) };
    let named: Option<&PathBuf> =
        matches.get_one("config").filter(|path: &&PathBuf| !path.as_os_str().is_empty());
    let (needs_one, tells_what_is_wrong) = match matches.subcommand_name() {
        Some("run" | "monitor" | "serve" | "report" | "drill" | "audit") => (true, false),
        Some("config") => (true, true),
        _ => (false, false),
    };
    if named.is_none() && !needs_one {
        return plain(words);
    }
    let path = path(named);
    let is_optional = matches.subcommand_name() != Some("run") && named.is_none();
    let config = match Config::read(&path) {
        Err(_) if tells_what_is_wrong || (is_optional && !path.exists()) => return plain(words),
        config => config?,
    };
    if !tells_what_is_wrong {
        with_environment(&config, &words)?;
    }
    let own = own_words(&command, &matches);
    let (set, problems) = repository_words(&command, &matches, &config.repository);
    if !problems.is_empty() && !tells_what_is_wrong {
        return Err(strongroom_ops::config::ConfigError::Invalid { path, problems }.into());
    }
    let mut all = words;
    all.splice(1..1, set);
    if config.audit.required && !matches.get_flag("require_audit") {
        all.insert(1, "--require-audit".into());
    }
    Ok(Configured { words: all, own })
}

/// A cheap look: `wal-push` is to begin within milliseconds.
fn may_be_configured(words: &[OsString]) -> bool {
    let is_named = |word: &OsString| {
        let word = word.as_bytes();
        word.starts_with(b"--config")
            || word.starts_with(b"-c")
            || [&b"run"[..], b"monitor", b"serve", b"config", b"report", b"drill", b"audit"].contains(&word)
    };
    std::env::var_os("STRONGROOM_CONFIG").is_some_and(|path| !path.is_empty()) || words.iter().any(is_named)
}

/// Options of every command that the command line has.
fn own_words(command: &Command, matches: &ArgMatches) -> Vec<String> {
    let mut own = Vec::new();
    for option in command.get_arguments().filter(|option| option.is_global_set()) {
        let (id, Some(long)) = (option.get_id().as_str(), option.get_long()) else { continue };
        let is_given = matches.value_source(id) == Some(ValueSource::CommandLine);
        if !is_given || ["config", "json"].contains(&id) {
            continue;
        }
        match option.get_action().takes_values() {
            false => own.push(format!("--{long}")),
            true => own.extend(
                matches
                    .get_raw(id)
                    .into_iter()
                    .flatten()
                    .map(|value| format!("--{long}={}", value.to_string_lossy())),
            ),
        }
    }
    own
}

/// Begins anew where variables are missing.
fn with_environment(config: &Config, words: &[OsString]) -> anyhow::Result<()> {
    let mut missing = Vec::new();
    for Variable { name, value, .. } in &config.environment {
        if std::env::var_os(name).is_none() {
            missing.push((name, value.resolve().with_context(|| format!("environment.{name}"))?));
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let program = std::env::current_exe().context("this program cannot be found")?;
    let arguments = words.iter().skip(1);
    // It comes back only when it fails.
    let error = std::process::Command::new(program).args(arguments).envs(missing).exec();
    Err(error).context("the program cannot begin anew with the configuration's environment")
}

/// Options of every command that are the repository's, as a configuration calls them.
pub(crate) fn repository_options(command: &Command) -> Command {
    let mut known: Vec<Arg> = command
        .get_arguments()
        .filter(|option| option.is_global_set() && !NOT_THE_REPOSITORYS.contains(&option.get_id().as_str()))
        // Nothing of this goes through the environment, and nobody sees these words.
        .map(|option| option.clone().global(false).hide_env_values(false))
        .collect();
    if let Some(repo) = known.iter_mut().find(|option| option.get_id() == "repo") {
        *repo = repo.clone().long("url");
    }
    Command::new("").args(known)
}

/// Engines that a configuration may name.
pub(crate) fn engines(backup: &Command) -> Vec<&Command> {
    backup.get_subcommands().filter(|engine| !["stdin", "help"].contains(&engine.get_name())).collect()
}

/// Options of the repository that nobody else sets.
pub(crate) fn repository_words(
    command: &Command,
    matches: &ArgMatches,
    settings: &[Setting],
) -> (Vec<OsString>, Vec<Problem>) {
    let options = repository_options(command);
    let is_set = |setting: &&Setting| {
        let id = if setting.name == "url" { "repo" } else { &setting.name };
        let is_known = options.get_arguments().any(|option| option.get_id() == id);
        let source = is_known.then(|| matches.value_source(id)).flatten();
        // What is set to nothing is not set, as in the line `STRONGROOM_REPO=` of a service file.
        let is_something = || matches.get_raw(id).into_iter().flatten().any(|value| !value.is_empty());
        matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable)) && is_something()
    };
    let own: Vec<Setting> = settings.iter().filter(|setting| !is_set(setting)).cloned().collect();
    let mut words = Words::default();
    let problems = words.add(&options, &own, &[], &Text::resolve);
    let words = words.into_arguments().0.into_iter();
    let as_it_is_called = |word: String| match word.strip_prefix("--url=") {
        Some(url) => format!("--repo={url}").into(),
        None => word.into(),
    };
    (words.map(as_it_is_called).collect(), problems)
}

/// The backup of a source, as a command; `None` where the configuration does not say how it is backed up.
pub(crate) fn backup_words(
    command: &Command,
    config: &Config,
    name: &str,
    resolve: &dyn Fn(&Text) -> Result<String, strongroom_ops::config::ReferenceError>,
) -> Option<Result<Words, Vec<Problem>>> {
    let source = config.source(name)?;
    let engine = source.engine.as_deref()?;
    let engines = command.find_subcommand("backup")?;
    let Some(options) = engines.find_subcommand(engine).filter(|_| engine != "stdin" && engine != "help")
    else {
        let names: Vec<&str> = engines.get_subcommands().map(Command::get_name).collect();
        let what = format!("there is no engine `{engine}`; {}", meant(engine, names.iter().copied()));
        return Some(Err(vec![Problem { line: source.line, what }]));
    };
    let mut words = Words::new(["backup", engine, "--source", name]);
    let problems = words.add(options, &source.options, &NOT_THE_SOURCES, resolve);
    Some(if problems.is_empty() { Ok(words) } else { Err(problems) })
}

/// The command of one of the configuration's own tasks.
pub(crate) fn task_command(command: &Command, work: Work) -> Option<&Command> {
    work.command().iter().try_fold(command, |command, word| command.find_subcommand(word))
}

/// What the configuration does not set of it.
pub(crate) fn not_the_tasks(work: Work) -> &'static [&'static str] {
    match work {
        // These say themselves whose.
        Work::WalExpire | Work::Sync => &["dry_run"],
        _ => &NOT_THE_TASKS,
    }
}

/// A command of the configuration's own tasks, with what it sets of it.
pub(crate) fn task_words(
    command: &Command,
    work: Work,
    mut words: Words,
    task: Option<&Task>,
) -> Result<Words, Vec<Problem>> {
    let options = task.map(|task| &task.options[..]).unwrap_or_default();
    let Some(known) = task_command(command, work) else { return Ok(words) };
    let problems = words.add(known, options, not_the_tasks(work), &Text::resolve);
    if problems.is_empty() { Ok(words) } else { Err(problems) }
}

/// What is wrong with what is said of the repository; where all else is read, also what the command line says of it.
pub(crate) fn wrong_repository(command: &Command, config: &Config, is_read: bool) -> Vec<Problem> {
    let Ok(nothing) = command.clone().try_get_matches_from(["strongroom", "stats"]) else {
        return Vec::new();
    };
    let (words, mut problems) = repository_words(command, &nothing, &config.repository);
    let words: Vec<String> = words.into_iter().map(|word| word.to_string_lossy().into_owned()).collect();
    if is_read && let Err(Usage(what)) = judge(command, &[&["stats".to_owned()], &words[..]].concat()) {
        let line = config.repository.first().map_or(1, |setting| setting.line);
        problems.push(Problem { line, what: format!("repository: {what}") });
    }
    problems
}

/// What the command line says of words that a configuration makes.
pub(crate) fn judge(command: &Command, arguments: &[String]) -> Result<(), Usage> {
    let words = std::iter::once("strongroom").chain(arguments.iter().map(String::as_str));
    match command.clone().try_get_matches_from(words) {
        Ok(_) => Ok(()),
        Err(error) => {
            let said = error.to_string();
            // A line that ends in a colon is followed by what it is about.
            let first: Vec<&str> = said.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
            Err(Usage(first.join(" ").trim_start_matches("error: ").to_owned()))
        }
    }
}
