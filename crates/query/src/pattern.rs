//! Regular expressions as Go writes them, which is what InfluxQL means by one.
//!
//! `regex` reads nearly the same language; what differs is written anew before it is compiled: `\d`, `\w`, `\s`
//! and `\b` mean ASCII, `\Q...\E` quotes, and within brackets `[`, `&` and `~` mean themselves.
//!
//! 1. Matching takes time in proportion to the text, whatever the expression.

use std::fmt;

/// How much memory a compiled expression may take.
const BYTES_MAX: usize = 1 << 20;

/// A regular expression.
#[derive(Clone)]
pub struct Pattern {
    /// As it was written.
    text: String,
    regex: regex::Regex,
}

impl Pattern {
    /// Compiles an expression; the error says what is wrong with it.
    pub fn new(text: &str) -> Result<Pattern, String> {
        let regex = regex::RegexBuilder::new(&translated(text)).size_limit(BYTES_MAX).build();
        match regex {
            Ok(regex) => Ok(Pattern { text: text.to_owned(), regex }),
            Err(regex::Error::CompiledTooBig(_)) => {
                Err(format!("error parsing regexp: expression too large: `{text}`"))
            }
            Err(error) => {
                let told = error.to_string();
                let last = told.lines().last().unwrap_or_default();
                let what = last.strip_prefix("error: ").unwrap_or(last);
                Err(format!("error parsing regexp: {what}: `{text}`"))
            }
        }
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it is found in a text.
    pub fn matches(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// As a source of series takes it.
    pub fn matcher(&self) -> crate::source::Matcher {
        let regex = self.regex.clone();
        let matches = std::sync::Arc::new(move |text: &str| regex.is_match(text));
        crate::source::Matcher { text: self.text.clone(), matches }
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.text)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.text.replace('/', "\\/"))
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.text == other.text
    }
}

/// The same expression in the language of `regex`.
fn translated(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    let mut class = false;
    let mut first = false;
    while let Some(char) = chars.next() {
        let begins = std::mem::take(&mut first);
        match char {
            '\\' => match chars.next() {
                Some('Q') => {
                    let mut quoted = String::new();
                    while let Some(next) = chars.next() {
                        if next == '\\' && chars.peek() == Some(&'E') {
                            chars.next();
                            break;
                        }
                        quoted.push(next);
                    }
                    out.push_str(&regex::escape(&quoted));
                }
                Some('E') => {}
                Some('d') => out.push_str(if class { "0-9" } else { "[0-9]" }),
                Some('D') => out.push_str("[^0-9]"),
                Some('w') => out.push_str(if class { "0-9A-Za-z_" } else { "[0-9A-Za-z_]" }),
                Some('W') => out.push_str("[^0-9A-Za-z_]"),
                Some('s') => {
                    out.push_str(if class {
                        "\\t\\n\\x0C\\r\\x20"
                    } else {
                        "[\\t\\n\\x0C\\r\\x20]"
                    });
                }
                Some('S') => out.push_str("[^\\t\\n\\x0C\\r\\x20]"),
                Some('b') if !class => out.push_str("(?-u:\\b)"),
                Some(other) => {
                    out.push('\\');
                    out.push(other);
                }
                None => out.push('\\'),
            },
            '[' if !class => {
                class = true;
                first = true;
                out.push('[');
                if chars.peek() == Some(&'^') {
                    chars.next();
                    out.push('^');
                }
            }
            '[' if chars.peek() == Some(&':') => {
                // A class with a name, `[:alpha:]`, up to its end.
                out.push('[');
                for next in chars.by_ref() {
                    out.push(next);
                    if next == ']' {
                        break;
                    }
                }
            }
            ']' if class && begins => out.push_str("\\]"),
            ']' if class => {
                class = false;
                out.push(']');
            }
            '-' if class && chars.peek() == Some(&'-') => out.push_str("\\-"),
            '[' | '&' | '~' if class => {
                out.push('\\');
                out.push(char);
            }
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Pattern::new(pattern).unwrap().matches(text)
    }

    #[test]
    fn what_go_means_is_what_matches() {
        assert!(matches("^host_\\d+$", "host_12"));
        assert!(!matches("^\\d$", "\u{0663}"));
        assert!(matches("^[\\D]$", "x"));
        assert!(matches("^[[&~]$", "["));
        assert!(matches("^[^]]$", "x"));
        assert!(!matches("^[]]$", "x"));
        assert!(matches("^\\Qa.b\\E$", "a.b"));
        assert!(!matches("^\\Qa.b\\E$", "axb"));
        assert!(matches("(?i)^HOST", "host"));
        assert!(matches("^[[:alpha:]]+$", "abc"));
        assert!(matches("", "anything"));
    }

    #[test]
    fn what_is_wrong_is_told() {
        let error = Pattern::new("[a").unwrap_err();
        assert!(error.starts_with("error parsing regexp: "), "{error}");
        assert!(error.ends_with(": `[a`"), "{error}");
        let error = Pattern::new("((a{1000}){1000}){1000}").unwrap_err();
        assert_eq!(error, "error parsing regexp: expression too large: `((a{1000}){1000}){1000}`");
    }
}
