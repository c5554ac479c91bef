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

fn part(random: &mut Random, around: i64) -> Part {
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
    Part { times, columns }
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

#[test]
fn merges_like_a_map() {
    for seed in 0..2000 {
        let mut random = Random::new(seed);
        let spread = [0, 100, 2000][random.index(3)];
        let (mut sources, mut expected) = (Vec::new(), Cells::new());
        for precedence in 0..random.between(2, 6) {
            let part = part(&mut random, precedence as i64 * spread);
            expected.extend(cells(&part.times, &part.columns));
            sources.push(Sourced { precedence, part });
        }
        sources.retain(|source| !source.part.times.is_empty());
        if sources.len() < 2 {
            continue;
        }
        random.shuffle(&mut sources);
        let Part { times, columns } = merge(sources).unwrap();
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
fn rows_of_columns_are_cut_and_picked() {
    for seed in 0..300 {
        let mut random = Random::new(seed);
        let part = part(&mut random, 0);
        let rows = part.times.len();
        let from = random.index(rows + 1);
        let to = random.between(from as u64, rows as u64) as usize;
        let picked: Vec<usize> = (from..to).collect();
        for (field, column) in &part.columns {
            let all = cells(&part.times, &[(*field, column.clone())]);
            let kept = |time: &i64| part.times[from..to].contains(time);
            let expected: Cells = all.into_iter().filter(|((time, _), _)| kept(time)).collect();
            for found in [cut(column, from, to), pick(column, &picked)] {
                assert_eq!(cells(&part.times[from..to], &[(*field, found)]), expected);
            }
        }
    }
}

#[test]
fn two_types_are_refused() {
    let source = |precedence, values| {
        let columns = vec![(0, Column { values, present: None })];
        Sourced { precedence, part: Part { times: vec![1], columns } }
    };
    let one = source(0, Values::Integer(vec![1]));
    assert!(merge(vec![one.clone(), source(1, Values::Float(vec![1.0]))]).is_err());
    assert!(merge(vec![one.clone(), source(1, Values::Integer(vec![1, 2]))]).is_err());
    assert!(merge(vec![one.clone(), source(1, Values::None)]).is_ok());
    let backward = Sourced { precedence: 1, part: Part { times: vec![2, 1], columns: vec![] } };
    assert!(merge(vec![one, backward]).is_err());
}
