//! Commands in the documents, as the command line would take them: what a person copies from a page works, or a test fails.

use std::path::{Path, PathBuf};

use clap::Parser as _;

use crate::arguments::Arguments;

/// A command of a document.
struct Documented {
    /// Where: a file, and its line.
    place: String,
    /// Without the program's name.
    words: Vec<String>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// What is written in Markdown, and its path from the root.
fn pages(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            pages(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
}

/// The commands of the code blocks of a page.
fn commands(page: &str, text: &str) -> Vec<Documented> {
    let mut found = Vec::new();
    // Whether a block is open, and whether it is one of commands.
    let (mut is_open, mut is_code) = (false, false);
    let mut begun: Option<(usize, String)> = None;
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            // What is written in another language is no command line.
            let language = line.trim_start().trim_start_matches('`');
            is_open = !is_open;
            is_code = is_open && ["", "sh", "bash", "console"].contains(&language.trim());
            continue;
        }
        if !is_code {
            continue;
        }
        let (first, whole) = match begun.take() {
            Some((first, so_far)) => (first, so_far + line.trim_start()),
            None => (number + 1, line.to_owned()),
        };
        if let Some(unfinished) = whole.strip_suffix('\\') {
            begun = Some((first, unfinished.to_owned()));
            continue;
        }
        for words in parts(&whole).into_iter().map(words).filter(|words| !words.is_empty()) {
            found.push(Documented { place: format!("{page}:{first}"), words });
        }
    }
    found
}

/// What follows the program's name in a line, or that of the examples' script that runs it, wherever a shell would take it for a program:
/// at its beginning, behind a prompt, a pipe, or `&&`, in quotes; in a pod or a container, as another user.
fn parts(line: &str) -> Vec<&str> {
    const NAMES: [&str; 2] = ["strongroom ", "strongroom-as-postgres "];
    const BEFORE: [&str; 9] = ["$", "|", "&&", ";", "'", "do", " --", "run --rm", "sudo -u postgres"];
    let mut found = Vec::new();
    for name in NAMES {
        for (at, _) in line.match_indices(name) {
            let before = line[..at].trim_end().trim_end_matches("/usr/local/bin/");
            if !before.is_empty() && !BEFORE.iter().any(|end| before.ends_with(end)) {
                continue;
            }
            let rest = &line[at + name.len()..];
            let in_quotes = before.ends_with('\'').then(|| rest.find('\'')).flatten();
            found.push(&rest[..in_quotes.unwrap_or(rest.len())]);
        }
    }
    found
}

/// As a shell splits them, with what cannot be known put in place: what is in brackets is there.
fn words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let (mut quote, mut is_begun, mut blanks) = (None, false, 0);
    let mut letters = command.chars().peekable();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (Some(open), _) if letter == open => quote = None,
            (Some(_), _) => word.push(letter),
            (None, '\'' | '"') => {
                quote = Some(letter);
                is_begun = true;
            }
            (None, '#') if !is_begun => break,
            (None, '|' | '&' | ';' | '>') => break,
            (None, '[' | ']') => {}
            (None, ' ') => {
                blanks += 1;
                if is_begun {
                    words.push(std::mem::take(&mut word));
                    is_begun = false;
                }
                // What follows at a distance says what the command does.
                if blanks > 1 && letters.peek().is_some_and(|next| *next != ' ' && *next != '-') {
                    return words;
                }
                continue;
            }
            (None, _) => {
                word.push(letter);
                is_begun = true;
            }
        }
        blanks = 0;
    }
    if is_begun {
        words.push(word);
    }
    words
}

/// What an example stands for.
fn substituted(word: &str) -> String {
    // A shard of an Indexed Job, which says which.
    if let Some(shards) = word.strip_prefix("auto/") {
        return format!("1/{shards}");
    }
    // The head of a journal, cut off: `9:6f0c5c1b...`.
    let head = word.strip_suffix("...").and_then(|head| head.split_once(':'));
    match head.filter(|(number, _)| number.parse::<u64>().is_ok()) {
        Some((number, _)) => format!("{number}:{}", "0".repeat(64)),
        None if word == "%f" => "000000010000000000000001".into(),
        None => word.to_owned(),
    }
}

#[test]
fn commands_of_the_documents_are_taken() {
    let mut found = vec![root().join("README.md")];
    for folder in ["docs", "deploy", "examples"] {
        pages(&root().join(folder), &mut found);
    }
    let mut count = 0;
    let mut wrong = Vec::new();
    for path in found {
        let text = std::fs::read_to_string(&path).unwrap();
        let page = path.strip_prefix(root()).unwrap().display().to_string();
        for Documented { place, words } in commands(&page, &text) {
            count += 1;
            let all =
                std::iter::once("strongroom".to_owned()).chain(words.iter().map(|word| substituted(word)));
            match Arguments::try_parse_from(all) {
                Ok(_) => {}
                // Help and version are no errors.
                Err(error) if !error.use_stderr() => {}
                Err(error) => {
                    let said = error.to_string();
                    wrong.push(format!(
                        "{place}: strongroom {}: {}",
                        words.join(" "),
                        said.lines().next().unwrap_or_default()
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} commands of documents are not taken:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count > 200, "only {count} commands were found");
}

#[test]
fn commands_are_found_where_shells_find_them() {
    let page = "text strongroom no\n```sh\n$ pg_dump x | strongroom backup stdin --name 'a b'   # comment\nstrongroom run \\\n  a\n\
                helm upgrade strongroom x\narchive_command = '/usr/local/bin/strongroom-as-postgres wal-push %p'\n\
                kubectl exec pod -- strongroom ls\n```\n```toml\nstrongroom no\n```\nstrongroom no\n";
    let found: Vec<String> = commands("page", page)
        .iter()
        .map(|command| format!("{} {:?}", command.place, command.words))
        .collect();
    assert_eq!(
        found,
        [
            r#"page:3 ["backup", "stdin", "--name", "a b"]"#,
            r#"page:4 ["run", "a"]"#,
            r#"page:7 ["wal-push", "%p"]"#,
            r#"page:8 ["ls"]"#
        ]
    );
}
