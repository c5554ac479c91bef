//! Reads the parts of Rust that the rules look at: which paths a file names, outside of its tests.
//!
//! This is a lexer and a little more, not a parser: it must be right for the code that rustfmt leaves
//! behind, and it may not mistake a comment or a string for code.
//!
//! 1. Comments, strings and character literals name nothing.
//! 2. An item behind `#[cfg(test)]`, or a `cfg` with `test` in an `all`, is a test and is left out.
//! 3. `use a::{b, c::d}` names `a::b` and `a::c::d`; a path in an expression or type names itself.

/// What a file names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    /// Paths of two parts or more.
    pub(crate) paths: Vec<Path>,
    /// Modules in files of their own.
    pub(crate) modules: Vec<String>,
    /// Modules in files of their own that only tests have.
    pub(crate) test_modules: Vec<String>,
}

/// A path and the line, counted from 1, where it begins.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) line: usize,
    pub(crate) parts: Vec<String>,
}

/// Reads a source file.
pub(crate) fn names(text: &str) -> Names {
    let mut reader = Reader { tokens: &tokens(text), names: Names::default() };
    reader.file();
    reader.names
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Token {
    line: usize,
    text: String,
}

impl Token {
    fn is_word(&self) -> bool {
        self.text.starts_with(|c: char| c.is_alphabetic() || c == '_')
    }
}

struct Reader<'a> {
    tokens: &'a [Token],
    names: Names,
}

impl Reader<'_> {
    fn file(&mut self) {
        while let Some(first) = self.tokens.first() {
            match first.text.as_str() {
                "#" => self.attribute(),
                // `use<'a>` in a return type captures lifetimes and imports nothing.
                "use" if self.text(1) != "<" => {
                    self.tokens = &self.tokens[1..];
                    self.use_tree(&[]);
                }
                "mod" if self.text(2) == ";" => {
                    self.names.modules.push(self.text(1).to_owned());
                    self.tokens = &self.tokens[3..];
                }
                _ if first.is_word() => self.path(),
                _ => self.tokens = &self.tokens[1..],
            }
        }
    }

    fn text(&self, place: usize) -> &str {
        self.tokens.get(place).map_or("", |token| &token.text)
    }

    /// `a::b::c`, whether or not it has more than one part.
    fn path(&mut self) {
        let line = self.tokens[0].line;
        let mut parts = vec![self.text(0).to_owned()];
        let mut end = 1;
        while self.text(end) == "::" && self.tokens.get(end + 1).is_some_and(Token::is_word) {
            parts.push(self.text(end + 1).to_owned());
            end += 2;
        }
        self.tokens = &self.tokens[end..];
        if parts.len() > 1 {
            self.names.paths.push(Path { line, parts });
        }
    }

    /// What follows `use`, or a part of it inside braces, up to the `,`, `}` or `;` that ends it.
    fn use_tree(&mut self, prefix: &[String]) {
        let mut parts = prefix.to_vec();
        let line = self.tokens.first().map_or(0, |token| token.line);
        let mut group = false;
        while let Some(token) = self.tokens.first() {
            match token.text.as_str() {
                "," | "}" | ";" => break,
                "{" => {
                    group = true;
                    self.tokens = &self.tokens[1..];
                    while !["", "}", ";"].contains(&self.text(0)) {
                        self.use_tree(&parts);
                        if self.text(0) == "," {
                            self.tokens = &self.tokens[1..];
                        }
                    }
                }
                // The other name is the next token; the path keeps its own.
                "as" => self.tokens = &self.tokens[1..],
                "self" if !parts.is_empty() => {}
                _ if token.is_word() => parts.push(token.text.clone()),
                _ => {}
            }
            self.tokens = self.tokens.get(1..).unwrap_or_default();
        }
        if !group && parts.len() > 1 {
            self.names.paths.push(Path { line, parts });
        }
    }

    /// An attribute; with a `cfg` that means tests, the item it stands on too.
    fn attribute(&mut self) {
        let inner = self.text(1) == "!";
        let open = if inner { 2 } else { 1 };
        if self.text(open) != "[" {
            self.tokens = &self.tokens[1..];
            return;
        }
        let end = open + matching(&self.tokens[open..], "[", "]");
        let words: Vec<&str> =
            self.tokens[open..end].iter().map(|token| token.text.as_str()).collect();
        self.tokens = self.tokens.get(end..).unwrap_or_default();
        if !means_tests(&words) {
            return;
        }
        if inner {
            self.tokens = &[];
            return;
        }
        self.skip_item();
    }

    fn skip_item(&mut self) {
        while self.text(0) == "#" {
            let end = 1 + matching(&self.tokens[1..], "[", "]");
            self.tokens = self.tokens.get(end..).unwrap_or_default();
        }
        let mut place = 0;
        while place < self.tokens.len() {
            match self.text(place) {
                ";" => {
                    if place >= 2 && self.text(place - 2) == "mod" {
                        self.names.test_modules.push(self.text(place - 1).to_owned());
                    }
                    break;
                }
                "{" => {
                    place += matching(&self.tokens[place..], "{", "}") - 1;
                    break;
                }
                "(" => place += matching(&self.tokens[place..], "(", ")"),
                _ => place += 1,
            }
        }
        self.tokens = self.tokens.get(place + 1..).unwrap_or_default();
    }
}

/// Whether the tokens of an attribute, from its `[`, are a `cfg` that holds in tests only.
fn means_tests(words: &[&str]) -> bool {
    let negated = words.windows(3).any(|three| three == ["not", "(", "test"]);
    words.get(1) == Some(&"cfg") && words.contains(&"test") && !words.contains(&"any") && !negated
}

/// How many tokens there are from the opening one to the closing one, both included.
fn matching(tokens: &[Token], open: &str, close: &str) -> usize {
    let mut depth = 0;
    for (place, token) in tokens.iter().enumerate() {
        if token.text == open {
            depth += 1;
        } else if token.text == close {
            depth -= 1;
            if depth == 0 {
                return place + 1;
            }
        }
    }
    tokens.len()
}

/// Words, `::` and single signs, without comments and literals of text.
fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < chars.len() {
        let start = at;
        let (length, token) = lex(&chars[at..]);
        at += length;
        if token {
            tokens.push(Token { line, text: chars[start..at].iter().collect() });
        }
        line += chars[start..at].iter().filter(|c| **c == '\n').count();
    }
    tokens
}

/// The length of what `rest` begins with, and whether it is a token worth keeping.
fn lex(rest: &[char]) -> (usize, bool) {
    let is_word = |c: &char| c.is_alphanumeric() || *c == '_';
    match rest {
        ['/', '/', ..] => (rest.iter().take_while(|c| **c != '\n').count(), false),
        ['/', '*', ..] => (block_comment(rest), false),
        ['"', ..] => (quoted(rest), false),
        ['b' | 'c', '"', ..] => (1 + quoted(&rest[1..]), false),
        ['r', '"' | '#', ..] if raw(&rest[1..]).is_some() => (1 + raw_length(&rest[1..]), false),
        ['b' | 'c', 'r', '"' | '#', ..] if raw(&rest[2..]).is_some() => {
            (2 + raw_length(&rest[2..]), false)
        }
        ['b', '\'', ..] => (1 + character(&rest[1..]), false),
        ['\'', ..] => (character(rest), false),
        [':', ':', ..] => (2, true),
        [c, ..] if is_word(c) => (rest.iter().take_while(|c| is_word(c)).count(), true),
        [c, ..] => (1, !c.is_whitespace()),
        [] => (1, false),
    }
}

fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn quoted(rest: &[char]) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != '"' {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// The number of `#` before the quote that opens a raw string, or `None` when there is none.
fn raw(rest: &[char]) -> Option<usize> {
    let hashes = rest.iter().take_while(|c| **c == '#').count();
    (rest.get(hashes) == Some(&'"')).then_some(hashes)
}

fn raw_length(rest: &[char]) -> usize {
    let hashes = raw(rest).unwrap_or(0);
    let closes = |at: &usize| {
        rest[*at] == '"'
            && rest[at + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes
    };
    let end = (hashes + 1..rest.len()).find(closes);
    end.map_or(rest.len(), |end| end + 1 + hashes)
}

/// The length of a character literal, or 1 for the quote that begins a lifetime.
fn character(rest: &[char]) -> usize {
    match rest {
        ['\'', '\\', _, ..] => {
            let end = rest.iter().skip(3).position(|c| *c == '\'');
            end.map_or(rest.len(), |end| end + 4)
        }
        ['\'', _, '\'', ..] => 3,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(text: &str) -> Vec<String> {
        names(text).paths.iter().map(|p| format!("{} {}", p.line, p.parts.join("::"))).collect()
    }

    #[test]
    fn expands_use_trees() {
        let text =
            "use std::{\n    fs::{self, File as F},\n    io,\n};\npub use crate::a::*;\nuse x;";
        assert_eq!(paths(text), ["2 std::fs", "2 std::fs::File", "3 std::io", "5 crate::a"]);
    }

    #[test]
    fn finds_paths_in_expressions_and_types() {
        let text = "fn f(a: &crate::key::Stamp) -> Vec<super::B> { crate::log::open::<u8>(a) }";
        assert_eq!(paths(text), ["1 crate::key::Stamp", "1 super::B", "1 crate::log::open"]);
    }

    #[test]
    fn captured_lifetimes_are_no_import() {
        let text = "fn f(&self) -> impl Iterator<Item = u8> + use<'_> { a::b(); }";
        assert_eq!(paths(text), ["1 a::b"]);
    }

    #[test]
    fn comments_and_literals_name_nothing() {
        let text = r##"
            // std::fs::read
            /* std::fs /* nested */ std::fs */
            let a = ("std::fs \" std::fs", r#"std::fs " std::fs"#, b"std::fs", '"', '\'', '\u{7f}');
            fn f<'a>(x: &'a str) -> char { 'b' }
            let b = a::b;
        "##;
        assert_eq!(paths(text), ["6 a::b"]);
    }

    #[test]
    fn tests_are_left_out() {
        let text = "
            mod real;
            #[cfg(test)]
            mod tests;
            #[cfg(all(test, loom))]
            #[path = \"x.rs\"]
            mod models;
            #[cfg(test)]
            mod more { use a::b; fn f() { c::d() } }
            #[cfg(test)]
            fn g(x: (e::f, u8)) -> h::i { j::k() }
            #[cfg(not(test))]
            fn l() { m::n() }
            #[cfg(any(test, debug_assertions))]
            fn o() { p::q() }
        ";
        let names = names(text);
        assert_eq!(names.modules, ["real"]);
        assert_eq!(names.test_modules, ["tests", "models"]);
        assert_eq!(paths(text), ["13 m::n", "15 p::q"]);
        assert_eq!(paths("#![cfg(test)]\nuse a::b;"), [""; 0]);
    }

    #[test]
    fn survives_what_is_not_rust() {
        for text in [
            "#[",
            "#[cfg(test)]",
            "use a::{",
            "'",
            "r#\"",
            "/*",
            "\"\\",
            "use a::{}}",
            "use a::{b;",
            "use",
            "mod",
        ] {
            names(text);
        }
    }
}
