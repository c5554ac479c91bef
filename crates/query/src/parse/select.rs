//! Reads `SELECT`.
//!
//! 1. Clauses come in one order, each at most once.

use super::{Dialect, Parsed, Parser};
use crate::{
    ast::{Expr, Fill, From, Measurement, Order, Select, Selected},
    token::{Kind, Op},
};

impl Parser<'_> {
    /// What stands behind `SELECT`; `INTO` only where it may.
    pub(super) fn select(&mut self, into_may: bool) -> Parsed<Select> {
        self.down()?;
        let fields = self.selected()?;
        let into = self.target(into_may)?;
        let token = self.next();
        if token.kind != Kind::Word("FROM") {
            return Err(self.expected(&token, &["FROM"]));
        }
        let from = self.sources()?;
        let condition = self.condition()?;
        let group = self.group()?;
        let fill = self.fill()?;
        let order = self.order()?;
        let select = Select {
            fields,
            into,
            from,
            condition,
            group,
            fill,
            order,
            limit: self.bound("LIMIT")?,
            offset: self.bound("OFFSET")?,
            series_limit: self.bound("SLIMIT")?,
            series_offset: self.bound("SOFFSET")?,
            zone: self.zone()?,
            relaxed: self.dialect == Dialect::Relaxed,
        };
        self.up();
        Ok(select)
    }

    fn selected(&mut self) -> Parsed<Vec<Selected>> {
        let mut fields = Vec::new();
        loop {
            let expr = if let Some(pattern) = self.pattern()? {
                Expr::Pattern(pattern)
            } else {
                let first = self.next();
                self.unscan(&first);
                let expr = self.expr()?;
                let mut wrong = None;
                expr.walk(&mut |part| match part {
                    Expr::Binary { op, .. } if op.is_logical() => {
                        wrong.get_or_insert(*op);
                    }
                    _ => {}
                });
                if let Some(op) = wrong {
                    let (line, char) = self.scanner.place(first.start);
                    return Err(self.plain(format!(
                        "invalid operator {} in SELECT clause at line {line}, char {char}; operator is intended for WHERE clause",
                        op.text()
                    )));
                }
                expr
            };
            let alias = if self.took_word("AS") { self.ident()? } else { String::new() };
            fields.push(Selected { expr, alias });
            self.skip_blank();
            if !self.took_comma() {
                return Ok(fields);
            }
        }
    }

    fn skip_blank(&mut self) {
        let token = self.scan();
        if token.kind != Kind::Whitespace {
            self.unscan(&token);
        }
    }

    fn target(&mut self, may: bool) -> Parsed<Option<Measurement>> {
        let token = self.next();
        if token.kind != Kind::Word("INTO") {
            self.unscan(&token);
            return Ok(None);
        }
        let start = token.start;
        let mut names = self.segments()?;
        if names.len() < 3 && self.scanner.peek() == Some(':') {
            self.need(Kind::Colon)?;
            self.need(Kind::Word("MEASUREMENT"))?;
            names.push(String::new());
        }
        if !may {
            return Err(self.error("INTO within a subquery or EXPLAIN is not supported", start));
        }
        Ok(Some(measurement(names)))
    }

    fn sources(&mut self) -> Parsed<Vec<From>> {
        let mut sources = Vec::new();
        loop {
            sources.push(self.source()?);
            if !self.took(Kind::Comma) {
                return Ok(sources);
            }
        }
    }

    fn source(&mut self) -> Parsed<From> {
        if let Some(pattern) = self.pattern()? {
            return Ok(From::Measurement(Measurement {
                pattern: Some(pattern),
                ..Measurement::default()
            }));
        }
        if !self.took(Kind::LeftParen) {
            return Ok(From::Measurement(self.measurement()?));
        }
        self.need_words(&["SELECT"])?;
        let select = self.select(false)?;
        self.need(Kind::RightParen)?;
        Ok(From::Select(Box::new(select)))
    }

    /// A measurement, or the regular expression for some.
    pub(super) fn measurement(&mut self) -> Parsed<Measurement> {
        if let Some(pattern) = self.pattern()? {
            return Ok(Measurement { pattern: Some(pattern), ..Measurement::default() });
        }
        let mut names = self.segments()?;
        if names.len() < 3 && self.scanner.rest().starts_with('/') && self.behind_dot() {
            let pattern = self.pattern()?;
            names.push(String::new());
            return Ok(Measurement { pattern, ..measurement(names) });
        }
        Ok(measurement(names))
    }

    /// Whether what was taken last is a point.
    fn behind_dot(&self) -> bool {
        self.scanner.text()[..self.scanner.at()].ends_with('.')
    }

    /// `FROM` of lists and deletions.
    pub(super) fn measurements(&mut self) -> Parsed<Vec<Measurement>> {
        let mut all = Vec::new();
        loop {
            all.push(self.measurement()?);
            if !self.took(Kind::Comma) {
                return Ok(all);
            }
        }
    }

    pub(super) fn condition(&mut self) -> Parsed<Option<Expr>> {
        let mut condition = if self.took_word("WHERE") { Some(self.expr()?) } else { None };
        if self.dialect == Dialect::Relaxed {
            let token = self.next();
            let next = self.next();
            let is =
                |kind, text: &str, wanted| kind == Kind::Ident && text.eq_ignore_ascii_case(wanted);
            if is(token.kind, &token.text, "time") && is(next.kind, &next.text, "range") {
                let range = self.range()?;
                condition = Some(match condition {
                    Some(other) => {
                        let other = match &other {
                            Expr::Binary { op: Op::Or, .. } => Expr::Paren(Box::new(other)),
                            _ => other,
                        };
                        Expr::binary(Op::And, other, Expr::Paren(Box::new(range)))
                    }
                    None => range,
                });
            } else {
                self.unscan(&token);
            }
        }
        Ok(condition)
    }

    pub(super) fn group(&mut self) -> Parsed<Vec<Expr>> {
        let mut group = Vec::new();
        if !self.took_word("GROUP") {
            return Ok(group);
        }
        self.need_words(&["BY"])?;
        loop {
            if let Some(pattern) = self.pattern()? {
                group.push(Expr::Pattern(pattern));
            } else {
                group.push(self.expr()?);
                self.skip_blank();
            }
            if !self.took_comma() {
                return Ok(group);
            }
        }
    }

    /// Whether a function of this name is next.
    fn is_next(&mut self, name: &str) -> bool {
        let token = self.next();
        self.unscan(&token);
        token.kind == Kind::Ident && token.text.eq_ignore_ascii_case(name)
    }

    fn fill(&mut self) -> Parsed<Fill> {
        if !self.is_next("fill") {
            return Ok(Fill::Null);
        }
        let Expr::Call { args, .. } = self.expr()? else {
            return Err(self.plain("fill must be a function call"));
        };
        let [arg] = &args[..] else {
            let told = "fill requires an argument, e.g.: 0, null, none, previous, linear";
            return Err(self.plain(told));
        };
        match arg {
            Expr::Integer(number) => Ok(Fill::Integer(*number)),
            Expr::Number(number) => Ok(Fill::Number(*number)),
            other => match &*other.to_string() {
                "null" => Ok(Fill::Null),
                "none" => Ok(Fill::None),
                "previous" => Ok(Fill::Previous),
                "linear" => Ok(Fill::Linear),
                _ => Err(self.plain("expected number argument in fill()")),
            },
        }
    }

    pub(super) fn order(&mut self) -> Parsed<Order> {
        const ONLY_TIME: &str = "only ORDER BY time supported at this time";
        if !self.took_word("ORDER") {
            return Ok(Order::None);
        }
        self.need_words(&["BY"])?;
        let token = self.next();
        let order = match token.kind {
            Kind::Word("ASC") => Order::Ascending,
            Kind::Word("DESC") => Order::Descending,
            Kind::Ident => {
                let order = self.direction();
                if token.text != "time" {
                    return Err(self.plain(ONLY_TIME));
                }
                order
            }
            _ => return Err(self.expected(&token, &["identifier", "ASC", "DESC"])),
        };
        let mut more = false;
        while self.took(Kind::Comma) {
            self.ident()?;
            self.direction();
            more = true;
        }
        if more { Err(self.plain(ONLY_TIME)) } else { Ok(order) }
    }

    fn direction(&mut self) -> Order {
        if self.took_word("DESC") {
            return Order::Descending;
        }
        self.took_word("ASC");
        Order::Ascending
    }

    fn zone(&mut self) -> Parsed<Option<String>> {
        if !self.is_next("tz") {
            return Ok(None);
        }
        let Expr::Call { args, .. } = self.expr()? else {
            return Err(self.plain("tz must be a function call"));
        };
        match <[Expr; 1]>::try_from(args) {
            Ok([Expr::Text(name)]) => Ok(Some(name)),
            Ok(_) => Err(self.plain("expected string argument in tz()")),
            Err(_) => Err(self.plain("tz requires exactly one argument")),
        }
    }
}

/// A measurement of one to three names.
pub(super) fn measurement(mut names: Vec<String>) -> Measurement {
    let name = names.pop().unwrap_or_default();
    let policy = names.pop().unwrap_or_default();
    let database = names.pop().unwrap_or_default();
    Measurement { database, policy, name, pattern: None }
}
