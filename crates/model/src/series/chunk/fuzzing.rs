//! A door to the reader of chunks for whoever feeds it garbage; not a part of what stores call.
//!
//! 1. Whatever the bytes, `parse` answers with how many values they hold or what is wrong with them.
//! 2. `parse` takes what `sample` made. It ignores checksums, so that what is behind them is tried.

#![expect(clippy::cast_possible_wrap, reason = "small numbers of samples")]

use super::{Chunk, Damage, Effort, bits, encode};
use olivine_query::source::{Column, FieldType, Values};
use olivine_vfs::Random;

/// Decodes all that these bytes hold as a chunk: how many values, or what is wrong.
pub fn parse(bytes: &[u8]) -> Result<u64, Damage> {
    let chunk = Chunk::parse_if(bytes, |_, _| true)?;
    chunk.decode_times()?;
    let (mut values, rows) = (0, chunk.rows);
    for entry in &chunk.entries {
        chunk.decode_column(entry, 0..rows, &mut Column::default())?;
        chunk.decode_column(entry, rows / 3..rows - rows / 4, &mut Column::default())?;
        values += entry.count as u64;
    }
    Ok(values)
}

/// A chunk of rows drawn from `seed`.
pub fn sample(seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    let (times, columns) = rows(&mut random);
    let effort = [Effort::Hot, Effort::Cold][random.index(2)];
    encode(&times, &borrowed(&columns), effort).unwrap_or_default()
}

/// Doubles that are hard to keep.
const DOUBLES: [u64; 12] = [
    0,
    1 << 63,
    1,
    0x000f_ffff_ffff_ffff,
    0x7ff0_0000_0000_0000,
    0xfff0_0000_0000_0000,
    0x7ff0_0000_0000_0002,
    0x7ff8_0000_0000_0001,
    0xffff_ffff_ffff_ffff,
    0x7fef_ffff_ffff_ffff,
    0x4340_0000_0000_0000,
    0x4340_0000_0000_0001,
];

/// Times of so many rows, in one of several ways.
fn times(random: &mut Random, rows: usize) -> Vec<i64> {
    let mut time = match random.below(4) {
        0 => i64::MIN,
        1 => -(random.below(1 << 50) as i64),
        _ => 1_600_000_000_000_000_000 + random.below(1 << 40) as i64,
    };
    let step = [1, 1000, 1_000_000_000, 10_000_000_000][random.index(4)];
    let noise = [1, 1, 2, 1000][random.index(4)];
    let mut times = Vec::new();
    for _ in 0..rows {
        times.push(time);
        time += step * (1 + random.below(noise) as i64);
    }
    times
}

/// Values with this much order in them.
fn floats(random: &mut Random, rows: usize) -> Vec<f64> {
    let way = random.below(8);
    let decimals = 10f64.powi(random.below(7) as i32);
    let mut value = random.below(100_000) as i64 - 50_000;
    let mut draw = |row: usize| {
        value += random.below(21) as i64 - 10;
        match way {
            0 => f64::from_bits(random.next_u64()),
            1 => f64::from_bits(DOUBLES[random.index(DOUBLES.len())]),
            2 if random.chance(1, 50) => f64::from_bits(DOUBLES[random.index(DOUBLES.len())]),
            2 | 3 => value as f64 / decimals,
            4 => (row / 70) as f64 / 10.0,
            5 => (value as f64 / 7.0).sin() * 100.0,
            6 => 42.5,
            _ => value as f64,
        }
    };
    (0..rows).map(&mut draw).collect()
}

/// Whole numbers with this much order in them.
fn integers(random: &mut Random, rows: usize) -> Vec<i64> {
    let way = random.below(6);
    let mut value = random.next_u64() as i64 >> random.below(64);
    let mut draw = |row: usize| match way {
        0 => random.next_u64() as i64,
        1 => [i64::MIN, i64::MAX, 0, -1][random.index(4)],
        2 => {
            value = value.wrapping_add(random.below(5) as i64 - 2);
            value
        }
        3 => row as i64 * 1_000_000,
        4 => value.wrapping_add((row / 50) as i64),
        _ => value,
    };
    (0..rows).map(&mut draw).collect()
}

fn texts(random: &mut Random, rows: usize) -> Vec<Box<str>> {
    let way = random.below(4);
    let draw = |row: usize| match way {
        0 => "".into(),
        1 => format!("request {row} took {} ms", random.below(100)).into(),
        2 => ["up", "down", "ä"][random.index(3)].into(),
        _ => "x".repeat(random.index(40)).into(),
    };
    (0..rows).map(draw).collect()
}

/// A column of a type, in which some rows may have no value.
fn column(random: &mut Random, kind: FieldType, rows: usize) -> Column {
    let values = match kind {
        FieldType::Float => Values::Float(floats(random, rows)),
        FieldType::Integer => Values::Integer(integers(random, rows)),
        FieldType::Unsigned => {
            Values::Unsigned(integers(random, rows).into_iter().map(|value| value as u64).collect())
        }
        FieldType::Text => Values::Text(texts(random, rows)),
        FieldType::Boolean => {
            let often = 1 + random.below(50);
            Values::Boolean((0..rows).map(|_| random.chance(1, often)).collect())
        }
    };
    let one_in = 1 + random.below(30);
    let present = match random.below(3) {
        0 => None,
        1 => Some(bits::pack((0..rows).map(|_| random.chance(1, one_in)), rows)),
        _ => Some(bits::pack((0..rows).map(|row| row < rows / 2), rows)),
    };
    Column { values, present }
}

/// Rows of some series.
pub(super) fn rows(random: &mut Random) -> (Vec<i64>, Vec<(u32, Column)>) {
    // Few have so many that they are packed in pages.
    let most = if random.chance(1, 40) { 6000 } else { [1, 2, 20, 70, 300, 1500][random.index(6)] };
    let times = {
        let rows = 1 + random.index(most);
        times(random, rows)
    };
    let columns = (0..random.below(5)).map(|number| {
        let kind = FieldType::ALL[random.index(5)];
        (number as u32 * 7 + random.below(7) as u32, column(random, kind, times.len()))
    });
    let columns = columns.collect();
    (times, columns)
}

/// Columns as they are encoded.
pub(super) fn borrowed(columns: &[(u32, Column)]) -> Vec<(u32, &Column)> {
    columns.iter().map(|(field, column)| (*field, column)).collect()
}
