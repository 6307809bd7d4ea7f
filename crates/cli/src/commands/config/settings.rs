//! What keeps `[notify]` and `[serve]` from doing what they say, as far as that shows on this host before anybody is asked.

use strongroom_ops::config::{Config, Problem};
use strongroom_ops::words::with_causes;

use crate::commands::serve;

pub(super) fn wrong(config: &Config) -> Vec<Problem> {
    let line_of = |lines: &[(String, usize)], field: &str| {
        lines.iter().find(|(name, _)| name == field).map_or(0, |(_, line)| *line)
    };
    let mut problems = Vec::new();
    for (name, channel) in &config.notify {
        problems.extend(channel.check().into_iter().map(|(field, error)| Problem {
            line: line_of(&channel.lines, field),
            what: format!("notify.{name}.{field}: {}", with_causes(&error)),
        }));
    }
    problems.extend(serve::wrong_settings(config).into_iter().map(|(field, error)| Problem {
        line: line_of(&config.serve.lines, field),
        what: format!("serve.{field}: {}", with_causes(error.as_ref())),
    }));
    problems
}
