//! A report as Markdown.

use super::document::{Cell, Document};

/// The text.
#[must_use]
pub fn markdown(document: &Document) -> String {
    let mut text = format!("# {}\n", escaped(&document.title));
    for section in &document.sections {
        if !section.heading.is_empty() {
            text.push_str(&format!("\n## {}\n", escaped(&section.heading)));
        }
        for paragraph in &section.paragraphs {
            text.push_str(&format!("\n{}\n", escaped(paragraph)));
        }
        if !section.list.is_empty() {
            text.push('\n');
        }
        for point in &section.list {
            text.push_str(&format!("- {}\n", of(point)));
        }
        if let Some(table) = &section.table {
            text.push_str(&format!("\n| {} |\n", table.header.join(" | ")));
            text.push_str(&format!("|{}\n", " --- |".repeat(table.header.len())));
            for row in &table.rows {
                let cells: Vec<String> = row.iter().map(of).collect();
                text.push_str(&format!("| {} |\n", cells.join(" | ")));
            }
        }
    }
    text
}

fn of(cell: &Cell) -> String {
    let text = escaped(&cell.text);
    match cell.is_good {
        Some(false) => format!("**{text}**"),
        _ => text,
    }
}

/// What Markdown, or the HTML in it, would take for its own.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#' => out.extend(['\\', letter]),
            '&' => out.push_str("&amp;"),
            letter if letter.is_control() => out.extend(letter.escape_default()),
            letter => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::document::{Section, Table};
    use super::*;

    #[test]
    fn what_names_hold_ends_no_table() {
        let cell = Cell { text: "a|b\n<i>_x_".into(), is_good: None };
        let table = Table { header: vec!["a"], rows: vec![vec![cell]] };
        let section = Section { heading: "h".into(), table: Some(table), ..Section::default() };
        let text = markdown(&Document { title: "t".into(), sections: vec![section] });
        assert_eq!(text, "# t\n\n## h\n\n| a |\n| --- |\n| a\\|b\\n\\<i\\>\\_x\\_ |\n");
    }
}
