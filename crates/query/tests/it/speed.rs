//! How long questions take over columns that lie ready, so that the language alone is measured.
//!
//! Sketch: a stretch of a few rows costs about 50 ns, a row in a long stretch about 1 ns, a row of an answer about 20 ns a cell.

use crate::scripts::settings;
use olivine_command::points::FieldType;
use olivine_query::{
    Dialect, Limits, answer, parse,
    source::{
        Ask, Column, Cursor, Fault, Field, Piece, Place, Policy, Rows, Series, Source, TagFilter,
        Values,
    },
};

/// Rows of every series, the same for all.
struct Ready {
    hosts: usize,
    times: Vec<i64>,
    columns: Vec<Column>,
}

const PIECE: usize = 4096;

struct Ahead<'a> {
    times: &'a [i64],
    columns: Vec<&'a Column>,
    given: Vec<Column>,
    at: usize,
    backward: bool,
}

impl Cursor for Ahead<'_> {
    fn next(&mut self) -> Result<Option<Piece<'_>>, Fault> {
        let pieces = self.times.len().div_ceil(PIECE);
        if self.at == pieces {
            return Ok(None);
        }
        let place = if self.backward { pieces - 1 - self.at } else { self.at };
        self.at += 1;
        let (from, to) = (place * PIECE, ((place + 1) * PIECE).min(self.times.len()));
        self.given = self
            .columns
            .iter()
            .map(|column| match &column.values {
                Values::Float(values) => {
                    Column { values: Values::Float(values[from..to].to_vec()), present: None }
                }
                _ => Column::default(),
            })
            .collect();
        Ok(Some(Piece::Rows(Rows { times: &self.times[from..to], columns: &self.given })))
    }
}

impl Source for Ready {
    fn databases(&self) -> Result<Vec<String>, Fault> {
        Ok(vec!["db".to_owned()])
    }

    fn policies(&self, _: &str) -> Result<Vec<Policy>, Fault> {
        Ok(Vec::new())
    }

    fn measurements(&self, _: &str) -> Result<Vec<String>, Fault> {
        Ok(vec!["cpu".to_owned()])
    }

    fn fields(&self, _: Place<'_>, _: &str) -> Result<Vec<Field>, Fault> {
        let names = 0..self.columns.len();
        Ok(names.map(|name| Field { name: format!("f{name}"), kind: FieldType::Float }).collect())
    }

    fn tag_keys(&self, _: Place<'_>, _: &str) -> Result<Vec<String>, Fault> {
        Ok(vec!["host".to_owned()])
    }

    fn series(
        &self,
        _: Place<'_>,
        _: &str,
        _: &TagFilter,
        _: i64,
        _: i64,
    ) -> Result<Vec<Series>, Fault> {
        let tags = |host| vec![("host".to_owned(), format!("host_{host:04}"))];
        Ok((0..self.hosts).map(|host| Series { id: host as u64, tags: tags(host) }).collect())
    }

    fn read<'a>(
        &'a self,
        _: Place<'_>,
        _: &str,
        _: &Series,
        ask: &Ask<'_>,
    ) -> Result<Box<dyn Cursor + 'a>, Fault> {
        let from = self.times.partition_point(|time| *time < ask.from);
        let to = self.times.partition_point(|time| *time <= ask.to);
        assert_eq!((from, to), (0, self.times.len()), "all of it is asked for");
        let columns =
            ask.fields.iter().map(|name| &self.columns[name[1..].parse::<usize>().unwrap()]);
        let (times, columns) = (&self.times[..], columns.collect());
        Ok(Box::new(Ahead { times, columns, given: Vec::new(), at: 0, backward: ask.backward }))
    }
}

/// Prints how long each question takes; `--nocapture` shows it.
#[test]
#[ignore = "tells times; `cargo test --release -p olivine-query --test it -- --ignored speed --nocapture`"]
#[expect(clippy::disallowed_methods, reason = "a measurement asks the clock")]
fn speed() {
    let rows = 4320i64;
    let value = |row: i64, field: i64| ((row * 7919 + field * 104_729) % 10_007) as f64 / 100.07;
    let columns = (0..10).map(|field| {
        let values = Values::Float((0..rows).map(|row| value(row, field)).collect());
        Column { values, present: None }
    });
    let times = (0..rows).map(|row| row * 10_000_000_000).collect();
    let mut ready = Ready { hosts: 1, times, columns: columns.collect() };
    for (hosts, question) in [
        (1, "SELECT max(f0) FROM cpu WHERE time >= 0 AND time < 12h GROUP BY time(1m)"),
        (
            8,
            "SELECT max(f0), max(f1), max(f2), max(f3), max(f4) FROM cpu WHERE time >= 0 AND time < 12h GROUP BY time(1m)",
        ),
        (8, "SELECT max(*) FROM cpu WHERE time >= 0 AND time < 12h GROUP BY time(1h)"),
        (400, "SELECT mean(f0) FROM cpu WHERE time >= 0 AND time < 12h GROUP BY time(1h), host"),
        (400, "SELECT mean(*) FROM cpu WHERE time >= 0 AND time < 12h GROUP BY time(1h), host"),
        (400, "SELECT * FROM cpu WHERE f0 > 90.0 AND time >= 0 AND time < 12h"),
        (400, "SELECT * FROM cpu GROUP BY host ORDER BY time DESC LIMIT 1"),
        (
            400,
            "SELECT max(f0) FROM cpu WHERE time < 12h GROUP BY time(1m) ORDER BY time DESC LIMIT 5",
        ),
        (10, "SELECT median(f0) FROM cpu WHERE time >= 0 AND time < 12h GROUP BY time(1h), host"),
        (10, "SELECT derivative(f0, 1s) FROM cpu WHERE time >= 0 AND time < 12h GROUP BY host"),
    ] {
        ready.hosts = hosts;
        let statement = &parse(question, Dialect::Strict).unwrap()[0];
        let begun = std::time::Instant::now();
        let found = answer(statement, &ready, &settings(Limits::default())).unwrap();
        let took = begun.elapsed();
        let rows_read = rows * i64::try_from(hosts).unwrap();
        let nanos = took.as_nanos() as f64 / rows_read as f64;
        let answered: usize = found.tables.iter().map(|table| table.rows().len()).sum();
        println!("{took:>12.3?} {nanos:>8.1} ns a row, {answered:>7} rows: {question}");
    }
}
