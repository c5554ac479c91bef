//! Time series beside a map that is too simple to be wrong.

use std::{
    cell::Cell,
    collections::BTreeMap,
    path::Path,
    sync::{Arc, atomic::AtomicBool},
};

use olivine_command::{
    Command, Reply, Statement,
    points::{FieldValue, PointWriter},
};
use olivine_engine::{Environment, EnvironmentOptions, Error, Options, Parts, Work};
use olivine_query::source::{Ask, Column, Piece, Place, Source, TagFilter, Values};
use olivine_vfs::{ManualClock, MemoryVfs, Random};

use super::{
    PointsWrite, Progress, Target,
    alter::{Doomed, PolicyChange},
    read::Reading,
};
use crate::{Behind, Model, ModelOptions, refused::Stop};

struct Bench {
    environment: Environment,
    model: Option<Model>,
    /// How many requests were written.
    writes: Cell<usize>,
}

/// Rows of series: by key, then time, then field, as texts.
type Oracle = BTreeMap<String, BTreeMap<i64, BTreeMap<String, String>>>;

const PLACE: Place<'static> = Place { database: "db", policy: "" };

impl Bench {
    fn new() -> Bench {
        let parts = Parts {
            vfs: Arc::new(MemoryVfs::new()),
            clock: Arc::new(ManualClock::new()),
            work: Work::Stepped { seed: 7 },
        };
        let options = EnvironmentOptions { memory_bytes: 64 << 20 };
        let environment = Environment::with(parts, options).unwrap();
        let mut bench = Bench { environment, model: None, writes: Cell::new(0) };
        bench.open();
        bench
    }

    fn open(&mut self) {
        let path = Path::new("/store");
        let (store, options) = (Options::default(), ModelOptions::default());
        self.model = Some(Model::open(&self.environment, path, store, options).unwrap());
    }

    /// Closes it without making chunks, as a crash would.
    fn reopen(&mut self) {
        let model = self.model.take().unwrap();
        let db = model.db().clone();
        drop(model);
        db.close().unwrap();
        self.open();
    }

    fn model(&self) -> &Model {
        self.model.as_ref().unwrap()
    }

    /// Writes points: in turns at once, and in slices each of which knows no more than how far the one before came.
    fn write(&self, points: Vec<u8>) -> Reply {
        let command = into_db(points, false);
        self.writes.set(self.writes.get() + 1);
        if self.writes.get().is_multiple_of(2) {
            return self.write_sliced(&command);
        }
        loop {
            match self.model().apply(1, std::slice::from_ref(&command)) {
                Ok(mut applied) => return applied.replies.remove(0),
                Err(Behind { .. }) => assert!(self.model().work(1).unwrap(), "nothing helps"),
            }
        }
    }

    fn write_sliced(&self, command: &Command<'_>) -> Reply {
        let mut progress = Progress::default();
        for slice in 0.. {
            let request = match slice {
                0 => PointsWrite::new(command),
                _ => PointsWrite::resume(command, progress),
            };
            let mut request = request.unwrap();
            let units_max = 1 + (slice + self.writes.get()) % 50;
            match self.model().series.write_slice(1, &mut request, units_max, true) {
                Ok(Some((reply, _))) => return reply,
                Ok(None) => {}
                Err(Stop::Failed(Error::Busy { .. })) => {
                    assert!(self.model().work(1).unwrap(), "nothing helps");
                }
                Err(Stop::Failed(error)) => panic!("it was not written: {error}"),
                Err(Stop::Refused(refusal)) => return Reply::Refused(refusal),
            }
            progress = request.into_progress();
        }
        unreachable!("slices come to an end")
    }

    /// All rows, as the source hands them out.
    fn found(&self, from: i64, to: i64, backward: bool) -> Oracle {
        let source = reading(self.model());
        let mut found = Oracle::new();
        if source.databases().unwrap().is_empty() {
            return found;
        }
        for measurement in source.measurements("db").unwrap() {
            let fields = source.fields(PLACE, &measurement).unwrap();
            let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
            let all = source.series(PLACE, &measurement, &TagFilter::All, from, to).unwrap();
            for series in all {
                let tags: Vec<String> =
                    series.tags.iter().map(|(k, v)| format!(",{k}={v}")).collect();
                let key = format!("{measurement}{}", tags.concat());
                let (newest, summaries) = (false, None);
                let ask = Ask { fields: &names, from, to, backward, newest, summaries };
                let mut cursor = source.read(PLACE, &measurement, &series, &ask).unwrap();
                let mut times: Vec<(i64, i64)> = Vec::new();
                while let Some(piece) = cursor.next().unwrap() {
                    let Piece::Rows(rows) = piece else { panic!("no summary was asked for") };
                    assert!(rows.times.is_sorted_by(|a, b| a < b), "{:?}", rows.times);
                    times.push((rows.times[0], *rows.times.last().unwrap()));
                    for (row, time) in rows.times.iter().enumerate() {
                        let values = names.iter().zip(rows.columns).filter(|(_, c)| c.has(row));
                        let values = values.map(|(name, c)| ((*name).to_owned(), told(c, row)));
                        let values: BTreeMap<String, String> = values.collect();
                        assert!(!values.is_empty(), "a row without values at {time}");
                        let before = found.entry(key.clone()).or_default().insert(*time, values);
                        assert_eq!(before, None, "twice at {time}");
                    }
                }
                if backward {
                    times.reverse();
                }
                assert!(times.windows(2).all(|pair| pair[0].1 < pair[1].0), "{times:?}");
            }
        }
        found
    }

    /// The newest row of each series that has one of the first so many fields, in what is handed out where nothing else
    /// is wanted.
    fn newest(&self, from: i64, to: i64, fields: usize) -> Oracle {
        let source = reading(self.model());
        let mut found = Oracle::new();
        if source.databases().unwrap().is_empty() {
            return found;
        }
        for measurement in source.measurements("db").unwrap() {
            let all_fields = source.fields(PLACE, &measurement).unwrap();
            let names = all_fields.iter().take(fields).map(|field| field.name.as_str());
            let names: Vec<&str> = names.collect();
            let all = source.series(PLACE, &measurement, &TagFilter::All, from, to).unwrap();
            for series in all {
                let tags: Vec<String> =
                    series.tags.iter().map(|(k, v)| format!(",{k}={v}")).collect();
                let key = format!("{measurement}{}", tags.concat());
                let (backward, newest, summaries) = (true, true, None);
                let ask = Ask { fields: &names, from, to, backward, newest, summaries };
                let mut cursor = source.read(PLACE, &measurement, &series, &ask).unwrap();
                if let Some(piece) = cursor.next().unwrap() {
                    let Piece::Rows(rows) = piece else { panic!("no summary was asked for") };
                    let row = rows.times.len() - 1;
                    let values = names.iter().zip(rows.columns).filter(|(_, c)| c.has(row));
                    let values = values.map(|(name, c)| ((*name).to_owned(), told(c, row)));
                    found.insert(key, BTreeMap::from([(rows.times[row], values.collect())]));
                }
            }
        }
        found
    }
}

/// Of each series the newest row that has one of these fields, and those of its values.
fn newest_of(oracle: &Oracle, from: i64, to: i64, fields: &[&str]) -> Oracle {
    let mut found = Oracle::new();
    for (key, rows) in oracle {
        let newest = rows.range(from..=to).rev().find_map(|(time, values)| {
            let values = values.iter().filter(|(name, _)| fields.contains(&name.as_str()));
            let values: BTreeMap<_, _> = values.map(|(n, v)| (n.clone(), v.clone())).collect();
            (!values.is_empty()).then_some((*time, values))
        });
        found.extend(newest.map(|newest| (key.clone(), BTreeMap::from([newest]))));
    }
    found
}

fn into_db(points: Vec<u8>, all_or_none: bool) -> Command<'static> {
    Command::WritePoints {
        database: b"db".into(),
        policy: b"".into(),
        points: points.into(),
        makes_database: true,
        all_or_none,
    }
}

fn reading(model: &Model) -> Reading<'_> {
    Reading { store: &model.series, tags_bytes_max: 1 << 20, stop: &|| None }
}

fn told(column: &Column, row: usize) -> String {
    match &column.values {
        Values::None => panic!("a value of nothing"),
        Values::Float(values) => format!("{:016x}", values[row].to_bits()),
        Values::Integer(values) => values[row].to_string(),
        Values::Unsigned(values) => values[row].to_string(),
        Values::Text(values) => format!("{:?}", values[row]),
        Values::Boolean(values) => values[row].to_string(),
    }
}

fn within(oracle: &Oracle, from: i64, to: i64) -> Oracle {
    let mut cut = Oracle::new();
    for (key, rows) in oracle {
        let rows: BTreeMap<_, _> = rows.range(from..=to).map(|(t, v)| (*t, v.clone())).collect();
        if !rows.is_empty() {
            cut.insert(key.clone(), rows);
        }
    }
    cut
}

/// One request, noted in the oracle too.
fn request(random: &mut Random, oracle: &mut Oracle, clock: &mut i64) -> Vec<u8> {
    let mut writer = PointWriter::new();
    for line in 0..random.below(40) {
        let host = random.below(6);
        let (raw, key) = match random.below(3) {
            0 => (format!("cpu,host=h{host},az=a"), format!("cpu,az=a,host=h{host}")),
            1 => (format!("cpu,az=a,host=h{host}"), format!("cpu,az=a,host=h{host}")),
            _ => (format!("mem,host=h{host}"), format!("mem,host=h{host}")),
        };
        *clock += 1_000_000_000 * random.below(3).cast_signed();
        let late = [0, 0, 0, 1, 5, 100_000][random.below(6) as usize];
        let time = *clock - late * 1_000_000_000 * random.below(20).cast_signed();
        writer.begin(line, raw.as_bytes());
        let row = oracle.entry(key).or_default().entry(time).or_default();
        for name in ["a", "b", "c", "d"] {
            if name != "a" && random.below(2) == 0 {
                continue;
            }
            let text = format!("t{}", random.below(3));
            let value = match name {
                "a" => FieldValue::Integer(random.below(100).cast_signed() - 50),
                "b" => FieldValue::Float(random.below(1_000) as f64 / 10.0),
                "c" => FieldValue::Text(&text),
                _ => FieldValue::Boolean(random.below(2) == 1),
            };
            writer.field(name.as_bytes(), value);
            let told = match value {
                FieldValue::Float(value) => format!("{:016x}", value.to_bits()),
                FieldValue::Integer(value) => value.to_string(),
                FieldValue::Unsigned(value) => value.to_string(),
                FieldValue::Text(text) => format!("{text:?}"),
                FieldValue::Boolean(value) => value.to_string(),
            };
            row.insert(name.to_owned(), told);
        }
        writer.end(time);
    }
    writer.finish()
}

/// Takes something away: points, series, or a measurement.
fn take_away(bench: &mut Bench, oracle: &mut Oracle, random: &mut Random, clock: i64) {
    let model = bench.model();
    if model.series.lock().catalog.databases.is_empty() {
        return;
    }
    let measurement = ["cpu", "mem"][random.below(2) as usize];
    let host = format!("h{}", random.below(6));
    let source = reading(model);
    let filter = TagFilter::Is("host".to_owned(), host.clone());
    let found = source.series(PLACE, measurement, &filter, i64::MIN, i64::MAX).unwrap();
    let is_meant =
        |key: &str| key.starts_with(measurement) && key.ends_with(&format!("host={host}"));
    match random.below(4) {
        0 => {
            model.series.drop_measurement("db", measurement).unwrap();
            oracle.retain(|key, _| !key.starts_with(measurement));
        }
        1 => {
            model.series.drop_series("db", "", measurement, &found).unwrap();
            oracle.retain(|key, _| !is_meant(key));
        }
        _ => {
            let (from, to) = (
                clock - random.below(1 << 46).cast_signed(),
                clock - random.below(1 << 40).cast_signed(),
            );
            let doomed = found.into_iter().map(|series| Doomed { series, from, to, times: None });
            let doomed: Vec<Doomed> = doomed.collect();
            model.series.delete_rows("db", "", measurement, &doomed).unwrap();
            for (_, rows) in oracle.iter_mut().filter(|(key, _)| is_meant(key)) {
                rows.retain(|time, _| *time < from || to < *time);
            }
            oracle.retain(|_, rows| !rows.is_empty());
        }
    }
}

/// Chunks of many pages, whichever way and from wherever they are read, rows that came late among them too.
#[test]
fn large_chunks_are_read_piece_by_piece() {
    const STEP: i64 = 10_000_000_000;
    let (mut random, bench, mut oracle) = (Random::new(1), Bench::new(), Oracle::new());
    let first = 1_600_000_000_000_000_000;
    let rows = 40_000;
    let rows_of = oracle.entry("cpu,host=h".to_owned()).or_default();
    let mut push = |writer: &mut PointWriter, number: i64, time: i64| {
        writer.begin(0, b"cpu,host=h");
        let level = number + number / 7 % 3;
        let (b, c) = (number as f64 / 10.0, (number % 977) as f64 / 7.0);
        writer.field(b"a", FieldValue::Integer(level));
        let mut row = BTreeMap::from([("a".to_owned(), level.to_string())]);
        for (name, value, is_there) in [("b", b, number % 5 != 0), ("c", c, number < 20_000)] {
            if is_there {
                writer.field(name.as_bytes(), FieldValue::Float(value));
                row.insert(name.to_owned(), format!("{:016x}", value.to_bits()));
            }
        }
        writer.end(time);
        rows_of.entry(time).or_default().extend(row);
    };
    for start in (0..rows).step_by(4_000) {
        let mut writer = PointWriter::new();
        for number in start..start + 4_000 {
            push(&mut writer, number, first + number * STEP);
        }
        assert!(
            matches!(bench.write(writer.finish()), Reply::Written { rejected, .. } if rejected.is_empty())
        );
    }
    bench.model().series.settle_all().unwrap();
    let mut writer = PointWriter::new();
    for number in 0..20 {
        push(&mut writer, number, first + (30_000 + number * 3) * STEP + number % 2);
    }
    assert!(
        matches!(bench.write(writer.finish()), Reply::Written { rejected, .. } if rejected.is_empty())
    );
    for round in 0..30 {
        let from =
            first + random.below(rows as u64).cast_signed() * STEP - random.below(2).cast_signed();
        let to = match round % 3 {
            0 => i64::MAX,
            1 => from + random.below(3_000).cast_signed() * STEP,
            _ => from + random.below(30_000).cast_signed() * STEP,
        };
        for backward in [false, true] {
            assert!(bench.found(from, to, backward) == within(&oracle, from, to), "{from} to {to}");
        }
        for fields in 1..=3 {
            let right = newest_of(&oracle, from, to, &["a", "b", "c"][..fields]);
            assert_eq!(bench.newest(from, to, fields), right, "{from} to {to}");
        }
    }
    // The directories of chunks know the last row of each.
    let right = newest_of(&oracle, i64::MIN, i64::MAX, &["a", "b", "c"]);
    assert_eq!(bench.newest(i64::MIN, i64::MAX, 3), right);
    let source = reading(bench.model());
    let series = source.series(PLACE, "cpu", &TagFilter::All, first, i64::MAX).unwrap();
    for (backward, most) in [(false, 8_192), (true, 2_048)] {
        let ask = Ask {
            fields: &["a"],
            from: first,
            to: first + 16_000 * STEP,
            backward,
            newest: false,
            summaries: None,
        };
        let mut cursor = source.read(PLACE, "cpu", &series[0], &ask).unwrap();
        let mut counts = Vec::new();
        while let Some(Piece::Rows(rows)) = cursor.next().unwrap() {
            counts.push(rows.times.len());
        }
        assert_eq!(counts.iter().sum::<usize>(), 16_001, "{counts:?}");
        assert!(counts.iter().all(|count| *count <= most), "{counts:?}");
    }
    // Whoever wants the newest row alone is not handed the page that it lies in.
    let (from, to, backward, newest, summaries) = (i64::MIN, i64::MAX, true, true, None);
    let ask = Ask { fields: &["a", "b", "c"], from, to, backward, newest, summaries };
    let mut cursor = source.read(PLACE, "cpu", &series[0], &ask).unwrap();
    let Some(Piece::Rows(found)) = cursor.next().unwrap() else { panic!("there is a row") };
    assert_eq!(found.times, [first + (rows - 1) * STEP]);
}

/// Any history of requests, chunks and crashes reads like a map.
#[test]
fn reads_like_a_map() {
    for seed in 0..30 {
        let mut random = Random::new(seed);
        let (mut bench, mut oracle) = (Bench::new(), Oracle::new());
        let mut clock = 1_700_000_000_000_000_000;
        for step in 0..120 {
            match random.below(17) {
                5 => take_away(&mut bench, &mut oracle, &mut random, clock),
                4 => bench.model().series.settle_all().unwrap(),
                0 => bench.model().series.seal_all().unwrap(),
                1 => bench.reopen(),
                2 => while bench.model().work(1).unwrap() {},
                3 => {
                    let (from, to) = (
                        clock - random.below(1 << 50).cast_signed(),
                        clock - random.below(1 << 40).cast_signed(),
                    );
                    let backward = random.below(2) == 1;
                    let found = bench.found(from, to, backward);
                    assert_eq!(found, within(&oracle, from, to), "seed {seed}, step {step}");
                    for fields in [1, 4] {
                        let right = newest_of(&oracle, from, to, &["a", "b", "c", "d"][..fields]);
                        let found = bench.newest(from, to, fields);
                        assert_eq!(found, right, "seed {seed}, step {step}");
                    }
                }
                _ => {
                    let points = request(&mut random, &mut oracle, &mut clock);
                    let reply = bench.write(points);
                    let Reply::Written { rejected, .. } = reply else { panic!("{reply:?}") };
                    assert_eq!(rejected, []);
                }
            }
        }
        let found = bench.found(i64::MIN, i64::MAX, false);
        assert_eq!(found, oracle, "seed {seed}");
    }
}

/// Rows are found wherever a policy has put its partitions meanwhile.
#[test]
fn partitions_may_get_another_length() {
    const DAY: i64 = 86_400_000_000_000;
    let mut bench = Bench::new();
    let point = |time: i64| {
        let mut writer = PointWriter::new();
        writer.begin(1, b"cpu,host=a");
        writer.field(b"a", FieldValue::Integer(time / DAY));
        writer.end(time);
        writer.finish()
    };
    let set = |bench: &Bench, partition: i64| {
        let change = PolicyChange { partition: Some(partition), ..PolicyChange::default() };
        bench.model().series.set_policy("db", "autogen", &change, false).unwrap();
    };
    let times: Vec<i64> = (0..20).map(|day| 1_700_006_400_000_000_000 + day * DAY).collect();
    for (at, time) in times.iter().enumerate() {
        bench.write(point(*time));
        match at % 6 {
            0 => set(&bench, DAY),
            1 | 4 => bench.model().series.seal_all().unwrap(),
            2 => set(&bench, 30 * DAY),
            3 => bench.reopen(),
            _ => {
                set(&bench, DAY / 2);
                bench.model().series.settle_all().unwrap();
            }
        }
        bench.write(point(*time + 1));
        let found = bench.found(i64::MIN, i64::MAX, false);
        assert_eq!(found["cpu,host=a"].len(), 2 * (at + 1), "{at}");
        let found = bench.found(*time, *time + 1, false);
        assert_eq!(found["cpu,host=a"].len(), 2, "{at}");
    }
    bench.model().series.seal_all().unwrap();
    bench.model().series.settle_all().unwrap();
    assert_eq!(bench.found(i64::MIN, i64::MAX, false)["cpu,host=a"].len(), 40);
}

/// What is older than a policy keeps is refused, and dropped when its time has come.
#[test]
fn points_are_kept_as_long_as_their_policy_says() {
    const HOUR: i64 = 3_600_000_000_000;
    let bench = Bench::new();
    let model = bench.model();
    let change = PolicyChange { duration: Some(2 * HOUR), ..PolicyChange::default() };
    model.series.create_database("db", Some(("short", &change))).unwrap();
    let now = 1_700_000_000_000_u64;
    let write = |time: i64| {
        let mut writer = PointWriter::new();
        writer.begin(1, b"cpu,host=a");
        writer.field(b"a", FieldValue::Integer(1));
        writer.end(time);
        let target =
            Target { database: b"db", policy: b"", makes_database: false, all_or_none: false };
        let (reply, _) = model.series.write(now, target, &writer.finish()).map_err(|_| ()).unwrap();
        let Reply::Written { stored, rejected } = reply else { panic!("{reply:?}") };
        (stored, rejected.first().map(|rejected| rejected.why.clone()))
    };
    let then = now.cast_signed() * 1_000_000;
    assert_eq!(write(then - 3 * HOUR), (0, Some("points beyond retention policy".to_owned())));
    assert_eq!((write(then - HOUR), write(then)), ((1, None), (1, None)));
    assert_eq!(bench.found(i64::MIN, i64::MAX, false)["cpu,host=a"].len(), 2);
    while model.work(now + 2 * 3_600_000 + 1).unwrap() {}
    let found = bench.found(i64::MIN, i64::MAX, false);
    assert_eq!(found["cpu,host=a"].keys().collect::<Vec<_>>(), [&then]);
    while model.work(now + 4 * 3_600_000).unwrap() {}
    assert_eq!(bench.found(i64::MIN, i64::MAX, false), Oracle::new());
}

/// Names of fields that never end cost the points that bring them, and nothing else.
#[test]
fn fields_of_a_measurement_have_an_end() {
    let bench = Bench::new();
    let wide = |first: usize, count: usize| {
        let mut writer = PointWriter::new();
        writer.begin(1, b"wide");
        for field in first..first + count {
            writer.field(format!("f{field}").as_bytes(), FieldValue::Boolean(true));
        }
        writer.end(1);
        bench.write(writer.finish())
    };
    let whole = Reply::Written { stored: 1, rejected: Vec::new() };
    assert_eq!(wide(0, 65_000), whole);
    let Reply::Written { stored: 0, rejected } = wide(60_000, 6_000) else {
        panic!("it was taken")
    };
    assert!(rejected[0].why.contains("65535 fields at most"), "{rejected:?}");
    assert_eq!(wide(65_000, 535), whole);
    bench.model().series.seal_all().unwrap();
    assert_eq!(bench.found(i64::MIN, i64::MAX, false)["wide"][&1].len(), 65_535);
}

/// A column costs what it costs, however many others there are: compared with each other they would take minutes.
#[test]
fn all_of_many_fields_are_selected() {
    const FIELDS: i64 = 20_000;
    let bench = Bench::new();
    let mut writer = PointWriter::new();
    writer.begin(1, b"wide");
    for field in 0..FIELDS {
        writer.field(format!("f{field}").as_bytes(), FieldValue::Integer(field));
    }
    writer.end(1);
    bench.write(writer.finish());
    let statement = Statement {
        text: b"SELECT * FROM wide".into(),
        database: b"db".into(),
        policy: b"".into(),
        relaxed: false,
        millis_max: 0,
        bytes_max: 0,
        points_max: 0,
    };
    let command = Command::Query { statement };
    let mut applied = bench.model().query(1, &command, &AtomicBool::new(false), &|| false);
    let Some(Reply::Answer(answer)) = applied.replies.pop() else { panic!("{applied:?}") };
    let [table] = &answer.tables[..] else { panic!("there is one measurement") };
    let count = FIELDS.cast_unsigned() as usize + 1;
    assert_eq!((table.columns.len(), table.cells.len()), (count, count));
    assert_eq!(table.columns[1..3], ["f0", "f1"]);
    assert_eq!(table.cells[2], olivine_command::Cell::Integer(1));
}

/// What is to be written all or none is, though it is looked at slice by slice: nobody sees a part of it, and where a
/// point is wrong nothing comes of it.
#[test]
fn all_or_none_is_all_or_none_in_slices() {
    let bench = Bench::new();
    let points = |wrong: Option<u64>| {
        let mut writer = PointWriter::new();
        for point in 0..1_000 {
            writer.begin(point + 1, format!("cpu,host=h{}", point % 300).as_bytes());
            let value = match wrong {
                Some(wrong) if wrong == point => FieldValue::Boolean(true),
                _ => FieldValue::Integer(point.cast_signed()),
            };
            writer.field(b"a", value);
            writer.end(point.cast_signed());
        }
        into_db(writer.finish(), true)
    };
    for wrong in [1, 500, 999] {
        let Reply::Written { stored: 0, rejected } = bench.write_sliced(&points(Some(wrong)))
        else {
            panic!("it was written")
        };
        assert_eq!((rejected.len(), rejected[0].place), (1, wrong));
        assert_eq!(bench.found(i64::MIN, i64::MAX, false), Oracle::new());
    }
    let all = points(None);
    let mut request = PointsWrite::new(&all).unwrap();
    let mut slices = 0;
    let reply = loop {
        let series = &bench.model().series;
        if let Some((reply, _)) = series.write_slice(1, &mut request, 100, true).ok().unwrap() {
            break reply;
        }
        slices += 1;
        assert_eq!(bench.found(i64::MIN, i64::MAX, false), Oracle::new());
    };
    assert!(10 < slices, "{slices}");
    assert_eq!(reply, Reply::Written { stored: 1_000, rejected: Vec::new() });
    let found = bench.found(i64::MIN, i64::MAX, false);
    assert_eq!(found.values().map(BTreeMap::len).sum::<usize>(), 1_000);
}
