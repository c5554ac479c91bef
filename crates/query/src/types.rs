//! Of which type a column is, and what expressions over columns come to.
//!
//! 1. Where measurements differ, the type that all numbers fit in wins: float, integer, unsigned, text, boolean.

use crate::{
    ast::{Expr, FieldType, Ref, Sort},
    math,
    settings::QueryError,
    token::Op,
};
use olivine_command::Cell;

/// What a column is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    /// There is no such column.
    Unknown,
    /// A tag.
    Tag,
    /// A field.
    Field(FieldType),
}

impl Type {
    /// The one of two that stands for both.
    pub(crate) fn or(self, other: Type) -> Type {
        if other.rank() < self.rank() { other } else { self }
    }

    fn rank(self) -> u8 {
        match self {
            Type::Field(FieldType::Float) => 0,
            Type::Field(FieldType::Integer) => 1,
            Type::Field(FieldType::Unsigned) => 2,
            Type::Field(FieldType::Text) => 3,
            Type::Field(FieldType::Boolean) => 4,
            Type::Tag => 5,
            Type::Unknown => 6,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Type::Unknown => "unknown",
            Type::Tag => "tag",
            Type::Field(kind) => kind.name(),
        }
    }

    /// A value of it, to see what operators make of two.
    fn example(self) -> Cell {
        match self {
            Type::Unknown => Cell::Null,
            Type::Tag | Type::Field(FieldType::Text) => Cell::Text(String::new()),
            Type::Field(FieldType::Float) => Cell::Float(0.0),
            Type::Field(FieldType::Integer) => Cell::Integer(0),
            Type::Field(FieldType::Unsigned) => Cell::Unsigned(0),
            Type::Field(FieldType::Boolean) => Cell::Boolean(false),
        }
    }

    fn of(cell: &Cell) -> Type {
        match cell {
            Cell::Null | Cell::Time(_) => Type::Unknown,
            Cell::Float(_) => Type::Field(FieldType::Float),
            Cell::Integer(_) => Type::Field(FieldType::Integer),
            Cell::Unsigned(_) => Type::Field(FieldType::Unsigned),
            Cell::Text(_) => Type::Field(FieldType::Text),
            Cell::Boolean(_) => Type::Field(FieldType::Boolean),
        }
    }
}

/// Knows the types of columns by their names.
pub(crate) type Columns<'a> = &'a dyn Fn(&str) -> Type;

/// What a name stands for.
pub(crate) fn of_ref(reference: &Ref, columns: Columns<'_>) -> Type {
    match reference.sort {
        Sort::Typed(kind) => Type::Field(kind),
        Sort::Tag => Type::Tag,
        Sort::Any => columns(&reference.name),
        Sort::Field => match columns(&reference.name) {
            Type::Tag => Type::Unknown,
            other => other,
        },
    }
}

/// What an expression comes to, or why it cannot.
pub(crate) fn of(expr: &Expr, columns: Columns<'_>) -> Result<Type, QueryError> {
    Ok(match expr {
        Expr::Ref(reference) => of_ref(reference, columns),
        Expr::Paren(inner) => of(inner, columns)?,
        Expr::Call { name, args } => of_call(name, args, columns)?,
        Expr::Binary { op, left, right } => of_binary(expr, *op, left, right, columns)?,
        Expr::Duration(_) => Type::Unknown,
        other => math::literal(other).map_or(Type::Unknown, |cell| Type::of(&cell)),
    })
}

fn of_call(name: &str, args: &[Expr], columns: Columns<'_>) -> Result<Type, QueryError> {
    let types: Vec<Type> =
        args.iter().map(|arg| of(arg, columns)).collect::<Result<_, QueryError>>()?;
    let first = types.first().copied().unwrap_or(Type::Unknown);
    Ok(match name {
        "mean"
        | "median"
        | "integral"
        | "stddev"
        | "derivative"
        | "non_negative_derivative"
        | "moving_average"
        | "holt_winters"
        | "holt_winters_with_fit" => Type::Field(FieldType::Float),
        "count" | "elapsed" => Type::Field(FieldType::Integer),
        _ => first,
    })
}

fn of_binary(
    whole: &Expr,
    op: Op,
    left: &Expr,
    right: &Expr,
    columns: Columns<'_>,
) -> Result<Type, QueryError> {
    let (a, b) = (of(left, columns)?, of(right, columns)?);
    let wrong = |what: String| {
        let mut typed = whole.clone();
        typed.change(&mut |part| {
            if let Expr::Ref(reference) = part {
                reference.sort = match of_ref(reference, columns) {
                    Type::Unknown => Sort::Any,
                    Type::Tag => Sort::Tag,
                    Type::Field(kind) => Sort::Typed(kind),
                };
            }
        });
        QueryError::wrong(format!("type error: {typed}: {what}"))
    };
    let unsigned = Type::Field(FieldType::Unsigned);
    let integer = Type::Field(FieldType::Integer);
    if (a, b) == (unsigned, integer) || (a, b) == (integer, unsigned) {
        let (unsigned, integer) = if a == unsigned { (left, right) } else { (right, left) };
        if unsigned.is_literal() {
            let what = format!("cannot use {} with an integer and unsigned literal", op.text());
            return wrong(what);
        } else if !integer.is_literal() {
            return wrong(format!(
                "cannot use {} between an integer and unsigned, an explicit cast is required",
                op.text()
            ));
        }
    }
    if a == Type::Unknown || b == Type::Unknown {
        return Ok(if a == Type::Unknown { b } else { a });
    }
    match Type::of(&math::binary(op, &a.example(), &b.example(), true)) {
        Type::Unknown => wrong(format!("incompatible types: {} and {}", a.name(), b.name())),
        found => Ok(found),
    }
}
