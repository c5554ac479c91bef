//! Reads `SHOW`.
//!
//! 1. Each list takes the clauses that InfluxDB gives it, and no other.

use super::{Parsed, Parser, USERS};
use crate::{
    ast::{Asked, KeyTest, Listed, Narrowed, Statement},
    token::{Kind, Op},
};

impl Parser<'_> {
    pub(super) fn show(&mut self) -> Parsed<Statement> {
        let token = self.next();
        let asked = match token.kind {
            Kind::Word("CONTINUOUS") => {
                self.need_words(&["QUERIES"])?;
                Asked::ContinuousQueries
            }
            Kind::Word("DATABASES") => return Ok(Statement::ShowDatabases),
            Kind::Word("DIAGNOSTICS") => Asked::Diagnostics(self.module()?),
            Kind::Word("FIELD") => return self.show_fields(),
            Kind::Word("GRANTS") => {
                self.need_words(&["FOR"])?;
                return Err(self.refused("SHOW GRANTS", USERS));
            }
            Kind::Word("MEASUREMENT") => {
                let token = self.next();
                let exact = token.kind == Kind::Word("EXACT");
                if exact {
                    self.need_words(&["CARDINALITY"])?;
                } else if token.kind != Kind::Word("CARDINALITY") {
                    return Err(self.expected(&token, &["EXACT", "CARDINALITY"]));
                }
                return self.cardinality(Listed::Measurements, exact);
            }
            Kind::Word("MEASUREMENTS") => return self.show_measurements(),
            Kind::Word("QUERIES") => Asked::Queries,
            Kind::Word("RETENTION") => {
                self.need_words(&["POLICIES"])?;
                return Ok(Statement::ShowPolicies(self.on_database()?));
            }
            Kind::Word("SERIES") => {
                let exact = self.took_word("EXACT");
                if self.took_word("CARDINALITY") {
                    return self.cardinality(Listed::Series, exact);
                }
                return self.show_list(Listed::Series, true, false);
            }
            Kind::Word("SHARD") => {
                self.need_words(&["GROUPS"])?;
                Asked::ShardGroups
            }
            Kind::Word("SHARDS") => Asked::Shards,
            Kind::Word("STATS") => Asked::Stats(self.module()?),
            Kind::Word("SUBSCRIPTIONS") => Asked::Subscriptions,
            Kind::Word("TAG") => return self.show_tags(),
            Kind::Word("USERS") => Asked::Users,
            _ => {
                let expected = [
                    "CONTINUOUS",
                    "DATABASES",
                    "DIAGNOSTICS",
                    "FIELD",
                    "GRANTS",
                    "MEASUREMENT",
                    "MEASUREMENTS",
                    "QUERIES",
                    "RETENTION",
                    "SERIES",
                    "SHARD",
                    "SHARDS",
                    "STATS",
                    "SUBSCRIPTIONS",
                    "TAG",
                    "USERS",
                ];
                return Err(self.expected(&token, &expected));
            }
        };
        Ok(Statement::Ask(asked))
    }

    fn module(&mut self) -> Parsed<Option<String>> {
        if !self.took_word("FOR") {
            return Ok(None);
        }
        let token = self.next();
        if token.kind != Kind::Text {
            return Err(self.expected(&token, &["string"]));
        }
        Ok(Some(token.text))
    }

    fn on_database(&mut self) -> Parsed<String> {
        if self.took_word("ON") { self.ident() } else { Ok(String::new()) }
    }

    fn show_fields(&mut self) -> Parsed<Statement> {
        let token = self.next();
        match token.kind {
            Kind::Word("KEY") => self.key_cardinality(Listed::FieldKeys),
            Kind::Word("KEYS") => self.show_list(Listed::FieldKeys, false, false),
            _ => Err(self.expected(&token, &["KEY", "KEYS"])),
        }
    }

    fn show_tags(&mut self) -> Parsed<Statement> {
        let token = self.next();
        match token.kind {
            Kind::Word("KEY") => self.key_cardinality(Listed::TagKeys),
            Kind::Word("KEYS") => self.show_list(Listed::TagKeys, true, true),
            Kind::Word("VALUES") => {
                let exact = self.took_word("EXACT");
                if exact {
                    self.need_words(&["CARDINALITY"])?;
                    return self.cardinality(Listed::TagValues, true);
                }
                if self.took_word("CARDINALITY") {
                    return self.cardinality(Listed::TagValues, false);
                }
                self.show_list(Listed::TagValues, true, false)
            }
            _ => Err(self.expected(&token, &["KEY", "KEYS", "VALUES"])),
        }
    }

    fn key_cardinality(&mut self, listed: Listed) -> Parsed<Statement> {
        let exact = self.took_word("EXACT");
        let token = self.next();
        if token.kind != Kind::Word("CARDINALITY") {
            let expected: &[&str] =
                if exact { &["CARDINALITY"] } else { &["EXACT", "CARDINALITY"] };
            return Err(self.expected(&token, expected));
        }
        self.cardinality(listed, exact)
    }

    fn cardinality(&mut self, listed: Listed, exact: bool) -> Parsed<Statement> {
        let database = self.on_database()?;
        let from = if self.took_word("FROM") { self.measurements()? } else { Vec::new() };
        let key = if listed == Listed::TagValues { Some(self.key_test()?) } else { None };
        let condition = self.condition()?;
        let group = self.group()?;
        let limit = self.bound("LIMIT")?;
        let offset = self.bound("OFFSET")?;
        let narrowed = Box::new(Narrowed {
            database,
            from,
            key,
            condition,
            limit,
            offset,
            ..Narrowed::default()
        });
        Ok(Statement::ShowCardinality { listed, exact, narrowed, group })
    }

    fn show_measurements(&mut self) -> Parsed<Statement> {
        let database = self.on_database()?;
        let mut from = Vec::new();
        if self.took_word("WITH") {
            self.need_words(&["MEASUREMENT"])?;
            let token = self.next();
            if !matches!(token.kind, Kind::Op(Op::Equal | Op::Matches)) {
                return Err(self.expected(&token, &["=", "=~"]));
            }
            from.push(self.measurement()?);
        }
        let condition = self.condition()?;
        let order = self.order()?;
        let limit = self.bound("LIMIT")?;
        let offset = self.bound("OFFSET")?;
        let narrowed =
            Narrowed { database, from, condition, order, limit, offset, ..Narrowed::default() };
        Ok(Statement::Show(Listed::Measurements, Box::new(narrowed)))
    }

    fn show_list(&mut self, listed: Listed, condition: bool, series: bool) -> Parsed<Statement> {
        let database = self.on_database()?;
        let from = if self.took_word("FROM") { self.measurements()? } else { Vec::new() };
        let key = if listed == Listed::TagValues { Some(self.key_test()?) } else { None };
        let condition = if condition { self.condition()? } else { None };
        let order = self.order()?;
        let limit = self.bound("LIMIT")?;
        let offset = self.bound("OFFSET")?;
        let (mut series_limit, mut series_offset) = (0, 0);
        if series {
            series_limit = self.bound("SLIMIT")?;
            series_offset = self.bound("SOFFSET")?;
        }
        let narrowed = Narrowed {
            database,
            from,
            key,
            condition,
            order,
            limit,
            offset,
            series_limit,
            series_offset,
        };
        Ok(Statement::Show(listed, Box::new(narrowed)))
    }

    fn key_test(&mut self) -> Parsed<KeyTest> {
        self.need_words(&["WITH", "KEY"])?;
        let token = self.next();
        match token.kind {
            Kind::Word("IN") => {
                self.need(Kind::LeftParen)?;
                let mut keys = vec![self.ident()?];
                while self.took(Kind::Comma) {
                    keys.push(self.ident()?);
                }
                self.need(Kind::RightParen)?;
                Ok(KeyTest::In(keys))
            }
            Kind::Op(Op::Equal) => Ok(KeyTest::Is(self.ident()?)),
            Kind::Op(Op::NotEqual) => Ok(KeyTest::IsNot(self.ident()?)),
            Kind::Op(op @ (Op::Matches | Op::MatchesNot)) => match self.pattern()? {
                Some(pattern) if op == Op::Matches => Ok(KeyTest::Matches(pattern)),
                Some(pattern) => Ok(KeyTest::MatchesNot(pattern)),
                None => {
                    let token = self.next();
                    Err(self.expected(&token, &["regex"]))
                }
            },
            _ => Err(self.expected(&token, &["IN", "=", "=~"])),
        }
    }
}
