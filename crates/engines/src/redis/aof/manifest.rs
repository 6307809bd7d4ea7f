//! The list of append-only files that servers from 7.0 on keep.

/// A file of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) name: String,
    /// The line as it stands there.
    pub(super) line: String,
}

/// The files that count, in their order; none if it is wrong.
pub(super) fn parse(text: &str) -> Option<Vec<Listed>> {
    let mut files = Vec::new();
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    for line in lines {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (mut name, mut kind) = (None, None);
        for pair in words.chunks(2) {
            match pair {
                ["file", value] => name = Some(*value),
                ["type", value] => kind = Some(*value),
                [_, _] => {}
                _ => return None,
            }
        }
        let name = name.filter(|name| !name.contains('/') && *name != "..")?;
        match kind? {
            // What a rewrite has made superfluous, and is about to be deleted.
            "h" => {}
            "b" | "i" => {
                files.push(Listed { name: name.trim_matches('"').to_owned(), line: line.to_owned() })
            }
            _ => return None,
        }
    }
    Some(files).filter(|files| !files.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_deleted_does_not_count() {
        let text = "file a.1.base.rdb seq 1 type h\nfile a.2.base.rdb seq 2 type b\nfile a.3.incr.aof seq 3 type i startoffset 7\n";
        let files = parse(text).unwrap();
        assert_eq!(
            files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>(),
            ["a.2.base.rdb", "a.3.incr.aof"]
        );
        for wrong in ["", "file x", "file ../x seq 1 type b", "file x seq 1 type z", "x"] {
            assert!(parse(wrong).is_none(), "{wrong}");
        }
    }
}
