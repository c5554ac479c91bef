//! Chunks of every kind of values come back; bytes that are no chunk are refused.

#![expect(clippy::cast_possible_wrap, reason = "small numbers of tests")]

use super::*;
use olivine_query::source::{FieldSummary, SummaryValues};
use olivine_vfs::Random;

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

/// What a row of a column is, bit by bit.
fn cell(column: &Column, row: usize) -> Option<String> {
    column.has(row).then(|| match &column.values {
        Values::None => unreachable!("it has a value"),
        Values::Float(values) => format!("{:016x}", values[row].to_bits()),
        Values::Integer(values) => values[row].to_string(),
        Values::Unsigned(values) => values[row].to_string(),
        Values::Text(values) => format!("{:?}", values[row]),
        Values::Boolean(values) => values[row].to_string(),
    })
}

/// What a column comes to, found out row by row.
fn expected(times: &[i64], column: &Column) -> Summary {
    let at: Vec<usize> = (0..times.len()).filter(|row| column.has(*row)).collect();
    let (Some(first), Some(last)) = (at.first(), at.last()) else { return Summary::Absent };
    let (first, last) = (*first, *last);
    let least = |less: &dyn Fn(usize, usize) -> bool| {
        at.iter().fold(first, |best, row| if less(*row, best) { *row } else { best })
    };
    let (min, max, values) = match &column.values {
        Values::Float(of) => {
            if at.iter().any(|row| of[*row].is_nan()) {
                return Summary::Unknown;
            }
            let (min, max) = (least(&|a, b| of[a] < of[b]), least(&|a, b| of[b] < of[a]));
            let sum = at.iter().map(|row| of[*row]).sum();
            let [min_value, max_value, first, last] = [min, max, first, last].map(|row| of[row]);
            (min, max, SummaryValues::Float { min: min_value, max: max_value, sum, first, last })
        }
        Values::Integer(of) => {
            let (min, max) = (least(&|a, b| of[a] < of[b]), least(&|a, b| of[b] < of[a]));
            let sum = at.iter().fold(0i64, |sum, row| sum.wrapping_add(of[*row]));
            let [min_value, max_value, first, last] = [min, max, first, last].map(|row| of[row]);
            (min, max, SummaryValues::Integer { min: min_value, max: max_value, sum, first, last })
        }
        Values::Unsigned(of) => {
            let (min, max) = (least(&|a, b| of[a] < of[b]), least(&|a, b| of[b] < of[a]));
            let sum = at.iter().fold(0u64, |sum, row| sum.wrapping_add(of[*row]));
            let [min_value, max_value, first, last] = [min, max, first, last].map(|row| of[row]);
            (min, max, SummaryValues::Unsigned { min: min_value, max: max_value, sum, first, last })
        }
        _ => (first, first, SummaryValues::Counted),
    };
    Summary::Known(FieldSummary {
        count: at.len() as u64,
        values,
        min_time: times[min],
        max_time: times[max],
        first_time: times[first],
        last_time: times[last],
    })
}

/// Rows of some series.
fn rows(random: &mut Random) -> (Vec<i64>, Vec<(u32, Column)>) {
    let most = [1, 2, 20, 70, 300, 1500][random.index(6)];
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

fn borrowed(columns: &[(u32, Column)]) -> Vec<(u32, &Column)> {
    columns.iter().map(|(field, column)| (*field, column)).collect()
}

#[test]
fn rows_come_back_and_are_summed_up() {
    for seed in 0..1500 {
        let mut random = Random::new(seed);
        let (times, columns) = rows(&mut random);
        let effort = [Effort::Hot, Effort::Cold][random.index(2)];
        let bytes = encode(&times, &borrowed(&columns), effort).unwrap();
        let chunk = Chunk::parse(&bytes).unwrap();
        assert_eq!(chunk.rows(), times.len());
        assert_eq!([chunk.first_time(), chunk.last_time()], [times[0], times[times.len() - 1]]);
        let (mut read, mut into) = (vec![7], Column::default());
        chunk.times(&mut read).unwrap();
        assert_eq!(read, times, "seed {seed}");
        for (field, column) in &columns {
            let summary = expected(&times, column);
            let has = chunk.column(*field, &mut into).unwrap();
            assert_eq!(has, summary != Summary::Absent, "seed {seed}");
            let told = chunk.summary(*field);
            assert_eq!(format!("{told:?}"), format!("{summary:?}"), "seed {seed}");
            for row in 0..times.len() {
                assert_eq!(cell(&into, row), cell(column, row), "seed {seed}, row {row}");
            }
        }
        assert!(!chunk.column(u32::MAX, &mut into).unwrap());
    }
}

/// All that a chunk holds is decoded; what it comes to does not matter.
fn read_all(bytes: &[u8]) -> Result<(), Damage> {
    let chunk = Chunk::parse(bytes)?;
    chunk.times(&mut Vec::new())?;
    for (field, _) in chunk.fields() {
        chunk.column(field, &mut Column::default())?;
    }
    Ok(())
}

#[test]
fn a_flipped_bit_is_damage() {
    let mut random = Random::new(5);
    let (times, columns) = rows(&mut random);
    let bytes = encode(&times, &borrowed(&columns), Effort::Hot).unwrap();
    read_all(&bytes).unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(read_all(&bytes).is_err(), "bit {bit}");
    }
    for length in 0..bytes.len() {
        assert!(read_all(&bytes[..length]).is_err(), "length {length}");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let column = Column { values: Values::Integer(vec![1, 2]), present: None };
    for (times, columns) in [
        (&[][..], vec![]),
        (&[1, 1], vec![]),
        (&[2, 1], vec![]),
        (&[1, 2, 3], vec![(1, &column)]),
        (&[1, 2], vec![(1, &column), (1, &column)]),
        (&vec![0; ROWS_MAX + 1], vec![]),
    ] {
        assert!(encode(times, &columns, Effort::Hot).is_err());
    }
    assert!(encode(&[1, 2], &[(u32::MAX, &column)], Effort::Hot).is_ok());
}
