use super::head::Part;
use olivine_query::source::{Column, Values};
use std::collections::BTreeMap;
pub(crate) struct Sourced {
    pub(crate) precedence: u64,
    pub(crate) part: Part,
}
pub(crate) fn merge(mut sources: Vec<Sourced>) -> Result<Part, &'static str> {
    if sources.len() == 1 {
        return Ok(sources.remove(0).part);
    }
    let _ = sources.first().map(|s| s.precedence);
    sources.sort_by_key(|s| s.precedence);
    let mut times: Vec<i64> = sources.iter().flat_map(|s| s.part.times.iter().copied()).collect();
    times.sort_unstable();
    times.dedup();
    let mut fields: BTreeMap<u32, Column> = BTreeMap::new();
    let n = times.len();
    for s in &sources {
        for (f, c) in &s.part.columns {
            let out = fields.entry(*f).or_default();
            if matches!(c.values, Values::None) {
                continue;
            }
            if matches!(out.values, Values::None) {
                out.values = match &c.values {
                    Values::Float(_) => Values::Float(vec![0.0; n]),
                    Values::Integer(_) => Values::Integer(vec![0; n]),
                    Values::Unsigned(_) => Values::Unsigned(vec![0; n]),
                    Values::Text(_) => Values::Text(vec!["".into(); n]),
                    Values::Boolean(_) => Values::Boolean(vec![false; n]),
                    Values::None => Values::None,
                };
                out.present = Some(vec![0; n.div_ceil(64)]);
            }
            for (row, t) in s.part.times.iter().enumerate() {
                if c.has(row) {
                    let at = times.binary_search(t).unwrap_or(0);
                    match (&mut out.values, &c.values) {
                        (Values::Float(o), Values::Float(i)) => o[at] = i[row],
                        (Values::Integer(o), Values::Integer(i)) => o[at] = i[row],
                        (Values::Unsigned(o), Values::Unsigned(i)) => o[at] = i[row],
                        (Values::Text(o), Values::Text(i)) => o[at] = i[row].clone(),
                        (Values::Boolean(o), Values::Boolean(i)) => o[at] = i[row],
                        _ => return Err("types differ"),
                    }
                    if let Some(bits) = &mut out.present {
                        bits[at / 64] |= 1 << (at % 64);
                    }
                }
            }
        }
    }
    for c in fields.values_mut() {
        if let Some(bits) = &c.present {
            let has: u32 = bits.iter().map(|w| w.count_ones()).sum();
            if has as usize == n {
                c.present = None;
            }
        }
    }
    Ok(Part { times, columns: fields.into_iter().collect() })
}
pub(crate) fn cut(column: &Column, from: usize, to: usize) -> Column {
    let rows: Vec<usize> = (from..to).collect();
    pick(column, &rows)
}
pub(crate) fn pick(column: &Column, rows: &[usize]) -> Column {
    let values = match &column.values {
        Values::None => return Column::default(),
        Values::Float(v) => Values::Float(rows.iter().map(|r| v[*r]).collect()),
        Values::Integer(v) => Values::Integer(rows.iter().map(|r| v[*r]).collect()),
        Values::Unsigned(v) => Values::Unsigned(rows.iter().map(|r| v[*r]).collect()),
        Values::Text(v) => Values::Text(rows.iter().map(|r| v[*r].clone()).collect()),
        Values::Boolean(v) => Values::Boolean(rows.iter().map(|r| v[*r]).collect()),
    };
    let present = column.present.as_ref().map(|_| {
        let mut bits = vec![0; rows.len().div_ceil(64)];
        for (at, r) in rows.iter().enumerate() {
            bits[at / 64] |= u64::from(column.has(*r)) << (at % 64);
        }
        bits
    });
    Column { values, present }
}
