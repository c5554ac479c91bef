//! Expressions over numbered columns, ready to be reckoned row by row or many rows at once.
//!
//! 1. Both ways give the same.

use crate::{
    ast::{Expr, Ref},
    math::{self, Math},
    pattern::Pattern,
    token::Op,
    vector::{Col, Rows},
};
use olivine_command::Cell;

/// An expression whose names are numbers of columns.
#[derive(Clone, Debug)]
pub(crate) enum Code {
    Value(Cell),
    Column(usize),
    Binary(Op, Box<Code>, Box<Code>),
    Math(Math, Vec<Code>),
    Match(Box<Code>, Pattern, bool),
}

impl Code {
    /// Compiles an expression; `place` tells the number of a name or of a call, or what to put in its place.
    pub(crate) fn new(expr: &Expr, place: &mut dyn FnMut(&Expr) -> Option<Code>) -> Code {
        if let Some(code) = place(expr) {
            return code;
        }
        match expr {
            Expr::Paren(inner) => Code::new(inner, place),
            Expr::Binary { op: op @ (Op::Matches | Op::MatchesNot), left, right } => match &**right
            {
                Expr::Pattern(pattern) => Code::Match(
                    Box::new(Code::new(left, place)),
                    pattern.clone(),
                    *op == Op::Matches,
                ),
                _ => Code::Value(Cell::Null),
            },
            Expr::Binary { op, left, right } => Code::Binary(
                *op,
                Box::new(Code::new(left, place)),
                Box::new(Code::new(right, place)),
            ),
            Expr::Call { name, args } => match Math::named(name) {
                Some(math) => {
                    Code::Math(math, args.iter().map(|arg| Code::new(arg, place)).collect())
                }
                None => Code::Value(Cell::Null),
            },
            other => Code::Value(math::literal(other).unwrap_or(Cell::Null)),
        }
    }

    /// What it comes to. `fractions` tells whether whole numbers divide into fractions.
    pub(crate) fn of(&self, get: &dyn Fn(usize) -> Cell, fractions: bool) -> Cell {
        match self {
            Code::Value(cell) => cell.clone(),
            Code::Column(number) => get(*number),
            Code::Binary(op, left, right) => {
                math::binary(*op, &left.of(get, fractions), &right.of(get, fractions), fractions)
            }
            Code::Math(math, args) => {
                let args: Vec<Cell> = args.iter().map(|arg| arg.of(get, fractions)).collect();
                math.of(&args)
            }
            Code::Match(inner, pattern, wanted) => {
                math::matched(&inner.of(get, fractions), pattern, *wanted)
            }
        }
    }

    /// The same with all reckoned that needs no column.
    pub(crate) fn folded(self) -> Code {
        match self {
            Code::Binary(op, left, right) => match (op, left.folded(), right.folded()) {
                (_, Code::Value(left), Code::Value(right)) => {
                    Code::Value(math::binary(op, &left, &right, false))
                }
                (Op::And, Code::Value(known), other) | (Op::And, other, Code::Value(known)) => {
                    if known == Cell::Boolean(true) {
                        other
                    } else {
                        Code::Value(Cell::Boolean(false))
                    }
                }
                (Op::Or, Code::Value(known), other) | (Op::Or, other, Code::Value(known)) => {
                    if known == Cell::Boolean(true) {
                        Code::Value(known)
                    } else {
                        other
                    }
                }
                (op, left, right) => Code::Binary(op, Box::new(left), Box::new(right)),
            },
            Code::Math(math, args) => {
                let args: Vec<Code> = args.into_iter().map(Code::folded).collect();
                let values: Option<Vec<Cell>> = args
                    .iter()
                    .map(|arg| if let Code::Value(cell) = arg { Some(cell.clone()) } else { None })
                    .collect();
                match values {
                    Some(values) => Code::Value(math.of(&values)),
                    None => Code::Math(math, args),
                }
            }
            Code::Match(inner, pattern, wanted) => match inner.folded() {
                Code::Value(cell) => Code::Value(math::matched(&cell, &pattern, wanted)),
                inner => Code::Match(Box::new(inner), pattern, wanted),
            },
            other => other,
        }
    }

    /// Those of some rows for which it is true.
    pub(crate) fn filter(&self, cols: &[Col<'_>], rows: Rows) -> Rows {
        match self {
            Code::Binary(Op::And, left, right) => {
                let rows = left.filter(cols, rows);
                right.filter(cols, rows)
            }
            Code::Binary(op, left, right) if op.precedence() == 3 => {
                let (op, column, value) = match (&**left, &**right) {
                    (Code::Column(column), Code::Value(value)) => (*op, *column, value),
                    (Code::Value(value), Code::Column(column)) => (op.mirrored(), *column, value),
                    _ => return self.filter_slowly(cols, &rows),
                };
                let Some(limit) = math::float(value) else {
                    return self.filter_slowly(cols, &rows);
                };
                if let Some(values) = cols[column].floats() {
                    return kept(&rows, |row| holds(op, &values[row], &limit));
                }
                match (cols[column].integers(), value) {
                    (Some(values), Cell::Integer(limit)) => {
                        kept(&rows, |row| holds(op, &values[row], limit))
                    }
                    (Some(values), Cell::Float(limit)) => {
                        kept(&rows, |row| holds(op, &(values[row] as f64), limit))
                    }
                    _ => self.filter_slowly(cols, &rows),
                }
            }
            _ => self.filter_slowly(cols, &rows),
        }
    }

    fn filter_slowly(&self, cols: &[Col<'_>], rows: &Rows) -> Rows {
        kept(rows, |row| self.of(&|column| cols[column].get(row), false) == Cell::Boolean(true))
    }
}

fn holds<T: PartialOrd>(op: Op, a: &T, b: &T) -> bool {
    match op {
        Op::Equal => a == b,
        Op::NotEqual => a != b,
        Op::Less => a < b,
        Op::LessEqual => a <= b,
        Op::Greater => a > b,
        _ => a >= b,
    }
}

fn kept(rows: &Rows, mut keep: impl FnMut(usize) -> bool) -> Rows {
    let mut list = Vec::new();
    for row in rows.iter() {
        if keep(row) {
            list.push(row as u32);
        }
    }
    if list.len() == rows.len() {
        return rows.clone();
    }
    Rows::List(list)
}

/// The names in an expression, each once, in the order in which they are met.
pub(crate) fn refs(expr: &Expr, found: &mut Vec<Ref>) {
    expr.walk(&mut |part| match part {
        Expr::Ref(reference) if !found.contains(reference) => found.push(reference.clone()),
        _ => {}
    });
}
