//! A report as one page of HTML that needs nothing else, for screens, dark and light, and for paper.

use super::document::{Cell, Document, Section, Table};

/// Nothing is loaded, and nothing runs.
const HEAD: &str = r#"<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<style>
:root { color-scheme: light dark; --text: #1b1f24; --back: #fff; --line: #d0d7de; --soft: #f3f5f7; --good: #11682b; --bad: #b3151f; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e4e8ec; --back: #14181d; --line: #3a424c; --soft: #1f252c; --good: #5fd07f; --bad: #ff8f8a; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--back); margin: 2rem auto; max-width: 72rem; padding: 0 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 0.93em; overflow-wrap: normal; }
th, td { border: 1px solid var(--line); padding: 0.3rem 0.55rem; text-align: left; vertical-align: top; }
th { background: var(--soft); }
.good { color: var(--good); } .bad { color: var(--bad); font-weight: 600; }
@media print {
  :root { color-scheme: light; --text: #000; --back: #fff; --line: #999; --soft: #eee; --good: #11682b; --bad: #b3151f; }
  body { margin: 0; max-width: none; font-size: 10pt; } .wide { overflow: visible; }
  h2 { break-after: avoid; } tr { break-inside: avoid; } thead { display: table-header-group; }
}
</style>
"#;

/// The page.
#[must_use]
pub fn html(document: &Document) -> String {
    let title = escaped(&document.title);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<title>{title}</title>\n{HEAD}</head>\n<body>\n<h1>{title}</h1>\n"
    );
    for section in &document.sections {
        add(&mut page, section);
    }
    page.push_str("</body>\n</html>\n");
    page
}

fn add(page: &mut String, section: &Section) {
    page.push_str("<section>\n");
    if !section.heading.is_empty() {
        page.push_str(&format!("<h2>{}</h2>\n", escaped(&section.heading)));
    }
    for paragraph in &section.paragraphs {
        page.push_str(&format!("<p>{}</p>\n", escaped(paragraph)));
    }
    if !section.list.is_empty() {
        page.push_str("<ul>\n");
        section.list.iter().for_each(|cell| page.push_str(&element("li", cell)));
        page.push_str("</ul>\n");
    }
    if let Some(table) = &section.table {
        add_table(page, table);
    }
    page.push_str("</section>\n");
}

fn add_table(page: &mut String, Table { header, rows }: &Table) {
    page.push_str("<div class=\"wide\"><table>\n<thead><tr>");
    header.iter().for_each(|name| page.push_str(&format!("<th scope=\"col\">{}</th>", escaped(name))));
    page.push_str("</tr></thead>\n<tbody>\n");
    for row in rows {
        page.push_str("<tr>\n");
        row.iter().for_each(|cell| page.push_str(&element("td", cell)));
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody>\n</table></div>\n");
}

/// Good and bad are told by a sign too: paper and eyes may know no colours.
fn element(name: &str, cell: &Cell) -> String {
    let text = escaped(&cell.text);
    match cell.is_good {
        None => format!("<{name}>{text}</{name}>\n"),
        Some(true) => format!("<{name} class=\"good\">&#x2713; {text}</{name}>\n"),
        Some(false) => format!("<{name} class=\"bad\">&#x2717; {text}</{name}>\n"),
    }
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            letter if letter.is_control() => out.extend(letter.escape_default()),
            letter => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_hold_is_text_and_no_markup() {
        let cell = Cell { text: "<script>alert('\"&\u{1b}')</script>".into(), is_good: Some(false) };
        let table = Table { header: vec!["a"], rows: vec![vec![cell.clone()]] };
        let section = Section { list: vec![cell], table: Some(table), ..Section::default() };
        let page = html(&Document { title: "<b>".into(), sections: vec![section] });
        assert!(!page.contains("<script") && !page.contains("<b>") && !page.contains('\u{1b}'));
        assert_eq!(
            page.matches("&lt;script&gt;alert(&#39;&quot;&amp;\\u{1b}&#39;)&lt;/script&gt;").count(),
            2
        );
    }
}
