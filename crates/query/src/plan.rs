//! A SELECT with all its names looked up: which measurements, which columns of which types.
//!
//! 1. A plan holds nothing that a source has to be asked for again, but for series and points.

use crate::{
    ast::{Expr, From, Measurement, Ref, Select, Selected, Sort},
    check::{Checked, Interval, check},
    math::Math,
    moment::Zone,
    settings::{Budget, QueryError},
    source::{Field, Place, Source},
    token::Op,
    types::{self, Type},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// A measurement that is read.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) database: String,
    pub(crate) policy: String,
    pub(crate) name: String,
    pub(crate) fields: Vec<Field>,
    pub(crate) tags: Vec<String>,
}

impl Table {
    pub(crate) fn place(&self) -> Place<'_> {
        Place { database: &self.database, policy: &self.policy }
    }

    /// The field of this name.
    pub(crate) fn field(&self, name: &str) -> Option<&Field> {
        let place = self.fields.binary_search_by(|field| field.name.as_str().cmp(name)).ok()?;
        Some(&self.fields[place])
    }

    /// What one of its columns is of.
    pub(crate) fn column(&self, name: &str) -> Type {
        if let Some(field) = self.field(name) {
            return Type::Field(field.kind);
        }
        if self.tags.binary_search_by(|tag| tag.as_str().cmp(name)).is_ok() {
            return Type::Tag;
        }
        Type::Unknown
    }
}

/// What is read.
#[derive(Clone)]
pub(crate) enum Feed {
    Table(Table),
    Plan(Box<Plan>),
}

/// A SELECT that can be carried out.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) checked: Checked,
    pub(crate) feeds: Vec<Feed>,
    /// The names of the columns behind the time.
    pub(crate) names: Vec<String>,
    /// What each of those columns is, as expressions; those of `top` and `bottom` that are no field of their own
    /// stand behind it.
    pub(crate) columns: Vec<Expr>,
    /// The tags of `GROUP BY`.
    pub(crate) dims: Vec<String>,
    /// The functions over several points, each once.
    pub(crate) calls: Vec<Expr>,
    /// The columns that are selected besides them, in the order of their names.
    pub(crate) refs: Vec<(Ref, Type)>,
    pub(crate) zone: Option<Arc<dyn Zone>>,
    pub(crate) limit: u64,
    pub(crate) offset: u64,
    pub(crate) series_limit: u64,
    pub(crate) series_offset: u64,
    /// Whether the answer is written somewhere.
    pub(crate) into: bool,
    /// Whether it was read in the relaxed dialect.
    pub(crate) relaxed: bool,
}

impl Plan {
    /// What one of the columns that can be selected is of.
    pub(crate) fn type_of(&self, name: &str) -> Type {
        type_in(&self.feeds, name)
    }

    pub(crate) fn interval(&self) -> Interval {
        self.checked.interval
    }

    /// What the answer has in a column of this name.
    fn answered(&self, name: &str) -> Type {
        let place = self.names.iter().position(|other| other == name);
        let found = place
            .and_then(|place| types::of(&self.columns[place], &|name| self.type_of(name)).ok());
        match found {
            Some(found) => found,
            None if self.dims.iter().any(|dim| dim == name) => Type::Tag,
            None => Type::Unknown,
        }
    }
}

fn type_in(feeds: &[Feed], name: &str) -> Type {
    feeds.iter().fold(Type::Unknown, |found, feed| {
        found.or(match feed {
            Feed::Table(table) => table.column(name),
            Feed::Plan(plan) => plan.answered(name),
        })
    })
}

/// Looks measurements up.
pub(crate) struct Lookup<'a> {
    pub(crate) source: &'a dyn Source,
    pub(crate) budget: &'a Budget<'a>,
}

impl Lookup<'_> {
    /// The database that is meant, if it is there.
    pub(crate) fn database(&self, named: &str) -> Result<String, QueryError> {
        let database = if named.is_empty() { self.budget.settings.database } else { named };
        if database.is_empty() {
            return QueryError::wrong("database name required");
        }
        if self.source.databases()?.iter().any(|other| other == database) {
            return Ok(database.to_owned());
        }
        Err(QueryError::NoDatabase(database.to_owned()))
    }

    /// The measurements that are meant.
    pub(crate) fn tables(&self, meant: &Measurement) -> Result<Vec<Table>, QueryError> {
        let database = self.database(&meant.database)?;
        let settings = self.budget.settings;
        let policy = if meant.policy.is_empty() && database == settings.database {
            settings.policy
        } else {
            &meant.policy
        };
        if !policy.is_empty()
            && !self.source.policies(&database)?.iter().any(|other| other.name == policy)
        {
            return Err(QueryError::NoPolicy(policy.to_owned()));
        }
        let names = match &meant.pattern {
            None => vec![meant.name.clone()],
            Some(pattern) => {
                let all = self.source.measurements(&database)?;
                all.into_iter().filter(|name| pattern.matches(name)).collect()
            }
        };
        let mut tables = Vec::new();
        for name in names {
            self.budget.check()?;
            let place = Place { database: &database, policy };
            let fields = self.source.fields(place, &name)?;
            if fields.is_empty() {
                continue;
            }
            let tags = self.source.tag_keys(place, &name)?;
            let (database, policy) = (database.clone(), policy.to_owned());
            tables.push(Table { database, policy, name, fields, tags });
        }
        Ok(tables)
    }

    /// The plan of a SELECT; `outer` is the interval of the one around it, and its order.
    pub(crate) fn plan(
        &self,
        select: &Select,
        outer: Option<(Interval, bool)>,
    ) -> Result<Plan, QueryError> {
        let settings = self.budget.settings;
        let zone: Option<Arc<dyn Zone>> = match &select.zone {
            None => None,
            Some(name) => match (settings.zone)(name) {
                Some(zone) => Some(zone.into()),
                None => return QueryError::wrong(format!("unable to find time zone {name}")),
            },
        };
        let mut feeds = Vec::new();
        for from in &select.from {
            if let From::Measurement(measurement) = from {
                feeds.extend(self.tables(measurement)?.into_iter().map(Feed::Table));
            }
        }
        let mut select = select.clone();
        if select.relaxed {
            relax(&mut select, &feeds);
        }
        let checked = check(&select, settings.now, zone.as_deref(), outer)?;
        if let Some(condition) = &checked.condition {
            check_tags(condition, &feeds)?;
        }
        let around = (checked.interval, checked.ascending);
        for from in &select.from {
            if let From::Select(inner) = from {
                feeds.push(Feed::Plan(Box::new(self.plan(inner, Some(around))?)));
            }
        }
        finish(&select, checked, feeds, zone)
    }
}

/// Tags are alike or not, or match; no tag is before another.
fn check_tags(condition: &Expr, feeds: &[Feed]) -> Result<(), QueryError> {
    let mut wrong = None;
    condition.walk(&mut |part| {
        let Expr::Binary { op, left, right } = part else {
            return;
        };
        let is_tag = |side: &Expr| {
            matches!(side, Expr::Ref(reference)
                if !feeds.is_empty() && reference.sort == Sort::Any
                    && !matches!(type_in(feeds, &reference.name), Type::Field(_)))
        };
        let ordered = matches!(op, Op::Less | Op::LessEqual | Op::Greater | Op::GreaterEqual);
        let text = |side: &Expr| matches!(side, Expr::Text(_));
        let has = is_tag(left) && text(right) || text(left) && is_tag(right);
        if ordered && has && feeds.iter().all(|feed| matches!(feed, Feed::Table(_))) {
            wrong.get_or_insert_with(|| part.to_string());
        }
    });
    match wrong {
        Some(part) => QueryError::wrong(format!(
            "invalid tag comparison operator: {part}: tags are compared with =, !=, =~ and !~"
        )),
        None => Ok(()),
    }
}

/// Gives bare words their meaning: a column, if there is one of this name.
fn relax(select: &mut Select, feeds: &[Feed]) {
    if let Some(condition) = &mut select.condition {
        condition.change(&mut |expr| {
            if let Expr::Word(word) = expr {
                let name = std::mem::take(word);
                *expr = match type_in(feeds, &name) {
                    Type::Unknown => Expr::Text(name),
                    _ => Expr::Ref(Ref { name, sort: Sort::Any }),
                };
            }
        });
    }
}

fn finish(
    select: &Select,
    checked: Checked,
    feeds: Vec<Feed>,
    zone: Option<Arc<dyn Zone>>,
) -> Result<Plan, QueryError> {
    let dims = dimensions(select, &feeds);
    let columns = expanded(select, &checked, &feeds)?;
    let column = |name: &str| type_in(&feeds, name);
    for selected in &columns {
        types::of(&selected.expr, &column)?;
    }
    let into = select.into.is_some();
    let columns = with_ranked(columns, into);
    let names = column_names(&columns, &checked.time_name);
    let mut found = Parts::default();
    for selected in &columns {
        found.add(&selected.expr);
    }
    let Parts { calls, refs, .. } = found;
    let refs: Vec<(Ref, Type)> = refs
        .into_iter()
        .map(|reference: Ref| {
            let kind = types::of_ref(&reference, &column);
            (reference, kind)
        })
        .collect();
    Ok(Plan {
        checked,
        names,
        columns: columns.into_iter().map(|selected| selected.expr).collect(),
        dims,
        calls,
        refs,
        zone,
        limit: select.limit,
        offset: select.offset,
        series_limit: select.series_limit,
        series_offset: select.series_offset,
        into,
        relaxed: select.relaxed,
        feeds,
    })
}

/// The functions and columns of expressions, each once. There may be as many as a measurement has fields, so none is
/// looked for among all others.
#[derive(Default)]
struct Parts {
    calls: Vec<Expr>,
    refs: BTreeSet<Ref>,
    /// The functions, as they are written.
    written: BTreeSet<String>,
}

impl Parts {
    fn add(&mut self, expr: &Expr) {
        match expr {
            Expr::Call { name, args } if Math::named(name).is_some() => {
                for arg in args {
                    self.add(arg);
                }
            }
            Expr::Call { .. } if self.written.insert(expr.to_string()) => {
                self.calls.push(expr.clone());
            }
            Expr::Ref(reference) => {
                self.refs.insert(reference.clone());
            }
            Expr::Binary { left, right, .. } => {
                self.add(left);
                self.add(right);
            }
            Expr::Paren(inner) => self.add(inner),
            _ => {}
        }
    }
}

/// All fields and all tags of what is read.
fn all_columns(feeds: &[Feed]) -> (BTreeMap<String, Type>, Vec<String>) {
    let (mut fields, mut tags) = (BTreeMap::new(), Vec::new());
    let mut add = |name: &str, kind: Type| {
        let known = fields.entry(name.to_owned()).or_insert(Type::Unknown);
        *known = known.or(kind);
    };
    for feed in feeds {
        match feed {
            Feed::Table(table) => {
                table.fields.iter().for_each(|field| add(&field.name, Type::Field(field.kind)));
                tags.extend(table.tags.iter().cloned());
            }
            Feed::Plan(plan) => {
                plan.names.iter().for_each(|name| add(name, plan.answered(name)));
                tags.extend(plan.dims.iter().cloned());
            }
        }
    }
    tags.sort();
    tags.dedup();
    (fields, tags)
}

fn dimensions(select: &Select, feeds: &[Feed]) -> Vec<String> {
    let mut dims = Vec::new();
    let mut all = None;
    // The relaxed dialect keeps the series apart where nothing is reckoned over them.
    let implied = [Expr::Wildcard(Sort::Any)];
    let keep_apart = select.relaxed && select.group.is_empty() && select.is_raw();
    let group = if keep_apart { &implied[..] } else { &select.group };
    for dimension in group {
        let tags: &Vec<String> = all.get_or_insert_with(|| all_columns(feeds).1);
        match dimension.bare() {
            Expr::Ref(reference) => dims.push(reference.name.clone()),
            Expr::Wildcard(_) => dims.extend(tags.iter().cloned()),
            Expr::Pattern(pattern) => {
                dims.extend(tags.iter().filter(|tag| pattern.matches(tag)).cloned());
            }
            _ => {}
        }
    }
    dims.sort();
    dims.dedup();
    dims
}

fn is_wild(expr: &Expr) -> bool {
    matches!(expr, Expr::Wildcard(_) | Expr::Pattern(_))
}

/// What is selected, with what `*` and regular expressions stand for.
fn expanded(
    select: &Select,
    checked: &Checked,
    feeds: &[Feed],
) -> Result<Vec<Selected>, QueryError> {
    let mut wild = false;
    for field in &checked.fields {
        field.expr.walk(&mut |part| wild |= is_wild(part));
    }
    if !wild {
        return Ok(checked.fields.clone());
    }
    let (fields, mut tags) = all_columns(feeds);
    let mut all: Vec<(String, Type)> = fields.into_iter().collect();
    let groups_all = select.group.iter().any(is_wild);
    let apart = select.relaxed && select.group.is_empty();
    if !(all.is_empty() || groups_all || apart) {
        tags.retain(|tag| {
            !select.group.iter().any(|by| matches!(by, Expr::Ref(by) if by.name == *tag))
        });
        all.extend(tags.into_iter().map(|tag| (tag, Type::Tag)));
        all.sort_by(|(a, x), (b, y)| {
            a.cmp(b).then_with(|| (*x == Type::Tag).cmp(&(*y == Type::Tag)))
        });
    }
    let mut out = Vec::new();
    for field in &checked.fields {
        match &field.expr {
            Expr::Wildcard(sort) => out.extend(
                all.iter()
                    .filter(|(_, kind)| match sort {
                        Sort::Field => *kind != Type::Tag,
                        Sort::Tag => *kind == Type::Tag,
                        _ => true,
                    })
                    .map(|(name, kind)| column(name, *kind)),
            ),
            Expr::Pattern(pattern) => out.extend(
                all.iter()
                    .filter(|(name, _)| pattern.matches(name))
                    .map(|(name, kind)| column(name, *kind)),
            ),
            Expr::Call { .. } => expand_call(field, &all, &mut out)?,
            binary @ Expr::Binary { .. } => {
                let mut found = None;
                binary.walk(&mut |part| {
                    if is_wild(part) {
                        found.get_or_insert(matches!(part, Expr::Wildcard(_)));
                    }
                });
                match found {
                    Some(true) => {
                        return QueryError::wrong(format!(
                            "unsupported expression with wildcard: {field}"
                        ));
                    }
                    Some(false) => {
                        return QueryError::wrong(format!(
                            "unsupported expression with regex field: {field}"
                        ));
                    }
                    None => out.push(field.clone()),
                }
            }
            _ => out.push(field.clone()),
        }
    }
    Ok(out)
}

fn column(name: &str, kind: Type) -> Selected {
    let sort = if kind == Type::Tag { Sort::Tag } else { Sort::Any };
    let expr = Expr::Ref(Ref { name: name.to_owned(), sort });
    Selected { expr, alias: String::new() }
}

/// A function of `*` is one for each field that it can be applied to.
fn expand_call(
    field: &Selected,
    all: &[(String, Type)],
    out: &mut Vec<Selected>,
) -> Result<(), QueryError> {
    use crate::ast::FieldType::{Boolean, Text, Unsigned};
    let (mut innermost, mut inner) = (&field.expr, None);
    while let Expr::Call { name, args } = innermost {
        inner = Some(name);
        match args.first() {
            Some(first) => innermost = first,
            None => break,
        }
    }
    let (Some(name), true) = (inner, is_wild(innermost)) else {
        out.push(field.clone());
        return Ok(());
    };
    if *innermost == Expr::Wildcard(Sort::Tag) {
        return QueryError::wrong(format!("unable to use tag wildcard in {name}()"));
    }
    let texts =
        matches!(&**name, "count" | "first" | "last" | "distinct" | "elapsed" | "mode" | "sample");
    for (column, kind) in all {
        let fits = match kind {
            Type::Field(Text) => texts,
            Type::Field(Boolean) => texts || matches!(&**name, "min" | "max"),
            Type::Field(Unsigned) => !name.starts_with("holt_winters"),
            Type::Field(_) => true,
            _ => false,
        };
        let matches = match innermost {
            Expr::Pattern(pattern) => pattern.matches(column),
            _ => true,
        };
        if !fits || !matches {
            continue;
        }
        let mut expr = field.expr.clone();
        let mut place = &mut expr;
        while let Expr::Call { args, .. } = place {
            place = &mut args[0];
        }
        *place = Expr::Ref(Ref { name: column.clone(), sort: Sort::Any });
        out.push(Selected { expr, alias: format!("{}_{column}", name_of(field)) });
    }
    Ok(())
}

/// What a column is called where nothing else is said.
fn name_of(field: &Selected) -> String {
    if !field.alias.is_empty() {
        return field.alias.clone();
    }
    match field.expr.bare() {
        Expr::Call { name, .. } => name.clone(),
        Expr::Ref(reference) => reference.name.clone(),
        binary @ Expr::Binary { .. } => {
            let mut names = Vec::new();
            names_in(binary, &mut names);
            names.join("_")
        }
        _ => String::new(),
    }
}

fn names_in(expr: &Expr, names: &mut Vec<String>) {
    match expr {
        Expr::Ref(reference) => names.push(reference.name.clone()),
        Expr::Call { name, .. } => names.push(name.clone()),
        Expr::Binary { left, right, .. } => {
            names_in(left, names);
            names_in(right, names);
        }
        Expr::Paren(inner) => names_in(inner, names),
        _ => {}
    }
}

/// `top` and `bottom` bring the columns with them that they are told to.
fn with_ranked(fields: Vec<Selected>, into: bool) -> Vec<Selected> {
    let mut out = Vec::new();
    for field in fields {
        let mut more = Vec::new();
        if let (Expr::Call { name, args }, false) = (&field.expr, into)
            && matches!(&**name, "top" | "bottom")
        {
            more.extend(args[1..].iter().filter(|arg| matches!(arg, Expr::Ref(_))).cloned());
        }
        out.push(field);
        out.extend(more.into_iter().map(|expr| Selected { expr, alias: String::new() }));
    }
    out
}

/// Names for columns, no two alike unless the text says so.
fn column_names(columns: &[Selected], _time: &str) -> Vec<String> {
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    for column in columns.iter().filter(|column| !column.alias.is_empty()) {
        known.insert(column.alias.clone(), 1);
    }
    let mut names = Vec::new();
    for column in columns {
        let mut name = name_of(column);
        if !column.alias.is_empty() {
            names.push(name);
            continue;
        }
        if let Some(count) = known.get(&name).copied() {
            // No more names are taken than there are.
            let mut free = count..=count + known.len();
            let next = free.find(|next| !known.contains_key(&format!("{name}_{next}")));
            let next = next.unwrap_or(count);
            known.insert(name.clone(), next + 1);
            name = format!("{name}_{next}");
        }
        *known.entry(name.clone()).or_insert(0) += 1;
        names.push(name);
    }
    names
}
