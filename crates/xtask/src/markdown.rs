//! Reads the parts of Markdown that the rules look at: headings, links, tables.
//!
//! 1. Nothing inside a fenced block or between backticks is a link or a heading.
//! 2. Anchors are those that code hosts make: lower case, punctuation gone, blanks to hyphens.

/// A link and the line, counted from 1, where it stands.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) line: usize,
    pub(crate) target: String,
}

/// A row of a table: its line and its cells, in the order of the columns asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) line: usize,
    pub(crate) cells: Vec<String>,
}

/// The inline links `[text](target)` of a document.
pub(crate) fn links(text: &str) -> Vec<Link> {
    let mut links = Vec::new();
    for (line, prose) in prose(text) {
        let prose = without_code(prose);
        let mut rest = prose.as_str();
        while let Some(start) = rest.find("](") {
            rest = &rest[start + 2..];
            let Some(end) = rest.find(')') else { break };
            // A title may follow the target.
            let target = rest[..end].split_whitespace().next().unwrap_or_default();
            links.push(Link { line, target: target.to_owned() });
            rest = &rest[end..];
        }
    }
    links
}

/// The anchors of a document's headings.
pub(crate) fn anchors(text: &str) -> Vec<String> {
    let mut anchors: Vec<String> = Vec::new();
    for (_, line) in prose(text) {
        let title = line.trim_start_matches('#');
        if title.len() == line.len() || !title.starts_with(' ') {
            continue;
        }
        let slug: String = title
            .trim()
            .to_lowercase()
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect();
        let taken = |slug: &str| anchors.iter().any(|anchor| anchor == slug);
        let numbered = (1..).map(|n| format!("{slug}-{n}"));
        let free = std::iter::once(slug.clone()).chain(numbered).find(|slug| !taken(slug));
        anchors.extend(free);
    }
    anchors
}

/// The rows of the first table that has all of `columns`, or `None` when there is no such table.
pub(crate) fn table(text: &str, columns: &[&str]) -> Option<Vec<Row>> {
    let mut lines = prose(text);
    let places: Vec<usize> = lines.by_ref().find_map(|(_, line)| {
        let header = cells(line)?;
        columns.iter().map(|column| header.iter().position(|cell| cell == column)).collect()
    })?;
    let rows = lines.skip(1).map_while(|(line, row)| {
        let row = cells(row)?;
        let cell = |place: &usize| row.get(*place).cloned().unwrap_or_default();
        Some(Row { line, cells: places.iter().map(cell).collect() })
    });
    Some(rows.collect())
}

/// What stands between backticks.
pub(crate) fn codes(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn cells(line: &str) -> Option<Vec<String>> {
    let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    Some(inner.split('|').map(|cell| cell.trim().to_owned()).collect())
}

/// The lines outside of fenced blocks, counted from 1.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    (1..).zip(text.lines()).filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join("`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_links_outside_of_code() {
        let text = "a [b](c.md) `[no](x)` [d](e.md#f \"title\")\n```\n[no](y)\n```\n[g](#h)\n";
        let link = |line, target: &str| Link { line, target: target.into() };
        assert_eq!(links(text), [link(1, "c.md"), link(1, "e.md#f"), link(5, "#h")]);
    }

    #[test]
    fn makes_anchors_as_code_hosts_do() {
        let text = "# What it is, and `why`\n## Log\n```sh\n# not one\n```\n## Log\n#nor this\n";
        assert_eq!(anchors(text), ["what-it-is-and-why", "log", "log-1"]);
    }

    #[test]
    fn picks_a_table_by_its_columns() {
        let text = "| a | b |\n|---|---|\n| 1 | 2 |\n\n| c | d | e |\n|---|---|---|\n| 3 | 4 | `5` |\n| 6 |\n\n| 7 | 8 | 9 |\n";
        let row = |line, cells: [&str; 2]| Row { line, cells: cells.map(str::to_owned).to_vec() };
        assert_eq!(table(text, &["e", "c"]), Some(vec![row(7, ["`5`", "3"]), row(8, ["", "6"])]));
        assert_eq!(table(text, &["f"]), None);
    }

    #[test]
    fn takes_words_out_of_backticks() {
        assert_eq!(codes("`a`, b, `c d` and `e`").collect::<Vec<_>>(), ["a", "c d", "e"]);
    }
}
