//! Points are written: series found or made, types of fields held to, one record for all of them.
//!
//! 1. A point is refused by itself, with the reason; the others are stored.
//! 2. Rows are seen from when the engine has their record: if it refuses that, nothing has happened but that
//!    series and fields are known, whose rows come with the next batch (`Unstored`).

use std::sync::MutexGuard;

use olivine_command::{
    Code, Refusal, Rejected, Reply,
    points::{FieldType, FieldValue, KeyFault, Point, PointValues, Shape, split_key, write_key},
};
use olivine_engine::{Batch, Error};

use super::{
    SeriesStore, State,
    catalog::{Bucket, Catalog, Table, Unstored},
    head::Layout,
    layout::{posting, row},
    record::RecordWriter,
    request::{PointsWrite, damaged},
};
use crate::{layout::Position, refused::Stop};

/// The longest measurement with its tags.
const KEY_BYTES_MAX: usize = 32 << 10;
/// Fields of a measurement: a chunk has no more columns.
const FIELDS_MAX: usize = 65_535;
/// Rejected points that are told one by one; the others are counted.
const REJECTED_TOLD_MAX: usize = 1_000;

/// Where points go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    pub(crate) database: &'a [u8],
    pub(crate) policy: &'a [u8],
    pub(crate) makes_database: bool,
    pub(crate) all_or_none: bool,
}

/// Rows that go to the heads when their record is written.
#[derive(Default)]
struct Staged {
    rows: Vec<Row>,
    words: Vec<u64>,
    texts: Vec<Box<str>>,
}

#[derive(Clone, Copy)]
struct Row {
    slot: u32,
    layout: u32,
    time: i64,
    words: usize,
}

/// What the shapes of a request come to, by table.
type Resolved = Vec<Vec<(u32, Result<u32, String>)>>;

impl SeriesStore {
    /// Writes points, all of them in one slice. Returns the reply, and up to where the store must be durable before it
    /// is shown.
    pub(crate) fn write(
        &self,
        now: u64,
        target: Target<'_>,
        points: &[u8],
    ) -> Result<(Reply, Option<Position>), Stop> {
        let mut request = PointsWrite::of(target, points);
        loop {
            if let Some(written) = self.write_slice(now, &mut request, usize::MAX, true)? {
                return Ok(written);
            }
        }
    }

    /// Writes the next slice of a request. Returns what `write` does when it was the last. Who does not wait is told
    /// that the store is behind when others are at the series.
    pub(crate) fn write_slice(
        &self,
        now: u64,
        request: &mut PointsWrite<'_>,
        units_max: usize,
        waits: bool,
    ) -> Result<Option<(Reply, Option<Position>)>, Stop> {
        if request.leaves_room {
            self.db.admit_bulk()?;
        }
        let state = if waits { Some(self.lock_behind_others()) } else { self.lock_if_free() };
        let Some(state) = state else {
            return Err(Error::Busy { retry_after: std::time::Duration::ZERO }.into());
        };
        let before = request.before();
        let is_last = self.try_slice(state, now, request, units_max);
        match is_last {
            Err(stop) => {
                request.go_back(before);
                Err(stop)
            }
            Ok(false) => Ok(None),
            Ok(true) if request.progress.looks && request.progress.dropped == 0 => {
                request.begin_anew();
                Ok(None)
            }
            Ok(true) => {
                let position = request.progress.position;
                Ok(Some((request.reply(), position.and_then(|position| self.must_last(position)))))
            }
        }
    }

    /// Returns whether nothing is left.
    fn try_slice(
        &self,
        mut state: MutexGuard<'_, State>,
        now: u64,
        request: &mut PointsWrite<'_>,
        units_max: usize,
    ) -> Result<bool, Stop> {
        let units_max = if request.is_indivisible() { usize::MAX } else { units_max };
        // Rows and series of what is large do not take up all the room that there is until chunks are made of them.
        let bytes_max = if request.leaves_room { 3 } else { 4 } * (self.heads_bytes_max / 2);
        if bytes_max < state.bytes() {
            return Err(Error::Busy { retry_after: std::time::Duration::from_millis(5) }.into());
        }
        let bucket = state.bucket_of(&request.target)?;
        let mut writing = Writing {
            store: self,
            bucket,
            now,
            oldest: state.oldest(bucket, now),
            record: RecordWriter::new(bucket),
            staged: Staged::default(),
            resolved: Vec::new(),
            met: 0,
        };
        let is_last = loop {
            if units_max <= writing.units(&state) {
                break request.reader.left() == 0;
            }
            let next = request.reader.next().map_err(|error| damaged(&error))?;
            let Some(point) = next else { break true };
            let progress = &mut request.progress;
            if let Err(why) = writing.take(&mut state, &point, request.reader.shapes())? {
                progress.dropped += 1;
                if progress.rejected.len() < REJECTED_TOLD_MAX {
                    progress.rejected.push(Rejected { place: progress.place, why });
                }
            }
            progress.place += 1;
        };
        let Writing { record, mut staged, .. } = writing;
        let progress = &mut request.progress;
        if progress.looks || (request.target.all_or_none && 0 < progress.dropped) {
            staged = Staged::default();
        }
        let stored = staged.rows.len() as u64;
        if stored == 0 && state.unstored.is_empty() && state.postings.is_empty() {
            return Ok(is_last);
        }
        let mut batch = Batch::new();
        self.add_unstored(&state, &mut batch)?;
        if 0 < stored {
            batch.append(&self.chunks, &record.out)?;
        }
        let position = self.put(batch)?;
        state.stored(position, if stored == 0 { 0 } else { record.out.len() });
        state.push(&mut staged);
        state.charge();
        progress.stored += stored;
        progress.position = Some(position);
        Ok(is_last)
    }
}

/// A request that is being carried out.
struct Writing<'s> {
    store: &'s SeriesStore,
    bucket: u32,
    now: u64,
    /// The first moment that the policy keeps.
    oldest: i64,
    record: RecordWriter,
    staged: Staged,
    resolved: Resolved,
    /// Series that were looked for among all there are.
    met: usize,
}

impl Writing<'_> {
    /// What has been done, in points of series that are known.
    fn units(&self, state: &State) -> usize {
        /// Looking a series up in the store.
        const MET: usize = 10;
        /// A row of the catalog, or a posting.
        const NOTED: usize = 4;
        /// Words of a row that cost as much as its place.
        const WORDS: usize = 16;
        let noted = state.unstored.len() + state.postings.len();
        let bytes = self.record.out.len() / 64;
        self.staged.rows.len()
            + self.staged.words.len() / WORDS
            + MET * self.met
            + NOTED * noted
            + bytes
    }

    /// Takes a point, or says why not.
    fn take(
        &mut self,
        state: &mut State,
        point: &Point<'_>,
        shapes: &[Shape<'_>],
    ) -> Result<Result<(), String>, Stop> {
        if point.time < self.oldest {
            return Ok(Err("points beyond retention policy".to_owned()));
        }
        let slot = match state.slots.find_raw(self.bucket, point.key) {
            Some(slot) => slot,
            None => match self.meet(state, point.key)? {
                Ok(slot) => slot,
                Err(why) => return Ok(Err(why)),
            },
        };
        let (table, series) = {
            let slot = &state.slots.all[slot as usize];
            (slot.table, slot.series)
        };
        let layout = match self.layout(state, table, point.shape, shapes) {
            Ok(layout) => layout,
            Err(why) => return Ok(Err(why)),
        };
        self.note_partition(state, slot, point.time);
        let known = &state.layouts[layout as usize];
        let words = self.staged.words.len();
        let mut values = PointValues::new(point);
        for (kind, _) in &shapes[point.shape].fields {
            let Some(value) = values.next(*kind) else {
                return Err(Refusal::new(Code::Invalid, "the points are damaged").into());
            };
            let word = match value {
                FieldValue::Float(value) => value.to_bits(),
                FieldValue::Integer(value) => value as u64,
                FieldValue::Unsigned(value) => value,
                FieldValue::Boolean(value) => value.into(),
                FieldValue::Text(text) => {
                    self.staged.texts.push(text.into());
                    self.staged.texts.len() as u64 - 1
                }
            };
            self.staged.words.push(word);
        }
        let (values, texts) = (&self.staged.words[words..], &self.staged.texts);
        self.record.push((layout, known), series, point.time, values, texts);
        self.staged.rows.push(Row { slot, layout, time: point.time, words });
        Ok(Ok(()))
    }

    /// Finds or makes the series of a line's beginning that was not met.
    fn meet(&mut self, state: &mut State, raw: &[u8]) -> Result<Result<u32, String>, Stop> {
        self.met += 1;
        let key = match split_key(raw) {
            Ok(key) => key,
            Err(KeyFault { what, .. }) => return Ok(Err(what.to_owned())),
        };
        let has_zero = |text: &str| text.contains('\0');
        if key.tags.iter().any(|(tag, value)| has_zero(tag) || has_zero(value)) {
            return Ok(Err("a tag has a zero byte".to_owned()));
        }
        if key.tags.iter().any(|(tag, _)| tag == "time") {
            return Ok(Err("input tag \"time\" is reserved for the time of a point".to_owned()));
        }
        let mut ordered = Vec::with_capacity(raw.len());
        write_key(&key.measurement, &key.tags, &mut ordered);
        if KEY_BYTES_MAX < ordered.len() {
            return Ok(Err(format!(
                "max key length exceeded: {} > {KEY_BYTES_MAX}",
                ordered.len()
            )));
        }
        if let Some(slot) = state.slots.find_key(self.bucket, &ordered) {
            state.slots.note_raw(self.bucket, raw, slot);
            return Ok(Ok(slot));
        }
        if let Some(why) = self.none_more(state, &key.measurement, &ordered)? {
            return Ok(Err(why));
        }
        let State { catalog, slots, unstored, .. } = state;
        let exhausted = || Refusal::new(Code::TooLarge, "all numbers of measurements are used up");
        let table = catalog.table(self.bucket, &key.measurement, unstored).ok_or_else(exhausted)?;
        let by_key = row(b'k', &[self.bucket, table], &ordered);
        let series = if let Some(number) = self.store.series.get(&by_key)? {
            let number = number.as_ref().try_into().map(u32::from_be_bytes);
            number.map_err(|_| super::catalog::damage(&self.store.series, &by_key))?
        } else {
            let series = match new_series(catalog, self.bucket, unstored) {
                Ok(series) => series,
                Err(why) => return Ok(Err(why)),
            };
            unstored.push((by_key, series.to_be_bytes().to_vec()));
            let value = [&table.to_be_bytes()[..], &ordered].concat();
            unstored.push((row(b'r', &[self.bucket, series], &[]), value));
            note_tags(catalog, self.bucket, table, &key.tags, unstored);
            series
        };
        let slot = slots.add(self.bucket, table, series, &ordered);
        slots.note_raw(self.bucket, raw, slot);
        Ok(Ok(slot))
    }

    /// Why a series is not made, if it is none that is there and there are as many as there may be. A measurement
    /// is not made for it either.
    fn none_more(
        &self,
        state: &mut State,
        measurement: &str,
        key: &[u8],
    ) -> Result<Option<String>, Stop> {
        let Some(bucket) = state.catalog.bucket(self.bucket) else { return Ok(None) };
        if bucket.series < self.store.series_max {
            return Ok(None);
        }
        if let Some((table, _)) = bucket.table(measurement)
            && self.store.series.contains(&row(b'k', &[self.bucket, table], key))?
        {
            return Ok(None);
        }
        Ok(Some(self.store.too_many(state, self.bucket, self.now)?))
    }

    /// The layout of a shape in a table.
    fn layout(
        &mut self,
        state: &mut State,
        table: u32,
        shape: usize,
        shapes: &[Shape<'_>],
    ) -> Result<u32, String> {
        if self.resolved.len() <= shape {
            self.resolved.resize(shape + 1, Vec::new());
        }
        if let Some((_, found)) = self.resolved[shape].iter().find(|(of, _)| *of == table) {
            return found.clone();
        }
        let found = state.resolve(self.bucket, table, &shapes[shape]);
        self.resolved[shape].push((table, found.clone()));
        found
    }

    /// Sees to it that the partition of a row has the series' postings.
    fn note_partition(&self, state: &mut State, slot: u32, time: i64) {
        let State { catalog, slots, postings, .. } = state;
        let slot = &mut slots.all[slot as usize];
        let Some(bucket) = catalog.bucket_mut(self.bucket) else { return };
        if let Some(start) = slot.partition
            && start <= time
            && time.checked_sub(start).is_some_and(|since| since < bucket.policy.partition)
        {
            return;
        }
        let start = bucket.policy.partition_of(time);
        slot.partition = Some(start);
        bucket.note_partition(start, &mut state.unstored);
        postings.push(posting(self.bucket, start, slot.table, ("", ""), slot.series));
        // What was met was taken apart before.
        if let Ok(key) = split_key(&slot.key) {
            for (tag, value) in &key.tags {
                postings.push(posting(self.bucket, start, slot.table, (tag, value), slot.series));
            }
        }
    }
}

/// Gives out the number of a new series.
fn new_series(catalog: &mut Catalog, bucket: u32, unstored: &mut Unstored) -> Result<u32, String> {
    let Some(known) = catalog.bucket_mut(bucket) else {
        return Err("the database is gone".to_owned());
    };
    let count = known.series + 1;
    known.count_series(count, unstored);
    catalog
        .count(&row(b'r', &[bucket], &[]), unstored)
        .ok_or_else(|| "all numbers of series are used up".to_owned())
}

/// Notes the keys of tags that are new to a table.
fn note_tags(
    catalog: &mut Catalog,
    bucket: u32,
    table: u32,
    tags: &[(impl AsRef<str>, impl AsRef<str>)],
    unstored: &mut Unstored,
) {
    let Some(known) = catalog.bucket_mut(bucket).and_then(|b| b.tables.get_mut(&table)) else {
        return;
    };
    for (tag, _) in tags {
        let tag = tag.as_ref();
        if !known.tags.contains(tag) {
            known.tags.insert(tag.to_owned());
            unstored.push((row(b't', &[bucket, table], tag.as_bytes()), Vec::new()));
        }
    }
}

impl State {
    /// The bucket that points go to; made if that is wanted.
    fn bucket_of(&mut self, target: &Target<'_>) -> Result<u32, Stop> {
        let text = |bytes, what| {
            str::from_utf8(bytes).map_err(|_| {
                Refusal::new(Code::Invalid, format!("the name of the {what} is not UTF-8"))
            })
        };
        let database = text(target.database, "database")?;
        let policy = text(target.policy, "retention policy")?;
        if !self.catalog.databases.contains_key(database) {
            if !target.makes_database || database.is_empty() {
                let text = format!("database not found: {database:?}");
                return Err(Refusal::new(Code::Missing, text).into());
            }
            self.catalog.make_database(database, None, &mut self.unstored);
        }
        let found = self.catalog.find(database, policy).map(|bucket| bucket.id);
        found.ok_or_else(|| {
            let text = format!("retention policy not found: {policy}");
            Refusal::new(Code::Missing, text).into()
        })
    }

    /// The first moment that a bucket keeps.
    fn oldest(&self, bucket: u32, now: u64) -> i64 {
        let duration = self.catalog.bucket(bucket).map_or(0, |bucket| bucket.policy.duration);
        let now = i64::try_from(now.saturating_mul(1_000_000)).unwrap_or(i64::MAX);
        if duration == 0 { i64::MIN } else { now.saturating_sub(duration) }
    }

    /// The layout of a shape in a table, or which field cannot be what it is.
    fn resolve(&mut self, bucket: u32, table: u32, shape: &Shape<'_>) -> Result<u32, String> {
        let State { catalog, unstored, .. } = self;
        let known = catalog.bucket_mut(bucket).and_then(|bucket| {
            let Bucket { tables, .. } = bucket;
            tables.get_mut(&table)
        });
        let Some(known) = known else { return Err("the measurement is gone".to_owned()) };
        check_types(known, shape)?;
        let mut fields: Vec<(u32, FieldType)> = Vec::with_capacity(shape.fields.len());
        for (kind, name) in &shape.fields {
            let next = known.fields.len() as u32;
            let (field, _) = *known.fields.entry((*name).to_owned()).or_insert_with(|| {
                let value = [&[*kind as u8], name.as_bytes()].concat();
                unstored.push((row(b'f', &[bucket, table, next], &[]), value));
                (next, *kind)
            });
            fields.push((field, *kind));
        }
        Ok(self.layout(Layout::new(table, fields)))
    }

    /// The number of a layout.
    pub(crate) fn layout(&mut self, layout: Layout) -> u32 {
        let place = (layout.table, layout.fields.clone());
        let (numbers, layouts) = (&mut self.layout_numbers, &mut self.layouts);
        *numbers.entry(place).or_insert_with(|| {
            self.layout_bytes += layout.bytes();
            let layouts = std::sync::Arc::make_mut(layouts);
            layouts.push(layout);
            layouts.len() as u32 - 1
        })
    }

    /// Puts rows where they are seen.
    fn push(&mut self, staged: &mut Staged) {
        let Staged { rows, words, texts } = staged;
        for row in rows {
            let layout = &self.layouts[row.layout as usize];
            let values = &words[row.words..row.words + layout.fields.len()];
            let slot = &mut self.slots.all[row.slot as usize];
            self.arrivals += 1;
            let number = (row.layout, layout);
            self.head_bytes += slot.head.push(number, (row.time, self.arrivals), values, texts);
            if super::HEAD_ROWS_MAX <= slot.head.rows() && !slot.is_queued {
                slot.is_queued = true;
                self.full.push(row.slot);
            }
        }
    }
}

/// Refuses a shape with a field of another type than the table has.
fn check_types(table: &Table, shape: &Shape<'_>) -> Result<(), String> {
    let is_new = |(_, name): &&(FieldType, &str)| !table.fields.contains_key(*name);
    if FIELDS_MAX < table.fields.len() + shape.fields.iter().filter(is_new).count() {
        let name = &table.name;
        return Err(format!(
            "a measurement has {FIELDS_MAX} fields at most, and \"{name}\" would have more; what differs from row to \
             row belongs into tags or values, not into names of fields"
        ));
    }
    let mut names: Vec<&str> = shape.fields.iter().map(|(_, name)| *name).collect();
    names.sort_unstable();
    if let Some([twice, _]) = names.array_windows().find(|[one, next]| one == next) {
        return Err(format!("field \"{twice}\" is there twice"));
    }
    for (kind, name) in &shape.fields {
        if let Some((_, known)) = table.fields.get(*name)
            && known != kind
        {
            let (measurement, kind, known) = (&table.name, kind.name(), known.name());
            return Err(format!(
                "field type conflict: input field \"{name}\" on measurement \"{measurement}\" is type {kind}, \
                 already exists as type {known}"
            ));
        }
    }
    Ok(())
}
