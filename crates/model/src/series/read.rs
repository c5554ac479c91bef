//! The source that queries read.
//!
//! 1. Rows in memory are taken before the moment is fixed of which chunks are read: a row that becomes part of a
//!    chunk meanwhile is seen twice, which merging makes good, and never not at all.
//! 2. A summary is told only of a chunk that nothing else overlaps, and that lies whole within what was asked.
//! 3. Where only the newest row is wanted, no column of such a chunk is read: what each column ends with stands in the
//!    directory.

use olivine_command::points::FieldType;
use std::ops::Range;

use olivine_engine::{Error, Result, Snapshot, Value};
use olivine_query::source::{
    Ask, Buckets, Column, Cursor, Fault, Field, FieldSummary, Piece, Place, Policy, Rows, Series,
    Source, Summary, SummaryValues, TagFilter, Values,
};

use super::{
    SeriesStore, bad_chunk,
    catalog::Bucket,
    chunk::{self, Chunk, Damage, Times},
    find::{Asked, NotFound, Patience},
    head::Part,
    layout::{ChunkKey, chunk_prefix},
    merge::{self, Sourced},
};

/// What a query sees of the time series.
pub(crate) struct Reading<'s> {
    pub(crate) store: &'s SeriesStore,
    /// Memory that the tags of all series of one answer may take.
    pub(crate) tags_bytes_max: usize,
    /// Asked now and then whether to go on.
    pub(crate) stop: &'s (dyn Fn() -> Option<olivine_query::Stop> + Sync),
}

fn failed(error: Error) -> Fault {
    Fault::Failed(crate::refused::refused(&error).text)
}

impl Reading<'_> {
    /// Finds the bucket, and says what of it is wanted.
    fn bucket<T>(&self, place: Place<'_>, told: impl FnOnce(&Bucket) -> T) -> Result<T, Fault> {
        let state = self.store.lock();
        if !state.catalog.databases.contains_key(place.database) {
            return Err(Fault::NoDatabase(place.database.to_owned()));
        }
        match state.catalog.find(place.database, place.policy) {
            Some(bucket) => Ok(told(bucket)),
            None => Err(Fault::NoPolicy(place.policy.to_owned())),
        }
    }

    /// The table of a measurement, and its partitions that meet a stretch of time.
    fn asked(
        &self,
        place: Place<'_>,
        measurement: &str,
        from: i64,
        to: i64,
    ) -> Result<Option<Asked>, Fault> {
        self.bucket(place, |bucket| {
            let (table, _) = bucket.table(measurement)?;
            let partitions = bucket.partitions_in(from, to);
            Some(Asked { bucket: bucket.id, table, partitions })
        })
    }
}

/// Why the series of a measurement are not told.
fn not_found(why: NotFound, measurement: &str) -> Fault {
    match why {
        NotFound::Failed(error) => failed(error),
        NotFound::Stopped => Fault::Cancelled,
        NotFound::TooMany(bytes) => Fault::Failed(format!(
            "max-select-bytes limit exceeded: the tags of the series of {measurement} take more than {bytes} bytes; \
             ask for fewer series, or raise `query-bytes-max` and `memory`"
        )),
    }
}

impl Source for Reading<'_> {
    fn databases(&self) -> Result<Vec<String>, Fault> {
        Ok(self.store.lock().catalog.databases.keys().cloned().collect())
    }

    fn policies(&self, database: &str) -> Result<Vec<Policy>, Fault> {
        let state = self.store.lock();
        if !state.catalog.databases.contains_key(database) {
            return Err(Fault::NoDatabase(database.to_owned()));
        }
        let mut policies: Vec<(u32, Policy)> = state
            .catalog
            .buckets_of(database)
            .map(|bucket| {
                let known = &bucket.policy;
                let policy = Policy {
                    name: known.name.clone(),
                    duration: known.duration,
                    partition: known.partition,
                    is_default: known.is_default,
                };
                (bucket.id, policy)
            })
            .collect();
        policies.sort_by_key(|(id, _)| *id);
        Ok(policies.into_iter().map(|(_, policy)| policy).collect())
    }

    fn measurements(&self, database: &str) -> Result<Vec<String>, Fault> {
        let state = self.store.lock();
        if !state.catalog.databases.contains_key(database) {
            return Err(Fault::NoDatabase(database.to_owned()));
        }
        let names =
            state.catalog.buckets_of(database).flat_map(|bucket| bucket.names.keys().cloned());
        let mut names: Vec<String> = names.collect();
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    fn fields(&self, place: Place<'_>, measurement: &str) -> Result<Vec<Field>, Fault> {
        self.bucket(place, |bucket| {
            let fields = bucket.table(measurement).into_iter().flat_map(|(_, table)| &table.fields);
            fields.map(|(name, (_, kind))| Field { name: name.clone(), kind: *kind }).collect()
        })
    }

    fn tag_keys(&self, place: Place<'_>, measurement: &str) -> Result<Vec<String>, Fault> {
        self.bucket(place, |bucket| {
            let tags = bucket.table(measurement).into_iter().flat_map(|(_, table)| &table.tags);
            tags.cloned().collect()
        })
    }

    fn series(
        &self,
        place: Place<'_>,
        measurement: &str,
        filter: &TagFilter,
        from: i64,
        to: i64,
    ) -> Result<Vec<Series>, Fault> {
        let asked = self.asked(place, measurement, from, to)?;
        let Some(asked) = asked else { return Ok(Vec::new()) };
        let patience = Patience { bytes_max: self.tags_bytes_max, stop: self.stop };
        let found = self.store.find(&asked, filter, &patience);
        found.map_err(|why| not_found(why, measurement))
    }

    fn series_count(&self, place: Place<'_>, measurement: &str) -> Result<Option<u64>, Fault> {
        let asked = self.asked(place, measurement, i64::MIN, i64::MAX)?;
        let Some(asked) = asked else { return Ok(Some(0)) };
        let patience = Patience { bytes_max: self.tags_bytes_max, stop: self.stop };
        let counted = self.store.count_series(&asked, &patience);
        counted.map(Some).map_err(|why| not_found(why, measurement))
    }

    fn value_count(
        &self,
        place: Place<'_>,
        measurement: &str,
        keys: &[String],
    ) -> Result<Option<u64>, Fault> {
        /// Walks that go on side by side.
        const WALKS_MAX: usize = 256;
        let asked = self.asked(place, measurement, i64::MIN, i64::MAX)?;
        let Some(asked) = asked else { return Ok(Some(0)) };
        if WALKS_MAX < asked.partitions.len().saturating_mul(keys.len()) {
            return Ok(None);
        }
        let patience = Patience { bytes_max: self.tags_bytes_max, stop: self.stop };
        let counted = self.store.count_values(&asked, keys, &patience);
        counted.map(Some).map_err(|why| not_found(why, measurement))
    }

    fn read<'a>(
        &'a self,
        place: Place<'_>,
        measurement: &str,
        series: &Series,
        ask: &Ask<'_>,
    ) -> Result<Box<dyn Cursor + 'a>, Fault> {
        let wanted = self.bucket(place, |bucket| {
            let (table, known) = bucket.table(measurement)?;
            let field = |name: &&str| known.fields.get(*name).copied();
            let fields: Vec<Option<(u32, FieldType)>> = ask.fields.iter().map(field).collect();
            let mut partitions = bucket.partitions_in(ask.from, ask.to);
            if ask.backward {
                partitions.reverse();
            }
            Some(Wanted {
                bucket: bucket.id,
                table,
                series: series.id as u32,
                fields,
                partitions,
                from: ask.from,
                to: ask.to,
                backward: ask.backward,
                newest: ask.newest && ask.backward,
                summaries: ask.summaries,
            })
        })?;
        match wanted {
            Some(wanted) => Ok(Box::new(Walk::open(self.store, wanted).map_err(failed)?)),
            None => Ok(Box::new(Nothing)),
        }
    }
}

/// A series of which there is nothing.
struct Nothing;

impl Cursor for Nothing {
    fn next(&mut self) -> Result<Option<Piece<'_>>, Fault> {
        Ok(None)
    }
}

/// What is asked of a series, in numbers.
struct Wanted {
    bucket: u32,
    table: u32,
    series: u32,
    fields: Vec<Option<(u32, FieldType)>>,
    partitions: Vec<i64>,
    from: i64,
    to: i64,
    backward: bool,
    newest: bool,
    summaries: Option<Buckets>,
}

/// Rows of a chunk that are handed out at once, oldest first.
const PIECE_ROWS: usize = 4 * chunk::PAGE_ROWS;

/// A walk over the rows of a series.
struct Walk<'s> {
    store: &'s SeriesStore,
    wanted: Wanted,
    snapshot: Snapshot,
    /// What overlaps is together; the last comes first.
    groups: Vec<Vec<Chunked>>,
    /// The chunk of which more is to come.
    open: Option<(Value, Open)>,
    /// What was handed out last.
    times: Vec<i64>,
    columns: Vec<Column>,
    summaries: Vec<Option<FieldSummary>>,
}

/// A chunk that is handed out piece by piece.
struct Open {
    key: ChunkKey,
    times: Times,
    /// The rows that are still to come.
    rows: Range<usize>,
    /// Whether a piece costs no more than its part of the whole.
    is_piecewise: bool,
}

impl Open {
    /// Takes the rows of the next piece, which begin and end where pages do.
    fn next(&mut self, backward: bool) -> Range<usize> {
        let rows = self.rows.clone();
        let piece = match (self.is_piecewise, backward) {
            (false, _) => rows.clone(),
            (true, false) => {
                let first_page = rows.start / chunk::PAGE_ROWS * chunk::PAGE_ROWS;
                rows.start..rows.end.min(first_page + PIECE_ROWS)
            }
            // Whoever asks for the newest first often wants but a few.
            (true, true) => {
                let last_page = (rows.end.max(1) - 1) / chunk::PAGE_ROWS * chunk::PAGE_ROWS;
                rows.start.max(last_page)..rows.end
            }
        };
        self.rows = if backward { rows.start..piece.start } else { piece.end..rows.end };
        piece
    }
}

/// Rows, and between which times.
enum Chunked {
    Stored(ChunkKey),
    InMemory(Part),
}

impl Chunked {
    fn first(&self) -> i64 {
        match self {
            Chunked::Stored(key) => key.first,
            Chunked::InMemory(part) => part.times[0],
        }
    }

    fn last(&self) -> i64 {
        match self {
            Chunked::Stored(key) => key.last,
            Chunked::InMemory(part) => part.times[part.times.len() - 1],
        }
    }
}

impl<'s> Walk<'s> {
    fn open(store: &'s SeriesStore, wanted: Wanted) -> Result<Walk<'s>> {
        let mut found = store.in_memory(&wanted)?;
        let snapshot = store.db.snapshot();
        for partition in &wanted.partitions {
            let prefix = chunk_prefix(wanted.bucket, *partition, wanted.table, wanted.series);
            let mut cursor = snapshot.cursor(&store.chunks)?;
            cursor.seek(&prefix)?;
            while cursor.valid() && cursor.key().starts_with(&prefix) {
                let key = ChunkKey::decode(cursor.key())
                    .ok_or_else(|| bad_chunk(&store.chunks, cursor.key(), "its key is none"))?;
                if key.first <= wanted.to && wanted.from <= key.last {
                    found.push(Chunked::Stored(key));
                }
                cursor.next()?;
            }
        }
        let mut groups = grouped(found);
        if !wanted.backward {
            groups.reverse();
        }
        let columns = vec![Column::default(); wanted.fields.len()];
        let (times, summaries) = (Vec::new(), Vec::new());
        Ok(Walk { store, wanted, snapshot, groups, open: None, times, columns, summaries })
    }

    /// Reads a group. Returns whether there is a summary of it, or rows; nothing if it has none.
    fn read(&mut self, group: Vec<Chunked>) -> Result<Option<Told>> {
        if let [Chunked::Stored(key)] = group[..] {
            return self.read_chunk(key);
        }
        let mut sources = Vec::with_capacity(group.len());
        for one in group {
            match one {
                Chunked::InMemory(part) => {
                    // Whatever is in memory came after what is in chunks.
                    sources.push(Sourced { precedence: u64::MAX, part });
                }
                Chunked::Stored(key) => {
                    let precedence = key.precedence;
                    let part = self.decoded(&key)?;
                    sources.push(Sourced { precedence, part });
                }
            }
        }
        let merged =
            merge::merge(sources).map_err(|what| bad_chunk(&self.store.chunks, &[], what))?;
        Ok(self.hand_out(merged))
    }

    /// The bytes of a chunk.
    fn fetch(&self, key: &ChunkKey) -> Result<Value> {
        let bytes = key.encode();
        let value = self.snapshot.get(&self.store.chunks, &bytes)?;
        value.ok_or_else(|| bad_chunk(&self.store.chunks, &bytes, "it is gone"))
    }

    /// The error that damage of a chunk is.
    fn bad(&self, key: &ChunkKey) -> impl Fn(Damage) -> Error + use<'s> {
        let (store, key) = (self.store, key.encode());
        move |damage| bad_chunk(&store.chunks, &key, damage.0)
    }

    /// The wanted columns of a chunk.
    fn decoded(&self, key: &ChunkKey) -> Result<Part> {
        let (value, bad) = (self.fetch(key)?, self.bad(key));
        let chunk = Chunk::parse(&value).map_err(&bad)?;
        let times = chunk.times().map_err(&bad)?;
        let rows = self.wanted_rows(&times);
        let mut part = Part::default();
        times.extend(rows.clone(), &mut part.times);
        for (field, _) in self.wanted.fields.iter().flatten() {
            let mut column = Column::default();
            chunk.column_of(*field, rows.clone(), &mut column).map_err(&bad)?;
            part.columns.push((*field, column));
        }
        part.columns.sort_by_key(|(field, _)| *field);
        part.columns.dedup_by_key(|(field, _)| *field);
        Ok(part)
    }

    /// The rows within what is asked for.
    fn wanted_rows(&self, times: &Times) -> Range<usize> {
        let from = times.before(self.wanted.from);
        let to = match self.wanted.to.checked_add(1) {
            Some(behind) => times.before(behind),
            None => times.len(),
        };
        from..to.max(from)
    }

    fn read_chunk(&mut self, key: ChunkKey) -> Result<Option<Told>> {
        let value = self.fetch(&key)?;
        let bad = self.bad(&key);
        let chunk = Chunk::parse(&value).map_err(&bad)?;
        let is_whole = self.wanted.from <= key.first && key.last <= self.wanted.to;
        if is_whole
            && self.wanted.summaries.is_some_and(|buckets| is_within(buckets, key.first, key.last))
            && let Some(summaries) = self.summaries_of(&chunk)
        {
            self.summaries = summaries;
            let is_empty = self.summaries.iter().all(Option::is_none);
            return Ok((!is_empty).then_some(Told::Summary(key.first, key.last)));
        }
        if self.wanted.newest
            && let Some((time, columns)) = self.newest_of(&chunk)
        {
            self.times.clear();
            self.times.push(time);
            self.columns = columns;
            return Ok(Some(Told::Rows));
        }
        let times = chunk.times().map_err(&bad)?;
        let rows = self.wanted_rows(&times);
        let fields = self.wanted.fields.iter().flatten().map(|(field, _)| *field);
        let is_piecewise = chunk.is_piecewise(fields);
        let mut open = Open { key, times, rows, is_piecewise };
        let told = self.read_piece(&mut open, &chunk)?;
        if !open.rows.is_empty() {
            self.open = Some((value, open));
        }
        Ok(told)
    }

    /// Reads more of the chunk of which more is to come.
    fn read_on(&mut self, value: Value, mut open: Open) -> Result<Option<Told>> {
        let chunk = Chunk::parse(&value).map_err(self.bad(&open.key))?;
        let told = self.read_piece(&mut open, &chunk)?;
        if !open.rows.is_empty() {
            self.open = Some((value, open));
        }
        Ok(told)
    }

    /// Makes the next rows of a chunk what is handed out next.
    fn read_piece(&mut self, open: &mut Open, chunk: &Chunk<'_>) -> Result<Option<Told>> {
        let rows = open.next(self.wanted.backward);
        if rows.is_empty() {
            return Ok(None);
        }
        self.times.clear();
        open.times.extend(rows.clone(), &mut self.times);
        let mut columns = std::mem::take(&mut self.columns);
        columns.resize_with(self.wanted.fields.len(), Column::default);
        for (field, column) in self.wanted.fields.iter().zip(&mut columns) {
            match field {
                Some((field, _)) => {
                    let read = chunk.column_of(*field, rows.clone(), column);
                    read.map_err(self.bad(&open.key))?;
                }
                None => *column = Column::default(),
            }
        }
        self.columns = columns;
        Ok(self.keep_rows_with_values().then_some(Told::Rows))
    }

    /// What the wanted columns of a chunk come to; nothing if one of them has to be decoded for that.
    fn summaries_of(&self, chunk: &Chunk<'_>) -> Option<Vec<Option<FieldSummary>>> {
        let summary = |field: &Option<(u32, FieldType)>| match field {
            None => Some(None),
            Some((field, _)) => match chunk.summary(*field) {
                chunk::Summary::Absent => Some(None),
                chunk::Summary::Known(summary) => Some(Some(summary.clone())),
                chunk::Summary::Unknown => None,
            },
        };
        self.wanted.fields.iter().map(summary).collect()
    }

    /// The newest row of a chunk that has a wanted value, if it is wanted and nothing must be decoded for it.
    fn newest_of(&self, chunk: &Chunk<'_>) -> Option<(i64, Vec<Column>)> {
        let summaries = self.summaries_of(chunk)?;
        let newest = summaries.iter().flatten().map(|summary| summary.last_time).max()?;
        if !(self.wanted.from..=self.wanted.to).contains(&newest) {
            return None;
        }
        let column = |summary: &Option<FieldSummary>| match summary {
            Some(summary) if summary.last_time == newest => {
                let values = match summary.values {
                    SummaryValues::Float { last, .. } => Values::Float(vec![last]),
                    SummaryValues::Integer { last, .. } => Values::Integer(vec![last]),
                    SummaryValues::Unsigned { last, .. } => Values::Unsigned(vec![last]),
                    SummaryValues::Counted => return None,
                };
                Some(Column { values, present: None })
            }
            _ => Some(Column::default()),
        };
        Some((newest, summaries.iter().map(column).collect::<Option<_>>()?))
    }

    /// Makes merged rows, all of which are wanted, what is handed out next.
    fn hand_out(&mut self, part: Part) -> Option<Told> {
        let Part { times, mut columns } = part;
        if times.is_empty() {
            return None;
        }
        let fields = &self.wanted.fields;
        let mut column = |place: usize| {
            let (field, _) = fields[place]?;
            let found = columns.binary_search_by_key(&field, |(field, _)| *field).ok()?;
            let column = &mut columns[found].1;
            let mut later = fields[place + 1..].iter().flatten();
            let comes_again = later.any(|(later, _)| *later == field);
            Some(if comes_again { column.clone() } else { std::mem::take(column) })
        };
        self.columns = (0..fields.len()).map(|place| column(place).unwrap_or_default()).collect();
        self.times = times;
        self.keep_rows_with_values().then_some(Told::Rows)
    }

    /// Takes away rows that have none of the wanted fields. Returns whether any are left.
    fn keep_rows_with_values(&mut self) -> bool {
        let is_full =
            |column: &Column| column.present.is_none() && !matches!(column.values, Values::None);
        if self.columns.iter().any(is_full) {
            return true;
        }
        let rows = self.times.len();
        let has = |row: usize| self.columns.iter().any(|column| column.has(row));
        let kept: Vec<usize> = (0..rows).filter(|row| has(*row)).collect();
        if kept.len() < rows {
            self.times = kept.iter().map(|row| self.times[*row]).collect();
            self.columns = self.columns.iter().map(|column| merge::pick(column, &kept)).collect();
        }
        !kept.is_empty()
    }
}

/// What a group came to.
enum Told {
    Rows,
    Summary(i64, i64),
}

impl Cursor for Walk<'_> {
    fn next(&mut self) -> Result<Option<Piece<'_>>, Fault> {
        loop {
            let told = if let Some((value, open)) = self.open.take() {
                self.read_on(value, open)
            } else if let Some(group) = self.groups.pop() {
                self.read(group)
            } else {
                return Ok(None);
            };
            match told.map_err(failed)? {
                None => {}
                Some(Told::Rows) => {
                    let rows = Rows { times: &self.times, columns: &self.columns };
                    return Ok(Some(Piece::Rows(rows)));
                }
                Some(Told::Summary(first, last)) => {
                    let fields = &self.summaries;
                    return Ok(Some(Piece::Summary(Summary { first, last, fields })));
                }
            }
        }
    }
}

/// Whether a stretch lies within one bucket.
fn is_within(Buckets { origin, length }: Buckets, first: i64, last: i64) -> bool {
    if length == i64::MAX {
        return true;
    }
    let number =
        |time: i64| (i128::from(time) - i128::from(origin)).div_euclid(i128::from(length.max(1)));
    number(first) == number(last)
}

/// Puts together what overlaps; the groups are in the order of time.
fn grouped(mut found: Vec<Chunked>) -> Vec<Vec<Chunked>> {
    found.sort_by_key(Chunked::first);
    let mut groups: Vec<Vec<Chunked>> = Vec::new();
    let mut end = i64::MIN;
    for one in found {
        let last = one.last();
        match groups.last_mut() {
            Some(group) if one.first() <= end => {
                end = end.max(last);
                group.push(one);
            }
            _ => {
                end = last;
                groups.push(vec![one]);
            }
        }
    }
    groups
}

impl SeriesStore {
    /// The wanted rows of a series that are in memory: what is frozen, and what came since.
    fn in_memory(&self, wanted: &Wanted) -> Result<Vec<Chunked>> {
        let mut heads = {
            let state = self.lock();
            let Some(slot) = state.slots.find_number(wanted.bucket, wanted.series) else {
                return Ok(Vec::new());
            };
            let slot = &state.slots.all[slot as usize];
            let layouts = std::sync::Arc::clone(&state.layouts);
            let fields: Vec<(u32, FieldType)> = wanted.fields.iter().flatten().copied().collect();
            let head = slot.head.part(&layouts, Some(&fields), wanted.from, wanted.to);
            let frozen = slot.frozen.clone();
            drop(state);
            let mut heads = Vec::new();
            for frozen in frozen {
                heads.push(frozen.head.part(&layouts, Some(&fields), wanted.from, wanted.to));
            }
            heads.push(head);
            heads
        };
        heads.retain(|part| !part.times.is_empty());
        // Several are told apart by which came later.
        let sources =
            heads.into_iter().zip(0..).map(|(part, precedence)| Sourced { precedence, part });
        let part = merge::merge(sources.collect())
            .map_err(|what| bad_chunk(&self.chunks, b"in memory", what))?;
        Ok(if part.times.is_empty() { Vec::new() } else { vec![Chunked::InMemory(part)] })
    }
}
