//! The words and signs that InfluxQL consists of.
//!
//! 1. Keywords are known whatever their case; inside double quotes nothing is a keyword.

/// Joins two expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `%`
    Modulo,
    /// `&`
    BitAnd,
    /// `|`
    BitOr,
    /// `^`
    BitXor,
    /// `AND`
    And,
    /// `OR`
    Or,
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Matches,
    /// `!~`
    MatchesNot,
    /// `<`
    Less,
    /// `<=`
    LessEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterEqual,
}

impl Op {
    /// As it is written.
    pub fn text(self) -> &'static str {
        match self {
            Op::Add => "+",
            Op::Subtract => "-",
            Op::Multiply => "*",
            Op::Divide => "/",
            Op::Modulo => "%",
            Op::BitAnd => "&",
            Op::BitOr => "|",
            Op::BitXor => "^",
            Op::And => "AND",
            Op::Or => "OR",
            Op::Equal => "=",
            Op::NotEqual => "!=",
            Op::Matches => "=~",
            Op::MatchesNot => "!~",
            Op::Less => "<",
            Op::LessEqual => "<=",
            Op::Greater => ">",
            Op::GreaterEqual => ">=",
        }
    }

    /// Which binds more: the higher.
    pub fn precedence(self) -> u8 {
        match self {
            Op::Or => 1,
            Op::And => 2,
            Op::Add | Op::Subtract | Op::BitOr | Op::BitXor => 4,
            Op::Multiply | Op::Divide | Op::Modulo | Op::BitAnd => 5,
            _ => 3,
        }
    }

    /// Whether it compares, matches, or joins conditions.
    pub fn is_logical(self) -> bool {
        self.precedence() < 4
    }

    /// The one that says the same with both sides exchanged.
    pub fn mirrored(self) -> Op {
        match self {
            Op::Less => Op::Greater,
            Op::LessEqual => Op::GreaterEqual,
            Op::Greater => Op::Less,
            Op::GreaterEqual => Op::LessEqual,
            other => other,
        }
    }
}

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Illegal,
    End,
    Whitespace,
    Comment,
    Ident,
    Number,
    Integer,
    Duration,
    Text,
    BadText,
    BadEscape,
    Regex,
    BadRegex,
    Param,
    True,
    False,
    Op(Op),
    LeftParen,
    RightParen,
    Comma,
    Colon,
    DoubleColon,
    Semicolon,
    Dot,
    /// A keyword, in capitals.
    Word(&'static str),
}

impl Kind {
    /// What it is called where it was found without a text of its own.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Illegal => "ILLEGAL",
            Kind::End => "EOF",
            Kind::Whitespace => "WS",
            Kind::Comment => "COMMENT",
            Kind::Ident => "IDENT",
            Kind::Number => "NUMBER",
            Kind::Integer => "INTEGER",
            Kind::Duration => "DURATIONVAL",
            Kind::Text => "STRING",
            Kind::BadText => "BADSTRING",
            Kind::BadEscape => "BADESCAPE",
            Kind::Regex => "REGEX",
            Kind::BadRegex => "BADREGEX",
            Kind::Param => "BOUNDPARAM",
            Kind::True => "TRUE",
            Kind::False => "FALSE",
            Kind::Op(op) => op.text(),
            Kind::LeftParen => "(",
            Kind::RightParen => ")",
            Kind::Comma => ",",
            Kind::Colon => ":",
            Kind::DoubleColon => "::",
            Kind::Semicolon => ";",
            Kind::Dot => ".",
            Kind::Word(word) => word,
        }
    }
}

/// All keywords, sorted.
const KEYWORDS: &[&str] = &[
    "ALL",
    "ALTER",
    "ANALYZE",
    "ANY",
    "AS",
    "ASC",
    "BEGIN",
    "BY",
    "CARDINALITY",
    "CONTINUOUS",
    "CREATE",
    "DATABASE",
    "DATABASES",
    "DEFAULT",
    "DELETE",
    "DESC",
    "DESTINATIONS",
    "DIAGNOSTICS",
    "DISTINCT",
    "DROP",
    "DURATION",
    "END",
    "EVERY",
    "EXACT",
    "EXPLAIN",
    "FIELD",
    "FOR",
    "FROM",
    "GRANT",
    "GRANTS",
    "GROUP",
    "GROUPS",
    "IN",
    "INF",
    "INSERT",
    "INTO",
    "KEY",
    "KEYS",
    "KILL",
    "LIMIT",
    "MEASUREMENT",
    "MEASUREMENTS",
    "NAME",
    "OFFSET",
    "ON",
    "ORDER",
    "PASSWORD",
    "POLICIES",
    "POLICY",
    "PRIVILEGES",
    "QUERIES",
    "QUERY",
    "READ",
    "REPLICATION",
    "RESAMPLE",
    "RETENTION",
    "REVOKE",
    "SELECT",
    "SERIES",
    "SET",
    "SHARD",
    "SHARDS",
    "SHOW",
    "SLIMIT",
    "SOFFSET",
    "STATS",
    "SUBSCRIPTION",
    "SUBSCRIPTIONS",
    "TAG",
    "TO",
    "USER",
    "USERS",
    "VALUES",
    "WHERE",
    "WITH",
    "WRITE",
];

/// What a bare word is.
pub(crate) fn word(text: &str) -> Kind {
    let upper = text.to_ascii_uppercase();
    match &*upper {
        "AND" => Kind::Op(Op::And),
        "OR" => Kind::Op(Op::Or),
        "TRUE" => Kind::True,
        "FALSE" => Kind::False,
        _ => match KEYWORDS.binary_search(&&*upper) {
            Ok(place) => Kind::Word(KEYWORDS[place]),
            Err(_) => Kind::Ident,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_are_sorted_and_found_whatever_their_case() {
        assert!(KEYWORDS.is_sorted());
        assert_eq!(word("sElect"), Kind::Word("SELECT"));
        assert_eq!(word("or"), Kind::Op(Op::Or));
        assert_eq!(word("usage"), Kind::Ident);
    }
}
