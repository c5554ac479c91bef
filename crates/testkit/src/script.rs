//! Runs test scripts: situations and claims in text.
//!
//! A script is a list of cases. A case is its comments (`#`), its command lines, `----`, the result
//! expected, and a blank line. The state lives through the whole script. With `REWRITE=1` in the
//! environment the results are written instead of compared; read that diff as you read code.
//!
//! 1. Comments and commands are kept to the byte by a rewrite; only results change.
//! 2. All cases run, and all that differ are told at once, each with its line number.
//! 3. A blank line within a result is shown as `(blank)`, so that a result ends where it seems to.

use olivine_vfs::{Open, RealVfs, Vfs};
use std::{fmt::Write as _, io, path::Path};

/// One case of a script.
struct Case {
    /// Where its first command line stands, from 1.
    line: usize,
    /// Comments and blank lines before the commands, as they stand in the file.
    head: String,
    commands: String,
    expected: String,
}

/// Runs every case of the script at `path` (seen from the crate's directory) through `run`, which
/// gets the command lines and answers the result.
///
/// # Panics
/// When a result differs from the expected one, or the script cannot be read.
pub fn run_script<S>(
    path: impl AsRef<Path>,
    mut state: S,
    mut run: impl FnMut(&mut S, &str) -> String,
) {
    let path = path.as_ref();
    let text = read(path).unwrap_or_else(|e| panic!("cannot read script {}: {e}", path.display()));
    let rewrite = std::env::var_os("REWRITE").is_some_and(|value| value == "1");
    let (rewritten, differences) = run_text(&text, &mut state, &mut run);
    if rewrite {
        if rewritten != text {
            write(path, &rewritten)
                .unwrap_or_else(|e| panic!("cannot rewrite script {}: {e}", path.display()));
        }
        return;
    }
    let mut told = String::new();
    for Difference { line, commands, expected, found } in &differences {
        let place = format!("{}:{line}", path.display());
        write!(told, "\n{place}\n{commands}---- expected\n{expected}---- found\n{found}").ok();
    }
    assert!(differences.is_empty(), "{} cases differ (REWRITE=1 accepts){told}", differences.len());
}

/// A case whose result is not the expected one.
struct Difference {
    line: usize,
    commands: String,
    expected: String,
    found: String,
}

/// Runs the cases of `text`; answers the text with the results found, and what differs.
fn run_text<S>(
    text: &str,
    state: &mut S,
    run: &mut impl FnMut(&mut S, &str) -> String,
) -> (String, Vec<Difference>) {
    let (cases, tail) = parse(text);
    let (mut rewritten, mut differences) = (String::new(), Vec::new());
    for (place, case) in cases.into_iter().enumerate() {
        let found = shown(&run(state, &case.commands));
        if place != 0 {
            rewritten.push('\n');
        }
        write!(rewritten, "{}{}----\n{found}", case.head, case.commands).ok();
        if found != case.expected {
            let Case { line, commands, expected, .. } = case;
            differences.push(Difference { line, commands, expected, found });
        }
    }
    rewritten.push_str(&tail);
    (rewritten, differences)
}

/// A result as it stands in a script: every line ended, blank ones visible.
fn shown(result: &str) -> String {
    let mut shown = String::new();
    for line in result.trim_end_matches('\n').lines() {
        shown.push_str(if line.is_empty() { "(blank)" } else { line });
        shown.push('\n');
    }
    shown
}

/// The cases of a script, and what stands after the last of them.
fn parse(text: &str) -> (Vec<Case>, String) {
    let mut cases = Vec::new();
    let mut lines = text.lines().enumerate().peekable();
    loop {
        let (mut head, mut commands, mut line) = (String::new(), String::new(), 0);
        let mut ruled = false;
        for (number, text) in lines.by_ref() {
            if text == "----" {
                ruled = true;
                break;
            }
            if commands.is_empty() && (text.is_empty() || text.starts_with('#')) {
                head.push_str(text);
                head.push('\n');
                continue;
            }
            if commands.is_empty() {
                line = number + 1;
            }
            commands.push_str(text);
            commands.push('\n');
        }
        if !ruled {
            // A case without its rule expects what nothing answers, so it is told and can be filled in.
            if !commands.is_empty() {
                let commands = commands.trim_end_matches('\n').to_owned() + "\n";
                cases.push(Case { line, head, commands, expected: "(no ---- here)\n".to_owned() });
                return (cases, String::new());
            }
            return (cases, head);
        }
        let mut expected = String::new();
        for (_, text) in lines.by_ref() {
            if text.is_empty() {
                break;
            }
            expected.push_str(text);
            expected.push('\n');
        }
        cases.push(Case { line, head, commands, expected });
    }
}

fn read(path: &Path) -> io::Result<String> {
    let file = RealVfs.open(path, Open::Read)?;
    let mut bytes = vec![0; file.len()? as usize];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    String::from_utf8(bytes).map_err(io::Error::other)
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let file = RealVfs.open(path, Open::Write)?;
    file.set_len(0)?;
    file.write_at(text.as_bytes(), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "\
# Says it back.
say one
say two
----
one
two

# A comment of its own,
# over two lines.
nothing
----

say three
----
four
";

    fn run(count: &mut u32, commands: &str) -> String {
        *count += 1;
        let said: Vec<&str> = commands.lines().filter_map(|l| l.strip_prefix("say ")).collect();
        said.join("\n")
    }

    #[test]
    fn differences_are_told_with_their_line_and_a_rewrite_heals_them() {
        let mut count = 0;
        let (rewritten, differences) = run_text(SCRIPT, &mut count, &mut run);
        assert_eq!(count, 3);
        let told: Vec<_> = differences.iter().map(|d| (d.line, &d.expected[..])).collect();
        assert_eq!(told, [(13, "four\n")]);
        assert_eq!(rewritten, SCRIPT.replace("four", "three"));
        let (again, differences) = run_text(&rewritten, &mut count, &mut run);
        assert!(differences.is_empty());
        assert_eq!(again, rewritten);
    }

    #[test]
    fn a_case_without_a_rule_is_told() {
        let (rewritten, differences) = run_text("say one\n", &mut 0, &mut run);
        assert_eq!(differences.len(), 1);
        assert_eq!(rewritten, "say one\n----\none\n");
    }

    #[test]
    fn blank_lines_of_a_result_are_shown() {
        let mut say = |(): &mut (), _: &str| "a\n\nb\n".to_owned();
        let (rewritten, _) = run_text("x\n----\n", &mut (), &mut say);
        assert_eq!(rewritten, "x\n----\na\n(blank)\nb\n");
    }
}
