//! From what a configuration sets to the words of a command line: what an option is called, whether it is there, and how its value is
//! written is known to the command line alone.

use clap::{Arg, ArgAction, Command};
use strongroom_ops::config::{OptionValue, Problem, ReferenceError, Setting, Text, suggestion};

/// A command that a configuration asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Words {
    /// Of the command line: nothing in them is secret.
    pub(crate) arguments: Vec<String>,
    /// What stands behind `--`.
    trailing: Vec<String>,
    /// Options that may be secret go through the environment: everybody on a host sees the command lines of all.
    pub(crate) variables: Vec<(String, String)>,
}

/// How values are looked up.
pub(crate) type Resolve<'r> = &'r dyn Fn(&Text) -> Result<String, ReferenceError>;

impl Words {
    pub(crate) fn new(words: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { arguments: words.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// All of the command line.
    pub(crate) fn into_arguments(mut self) -> (Vec<String>, Vec<(String, String)>) {
        if !self.trailing.is_empty() {
            self.arguments.push("--".into());
            self.arguments.append(&mut self.trailing);
        }
        (self.arguments, self.variables)
    }

    /// Adds what is set to the options of a command. `reserved` are options that are not the configuration's to set.
    pub(crate) fn add(
        &mut self,
        command: &Command,
        settings: &[Setting],
        reserved: &[&str],
        resolve: Resolve<'_>,
    ) -> Vec<Problem> {
        let mut problems = Vec::new();
        for setting in settings {
            let found =
                option(command, &setting.name).filter(|found| !reserved.contains(&found.get_id().as_str()));
            let added = match found {
                Some(found) => self.set(found, setting, resolve),
                None => Err(unknown(command, &setting.name, reserved)),
            };
            if let Err(what) = added {
                problems.push(Problem { line: setting.line, what });
            }
        }
        problems
    }

    fn set(&mut self, option: &Arg, setting: &Setting, resolve: Resolve<'_>) -> Result<(), String> {
        let name = &setting.name;
        let values = match &setting.value {
            OptionValue::Flag(is) if !option.get_action().takes_values() => {
                if *is {
                    self.arguments.push(format!("--{}", long(option)));
                }
                return Ok(());
            }
            OptionValue::Flag(is) => vec![Text::Literal(is.to_string())],
            _ if !option.get_action().takes_values() => {
                return Err(format!("`{name}` is true or false"));
            }
            OptionValue::One(text) => vec![text.clone()],
            OptionValue::Many(all) if is_repeated(option) => all.clone(),
            OptionValue::Many(_) => return Err(format!("`{name}` has one value, not a list of them")),
        };
        for value in values {
            let value = resolve(&value).map_err(|error| with_cause(&error))?;
            match option.get_env().filter(|_| option.is_hide_env_values_set()) {
                Some(variable) => {
                    self.variables.push((variable.to_string_lossy().into_owned(), value));
                }
                None if option.is_last_set() => self.trailing.push(value),
                None if option.is_positional() => {
                    // A path may begin with a dash.
                    let is_flag_like = value.starts_with('-');
                    self.arguments.push(if is_flag_like { format!("./{value}") } else { value });
                }
                None => self.arguments.push(format!("--{}={value}", long(option))),
            }
        }
        Ok(())
    }
}

fn with_cause(error: &ReferenceError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

pub(crate) fn is_repeated(option: &Arg) -> bool {
    matches!(option.get_action(), ArgAction::Append)
        || option.get_num_args().is_some_and(|number| number.max_values() > 1)
}

fn long(option: &Arg) -> &str {
    option.get_long().unwrap_or_else(|| option.get_id().as_str())
}

/// The option that a configuration calls so: as on the command line, with `_` for `-`. What says where a server is may be called `url`
/// everywhere.
fn option<'c>(command: &'c Command, name: &str) -> Option<&'c Arg> {
    let named = |wanted: &str| options(command).find(|option| called(option) == wanted);
    named(name).or_else(|| named("dbname").filter(|_| name == "url"))
}

fn options(command: &Command) -> impl Iterator<Item = &Arg> {
    command
        .get_arguments()
        .filter(|option| !option.is_global_set() && !["help", "version"].contains(&option.get_id().as_str()))
}

/// What a configuration may set of a command, by the names that it has there.
pub(crate) fn known(command: &Command, reserved: &[&str]) -> Vec<(String, Arg)> {
    let is_reserved = |option: &Arg| reserved.contains(&option.get_id().as_str());
    let mut known: Vec<_> = options(command)
        .filter(|option| !is_reserved(option))
        .map(|option| (called(option), option.clone()))
        .collect();
    if let Some((_, server)) = known.iter().find(|(name, _)| name == "dbname").cloned()
        && !known.iter().any(|(name, _)| name == "url")
    {
        known.push(("url".into(), server));
    }
    known
}

fn called(option: &Arg) -> String {
    long(option).replace('-', "_")
}

fn unknown(command: &Command, name: &str, reserved: &[&str]) -> String {
    let known: Vec<String> =
        options(command).filter(|option| !reserved.contains(&option.get_id().as_str())).map(called).collect();
    match suggestion(name, known.iter().map(String::as_str)) {
        Some(meant) => format!("`{name}` is unknown here; is `{meant}` meant?"),
        None => format!(
            "`{name}` is unknown here: `strongroom {} --help` lists what there is",
            command.get_name()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    fn engine(name: &str) -> Command {
        let mut all = crate::arguments::Arguments::command();
        all.build();
        let backup = all.find_subcommand("backup").unwrap();
        backup.find_subcommand(name).unwrap().clone()
    }

    fn set(name: &str, value: OptionValue) -> Setting {
        Setting { line: 7, name: name.into(), value }
    }

    fn one(text: &str) -> OptionValue {
        OptionValue::One(Text::parse(text))
    }

    fn resolve(text: &Text) -> Result<String, ReferenceError> {
        match text {
            Text::Literal(text) => Ok(text.clone()),
            other => Ok(format!("secret of {other}")),
        }
    }

    #[test]
    fn options_become_words_and_secrets_do_not() {
        let mut words = Words::new(["backup", "postgres"]);
        let tables = OptionValue::Many(vec![Text::parse("a"), Text::parse("b c")]);
        let problems = words.add(
            &engine("postgres"),
            &[
                set("url", one("env:DATABASE_URL")),
                set("exclude_table", tables),
                set("fingerprints", OptionValue::Flag(true)),
                set("physical", OptionValue::Flag(false)),
                set("dumps", one("4")),
            ],
            &["source"],
            &resolve,
        );
        assert_eq!(problems, []);
        let (arguments, variables) = words.into_arguments();
        assert_eq!(
            arguments,
            ["backup", "postgres", "--exclude-table=a", "--exclude-table=b c", "--fingerprints", "--dumps=4"]
        );
        assert_eq!(variables, [("DATABASE_URL".into(), "secret of env:DATABASE_URL".into())]);
    }

    #[test]
    fn paths_and_commands_stand_where_they_belong() {
        let mut words = Words::new(["backup", "files"]);
        let paths = OptionValue::Many(vec![Text::parse("/etc"), Text::parse("-odd")]);
        assert_eq!(words.add(&engine("files"), &[set("paths", paths)], &[], &resolve), []);
        assert_eq!(words.into_arguments().0, ["backup", "files", "/etc", "./-odd"]);
        let mut words = Words::new(["backup", "command"]);
        let command = OptionValue::Many(vec![Text::parse("mysqldump"), Text::parse("--all-databases")]);
        let settings = [set("command", command), set("name", one("dump.sql"))];
        assert_eq!(words.add(&engine("command"), &settings, &[], &resolve), []);
        assert_eq!(
            words.into_arguments().0,
            ["backup", "command", "--name=dump.sql", "--", "mysqldump", "--all-databases"]
        );
    }

    #[test]
    fn what_does_not_fit_is_told() {
        let mut words = Words::default();
        let problems = words.add(
            &engine("postgres"),
            &[
                set("exclude_tables", one("a")),
                set("source", one("x")),
                set("physical", one("x")),
                set("dumps", OptionValue::Many(vec![])),
                set("repo", one("x")),
            ],
            &["source"],
            &resolve,
        );
        let said: Vec<&str> = problems.iter().map(|problem| problem.what.as_str()).collect();
        assert!(said[0].contains("is `exclude_table` meant?"), "{said:?}");
        assert!(said[2].contains("true or false") && said[3].contains("one value"), "{said:?}");
        assert_eq!(said.len(), 5);
    }
}
