//! Reads what changes things: databases, retention policies, deletions.
//!
//! 1. What InfluxDB has and we do not is refused by name, and the error says what to do instead.

use super::{Parsed, Parser, USERS};
use crate::{
    ast::{Deletion, PolicyClauses, Statement},
    moment,
    token::Kind,
};

const CONTINUOUS: &str = "run a SELECT ... INTO from outside instead";
const SUBSCRIPTIONS: &str = "there are no subscriptions";

impl Parser<'_> {
    pub(super) fn create(&mut self) -> Parsed<Statement> {
        let token = self.next();
        match token.kind {
            Kind::Word("CONTINUOUS") => Err(self.refused("CREATE CONTINUOUS QUERY", CONTINUOUS)),
            Kind::Word("DATABASE") => self.create_database(),
            Kind::Word("USER") => Err(self.refused("CREATE USER", USERS)),
            Kind::Word("RETENTION") => {
                self.need_words(&["POLICY"])?;
                self.create_policy()
            }
            Kind::Word("SUBSCRIPTION") => Err(self.refused("CREATE SUBSCRIPTION", SUBSCRIPTIONS)),
            _ => {
                let expected = ["CONTINUOUS", "DATABASE", "USER", "RETENTION", "SUBSCRIPTION"];
                Err(self.expected(&token, &expected))
            }
        }
    }

    pub(super) fn drop_statement(&mut self) -> Parsed<Statement> {
        let token = self.next();
        match token.kind {
            Kind::Word("CONTINUOUS") => Err(self.refused("DROP CONTINUOUS QUERY", CONTINUOUS)),
            Kind::Word("DATABASE") => Ok(Statement::DropDatabase(self.ident()?)),
            Kind::Word("MEASUREMENT") => Ok(Statement::DropMeasurement(self.ident()?)),
            Kind::Word("RETENTION") => {
                self.need_words(&["POLICY"])?;
                let name = self.ident()?;
                self.need_words(&["ON"])?;
                Ok(Statement::DropPolicy { name, database: self.ident()? })
            }
            Kind::Word("SERIES") => Ok(Statement::DropSeries(Box::new(self.deletion()?))),
            Kind::Word("SHARD") => {
                Err(self.refused("DROP SHARD", "delete a stretch of time instead"))
            }
            Kind::Word("SUBSCRIPTION") => Err(self.refused("DROP SUBSCRIPTION", SUBSCRIPTIONS)),
            Kind::Word("USER") => Err(self.refused("DROP USER", USERS)),
            _ => {
                let expected = [
                    "CONTINUOUS",
                    "DATABASE",
                    "MEASUREMENT",
                    "RETENTION",
                    "SERIES",
                    "SHARD",
                    "SUBSCRIPTION",
                    "USER",
                ];
                Err(self.expected(&token, &expected))
            }
        }
    }

    pub(super) fn delete(&mut self) -> Parsed<Statement> {
        Ok(Statement::Delete(Box::new(self.deletion()?)))
    }

    fn deletion(&mut self) -> Parsed<Deletion> {
        let token = self.next();
        let from = if token.kind == Kind::Word("FROM") {
            let from = self.measurements()?;
            if from.iter().any(|from| !from.policy.is_empty()) {
                return Err(self.error("retention policy not supported", 0));
            }
            if from.iter().any(|from| !from.database.is_empty()) {
                return Err(self.error("database not supported", 0));
            }
            from
        } else {
            self.unscan(&token);
            Vec::new()
        };
        let condition = self.condition()?;
        if from.is_empty() && condition.is_none() {
            return Err(self.expected(&token, &["FROM", "WHERE"]));
        }
        Ok(Deletion { from, condition })
    }

    fn create_database(&mut self) -> Parsed<Statement> {
        let name = self.ident()?;
        if !self.took_word("WITH") {
            return Ok(Statement::CreateDatabase { name, policy: None });
        }
        let token = self.next();
        let fits = ["DURATION", "NAME", "REPLICATION", "SHARD"];
        if !fits.iter().any(|word| token.kind == Kind::Word(word)) {
            return Err(self.expected(&token, &fits));
        }
        self.unscan(&token);
        let mut clauses = PolicyClauses::default();
        if self.took_word("DURATION") {
            clauses.duration = Some(self.duration()?);
        }
        if self.took_word("REPLICATION") {
            clauses.replication = Some(self.replication()?);
        }
        if self.took_word("SHARD") {
            clauses.partition = Some(self.shard_duration()?);
        }
        let policy = if self.took_word("NAME") { self.ident()? } else { String::new() };
        Ok(Statement::CreateDatabase { name, policy: Some((policy, clauses)) })
    }

    fn create_policy(&mut self) -> Parsed<Statement> {
        let name = self.ident()?;
        self.need_words(&["ON"])?;
        let database = self.ident()?;
        let mut clauses = PolicyClauses::default();
        self.need_words(&["DURATION"])?;
        clauses.duration = Some(self.duration()?);
        self.need_words(&["REPLICATION"])?;
        clauses.replication = Some(self.replication()?);
        if self.took_word("SHARD") {
            clauses.partition = Some(self.shard_duration()?);
        }
        clauses.is_default = self.took_word("DEFAULT");
        Ok(Statement::CreatePolicy { name, database, clauses })
    }

    pub(super) fn alter_policy(&mut self) -> Parsed<Statement> {
        let token = self.next();
        let name = match token.kind {
            Kind::Word("DEFAULT") => "default".to_owned(),
            Kind::Ident => token.text,
            _ => return Err(self.expected(&token, &["identifier"])),
        };
        self.need_words(&["ON"])?;
        let database = self.ident()?;
        let mut clauses = PolicyClauses::default();
        let mut found = false;
        loop {
            let token = self.next();
            let twice = match token.kind {
                Kind::Word("DURATION") => clauses.duration.is_some(),
                Kind::Word("REPLICATION") => clauses.replication.is_some(),
                Kind::Word("SHARD") => clauses.partition.is_some(),
                Kind::Word("DEFAULT") => clauses.is_default,
                _ => false,
            };
            if twice {
                let told = format!("found duplicate {} option", token.kind.name());
                return Err(self.error(told, token.start));
            }
            match token.kind {
                Kind::Word("DURATION") => clauses.duration = Some(self.duration()?),
                Kind::Word("REPLICATION") => clauses.replication = Some(self.replication()?),
                Kind::Word("SHARD") => clauses.partition = Some(self.shard_duration()?),
                Kind::Word("DEFAULT") => clauses.is_default = true,
                _ if found => {
                    self.unscan(&token);
                    return Ok(Statement::AlterPolicy { name, database, clauses });
                }
                _ => {
                    let expected = ["DURATION", "REPLICATION", "SHARD", "DEFAULT"];
                    return Err(self.expected(&token, &expected));
                }
            }
            found = true;
        }
    }

    /// A duration, 0 for `INF`.
    fn duration(&mut self) -> Parsed<i64> {
        let token = self.next();
        match token.kind {
            Kind::Word("INF") => Ok(0),
            Kind::Duration => {
                moment::duration(&token.text).map_err(|told| self.error(told, token.start))
            }
            _ => Err(self.expected(&token, &["duration"])),
        }
    }

    fn shard_duration(&mut self) -> Parsed<i64> {
        self.need_words(&["DURATION"])?;
        let token = self.next();
        if token.kind == Kind::Word("INF") {
            return Err(self.error("invalid duration INF for shard duration", token.start));
        }
        self.unscan(&token);
        self.duration()
    }

    fn replication(&mut self) -> Parsed<u32> {
        let token = self.next();
        if token.kind != Kind::Integer {
            return Err(self.expected(&token, &["integer"]));
        }
        match token.text.parse::<i64>() {
            Ok(number) if (1..=i64::from(i32::MAX)).contains(&number) => Ok(number as u32),
            Ok(number) => {
                let told = format!("invalid value {number}: must be 1 <= n <= {}", i32::MAX);
                Err(self.error(told, token.start))
            }
            Err(_) => {
                let told = format!("strconv.Atoi: parsing \"{}\": value out of range", token.text);
                Err(self.error(told, token.start))
            }
        }
    }
}
