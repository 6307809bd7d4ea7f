//! Relative links in Markdown lead somewhere: to a file or folder of the project, and to a heading within it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use super::{Files, Finding};

pub(super) fn check(files: &Files, paths: &[PathBuf]) -> Vec<Finding> {
    let documents: Files =
        files.iter().filter(|(path, _)| is_markdown(path)).map(|(p, t)| (p.clone(), t.clone())).collect();
    let anchors: BTreeMap<&Path, BTreeSet<String>> =
        documents.iter().map(|(path, text)| (path.as_path(), anchors(text))).collect();
    let known = with_folders(paths);
    let mut findings = Vec::new();
    for (path, text) in &documents {
        for (line, target) in links(text) {
            if let Some(why) = dead(path, &target, &known, &anchors) {
                findings.push(Finding::Broken(format!("{}:{line}: the link {target} {why}", path.display())));
            }
        }
    }
    findings
}

/// Why a link is dead, if it is.
fn dead(
    from: &Path,
    target: &str,
    known: &BTreeSet<PathBuf>,
    anchors: &BTreeMap<&Path, BTreeSet<String>>,
) -> Option<String> {
    let has_scheme = target.split_once(':').is_some_and(|(scheme, _)| {
        !scheme.is_empty() && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    });
    if has_scheme || target.starts_with("//") {
        return None;
    }
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let file = file.replace("%20", " ");
    let path = if file.is_empty() {
        from.to_owned()
    } else {
        let Some(path) = resolved(from, &file) else { return Some("leads out of the repository".into()) };
        if !known.contains(&path) {
            return Some("leads nowhere".into());
        }
        path
    };
    // Anchors in other kinds of file (#L10 of a source) are the viewer's.
    let headings = anchors.get(path.as_path()).filter(|_| !anchor.is_empty())?;
    (!headings.contains(anchor)).then(|| format!("names no heading of {}", path.display()))
}

/// The path from the root that a link means; `None` when it leaves the repository.
fn resolved(from: &Path, file: &str) -> Option<PathBuf> {
    let base = if file.starts_with('/') { Path::new("") } else { from.parent()? };
    let mut path = PathBuf::new();
    for part in base.join(file.trim_start_matches('/')).components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::ParentDir if !path.pop() => return None,
            _ => {}
        }
    }
    Some(path)
}

fn with_folders(paths: &[PathBuf]) -> BTreeSet<PathBuf> {
    // The last ancestor is the empty path: the root itself.
    paths.iter().flat_map(|path| path.ancestors()).map(Path::to_owned).collect()
}

fn is_markdown(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "md")
}

/// The links of a document with their lines: inline ones, and definitions of reference links.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    for (number, line) in prose(text) {
        let line = without_code(line);
        for (position, _) in line.match_indices("](") {
            let target = target(&line[position + 2..]);
            links.extend(target.map(|target| (number, target)));
        }
        let definition = line.trim_start().strip_prefix('[').and_then(|rest| rest.split_once("]:"));
        let target =
            definition.filter(|(name, _)| !name.starts_with('^')).and_then(|(_, rest)| target(rest.trim()));
        links.extend(target.map(|target| (number, target)));
    }
    links
}

/// The target at the start of `path#anchor "title") ...` or `<path with blanks>) ...`.
fn target(rest: &str) -> Option<String> {
    if let Some(bracketed) = rest.strip_prefix('<') {
        return bracketed.split_once('>').map(|(target, _)| target.to_owned());
    }
    let mut depth = 0_u32;
    let end = rest.find(|c: char| {
        match c {
            '(' => depth += 1,
            ')' if depth > 0 => depth -= 1,
            _ => return c == ')' || c.is_whitespace(),
        }
        false
    });
    let target = &rest[..end.unwrap_or(rest.len())];
    (!target.is_empty()).then(|| target.to_owned())
}

/// The anchors of a document, as GitHub makes them of headings, and those written as HTML.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for (_, line) in prose(text) {
        for quoted in ["id=\"", "name=\""] {
            let parts = line.split(quoted).skip(1);
            anchors.extend(parts.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
        }
        let heading = line.trim_start_matches('#');
        let level = line.len() - heading.len();
        if !(1..=6).contains(&level) || !heading.starts_with(' ') {
            continue;
        }
        let slug = slug(heading.trim().trim_end_matches('#').trim_end());
        let numbered = (1..).map(|number| format!("{slug}-{number}"));
        let free = std::iter::once(slug.clone()).chain(numbered).find(|name| !anchors.contains(name));
        anchors.extend(free);
    }
    anchors
}

/// `4. The repository format (specified in `format-spec/`)` is `4-the-repository-format-specified-in-format-spec`.
fn slug(heading: &str) -> String {
    let mut text = String::new();
    let mut rest = heading;
    // Of a link only its text is part of the anchor.
    while let Some((before, after)) = rest.split_once("](") {
        text.push_str(before);
        rest = after.split_once(')').map_or("", |(_, rest)| rest);
    }
    text.push_str(rest);
    let kept = text.chars().filter(|c| c.is_alphanumeric() || "-_ ".contains(*c));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// The numbered lines that are not in fenced code.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fence: Option<&str> = None;
    text.lines().enumerate().filter_map(move |(number, line)| {
        let trimmed = line.trim_start();
        let mark = ["```", "~~~"].into_iter().find(|mark| trimmed.starts_with(mark));
        match (fence, mark) {
            (None, Some(mark)) => fence = Some(mark),
            (Some(open), Some(mark)) if open == mark => fence = None,
            (None, None) => return Some((number + 1, line)),
            _ => {}
        }
        None
    })
}

/// The line with its `code spans` emptied.
fn without_code(line: &str) -> String {
    let parts = line.split('`').collect::<Vec<_>>();
    // A mark without its partner opens nothing.
    let last_is_open = parts.len().is_multiple_of(2);
    let is_code = |index: usize| index % 2 == 1 && !(last_is_open && index + 1 == parts.len());
    parts.iter().enumerate().filter(|(index, _)| !is_code(*index)).map(|(_, part)| *part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The findings of a project of `README.md`, `docs/page.md` and `src/lib.rs`.
    fn found(readme: &str, page: &str) -> Vec<String> {
        let files = Files::from([("README.md".into(), readme.into()), ("docs/page.md".into(), page.into())]);
        let mut paths: Vec<PathBuf> = files.keys().cloned().collect();
        paths.push("src/lib.rs".into());
        let findings = check(&files, &paths);
        findings
            .into_iter()
            .map(|finding| match finding {
                Finding::Broken(what) | Finding::Warning(what) => what,
            })
            .collect()
    }

    #[test]
    fn living_links_are_fine() {
        let readme = "[page](docs/page.md#a-heading) [here](#here) [src](src) [src](./src/)\n# Here\n\
                      [out](https://example.com/x) <mailto:a@example.com> [m](mailto:a@example.com)\n[ref]: docs/page.md 'title'";
        assert_eq!(found(readme, "## A *heading*!\n[up](../README.md) [root](/src/lib.rs#L3)"), [""; 0]);
    }

    #[test]
    fn dead_files_are_found() {
        assert_eq!(found("\n[x](docs/gone.md)", ""), ["README.md:2: the link docs/gone.md leads nowhere"]);
        assert_eq!(found("![x](a.png \"title\")", ""), ["README.md:1: the link a.png leads nowhere"]);
        assert_eq!(found("[ref]: gone.md", ""), ["README.md:1: the link gone.md leads nowhere"]);
        assert_eq!(
            found("", "[x](../../y.md)"),
            ["docs/page.md:1: the link ../../y.md leads out of the repository"]
        );
    }

    #[test]
    fn dead_anchors_are_found() {
        assert_eq!(found("[x](#gone)", ""), ["README.md:1: the link #gone names no heading of README.md"]);
        let what = "README.md:1: the link docs/page.md#b names no heading of docs/page.md";
        assert_eq!(found("[x](docs/page.md#b)", "# A\n```\n# B\n```"), [what]);
    }

    #[test]
    fn code_is_not_read() {
        assert_eq!(found("`[x](gone.md)`\n```\n[x](gone.md)\n```\na ` and [b](docs/page.md)", ""), [""; 0]);
        assert_eq!(found("`a` [x](gone.md) `b`", ""), ["README.md:1: the link gone.md leads nowhere"]);
        assert_eq!(found("a ` and [x](gone.md)", ""), ["README.md:1: the link gone.md leads nowhere"]);
    }

    #[test]
    fn anchors_are_those_of_github() {
        assert_eq!(slug("4. The repository format (`format-spec/`)"), "4-the-repository-format-format-spec");
        assert_eq!(slug("See [the page](docs/page.md) now"), "see-the-page-now");
        let twice = anchors("# A\n# A\n<a id=\"own\"></a>\n####### no heading\n#no heading");
        assert_eq!(twice, BTreeSet::from(["a".to_owned(), "a-1".to_owned(), "own".to_owned()]));
    }
}
