//! Merges against a map of cells.

#![expect(clippy::cast_possible_wrap, reason = "small numbers of tests")]

use super::*;
use olivine_vfs::Random;

/// What is there, by time and field.
type Cells = BTreeMap<(i64, u32), String>;

/// The types of the fields.
const KINDS: [Values; 5] = [
    Values::Float(Vec::new()),
    Values::Integer(Vec::new()),
    Values::Unsigned(Vec::new()),
    Values::Text(Vec::new()),
    Values::Boolean(Vec::new()),
];

fn part(random: &mut Random, precedence: u64, around: i64) -> Part {
    let mut time = around + random.below(100) as i64;
    let mut times = Vec::new();
    let most = 1 + random.below(8) as i64;
    for _ in 0..random.below(150) {
        times.push(time);
        time += random.between(1, most as u64) as i64;
    }
    let rows = times.len();
    let mut columns = Vec::new();
    for (field, kind) in (0..).zip(&KINDS) {
        if random.chance(1, 3) {
            continue;
        }
        let mut draws = || (0..rows).map(|_| random.next_u64()).collect::<Vec<_>>();
        let values = match kind {
            Values::None => Values::None,
            Values::Float(_) => Values::Float(draws().into_iter().map(f64::from_bits).collect()),
            Values::Integer(_) => {
                Values::Integer(draws().into_iter().map(u64::cast_signed).collect())
            }
            Values::Unsigned(_) => Values::Unsigned(draws()),
            Values::Text(_) => {
                Values::Text(draws().iter().map(|draw| draw.to_string().into()).collect())
            }
            Values::Boolean(_) => {
                Values::Boolean(draws().iter().map(|draw| draw % 2 == 0).collect())
            }
        };
        let present = match random.below(3) {
            0 => Some((0..rows.div_ceil(64)).map(|_| random.next_u64()).collect()),
            1 if random.chance(1, 4) => Some(vec![0; rows.div_ceil(64)]),
            _ => None,
        };
        columns.push((field, Column { values, present }));
    }
    random.shuffle(&mut columns);
    Part { precedence, times, columns }
}

fn cells(times: &[i64], columns: &[(u32, Column)]) -> Cells {
    let mut cells = Cells::new();
    for (field, column) in columns {
        for (row, time) in times.iter().enumerate().filter(|(row, _)| column.has(*row)) {
            let text = match &column.values {
                Values::None => unreachable!("there is a value"),
                Values::Float(values) => format!("{:x}", values[row].to_bits()),
                Values::Integer(values) => values[row].to_string(),
                Values::Unsigned(values) => values[row].to_string(),
                Values::Text(values) => values[row].to_string(),
                Values::Boolean(values) => values[row].to_string(),
            };
            cells.insert((*time, *field), text);
        }
    }
    cells
}

fn deletion(random: &mut Random, precedence: u64) -> Deletion {
    let (from, to) = match random.below(4) {
        0 => (i64::MIN, random.below(1000) as i64),
        1 => (random.below(1000) as i64, i64::MAX),
        _ => {
            let from = random.below(1000) as i64;
            (from, from + random.below(300) as i64)
        }
    };
    let field = random.chance(1, 2).then(|| random.below(6) as u32);
    Deletion { precedence, from, to, field }
}

#[test]
fn merges_like_a_map() {
    for seed in 0..2000 {
        let mut random = Random::new(seed);
        let spread = [0, 100, 2000][random.index(3)];
        let (mut parts, mut deletions, mut expected) = (Vec::new(), Vec::new(), Cells::new());
        for precedence in 0..random.below(7) {
            if random.chance(1, 3) {
                let new = deletion(&mut random, precedence);
                expected.retain(|(time, field), _| {
                    let other = new.field.is_some_and(|deleted| deleted != *field);
                    *time < new.from || new.to < *time || other
                });
                deletions.push(new);
            } else {
                let around = precedence as i64 * spread;
                let new = part(&mut random, precedence, around);
                expected.extend(cells(&new.times, &new.columns));
                parts.push(new);
            }
        }
        random.shuffle(&mut parts);
        random.shuffle(&mut deletions);
        let (times, columns) = merge(&parts, &deletions).unwrap();
        assert!(times.is_sorted_by(|one, next| one < next), "seed {seed}");
        let found = cells(&times, &columns);
        assert_eq!(found, expected, "seed {seed}");
        assert!(columns.is_sorted_by(|one, next| one.0 < next.0), "seed {seed}");
        let mut with_values: Vec<i64> = found.keys().map(|(time, _)| *time).collect();
        with_values.dedup();
        assert_eq!(times, with_values, "seed {seed}: a row without values");
        for (field, column) in &columns {
            assert!((0..times.len()).any(|row| column.has(row)), "seed {seed}: field {field}");
            let all = (0..times.len()).all(|row| column.has(row));
            assert_eq!(column.present.is_none(), all, "seed {seed}");
        }
    }
}

#[test]
fn two_types_are_damage() {
    let part = |precedence, values| Part {
        precedence,
        times: vec![1],
        columns: vec![(0, Column { values, present: None })],
    };
    let one = part(0, Values::Integer(vec![1]));
    assert!(merge(&[one.clone(), part(1, Values::Float(vec![1.0]))], &[]).is_err());
    assert!(merge(&[one.clone(), part(1, Values::Integer(vec![1, 2]))], &[]).is_err());
    assert!(merge(&[one.clone(), part(1, Values::None)], &[]).is_ok());
    let backward = Part { times: vec![2, 1], ..Part::default() };
    assert!(merge(&[one, backward], &[]).is_err());
}
