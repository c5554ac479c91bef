//! Reckons what can be reckoned without points, and takes the time out of a condition.
//!
//! 1. What cannot be reckoned stays as it is.
//! 2. Reckoning never overflows: whole numbers wrap as those of points do, moments end where moments end.

use crate::{
    ast::Expr,
    math,
    moment::{self, TIME_MAX, TIME_MIN, Zone},
    settings::QueryError,
    token::Op,
};

/// What is known while reckoning.
#[derive(Clone, Copy, Default)]
pub(crate) struct Known<'a> {
    /// What `now()` means; without it, it means nothing.
    pub(crate) now: Option<i64>,
    /// Where clocks show what texts say.
    pub(crate) zone: Option<&'a dyn Zone>,
}

/// The expression with all that can be reckoned reckoned, and without parentheses around it.
pub(crate) fn reduced(expr: &Expr, known: Known<'_>) -> Expr {
    match reduce(expr, known) {
        Expr::Paren(inner) => *inner,
        other => other,
    }
}

fn reduce(expr: &Expr, known: Known<'_>) -> Expr {
    match expr {
        Expr::Binary { op, left, right } => {
            let (left, right) = (reduce(left, known), reduce(right, known));
            folded(*op, &left, &right, known).unwrap_or_else(|| Expr::binary(*op, left, right))
        }
        Expr::Paren(inner) => match reduce(inner, known) {
            binary @ Expr::Binary { .. } => Expr::Paren(Box::new(binary)),
            other => other,
        },
        Expr::Call { name, args } => {
            if let (Some(now), "now", true) = (known.now, &**name, args.is_empty()) {
                return Expr::Moment(now);
            }
            let args: Vec<Expr> = args.iter().map(|arg| reduce(arg, known)).collect();
            math::folded(name, &args).unwrap_or_else(|| Expr::Call { name: name.clone(), args })
        }
        other => other.clone(),
    }
}

/// What two values come to; nothing where they come to nothing.
fn folded(op: Op, left: &Expr, right: &Expr, known: Known<'_>) -> Option<Expr> {
    match (left, right) {
        (Expr::Boolean(a), Expr::Boolean(b)) => booleans(op, *a, *b),
        // One side of a condition that is known decides it, or leaves the other side.
        (Expr::Boolean(known), other) | (other, Expr::Boolean(known))
            if matches!(op, Op::And | Op::Or) && other.bare().is_condition() =>
        {
            match (op, known) {
                (Op::And, false) => Some(Expr::Boolean(false)),
                (Op::Or, true) => Some(Expr::Boolean(true)),
                _ => Some(other.clone()),
            }
        }
        (Expr::Integer(a), Expr::Integer(b)) => integers(op, *a, *b),
        (Expr::Number(_) | Expr::Integer(_), Expr::Number(_) | Expr::Integer(_)) => {
            numbers(op, number(left)?, number(right)?)
        }
        (Expr::Duration(a), Expr::Duration(b)) => durations(op, *a, *b),
        (Expr::Duration(a), Expr::Integer(b)) => match op {
            Op::Multiply => Some(Expr::Duration(a.wrapping_mul(*b))),
            Op::Divide => Some(Expr::Duration(a.checked_div(*b).unwrap_or(0))),
            _ => durations(op, *a, *b),
        },
        (Expr::Integer(a), Expr::Duration(b)) => match op {
            Op::Add | Op::Subtract => durations(op, *a, *b),
            _ => None,
        },
        (Expr::Duration(a), Expr::Number(b)) => match op {
            Op::Multiply => Some(Expr::Duration((*a as f64 * b) as i64)),
            Op::Divide if *b == 0.0 => Some(Expr::Duration(0)),
            Op::Divide => Some(Expr::Duration((*a as f64 / b) as i64)),
            _ => None,
        },
        (Expr::Moment(a), Expr::Moment(b)) => match op {
            Op::Subtract => Some(Expr::Duration(a.saturating_sub(*b))),
            _ => compared(op, a, b),
        },
        (Expr::Moment(a), Expr::Duration(b) | Expr::Integer(b)) => match op {
            Op::Add => Some(Expr::Moment(a.saturating_add(*b))),
            Op::Subtract => Some(Expr::Moment(a.saturating_sub(*b))),
            _ => compared(op, a, b),
        },
        (Expr::Duration(a) | Expr::Integer(a), Expr::Moment(b)) => match op {
            Op::Add => Some(Expr::Moment(a.saturating_add(*b))),
            _ => compared(op, a, b),
        },
        (Expr::Text(a), Expr::Text(b)) => texts(op, a, b),
        (Expr::Text(text), Expr::Duration(_) | Expr::Moment(_)) => {
            folded(op, &as_moment(text, known.zone).ok()??, right, known)
        }
        (Expr::Duration(_) | Expr::Moment(_), Expr::Text(text)) => {
            folded(op, left, &as_moment(text, known.zone).ok()??, known)
        }
        _ => None,
    }
}

impl Expr {
    /// Whether it can be true or false.
    fn is_condition(&self) -> bool {
        matches!(self, Expr::Binary { op, .. } if op.is_logical())
            || matches!(self, Expr::Ref(_) | Expr::Boolean(_))
    }
}

fn booleans(op: Op, a: bool, b: bool) -> Option<Expr> {
    Some(Expr::Boolean(match op {
        Op::And | Op::BitAnd => a && b,
        Op::Or | Op::BitOr => a || b,
        Op::BitXor | Op::NotEqual => a != b,
        Op::Equal => a == b,
        _ => return None,
    }))
}

fn compared<T: PartialOrd>(op: Op, a: &T, b: &T) -> Option<Expr> {
    Some(Expr::Boolean(match op {
        Op::Equal => a == b,
        Op::NotEqual => a != b,
        Op::Less => a < b,
        Op::LessEqual => a <= b,
        Op::Greater => a > b,
        Op::GreaterEqual => a >= b,
        _ => return None,
    }))
}

fn texts(op: Op, a: &str, b: &str) -> Option<Expr> {
    match op {
        Op::Add => Some(Expr::Text(format!("{a}{b}"))),
        Op::Equal | Op::NotEqual => compared(op, &a, &b),
        _ => None,
    }
}

fn integers(op: Op, a: i64, b: i64) -> Option<Expr> {
    Some(match op {
        Op::Add => Expr::Integer(a.wrapping_add(b)),
        Op::Subtract => Expr::Integer(a.wrapping_sub(b)),
        Op::Multiply => Expr::Integer(a.wrapping_mul(b)),
        Op::Divide if b == 0 => Expr::Number(0.0),
        Op::Divide => Expr::Number(a as f64 / b as f64),
        Op::Modulo if b == 0 => Expr::Integer(0),
        Op::Modulo => Expr::Integer(a.wrapping_rem(b)),
        Op::BitAnd => Expr::Integer(a & b),
        Op::BitOr => Expr::Integer(a | b),
        Op::BitXor => Expr::Integer(a ^ b),
        _ => return compared(op, &a, &b),
    })
}

fn numbers(op: Op, a: f64, b: f64) -> Option<Expr> {
    Some(Expr::Number(match op {
        Op::Add => a + b,
        Op::Subtract => a - b,
        Op::Multiply => a * b,
        Op::Divide if b == 0.0 => 0.0,
        Op::Divide => a / b,
        Op::Modulo => a % b,
        _ => return compared(op, &a, &b),
    }))
}

fn durations(op: Op, a: i64, b: i64) -> Option<Expr> {
    match op {
        Op::Add => Some(Expr::Duration(a.saturating_add(b))),
        Op::Subtract => Some(Expr::Duration(a.saturating_sub(b))),
        _ => compared(op, &a, &b),
    }
}

fn number(expr: &Expr) -> Option<f64> {
    match expr {
        Expr::Number(number) => Some(*number),
        Expr::Integer(number) => Some(*number as f64),
        _ => None,
    }
}

/// The moment that a text is; nothing if it does not look like one.
pub(crate) fn as_moment(text: &str, zone: Option<&dyn Zone>) -> Result<Option<Expr>, QueryError> {
    if !moment::looks_like_time(text) {
        return Ok(None);
    }
    // As RFC 3339 has it.
    let shown = match text.split_once(' ') {
        Some((date, time)) => format!("{date}T{time}Z"),
        None if text.len() == 10 => format!("{text}T00:00:00Z"),
        None => text.to_owned(),
    };
    match moment::read(text, zone) {
        moment::Read::Moment(at) => Ok(Some(Expr::Moment(at))),
        moment::Read::TooLate => QueryError::wrong(format!("time {shown} overflows time literal")),
        moment::Read::TooEarly => {
            QueryError::wrong(format!("time {shown} underflows time literal"))
        }
        moment::Read::Invalid => QueryError::wrong("invalid timestamp string"),
    }
}

/// A stretch of time, both ends belonging to it; nothing where an end is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) from: Option<i64>,
    pub(crate) to: Option<i64>,
}

impl Stretch {
    /// What is in both.
    pub(crate) fn and(self, other: Stretch) -> Stretch {
        let later = |a: i64, b: i64| a.max(b);
        let sooner = |a: i64, b: i64| a.min(b);
        Stretch {
            from: self.from.zip(other.from).map(|(a, b)| later(a, b)).or(self.from).or(other.from),
            to: self.to.zip(other.to).map(|(a, b)| sooner(a, b)).or(self.to).or(other.to),
        }
    }
}

/// A condition without its time, and the time. Whatever joins comparisons with the time, all of them must hold: that
/// is how InfluxDB reads them.
pub(crate) fn split(
    condition: Option<&Expr>,
    known: Known<'_>,
) -> Result<(Option<Expr>, Stretch), QueryError> {
    let Some(condition) = condition else {
        return Ok((None, Stretch::default()));
    };
    let (rest, stretch) = split_one(condition, known)?;
    let rest = match rest {
        Some(Expr::Paren(inner)) => Some(*inner),
        Some(Expr::Boolean(true)) => None,
        other => other,
    };
    Ok((rest, stretch))
}

fn split_one(condition: &Expr, known: Known<'_>) -> Result<(Option<Expr>, Stretch), QueryError> {
    match condition {
        Expr::Binary { op: op @ (Op::And | Op::Or), left, right } => {
            let (left, left_time) = split_one(left, known)?;
            let (right, right_time) = split_one(right, known)?;
            let time = left_time.and(right_time);
            let rest = match (left, right) {
                (Some(left), Some(right)) => {
                    Some(reduce(&Expr::binary(*op, left, right), Known::default()))
                }
                (left, right) => left.or(right),
            };
            Ok((rest, time))
        }
        Expr::Binary { op, left, right } => match (&**left, &**right) {
            (Expr::Ref(reference), value) if reference.is_time() => {
                Ok((None, stretch(*op, value, known)?))
            }
            (value, Expr::Ref(reference)) if reference.is_time() => {
                Ok((None, stretch(op.mirrored(), value, known)?))
            }
            _ => Ok((Some(reduce(condition, known)), Stretch::default())),
        },
        Expr::Paren(inner) => {
            let (rest, time) = split_one(inner, known)?;
            let rest = rest.map(|rest| reduce(&Expr::Paren(Box::new(rest)), Known::default()));
            Ok((rest, time))
        }
        Expr::Boolean(_) => Ok((Some(condition.clone()), Stretch::default())),
        other => QueryError::wrong(format!("invalid condition expression: {other}")),
    }
}

/// The stretch that a comparison of the time leaves.
fn stretch(op: Op, value: &Expr, known: Known<'_>) -> Result<Stretch, QueryError> {
    let read = match value {
        Expr::Text(text) => as_moment(text, known.zone)?,
        _ => None,
    };
    let at = match read.unwrap_or_else(|| reduced(value, known)) {
        Expr::Moment(at) => {
            if at > TIME_MAX {
                return QueryError::wrong(format!(
                    "time {} overflows time literal",
                    moment::text(at)
                ));
            } else if at < TIME_MIN + 1 {
                return QueryError::wrong(format!(
                    "time {} underflows time literal",
                    moment::text(at)
                ));
            }
            at
        }
        Expr::Duration(at) | Expr::Integer(at) => at,
        Expr::Number(at) => at as i64,
        other => {
            return QueryError::wrong(format!(
                "invalid operation: time and {} are not compatible",
                type_name(&other)
            ));
        }
    };
    let (from, to) = match op {
        Op::Greater => (Some(at.saturating_add(1)), None),
        Op::GreaterEqual => (Some(at), None),
        Op::Less => (None, Some(at.saturating_sub(1))),
        Op::LessEqual => (None, Some(at)),
        Op::Equal => (Some(at), Some(at)),
        other => {
            return QueryError::wrong(format!(
                "invalid time comparison operator: {}",
                other.text()
            ));
        }
    };
    Ok(Stretch { from, to })
}

/// What InfluxDB calls the type of an expression in its errors.
pub(crate) fn type_name(expr: &Expr) -> &'static str {
    match expr {
        Expr::Binary { .. } => "*influxql.BinaryExpr",
        Expr::Paren(_) => "*influxql.ParenExpr",
        Expr::Ref(_) | Expr::Word(_) => "*influxql.VarRef",
        Expr::Call { .. } => "*influxql.Call",
        Expr::Distinct(_) => "*influxql.Distinct",
        Expr::Wildcard(_) => "*influxql.Wildcard",
        Expr::Pattern(_) => "*influxql.RegexLiteral",
        Expr::Text(_) => "*influxql.StringLiteral",
        Expr::Number(_) => "*influxql.NumberLiteral",
        Expr::Integer(_) => "*influxql.IntegerLiteral",
        Expr::Unsigned(_) => "*influxql.UnsignedLiteral",
        Expr::Boolean(_) => "*influxql.BooleanLiteral",
        Expr::Duration(_) => "*influxql.DurationLiteral",
        Expr::Moment(_) => "*influxql.TimeLiteral",
    }
}
