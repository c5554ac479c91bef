//! Writes statements as text that is read again as the same.
//!
//! 1. A name is quoted unless it can stand bare; keywords are in capitals.

use crate::{
    ast::{
        Asked, Deletion, Expr, Fill, From, KeyTest, Listed, Measurement, Narrowed, Order,
        PolicyClauses, Ref, Select, Selected, Sort, Statement,
    },
    moment,
    scan::is_word,
    token::{Kind, word},
};
use std::fmt::{self, Display, Formatter};

/// A name, quoted where it must be.
pub(crate) struct Name<'a>(pub(crate) &'a str);

impl Display for Name<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let bare = word(self.0) == Kind::Ident
            && self.0.chars().all(is_word)
            && !self.0.starts_with(|first: char| first.is_ascii_digit())
            && !self.0.is_empty();
        if bare {
            return f.write_str(self.0);
        }
        quoted(f, '"', self.0)
    }
}

fn quoted(f: &mut Formatter<'_>, quote: char, text: &str) -> fmt::Result {
    write!(f, "{quote}")?;
    for char in text.chars() {
        match char {
            '\n' => f.write_str("\\n")?,
            '\\' => f.write_str("\\\\")?,
            char if char == quote => write!(f, "\\{char}")?,
            char => write!(f, "{char}")?,
        }
    }
    write!(f, "{quote}")
}

fn list<T>(
    f: &mut Formatter<'_>,
    items: &[T],
    mut one: impl FnMut(&mut Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for (place, item) in items.iter().enumerate() {
        if place != 0 {
            f.write_str(", ")?;
        }
        one(f, item)?;
    }
    Ok(())
}

impl Sort {
    /// As it is written behind a name.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Sort::Any => "",
            Sort::Field => "::field",
            Sort::Tag => "::tag",
            Sort::Typed(kind) => match kind {
                crate::ast::FieldType::Float => "::float",
                crate::ast::FieldType::Integer => "::integer",
                crate::ast::FieldType::Unsigned => "::unsigned",
                crate::ast::FieldType::Text => "::string",
                crate::ast::FieldType::Boolean => "::boolean",
            },
        }
    }
}

impl Display for Ref {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", Name(&self.name), self.sort.suffix())
    }
}

/// The right of a comparison. A name that it begins with is quoted: bare it would be a word of the relaxed dialect.
fn compared_with(f: &mut Formatter<'_>, right: &Expr) -> fmt::Result {
    match right {
        Expr::Ref(reference) => {
            quoted(f, '"', &reference.name)?;
            f.write_str(reference.sort.suffix())
        }
        Expr::Binary { op, left, right } => {
            compared_with(f, left)?;
            write!(f, " {} {right}", op.text())
        }
        other => other.fmt(f),
    }
}

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Expr::Binary { op, left, right } => {
                write!(f, "{left} {} ", op.text())?;
                if op.precedence() == 3 { compared_with(f, right) } else { right.fmt(f) }
            }
            Expr::Paren(inner) => write!(f, "({inner})"),
            Expr::Ref(reference) => reference.fmt(f),
            Expr::Call { name, args } => {
                if word(name) == Kind::Word("DISTINCT") {
                    f.write_str("distinct(")?;
                } else {
                    write!(f, "{}(", Name(name))?;
                }
                list(f, args, |f, arg| arg.fmt(f))?;
                f.write_str(")")
            }
            Expr::Distinct(name) => write!(f, "DISTINCT {}", Name(name)),
            Expr::Wildcard(sort) => write!(f, "*{}", sort.suffix()),
            Expr::Pattern(pattern) => pattern.fmt(f),
            Expr::Text(text) => quoted(f, '\'', text),
            // Bare even where it is a keyword: in quotes it would be a name.
            Expr::Word(text) => f.write_str(text),
            Expr::Number(number) => {
                // Never with an exponent, and always with a point, as it is read.
                let text = format!("{number}");
                f.write_str(&text)?;
                if text.contains('.') { Ok(()) } else { f.write_str(".0") }
            }
            Expr::Integer(number) => number.fmt(f),
            Expr::Unsigned(number) => number.fmt(f),
            Expr::Boolean(yes) => yes.fmt(f),
            Expr::Duration(length) => f.write_str(&moment::duration_text(*length)),
            Expr::Moment(at) => write!(f, "'{}'", moment::text(*at)),
        }
    }
}

impl Display for Selected {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.expr.fmt(f)?;
        if self.alias.is_empty() {
            return Ok(());
        }
        write!(f, " AS {}", Name(&self.alias))
    }
}

impl Display for Measurement {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if !self.database.is_empty() {
            quoted(f, '"', &self.database)?;
            f.write_str(".")?;
        }
        if !self.policy.is_empty() {
            quoted(f, '"', &self.policy)?;
        }
        if !self.database.is_empty() || !self.policy.is_empty() {
            f.write_str(".")?;
        }
        match &self.pattern {
            Some(pattern) => pattern.fmt(f),
            None => Name(&self.name).fmt(f),
        }
    }
}

impl Display for Select {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("SELECT ")?;
        list(f, &self.fields, |f, field| field.fmt(f))?;
        if let Some(into) = &self.into {
            if into.name.is_empty() {
                let place = Measurement { name: String::new(), ..into.clone() }.to_string();
                let place = place.trim_end_matches("\"\"");
                write!(f, " INTO {place}:MEASUREMENT")?;
            } else {
                write!(f, " INTO {into}")?;
            }
        }
        f.write_str(" FROM ")?;
        list(f, &self.from, |f, from| match from {
            From::Measurement(measurement) => measurement.fmt(f),
            From::Select(select) => write!(f, "({select})"),
        })?;
        condition(f, self.condition.as_ref())?;
        group(f, &self.group)?;
        match self.fill {
            Fill::Null => {}
            Fill::None => f.write_str(" fill(none)")?,
            Fill::Previous => f.write_str(" fill(previous)")?,
            Fill::Linear => f.write_str(" fill(linear)")?,
            Fill::Integer(number) => write!(f, " fill({number})")?,
            Fill::Number(number) => write!(f, " fill({})", Expr::Number(number))?,
        }
        order(f, self.order)?;
        bound(f, "LIMIT", self.limit)?;
        bound(f, "OFFSET", self.offset)?;
        bound(f, "SLIMIT", self.series_limit)?;
        bound(f, "SOFFSET", self.series_offset)?;
        if let Some(zone) = &self.zone {
            f.write_str(" tz(")?;
            quoted(f, '\'', zone)?;
            f.write_str(")")?;
        }
        Ok(())
    }
}

fn condition(f: &mut Formatter<'_>, condition: Option<&Expr>) -> fmt::Result {
    match condition {
        Some(condition) => write!(f, " WHERE {condition}"),
        None => Ok(()),
    }
}

fn group(f: &mut Formatter<'_>, group: &[Expr]) -> fmt::Result {
    if group.is_empty() {
        return Ok(());
    }
    f.write_str(" GROUP BY ")?;
    list(f, group, |f, dimension| dimension.fmt(f))
}

fn order(f: &mut Formatter<'_>, order: Order) -> fmt::Result {
    f.write_str(match order {
        Order::None => "",
        Order::Ascending => " ORDER BY time",
        Order::Descending => " ORDER BY time DESC",
    })
}

fn bound(f: &mut Formatter<'_>, what: &str, bound: u64) -> fmt::Result {
    if bound == 0 { Ok(()) } else { write!(f, " {what} {bound}") }
}

fn on(f: &mut Formatter<'_>, database: &str) -> fmt::Result {
    if database.is_empty() { Ok(()) } else { write!(f, " ON {}", Name(database)) }
}

fn from(f: &mut Formatter<'_>, from: &[Measurement]) -> fmt::Result {
    if from.is_empty() {
        return Ok(());
    }
    f.write_str(" FROM ")?;
    list(f, from, |f, measurement| measurement.fmt(f))
}

fn narrowed(
    f: &mut Formatter<'_>,
    listed: Listed,
    narrowed: &Narrowed,
    by: Option<&[Expr]>,
) -> fmt::Result {
    on(f, &narrowed.database)?;
    if listed == Listed::Measurements && by.is_none() {
        match narrowed.from.first() {
            Some(Measurement { pattern: Some(pattern), .. }) => {
                write!(f, " WITH MEASUREMENT =~ {pattern}")?;
            }
            Some(measurement) => write!(f, " WITH MEASUREMENT = {measurement}")?,
            None => {}
        }
    } else {
        from(f, &narrowed.from)?;
    }
    if let Some(key) = &narrowed.key {
        f.write_str(" WITH KEY ")?;
        match key {
            KeyTest::Is(key) => write!(f, "= {}", Name(key))?,
            KeyTest::IsNot(key) => write!(f, "!= {}", Name(key))?,
            KeyTest::Matches(pattern) => write!(f, "=~ {pattern}")?,
            KeyTest::MatchesNot(pattern) => write!(f, "!~ {pattern}")?,
            KeyTest::In(keys) => {
                f.write_str("IN (")?;
                list(f, keys, |f, key| Name(key).fmt(f))?;
                f.write_str(")")?;
            }
        }
    }
    condition(f, narrowed.condition.as_ref())?;
    group(f, by.unwrap_or_default())?;
    order(f, narrowed.order)?;
    bound(f, "LIMIT", narrowed.limit)?;
    bound(f, "OFFSET", narrowed.offset)?;
    bound(f, "SLIMIT", narrowed.series_limit)?;
    bound(f, "SOFFSET", narrowed.series_offset)
}

fn length(f: &mut Formatter<'_>, length: i64) -> fmt::Result {
    if length == 0 { f.write_str("INF") } else { f.write_str(&moment::duration_text(length)) }
}

fn clauses(f: &mut Formatter<'_>, clauses: &PolicyClauses) -> fmt::Result {
    if let Some(duration) = clauses.duration {
        f.write_str(" DURATION ")?;
        length(f, duration)?;
    }
    if let Some(replication) = clauses.replication {
        write!(f, " REPLICATION {replication}")?;
    }
    if let Some(partition) = clauses.partition {
        write!(f, " SHARD DURATION {}", moment::duration_text(partition))?;
    }
    if clauses.is_default { f.write_str(" DEFAULT") } else { Ok(()) }
}

fn deletion(f: &mut Formatter<'_>, deletion: &Deletion) -> fmt::Result {
    from(f, &deletion.from)?;
    condition(f, deletion.condition.as_ref())
}

impl Display for Asked {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let module = match self {
            Asked::Stats(module) | Asked::Diagnostics(module) => module.as_ref(),
            _ => None,
        };
        f.write_str(match self {
            Asked::Queries => "SHOW QUERIES",
            Asked::Users => "SHOW USERS",
            Asked::Stats(_) => "SHOW STATS",
            Asked::Diagnostics(_) => "SHOW DIAGNOSTICS",
            Asked::ContinuousQueries => "SHOW CONTINUOUS QUERIES",
            Asked::Subscriptions => "SHOW SUBSCRIPTIONS",
            Asked::Shards => "SHOW SHARDS",
            Asked::ShardGroups => "SHOW SHARD GROUPS",
        })?;
        let Some(module) = module else {
            return Ok(());
        };
        f.write_str(" FOR ")?;
        quoted(f, '\'', module)
    }
}

impl Display for Statement {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Statement::Select(select) => select.fmt(f),
            Statement::Explain { analyze: true, select } => write!(f, "EXPLAIN ANALYZE {select}"),
            Statement::Explain { analyze: false, select } => write!(f, "EXPLAIN {select}"),
            Statement::ShowDatabases => f.write_str("SHOW DATABASES"),
            Statement::ShowPolicies(database) => {
                f.write_str("SHOW RETENTION POLICIES")?;
                on(f, database)
            }
            Statement::Show(listed, what) => {
                f.write_str(match listed {
                    Listed::Measurements => "SHOW MEASUREMENTS",
                    Listed::Series => "SHOW SERIES",
                    Listed::TagKeys => "SHOW TAG KEYS",
                    Listed::TagValues => "SHOW TAG VALUES",
                    Listed::FieldKeys => "SHOW FIELD KEYS",
                })?;
                narrowed(f, *listed, what, None)
            }
            Statement::ShowCardinality { listed, exact, narrowed: what, group } => {
                f.write_str(match listed {
                    Listed::Measurements => "SHOW MEASUREMENT",
                    Listed::Series => "SHOW SERIES",
                    Listed::TagKeys => "SHOW TAG KEY",
                    Listed::TagValues => "SHOW TAG VALUES",
                    Listed::FieldKeys => "SHOW FIELD KEY",
                })?;
                f.write_str(if *exact { " EXACT CARDINALITY" } else { " CARDINALITY" })?;
                narrowed(f, *listed, what, Some(group))
            }
            Statement::Ask(asked) => asked.fmt(f),
            Statement::CreateDatabase { name, policy } => {
                write!(f, "CREATE DATABASE {}", Name(name))?;
                if let Some((name, policy)) = policy {
                    f.write_str(" WITH")?;
                    clauses(f, policy)?;
                    if !name.is_empty() {
                        write!(f, " NAME {}", Name(name))?;
                    }
                }
                Ok(())
            }
            Statement::DropDatabase(name) => write!(f, "DROP DATABASE {}", Name(name)),
            Statement::CreatePolicy { name, database, clauses: policy } => {
                write!(f, "CREATE RETENTION POLICY {} ON {}", Name(name), Name(database))?;
                clauses(f, policy)
            }
            Statement::AlterPolicy { name, database, clauses: policy } => {
                write!(f, "ALTER RETENTION POLICY {} ON {}", Name(name), Name(database))?;
                clauses(f, policy)
            }
            Statement::DropPolicy { name, database } => {
                write!(f, "DROP RETENTION POLICY {} ON {}", Name(name), Name(database))
            }
            Statement::DropMeasurement(name) => write!(f, "DROP MEASUREMENT {}", Name(name)),
            Statement::DropSeries(what) => {
                f.write_str("DROP SERIES")?;
                deletion(f, what)
            }
            Statement::Delete(what) => {
                f.write_str("DELETE")?;
                deletion(f, what)
            }
        }
    }
}
