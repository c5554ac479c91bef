//! A door to the parser for whoever feeds it garbage; not a part of what others call.
//!
//! 1. Whatever the bytes, `parse` answers with how many statements they hold or what is wrong; it never panics, unless
//!    what was read is not read again as the same.
//! 2. `parse` takes what `sample` made.

use crate::parse::{Dialect, Param, Params, parse_with};

/// Statements of every kind, for a corpus to begin with.
const SAMPLES: &[&str] = &[
    "SELECT mean(usage_user) AS m FROM db.rp.cpu WHERE hostname = 'host_1' AND time >= '2016-01-01T00:00:00Z' AND time < now() - 1h GROUP BY time(1m, -5s), * fill(previous) ORDER BY time DESC LIMIT 5 OFFSET 1 SLIMIT 2 tz('Europe/Berlin')",
    "SELECT top(a, host, 3), b::float, -c * (d + 1.5) % 2 FROM /cpu|mem/, \"x y\" WHERE e =~ /^a\\/b$/ OR f != true AND g > $p",
    "SELECT count(DISTINCT x) INTO a.b.:MEASUREMENT FROM (SELECT derivative(max(y), 1s) AS x FROM z GROUP BY time(10s), /t/) GROUP BY time(1h)",
    "SHOW TAG VALUES ON db FROM cpu WITH KEY IN (a, \"b c\") WHERE d = 'e' LIMIT 1; SHOW SERIES EXACT CARDINALITY; SHOW FIELD KEYS FROM /x/; SHOW MEASUREMENTS WITH MEASUREMENT =~ /c/",
    "CREATE DATABASE d WITH DURATION 1w REPLICATION 1 SHARD DURATION 1d NAME p; ALTER RETENTION POLICY p ON d DURATION INF DEFAULT; DROP SERIES FROM a WHERE b = 'c'; DELETE WHERE time < 5",
    "select field1 from measurement where tag1=value1 and host=server-1.example TIME RANGE now() - 1h TO now() limit 3 -- bare words",
];

/// A text that `parse` takes.
pub fn sample(seed: u64) -> Vec<u8> {
    SAMPLES[(seed % SAMPLES.len() as u64) as usize].as_bytes().to_vec()
}

/// Reads a text in both dialects; what is taken is written, read again, and the same.
pub fn parse(bytes: &[u8]) -> Result<u64, String> {
    let text = str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let params = Params::from([("p".to_owned(), Param::Number(0.5))]);
    let strict = parse_with(text, Dialect::Strict, &params);
    let relaxed = parse_with(text, Dialect::Relaxed, &params);
    for (dialect, read) in [(Dialect::Strict, &strict), (Dialect::Relaxed, &relaxed)] {
        let Ok(statements) = read else {
            continue;
        };
        for statement in statements {
            let shown = statement.to_string();
            let again = parse_with(&shown, dialect, &Params::new());
            let same = again.as_deref().is_ok_and(|again| again == std::slice::from_ref(statement));
            assert!(same, "{shown}\n{statement:?}\n{again:?}");
        }
    }
    let read = strict.or(relaxed).map_err(|error| error.to_string())?;
    Ok(read.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_taken() {
        for seed in 0..SAMPLES.len() as u64 {
            parse(&sample(seed)).unwrap_or_else(|error| panic!("sample {seed}: {error}"));
        }
    }
}
