//! Rows that are in no chunk yet, series by series.
//!
//! Rows come one by one, each with the fields it has: they are kept as they come, row after row, so that a row
//! costs one place of memory and not one for each field. Columns are made of them when somebody reads them or
//! a chunk is made of them.
//!
//! 1. Of two rows of one time, the value that came later counts, field by field.
//! 2. Rows are never changed once they are there.

use olivine_command::points::FieldType;
use olivine_query::source::{Column, Values};

/// Which fields a row has, in their order: of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) table: u32,
    pub(crate) fields: Box<[(u32, FieldType)]>,
    /// Which of them are texts.
    texts: Box<[usize]>,
}

impl Layout {
    pub(crate) fn new(table: u32, fields: Vec<(u32, FieldType)>) -> Layout {
        let is_text = |(place, (_, kind)): (usize, &(u32, FieldType))| {
            (*kind == FieldType::Text).then_some(place)
        };
        let texts = fields.iter().enumerate().filter_map(is_text).collect();
        Layout { table, fields: fields.into(), texts }
    }

    /// Memory that it takes, with what it is found by.
    pub(crate) fn bytes(&self) -> usize {
        2 * (size_of::<Layout>() + size_of_val(&*self.fields)) + size_of_val(&*self.texts)
    }
}

/// Words before the values of a row: its time, and which of all rows it is.
const LEADING: usize = 2;

/// Rows of one series.
#[derive(Clone, Debug, Default)]
pub(crate) struct Head {
    segments: Vec<Segment>,
    rows: usize,
    /// The time of the last row in order.
    last: i64,
    /// Whether some row came with a time at or before that of another.
    is_disordered: bool,
}

/// Rows of one layout.
#[derive(Clone, Debug)]
struct Segment {
    layout: u32,
    /// Row by row: time, arrival, and a word for each field.
    words: Vec<u64>,
    /// The texts that words mean.
    texts: Vec<Box<str>>,
}

/// Rows, column by column.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Part {
    pub(crate) times: Vec<i64>,
    /// The columns, in the order of their fields' numbers.
    pub(crate) columns: Vec<(u32, Column)>,
}

impl Head {
    pub(crate) fn is_empty(&self) -> bool {
        self.rows == 0
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Adds a row. Returns by how much it takes more memory. The word of a text is its place in `texts`, from
    /// where it is taken.
    #[inline]
    pub(crate) fn push(
        &mut self,
        (number, layout): (u32, &Layout),
        (time, arrival): (i64, u64),
        values: &[u64],
        texts: &mut [Box<str>],
    ) -> usize {
        let known = self.segments.iter().rposition(|segment| segment.layout == number);
        let at = known.unwrap_or_else(|| {
            self.segments.push(Segment { layout: number, words: Vec::new(), texts: Vec::new() });
            self.segments.len() - 1
        });
        let segment = &mut self.segments[at];
        let before = segment.words.capacity();
        let needed = LEADING + values.len();
        if segment.words.capacity() - segment.words.len() < needed {
            // By a half and not by double: most of the memory of many series is what they have not filled.
            let more = (segment.words.len() / 2).max(needed);
            segment.words.reserve_exact(more);
        }
        segment.words.extend_from_slice(&[time as u64, arrival]);
        let start = segment.words.len();
        segment.words.extend_from_slice(values);
        let mut grown = (segment.words.capacity() - before) * size_of::<u64>();
        for place in &layout.texts {
            let word = &mut segment.words[start + place];
            let text = std::mem::take(&mut texts[*word as usize]);
            *word = segment.texts.len() as u64;
            grown += text.len() + size_of::<Box<str>>();
            segment.texts.push(text);
        }
        self.is_disordered |= 0 < self.rows && time <= self.last;
        self.last = if self.rows == 0 { time } else { self.last.max(time) };
        self.rows += 1;
        grown
    }

    /// Memory its rows take.
    pub(crate) fn bytes(&self) -> usize {
        let of = |segment: &Segment| {
            let texts: usize =
                segment.texts.iter().map(|text| text.len() + size_of::<Box<str>>()).sum();
            segment.words.capacity() * size_of::<u64>() + texts
        };
        self.segments.iter().map(of).sum()
    }

    /// Rows between two times, both included, column by column: of these fields, or of all.
    pub(crate) fn part(
        &self,
        layouts: &[Layout],
        fields: Option<&[(u32, FieldType)]>,
        from: i64,
        to: i64,
    ) -> Part {
        if let [segment] = &self.segments[..]
            && !self.is_disordered
        {
            return segment.part(&layouts[segment.layout as usize], fields, from, to);
        }
        let mut rows = self.found(layouts, from, to);
        if self.is_disordered || 1 < self.segments.len() {
            rows.sort_unstable_by_key(|row| (row.time, row.arrival));
        }
        let mut times: Vec<i64> = Vec::with_capacity(rows.len());
        let mut places = Vec::with_capacity(rows.len());
        for row in &rows {
            if times.last() != Some(&row.time) {
                times.push(row.time);
            }
            places.push(times.len() - 1);
        }
        let mut wanted = match fields {
            Some(fields) => fields.to_vec(),
            None => self.fields(layouts),
        };
        wanted.sort_unstable_by_key(|(field, _)| *field);
        wanted.dedup();
        let columns = wanted.iter().map(|(field, kind)| {
            (*field, self.column(layouts, *field, *kind, &rows, &places, times.len()))
        });
        let columns = columns.collect();
        Part { times, columns }
    }

    fn fields(&self, layouts: &[Layout]) -> Vec<(u32, FieldType)> {
        let layouts = self.segments.iter().map(|segment| &layouts[segment.layout as usize]);
        layouts.flat_map(|layout| layout.fields.iter().copied()).collect()
    }

    fn found(&self, layouts: &[Layout], from: i64, to: i64) -> Vec<Found> {
        let mut rows = Vec::with_capacity(self.rows);
        for (number, segment) in self.segments.iter().enumerate() {
            let width = LEADING + layouts[segment.layout as usize].fields.len();
            for (place, row) in segment.words.chunks_exact(width).enumerate() {
                let time = row[0].cast_signed();
                if from <= time && time <= to {
                    let at = place * width + LEADING;
                    rows.push(Found { time, arrival: row[1], segment: number, at });
                }
            }
        }
        rows
    }

    /// One column: for each row the value that came last.
    fn column(
        &self,
        layouts: &[Layout],
        field: u32,
        kind: FieldType,
        rows: &[Found],
        places: &[usize],
        count: usize,
    ) -> Column {
        let offset = |segment: &Segment| {
            let fields = &layouts[segment.layout as usize].fields;
            fields.iter().position(|(number, _)| *number == field)
        };
        let offsets: Vec<Option<usize>> = self.segments.iter().map(offset).collect();
        let found = rows.iter().zip(places).filter_map(|(row, place)| {
            let segment = &self.segments[row.segment];
            Some((*place, segment, segment.words[row.at + offsets[row.segment]?]))
        });
        let mut bits = vec![0_u64; count.div_ceil(64)];
        let mut note = |place: usize| bits[place / 64] |= 1 << (place % 64);
        let values = match kind {
            FieldType::Float => {
                Values::Float(spread(found, count, &mut note, |_, word| f64::from_bits(word)))
            }
            FieldType::Integer => {
                Values::Integer(spread(found, count, &mut note, |_, word| word.cast_signed()))
            }
            FieldType::Unsigned => {
                Values::Unsigned(spread(found, count, &mut note, |_, word| word))
            }
            FieldType::Boolean => {
                Values::Boolean(spread(found, count, &mut note, |_, word| word != 0))
            }
            FieldType::Text => {
                let text = |segment: &Segment, word: u64| segment.texts[word as usize].clone();
                Values::Text(spread(found, count, &mut note, text))
            }
        };
        let has: usize = bits.iter().map(|word| word.count_ones() as usize).sum();
        match has {
            0 => Column::default(),
            has if has == count => Column { values, present: None },
            _ => Column { values, present: Some(bits) },
        }
    }
}

/// A row of a head.
#[derive(Clone, Copy, Debug)]
struct Found {
    time: i64,
    arrival: u64,
    segment: usize,
    /// Where its values begin.
    at: usize,
}

impl Segment {
    /// Rows between two times, where all are in order.
    fn part(
        &self,
        layout: &Layout,
        fields: Option<&[(u32, FieldType)]>,
        from: i64,
        to: i64,
    ) -> Part {
        let width = LEADING + layout.fields.len();
        let count = self.words.len() / width;
        let time = |row: usize| self.words[row * width].cast_signed();
        let first = first_row(count, |row| from <= time(row));
        let end = first_row(count, |row| to < time(row)).max(first);
        let rows = &self.words[first * width..end * width];
        let times = rows.chunks_exact(width).map(|row| row[0].cast_signed()).collect();
        let mut wanted = fields.map_or_else(|| layout.fields.to_vec(), <[_]>::to_vec);
        wanted.sort_unstable_by_key(|(field, _)| *field);
        wanted.dedup();
        let column = |field: u32, kind: FieldType| {
            let Some(place) = layout.fields.iter().position(|(known, _)| *known == field) else {
                return Column::default();
            };
            let words = rows.chunks_exact(width).map(|row| row[LEADING + place]);
            let values = match kind {
                _ if rows.is_empty() => Values::None,
                FieldType::Float => Values::Float(words.map(f64::from_bits).collect()),
                FieldType::Integer => Values::Integer(words.map(u64::cast_signed).collect()),
                FieldType::Unsigned => Values::Unsigned(words.collect()),
                FieldType::Boolean => Values::Boolean(words.map(|word| word != 0).collect()),
                FieldType::Text => {
                    Values::Text(words.map(|word| self.texts[word as usize].clone()).collect())
                }
            };
            Column { values, present: None }
        };
        let columns = wanted.iter().map(|(field, kind)| (*field, column(*field, *kind))).collect();
        Part { times, columns }
    }
}

/// The first of some rows for which something holds that holds for all behind it.
fn first_row(count: usize, holds: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low.midpoint(high);
        if holds(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

/// Puts values where they belong; of two for one place, the later counts.
fn spread<'a, T: Clone + Default>(
    found: impl Iterator<Item = (usize, &'a Segment, u64)>,
    count: usize,
    note: &mut impl FnMut(usize),
    value: impl Fn(&Segment, u64) -> T,
) -> Vec<T> {
    let mut values = vec![T::default(); count];
    for (place, segment, word) in found {
        note(place);
        values[place] = value(segment, word);
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(values: &[Option<f64>]) -> Column {
        let mut bits = vec![0; values.len().div_ceil(64)];
        for (place, value) in values.iter().enumerate() {
            bits[place / 64] |= u64::from(value.is_some()) << (place % 64);
        }
        let present = values.iter().any(Option::is_none).then_some(bits);
        Column {
            values: Values::Float(values.iter().map(|v| v.unwrap_or_default()).collect()),
            present,
        }
    }

    #[test]
    fn the_value_that_came_last_counts_field_by_field() {
        let layouts = [
            Layout::new(0, vec![(1, FieldType::Float), (2, FieldType::Text)]),
            Layout::new(0, vec![(0, FieldType::Float)]),
            Layout::new(0, vec![(1, FieldType::Float)]),
        ];
        let mut head = Head::default();
        let mut push = |layout: usize, time, arrival, values: &[u64], text: &str| {
            let mut texts = [text.into()];
            head.push((layout as u32, &layouts[layout]), (time, arrival), values, &mut texts)
        };
        push(0, 10, 0, &[1.0_f64.to_bits(), 0], "a");
        push(0, 20, 1, &[2.0_f64.to_bits(), 0], "b");
        push(1, 15, 2, &[7.0_f64.to_bits()], "");
        push(2, 20, 3, &[3.0_f64.to_bits()], "");
        push(1, 20, 4, &[8.0_f64.to_bits()], "");
        let part = head.part(&layouts, None, i64::MIN, i64::MAX);
        assert_eq!(part.times, [10, 15, 20]);
        assert_eq!(part.columns[0], (0, floats(&[None, Some(7.0), Some(8.0)])));
        assert_eq!(part.columns[1], (1, floats(&[Some(1.0), None, Some(3.0)])));
        let texts = Values::Text(vec!["a".into(), "".into(), "b".into()]);
        assert_eq!(part.columns[2], (2, Column { values: texts, present: Some(vec![0b101]) }));
        let part =
            head.part(&layouts, Some(&[(0, FieldType::Float), (9, FieldType::Float)]), 15, 19);
        assert_eq!((part.times, part.columns.len()), (vec![15], 2));
        assert_eq!(part.columns[0].1, floats(&[Some(7.0)]));
        assert_eq!(part.columns[1].1, Column::default());
        assert_eq!(head.rows(), 5);
    }
}
