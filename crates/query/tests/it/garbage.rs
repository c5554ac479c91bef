//! What nobody would ask.
//!
//! 1. Whatever the text, the parser answers, and what it took it takes again as it was written.
//! 2. What it took is answered or refused, over points too.

use crate::{
    memory::Memory,
    peer,
    scripts::{never, settings},
};
use olivine_query::{Dialect, Limits, Settings, answer, fuzzing, parse};

/// Words and signs, as often as not in places where they make no sense.
const WORDS: &[&str] = &[
    "SELECT",
    "FROM",
    "cpu",
    "idle",
    "busy",
    "host",
    "*",
    ",",
    "(",
    ")",
    "WHERE",
    "=",
    "'h0'",
    "AND",
    "OR",
    "GROUP BY",
    "time(1m)",
    "time",
    ">",
    "5",
    "1.5",
    "now()",
    "-",
    "+",
    "/",
    "mean(",
    "max(",
    "top(",
    "derivative(",
    "fill(none)",
    "fill(previous)",
    "LIMIT",
    "OFFSET",
    "3",
    "ORDER BY time DESC",
    "/h/",
    "=~",
    "::",
    "float",
    "tag",
    "AS",
    "x",
    "SHOW",
    "SERIES",
    "TAG VALUES WITH KEY",
    "IN",
    "DISTINCT",
    "\"",
    "'",
    ";",
    ".",
    "..",
    "INTO",
    "1h",
    "'2016-01-01'",
    "tz('x')",
    "count(distinct(",
    "-9223372036854775808",
    "18446744073709551615",
    "holt_winters(",
    "EXPLAIN",
    "DELETE",
    "$x",
    "\n",
    "= limit",
    "= value1",
    "TIME RANGE",
    "TO",
    "µ",
    "SELECT max(idle) FROM cpu",
    "(SELECT idle FROM cpu)",
    "percentile(",
    "sample(",
    "%",
    "^",
];

struct Draw(u64);

impl Draw {
    fn below(&mut self, limit: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % limit
    }
}

#[test]
fn any_words_are_read_or_refused_and_answered_or_refused() {
    let mut memory = Memory::new(5, true);
    memory.write("db", &peer::points());
    let limits =
        Limits { points_max: 10_000, bytes_max: 1 << 20, buckets_max: 1000, series_max: 100 };
    let mut draw = Draw(11);
    let mut taken = 0;
    for _ in 0..30_000 {
        let mut text = if draw.below(3) == 0 { String::new() } else { "SELECT ".to_owned() };
        for _ in 0..=draw.below(14) {
            text.push_str(WORDS[draw.below(WORDS.len())]);
            if draw.below(5) != 0 {
                text.push(' ');
            }
        }
        if draw.below(2) == 0 {
            text.push_str(" FROM cpu WHERE time >= 1451606400000000000 AND time < 1451606500s");
        }
        for dialect in [Dialect::Strict, Dialect::Relaxed] {
            fuzzing::parse(text.as_bytes()).ok();
            let Ok(statements) = parse(&text, dialect) else {
                continue;
            };
            for statement in &statements {
                taken += 1;
                let settings = Settings { stop: &never, ..settings(limits) };
                answer(statement, &memory, &settings).ok();
            }
        }
    }
    assert!(500 < taken, "only {taken} statements were taken");
}

/// A thread of a server has little stack, and what comes from outside may nest as it likes.
#[test]
fn depth_is_bounded() {
    let deep = |count: usize, open: &str, close: &str| {
        format!("SELECT {}idle{} FROM cpu", open.repeat(count), close.repeat(count))
    };
    let chain = |count: usize| {
        format!("SELECT idle FROM cpu WHERE host = 'a'{}", " OR host = 'b'".repeat(count))
    };
    let nested =
        |count: usize| format!("{}cpu{}", "SELECT idle FROM (".repeat(count), ")".repeat(count));
    let mut memory = Memory::new(5, true);
    memory.write("db", &peer::points());
    let work = move || {
        for text in [
            deep(10_000, "(", ")"),
            deep(10_000, "-(", ")"),
            deep(10_000, "abs(", ")"),
            deep(10_000, "1+", ""),
            chain(100_000),
            nested(10_000),
            deep(49, "(", ")"),
            deep(49, "abs(", ")"),
            deep(990, "1+", ""),
            chain(490),
            nested(40),
            "SELECT idle FROM cpu WHERE ".to_owned()
                + &"(".repeat(45)
                + "busy > 1"
                + &" AND (busy > 1)".repeat(400)
                + &")".repeat(45),
        ] {
            for dialect in [Dialect::Strict, Dialect::Relaxed] {
                match parse(&text, dialect) {
                    Ok(statements) => {
                        let again = parse(&statements[0].to_string(), dialect);
                        assert_eq!(again.as_ref(), Ok(&statements));
                        let settings = Settings { stop: &never, ..settings(Limits::default()) };
                        answer(&statements[0], &memory, &settings).ok();
                    }
                    Err(error) => assert!(
                        error.message.starts_with("too many ") || text.len() < 100_000,
                        "{error}"
                    ),
                }
            }
        }
    };
    let thread = std::thread::Builder::new().stack_size(1 << 20).spawn(work).unwrap();
    thread.join().unwrap();
}
