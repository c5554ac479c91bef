//! Reckoning with single values: operators and mathematical functions.
//!
//! 1. Nothing with anything is nothing, but for yes and no, where nothing counts as no.
//! 2. Whole numbers wrap around; dividing by zero gives zero.

use crate::{ast::Expr, pattern::Pattern, token::Op};
use olivine_command::Cell;

/// A function of one value, or of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Math {
    Abs,
    Sin,
    Cos,
    Tan,
    Asin,
    Acos,
    Atan,
    Exp,
    Ln,
    Log2,
    Log10,
    Sqrt,
    Floor,
    Ceil,
    Round,
    Atan2,
    Log,
    Pow,
}

impl Math {
    /// The function of this name.
    pub(crate) fn named(name: &str) -> Option<Math> {
        Some(match name {
            "abs" => Math::Abs,
            "sin" => Math::Sin,
            "cos" => Math::Cos,
            "tan" => Math::Tan,
            "asin" => Math::Asin,
            "acos" => Math::Acos,
            "atan" => Math::Atan,
            "exp" => Math::Exp,
            "ln" => Math::Ln,
            "log2" => Math::Log2,
            "log10" => Math::Log10,
            "sqrt" => Math::Sqrt,
            "floor" => Math::Floor,
            "ceil" => Math::Ceil,
            "round" => Math::Round,
            "atan2" => Math::Atan2,
            "log" => Math::Log,
            "pow" => Math::Pow,
            _ => return None,
        })
    }

    /// How many arguments it takes.
    pub(crate) fn arity(self) -> usize {
        if matches!(self, Math::Atan2 | Math::Log | Math::Pow) { 2 } else { 1 }
    }

    /// Whether what it gives is of the type of its argument.
    pub(crate) fn keeps_type(self) -> bool {
        matches!(self, Math::Abs | Math::Floor | Math::Ceil | Math::Round)
    }

    /// What it gives.
    pub(crate) fn of(self, args: &[Cell]) -> Cell {
        if self.keeps_type() && matches!(args, [Cell::Integer(_) | Cell::Unsigned(_)]) {
            return args[0].clone();
        }
        let value = match args {
            [one] => float(one).map(|x| self.of_one(x)),
            [one, two] => float(one).zip(float(two)).map(|(x, y)| match self {
                Math::Atan2 => x.atan2(y),
                Math::Log => x.ln() / y.ln(),
                _ => x.powf(y),
            }),
            _ => None,
        };
        value.map_or(Cell::Null, Cell::Float)
    }

    fn of_one(self, x: f64) -> f64 {
        match self {
            Math::Abs => x.abs(),
            Math::Sin => x.sin(),
            Math::Cos => x.cos(),
            Math::Tan => x.tan(),
            Math::Asin => x.asin(),
            Math::Acos => x.acos(),
            Math::Atan => x.atan(),
            Math::Exp => x.exp(),
            Math::Log2 => x.log2(),
            Math::Log10 => x.log10(),
            Math::Sqrt => x.sqrt(),
            Math::Floor => x.floor(),
            Math::Ceil => x.ceil(),
            Math::Round => x.round(),
            Math::Ln | Math::Log | Math::Atan2 | Math::Pow => x.ln(),
        }
    }
}

/// A call with values as arguments, reckoned.
pub(crate) fn folded(name: &str, args: &[Expr]) -> Option<Expr> {
    let math = Math::named(name).filter(|math| math.arity() == args.len())?;
    let cells: Option<Vec<Cell>> = args.iter().map(literal).collect();
    match math.of(&cells?) {
        Cell::Float(value) => Some(Expr::Number(value)),
        Cell::Integer(value) => Some(Expr::Integer(value)),
        Cell::Unsigned(value) => Some(Expr::Unsigned(value)),
        _ => None,
    }
}

/// The value that an expression is.
pub(crate) fn literal(expr: &Expr) -> Option<Cell> {
    Some(match expr {
        Expr::Number(value) => Cell::Float(*value),
        Expr::Integer(value) | Expr::Duration(value) => Cell::Integer(*value),
        Expr::Unsigned(value) => Cell::Unsigned(*value),
        Expr::Boolean(value) => Cell::Boolean(*value),
        Expr::Text(value) => Cell::Text(value.clone()),
        Expr::Moment(value) => Cell::Time(*value),
        _ => return None,
    })
}

/// A number as one with a fraction.
pub(crate) fn float(cell: &Cell) -> Option<f64> {
    match cell {
        Cell::Float(value) => Some(*value),
        Cell::Integer(value) => Some(*value as f64),
        Cell::Unsigned(value) => Some(*value as f64),
        _ => None,
    }
}

/// Whether a text matches; nothing matches nothing.
pub(crate) fn matched(cell: &Cell, pattern: &Pattern, wanted: bool) -> Cell {
    match cell {
        Cell::Text(text) => Cell::Boolean(pattern.matches(text) == wanted),
        _ => Cell::Null,
    }
}

/// What two values come to. `fractions` tells whether whole numbers divide into fractions.
pub(crate) fn binary(op: Op, left: &Cell, right: &Cell, fractions: bool) -> Cell {
    // A condition that nothing is known of is none that holds; a field that is not there is not compared.
    let as_no = fractions || matches!(op, Op::And | Op::Or);
    match (left, right) {
        (Cell::Boolean(a), Cell::Null) if as_no => booleans(op, *a, false),
        (Cell::Null, Cell::Boolean(b)) if as_no => booleans(op, false, *b),
        (Cell::Boolean(a), Cell::Boolean(b)) => booleans(op, *a, *b),
        (Cell::Integer(a), Cell::Integer(b)) => integers(op, *a, *b, fractions),
        (Cell::Unsigned(a), Cell::Unsigned(b)) => unsigned(op, *a, *b, fractions),
        (Cell::Integer(a), Cell::Unsigned(b)) => {
            mixed(op, i128::from(*a), i128::from(*b), fractions)
        }
        (Cell::Unsigned(a), Cell::Integer(b)) => {
            mixed(op, i128::from(*a), i128::from(*b), fractions)
        }
        (Cell::Text(a), Cell::Text(b)) => match op {
            Op::Equal => Cell::Boolean(a == b),
            Op::NotEqual => Cell::Boolean(a != b),
            _ => Cell::Null,
        },
        _ => match (float(left), float(right)) {
            (Some(a), Some(b)) => floats(op, a, b),
            // Two of kinds that do not fit: not equal, but neither anything else.
            _ if *left != Cell::Null && op.precedence() == 3 => Cell::Boolean(false),
            _ => Cell::Null,
        },
    }
}

fn booleans(op: Op, a: bool, b: bool) -> Cell {
    Cell::Boolean(match op {
        Op::And | Op::BitAnd => a && b,
        Op::Or | Op::BitOr => a || b,
        Op::BitXor | Op::NotEqual => a != b,
        Op::Equal => a == b,
        _ => return Cell::Null,
    })
}

fn compared<T: PartialOrd>(op: Op, a: &T, b: &T) -> Cell {
    Cell::Boolean(match op {
        Op::Equal => a == b,
        Op::NotEqual => a != b,
        Op::Less => a < b,
        Op::LessEqual => a <= b,
        Op::Greater => a > b,
        Op::GreaterEqual => a >= b,
        _ => return Cell::Null,
    })
}

fn floats(op: Op, a: f64, b: f64) -> Cell {
    Cell::Float(match op {
        Op::Add => a + b,
        Op::Subtract => a - b,
        Op::Multiply => a * b,
        Op::Divide if b == 0.0 => 0.0,
        Op::Divide => a / b,
        Op::Modulo => a % b,
        _ => return compared(op, &a, &b),
    })
}

fn integers(op: Op, a: i64, b: i64, fractions: bool) -> Cell {
    Cell::Integer(match op {
        Op::Add => a.wrapping_add(b),
        Op::Subtract => a.wrapping_sub(b),
        Op::Multiply => a.wrapping_mul(b),
        Op::Divide if fractions => return floats(op, a as f64, b as f64),
        Op::Divide | Op::Modulo if b == 0 => 0,
        Op::Divide => a.wrapping_div(b),
        Op::Modulo => a.wrapping_rem(b),
        Op::BitAnd => a & b,
        Op::BitOr => a | b,
        Op::BitXor => a ^ b,
        _ => return compared(op, &a, &b),
    })
}

fn unsigned(op: Op, a: u64, b: u64, fractions: bool) -> Cell {
    Cell::Unsigned(match op {
        Op::Add => a.wrapping_add(b),
        Op::Subtract => a.wrapping_sub(b),
        Op::Multiply => a.wrapping_mul(b),
        Op::Divide if fractions => return floats(op, a as f64, b as f64),
        Op::Divide | Op::Modulo if b == 0 => 0,
        Op::Divide => a / b,
        Op::Modulo => a % b,
        Op::BitAnd => a & b,
        Op::BitOr => a | b,
        Op::BitXor => a ^ b,
        _ => return compared(op, &a, &b),
    })
}

/// A whole number and one that is not negative: compared as they are, reckoned as the latter.
fn mixed(op: Op, a: i128, b: i128, fractions: bool) -> Cell {
    if op.precedence() == 3 {
        return compared(op, &a, &b);
    }
    unsigned(op, a as u64, b as u64, fractions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_to_what_influxdb_makes_of_them() {
        let int = Cell::Integer;
        assert_eq!(binary(Op::Divide, &int(7), &int(2), true), Cell::Float(3.5));
        assert_eq!(binary(Op::Divide, &int(7), &int(2), false), int(3));
        assert_eq!(binary(Op::Divide, &int(7), &int(0), true), Cell::Float(0.0));
        assert_eq!(binary(Op::Add, &int(i64::MAX), &int(1), true), int(i64::MIN));
        assert_eq!(binary(Op::Modulo, &int(i64::MIN), &int(-1), true), int(0));
        assert_eq!(binary(Op::Add, &int(1), &Cell::Float(0.5), true), Cell::Float(1.5));
        assert_eq!(binary(Op::Add, &int(1), &Cell::Null, true), Cell::Null);
        assert_eq!(binary(Op::Or, &Cell::Null, &Cell::Boolean(true), true), Cell::Boolean(true));
        let less = binary(Op::Less, &int(-1), &Cell::Unsigned(u64::MAX), true);
        assert_eq!(less, Cell::Boolean(true));
        assert_eq!(Math::Round.of(&[Cell::Float(-2.5)]), Cell::Float(-3.0));
        assert_eq!(Math::Floor.of(&[int(3)]), int(3));
        assert_eq!(Math::Pow.of(&[int(2), Cell::Float(0.5)]), Cell::Float(2f64.sqrt()));
    }
}
