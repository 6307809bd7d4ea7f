//! Variables of the environment that stand for fields: those of the scripts that this program replaces. They go before the file, as
//! all of the environment does, and say what holds for sources that say nothing for themselves.

use std::num::NonZeroU32;

use super::schedule::Cron;
use super::{Config, Problem};

/// What a variable stands for.
pub const VARIABLES: [(&str, &str); 4] = [
    ("BACKUP_RETENTION_DAYS", "retention.days"),
    ("COMPLIANCE_RETENTION_DAYS", "retention.compliance_days"),
    ("BACKUP_SCHEDULE", "schedule"),
    ("BACKUP_ENABLED", "enabled"),
];

/// A variable that said something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FromEnvironment {
    /// Its name.
    pub variable: &'static str,
    /// Of what field.
    pub field: &'static str,
    /// What it said.
    pub value: String,
    /// Whether the file said something else.
    pub replaces: bool,
}

impl Config {
    /// Takes over what variables say; gives which did, and what is wrong with others. One that is set to nothing is not set.
    pub fn adopt(
        &mut self,
        variable: impl Fn(&str) -> Option<String>,
    ) -> (Vec<FromEnvironment>, Vec<Problem>) {
        let (mut taken, mut problems) = (Vec::new(), Vec::new());
        for (name, field) in VARIABLES {
            let Some(value) = variable(name).map(|value| value.trim().to_owned()) else { continue };
            if value.is_empty() {
                continue;
            }
            let before = self.clone();
            match self.set(field, &value) {
                Ok(was_set) => {
                    let replaces = was_set && before != *self;
                    taken.push(FromEnvironment { variable: name, field, value, replaces });
                }
                // It stands in no line.
                Err(why) => problems.push(Problem { line: 0, what: format!("{name}={value}: {why}") }),
            }
        }
        (taken, problems)
    }

    /// Whether it was set before.
    fn set(&mut self, field: &str, value: &str) -> Result<bool, String> {
        match field {
            "schedule" => {
                let cron = Cron::parse(value)?;
                Ok(self.terms.schedule.replace(cron).is_some())
            }
            "enabled" => {
                self.is_off = match value.to_ascii_lowercase().as_str() {
                    "true" | "1" | "yes" | "on" => false,
                    "false" | "0" | "no" | "off" => true,
                    _ => return Err("write true or false".into()),
                };
                Ok(false)
            }
            field => {
                let days: NonZeroU32 = value.parse().map_err(|_| "write a number of days, from 1 on")?;
                let retention = self.terms.retention.get_or_insert_default();
                Ok(retention.set_days(field == "retention.compliance_days", days))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const DAY_S: u64 = 24 * 60 * 60;

    #[test]
    fn a_variable_goes_before_the_file_and_says_so() {
        let text = "[retention]\ndays = 60\nkeep_last = 3\n[sources.cache]\nretention = { days = 7 }\n";
        let (mut config, problems) = Config::parse(text, Path::new("c.toml"));
        assert_eq!(problems, []);
        let said = [
            ("BACKUP_RETENTION_DAYS", "30"),
            ("COMPLIANCE_RETENTION_DAYS", "2555"),
            ("BACKUP_SCHEDULE", ""),
            ("BACKUP_ENABLED", "false"),
        ];
        let variable = |name: &str| Some(said.iter().find(|(known, _)| *known == name)?.1.to_owned());
        let (taken, problems) = config.adopt(variable);
        assert_eq!(problems, []);
        let taken: Vec<_> = taken.iter().map(|one| (one.field, one.value.as_str(), one.replaces)).collect();
        assert_eq!(
            taken,
            [
                ("retention.days", "30", true),
                ("retention.compliance_days", "2555", false),
                ("enabled", "false", false)
            ]
        );
        let keep = config.keep("shop").unwrap();
        assert_eq!((keep.within.unwrap().as_secs(), keep.last), (30 * DAY_S, 3));
        assert_eq!(keep.tags_within[0].1.as_secs(), 2555 * DAY_S);
        assert_eq!(config.keep("cache").unwrap().within.unwrap().as_secs(), 7 * DAY_S);
        assert!(config.is_off && config.schedule("shop").is_none());
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        let mut config = Config::default();
        let (taken, problems) = config.adopt(|_| Some("soon".into()));
        assert_eq!((taken.len(), problems.len(), config), (0, 4, Config::default()));
        assert!(problems[0].what.starts_with("BACKUP_RETENTION_DAYS=soon: "), "{problems:?}");
    }
}
