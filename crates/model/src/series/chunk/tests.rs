//! Chunks of every kind of values come back; bytes that are no chunk are refused.

use super::{
    fuzzing::{borrowed, parse, rows, sample},
    *,
};
use olivine_query::source::{FieldSummary, SummaryValues};
use olivine_testkit::fuzz::mutate;
use olivine_vfs::Random;

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
        let (mut read, mut into) = (Vec::new(), Column::default());
        chunk.times().unwrap().extend(0..times.len(), &mut read);
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

/// Whatever the values are and however they are written, in pages or not.
#[test]
fn a_stretch_of_rows_is_that_of_the_whole() {
    let (mut paged, mut sparse) = (0, 0);
    for seed in 0..1200 {
        let mut random = Random::new(seed);
        let (times, columns) = rows(&mut random);
        let effort = [Effort::Hot, Effort::Cold][random.index(2)];
        let bytes = encode(&times, &borrowed(&columns), effort).unwrap();
        let chunk = Chunk::parse(&bytes).unwrap();
        let mut into = Column::default();
        for (field, column) in &columns {
            paged +=
                usize::from(PAGE_ROWS < times.len() && chunk.is_piecewise([*field].into_iter()));
            for _ in 0..6 {
                let from = random.index(times.len() + 1);
                let to = from + random.index(times.len() - from + 1);
                let has = chunk.column_of(*field, from..to, &mut into).unwrap();
                assert_eq!(has, (from..to).any(|row| column.has(row)), "seed {seed}, {from}..{to}");
                sparse += usize::from(into.present.is_some());
                let full = (from..to).all(|row| column.has(row));
                assert!(!has || into.present.is_none() == full, "seed {seed}, {from}..{to}");
                let step = 1 + (to - from) / 100;
                for row in
                    (from..to).step_by(step).chain(to.max(1) - 1..to).filter(|row| from <= *row)
                {
                    let (told, right) = (cell(&into, row - from), cell(column, row));
                    assert_eq!(told, right, "seed {seed}, {from}..{to}, row {row}");
                }
            }
        }
        assert!(chunk.column_of(0, 0..times.len() + 1, &mut into).is_err() || chunk.count(0) == 0);
    }
    assert!(20 < paged && 100 < sparse, "{paged} in pages, {sparse} with gaps");
}

#[test]
fn chunks_from_before_there_were_pages_are_read() {
    let mut random = Random::new(11);
    let (times, columns) = rows(&mut random);
    let bytes = encode(&times, &borrowed(&columns), Effort::Hot).unwrap();
    let of_version = |version: u8| {
        let mut bytes = bytes.clone();
        bytes[0] = version;
        let end = HEAD_BYTES + u32::from_le_bytes(bytes[5..9].try_into().unwrap()) as usize;
        let sum = directory_checksum(&bytes[..HEAD_CHECKED_BYTES], &bytes[HEAD_BYTES..end]);
        bytes[HEAD_CHECKED_BYTES..HEAD_BYTES].copy_from_slice(&sum.to_le_bytes());
        bytes
    };
    assert_eq!(of_version(VERSION), bytes);
    assert!(!columns.is_empty() && times.len() <= PAGE_ROWS);
    read_all(&of_version(VERSION_WITHOUT_PAGES)).unwrap();
    for version in [0, VERSION + 1, 255] {
        assert!(read_all(&of_version(version)).is_err(), "version {version}");
    }
}

/// All that a chunk holds is decoded; what it comes to does not matter.
fn read_all(bytes: &[u8]) -> Result<(), Damage> {
    let chunk = Chunk::parse(bytes)?;
    chunk.times()?;
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

/// Checksums ignored: what is behind them must bear anything.
#[test]
fn what_nobody_wrote_is_read_or_damage() {
    let (mut read, mut refused) = (0, 0);
    for seed in 0..4000 {
        let mut random = Random::new(seed);
        let (mut bytes, other) = (sample(seed), sample(seed + 1));
        assert!(parse(&bytes).is_ok(), "seed {seed}");
        mutate(&mut random, &mut bytes, &other, seed % 2 == 0);
        match parse(&bytes) {
            Ok(_) => read += 1,
            Err(_) => refused += 1,
        }
    }
    assert!(100 < read && 100 < refused, "{read} read, {refused} refused");
}
