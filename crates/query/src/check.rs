//! Whether a SELECT makes sense, before anything is looked up for it.
//!
//! 1. What InfluxDB 1.6.7 refuses is refused with its words, in the order in which it finds it.

use crate::{
    ast::{Expr, Fill, From, Order, Select},
    math::Math,
    moment::{self, TIME_MAX, TIME_MIN, Zone},
    reduce::{Known, Stretch, as_moment, reduced, split, type_name},
    settings::QueryError,
};

/// The stretches that `GROUP BY time()` makes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Interval {
    /// How long each is; 0 for none.
    pub(crate) length: i64,
    /// By how much they are shifted.
    pub(crate) offset: i64,
}

/// A SELECT that makes sense, with what was found while looking at it.
#[derive(Clone, Debug)]
pub(crate) struct Checked {
    /// What is selected, the time left out and all reckoned that can be.
    pub(crate) fields: Vec<crate::ast::Selected>,
    /// What the column of the time is called.
    pub(crate) time_name: String,
    pub(crate) condition: Option<Expr>,
    pub(crate) stretch: Stretch,
    pub(crate) interval: Interval,
    pub(crate) fill: Fill,
    pub(crate) ascending: bool,
}

impl Checked {
    /// The stretch with its open ends closed.
    pub(crate) fn bounds(&self, now: i64) -> (i64, i64) {
        let from = self.stretch.from.unwrap_or(TIME_MIN);
        let open = if self.interval.length == 0 { TIME_MAX } else { now };
        (from, self.stretch.to.unwrap_or(open))
    }
}

type Done = Result<(), QueryError>;

fn wrong<T>(text: impl Into<String>) -> Result<T, QueryError> {
    QueryError::wrong(text)
}

#[expect(clippy::struct_excessive_bools, reason = "four things that were found or not")]
struct Check {
    interval: Interval,
    inherited: bool,
    /// How many functions over several points there are.
    calls: usize,
    only_selectors: bool,
    distinct: bool,
    columns: bool,
    /// The name of `top` or `bottom`, if one is there.
    ranked: Option<String>,
    limit: u64,
}

/// Checks a SELECT; `outer` is the interval of the one around it.
pub(crate) fn check(
    select: &Select,
    now: i64,
    zone: Option<&dyn Zone>,
    outer: Option<(Interval, bool)>,
) -> Result<Checked, QueryError> {
    let known = Known { now: Some(now), zone };
    let (condition, stretch) = split(select.condition.as_ref(), known)?;
    if let Some(condition) = &condition {
        check_condition(condition)?;
    }
    let interval = dimensions(select, now, zone)?;
    let ascending = outer.map_or(select.is_ascending(), |(_, ascending)| ascending);
    if outer.is_some() && select.order != Order::None && select.is_ascending() != ascending {
        return wrong("subqueries must be ordered in the same direction as the query itself");
    }
    let outer_interval = outer.map_or(Interval::default(), |(interval, _)| interval);
    let inherited = interval.length == 0 && outer_interval.length != 0;
    let mut check = Check {
        interval: if inherited { outer_interval } else { interval },
        inherited,
        calls: 0,
        only_selectors: true,
        distinct: false,
        columns: false,
        ranked: None,
        limit: select.limit,
    };
    let (mut fields, mut time_name) = (Vec::new(), "time".to_owned());
    for field in &select.fields {
        if let Expr::Ref(reference) = &field.expr
            && reference.name == "time"
        {
            if !field.alias.is_empty() {
                time_name.clone_from(&field.alias);
            }
            continue;
        }
        let expr = reduced(&field.expr, Known::default());
        Field { check: &mut check, wildcard: true }.expr(&expr)?;
        fields.push(crate::ast::Selected { expr, alias: field.alias.clone() });
    }
    check.together(&fields, select)?;
    for from in &select.from {
        if let From::Select(inner) = from {
            self::check(inner, now, zone, Some((check.interval, ascending)))?;
        }
    }
    for field in &mut fields {
        field.expr.change(&mut undistinct);
    }
    let fill = select.fill;
    Ok(Checked { fields, time_name, condition, stretch, interval, fill, ascending })
}

/// `DISTINCT x` is `distinct(x)`.
fn undistinct(expr: &mut Expr) {
    if let Expr::Distinct(name) = expr {
        let sort = crate::ast::Sort::Any;
        let reference = Expr::Ref(crate::ast::Ref { name: std::mem::take(name), sort });
        *expr = Expr::Call { name: "distinct".to_owned(), args: vec![reference] };
    }
}

fn check_condition(condition: &Expr) -> Done {
    match condition {
        Expr::Binary { left, right, .. } => {
            check_condition(left)?;
            check_condition(right)
        }
        Expr::Call { name, args } => {
            let Some(math) = Math::named(name) else {
                return wrong(format!("invalid function call in condition: {condition}"));
            };
            arity(name, math.arity(), args.len())?;
            args.iter().try_for_each(check_condition)
        }
        Expr::Paren(inner) => check_condition(inner),
        _ => Ok(()),
    }
}

fn arity(name: &str, expected: usize, got: usize) -> Done {
    if expected == got {
        return Ok(());
    }
    wrong(format!("invalid number of arguments for {name}, expected {expected}, got {got}"))
}

/// The interval of `GROUP BY`.
fn dimensions(select: &Select, now: i64, zone: Option<&dyn Zone>) -> Result<Interval, QueryError> {
    let mut interval = Interval::default();
    for dimension in &select.group {
        let expr = reduced(dimension, Known::default());
        match &expr {
            Expr::Ref(reference) if reference.is_time() => {
                return wrong("time() is a function and expects at least one argument");
            }
            Expr::Ref(_) | Expr::Wildcard(_) | Expr::Pattern(_) => {}
            Expr::Call { name, args } => {
                if name != "time" {
                    return wrong("only time() calls allowed in dimensions");
                } else if args.is_empty() || 2 < args.len() {
                    return wrong("time dimension expected 1 or 2 arguments");
                }
                let Expr::Duration(length) = args[0] else {
                    return wrong("time dimension must have duration argument");
                };
                if interval.length != 0 {
                    return wrong("multiple time dimensions not allowed");
                }
                // A length that is none is no interval, as InfluxDB has it.
                interval.length = length.max(0);
                if let (Some(offset), true) = (args.get(1), interval.length != 0) {
                    interval.offset = shift(offset, interval.length, now, zone)?;
                }
            }
            _ => return wrong("only time and tag dimensions allowed"),
        }
    }
    Ok(interval)
}

fn shift(offset: &Expr, length: i64, now: i64, zone: Option<&dyn Zone>) -> Result<i64, QueryError> {
    const WRONG: &str = "time dimension offset must be duration or now()";
    match offset {
        Expr::Duration(offset) => Ok(offset % length),
        Expr::Moment(at) => Ok(at.rem_euclid(length)),
        Expr::Call { name, .. } if name != "now" => {
            wrong("time dimension offset function must be now()")
        }
        Expr::Call { args, .. } if !args.is_empty() => {
            wrong("time dimension offset now() function requires no arguments")
        }
        Expr::Call { .. } => Ok(now.rem_euclid(length)),
        Expr::Text(text) => match as_moment(text, zone)? {
            Some(Expr::Moment(at)) => Ok(at.rem_euclid(length)),
            _ => wrong(WRONG),
        },
        _ => wrong(WRONG),
    }
}

impl Check {
    /// What all that is selected comes to together.
    fn together(&self, fields: &[crate::ast::Selected], select: &Select) -> Done {
        if fields.is_empty() {
            return wrong("at least 1 non-time field must be queried");
        }
        if let (Some(name), true) = (&self.ranked, 1 < self.calls) {
            return wrong(format!(
                "selector function {name}() cannot be combined with other functions"
            ));
        }
        if self.calls == 0 {
            match select.fill {
                Fill::None => return wrong("fill(none) must be used with a function"),
                Fill::Linear => return wrong("fill(linear) must be used with a function"),
                _ => {}
            }
            if self.interval.length != 0 && !self.inherited {
                return wrong("GROUP BY requires at least one aggregate function");
            }
        }
        if self.distinct && (self.calls != 1 || self.columns) {
            return wrong(
                "aggregate function distinct() cannot be combined with other functions or fields",
            );
        }
        if self.columns && !self.only_selectors {
            return wrong("mixing aggregate and non-aggregate queries is not supported");
        }
        if self.columns && 1 < self.calls {
            return wrong(
                "mixing multiple selector functions with tags or fields is not supported",
            );
        }
        Ok(())
    }
}

/// One of the things that are selected.
struct Field<'a> {
    check: &'a mut Check,
    wildcard: bool,
}

impl Field<'_> {
    fn expr(&mut self, expr: &Expr) -> Done {
        match expr {
            Expr::Wildcard(_) if !self.wildcard => {
                wrong("unable to use wildcard in a binary expression")
            }
            Expr::Pattern(_) if !self.wildcard => {
                wrong("unable to use regex in a binary expression")
            }
            Expr::Ref(_) | Expr::Word(_) | Expr::Wildcard(_) | Expr::Pattern(_) => {
                self.check.columns = true;
                Ok(())
            }
            Expr::Call { name, args } => self.call(name, args),
            Expr::Distinct(_) => {
                self.check.calls += 1;
                self.distinct(1, true, false)
            }
            Expr::Binary { left, right, .. } => {
                self.wildcard = false;
                match (left.is_literal(), right.is_literal()) {
                    (true, true) => wrong("cannot perform a binary expression on two literals"),
                    (true, false) => self.expr(right),
                    (false, true) => self.expr(left),
                    (false, false) => {
                        self.expr(left)?;
                        self.expr(right)
                    }
                }
            }
            Expr::Paren(inner) => self.expr(inner),
            _ => wrong("field must contain at least one variable"),
        }
    }

    fn call(&mut self, name: &str, args: &[Expr]) -> Done {
        if let Some(math) = Math::named(name) {
            arity(name, math.arity(), args.len())?;
            return args.iter().filter(|arg| !arg.is_literal()).try_for_each(|arg| self.expr(arg));
        }
        self.check.calls += 1;
        match name {
            "percentile" => {
                arity(name, 2, args.len())?;
                if !matches!(args[1], Expr::Integer(_) | Expr::Number(_)) {
                    return wrong("expected float argument in percentile()");
                }
                self.symbol(name, &args[0])
            }
            "sample" => {
                arity(name, 2, args.len())?;
                match args[1] {
                    Expr::Integer(size) if size <= 0 => {
                        return wrong(format!("sample window must be greater than 1, got {size}"));
                    }
                    Expr::Integer(_) => {}
                    _ => return wrong("expected integer argument in sample()"),
                }
                self.symbol(name, &args[0])
            }
            "distinct" => {
                let is_ref = matches!(args.first(), Some(Expr::Ref(_)));
                self.distinct(args.len(), is_ref, false)
            }
            "top" | "bottom" => self.ranked(name, args),
            "derivative" | "non_negative_derivative" | "elapsed" => {
                Field::with_unit(name, args)?;
                self.over_values(name, &args[0], true)
            }
            "difference" | "non_negative_difference" | "cumulative_sum" => {
                if args.len() != 1 {
                    return wrong(format!(
                        "invalid number of arguments for {name}, expected 1, got {}",
                        args.len()
                    ));
                }
                self.over_values(name, &args[0], true)
            }
            "moving_average" => {
                arity(name, 2, args.len())?;
                match &args[1] {
                    Expr::Integer(window) if *window <= 1 => {
                        return wrong(format!(
                            "moving_average window must be greater than 1, got {window}"
                        ));
                    }
                    Expr::Integer(_) => {}
                    other => {
                        return wrong(format!(
                            "second argument for moving_average must be an integer, got {}",
                            type_name(other)
                        ));
                    }
                }
                self.over_values(name, &args[0], true)
            }
            "integral" => {
                Field::between(name, args, 1, 2)?;
                match args.get(1) {
                    Some(Expr::Duration(unit)) if *unit <= 0 => return positive(*unit),
                    Some(Expr::Duration(_)) | None => {}
                    Some(_) => return wrong("second argument must be a duration"),
                }
                self.check.only_selectors = false;
                self.symbol(name, &args[0])
            }
            "holt_winters" | "holt_winters_with_fit" => self.forecast(name, args),
            "exponential_moving_average"
            | "double_exponential_moving_average"
            | "triple_exponential_moving_average"
            | "relative_strength_index"
            | "triple_exponential_derivative"
            | "kaufmans_efficiency_ratio"
            | "kaufmans_adaptive_moving_average"
            | "chande_momentum_oscillator" => {
                wrong(format!("{name}() is not supported: use moving_average() or holt_winters()"))
            }
            _ => self.simple(name, args),
        }
    }

    fn between(name: &str, args: &[Expr], least: usize, most: usize) -> Done {
        if (least..=most).contains(&args.len()) {
            return Ok(());
        }
        wrong(format!(
            "invalid number of arguments for {name}, expected at least {least} but no more than {most}, got {}",
            args.len()
        ))
    }

    /// A function whose second argument is a unit of time.
    fn with_unit(name: &str, args: &[Expr]) -> Done {
        Field::between(name, args, 1, 2)?;
        match args.get(1) {
            Some(Expr::Duration(unit)) if *unit <= 0 => positive(*unit),
            Some(Expr::Duration(_)) | None => Ok(()),
            Some(other) => wrong(format!(
                "second argument to {name} must be a duration, got {}",
                type_name(other)
            )),
        }
    }

    /// A function over the values of a field or of another function.
    fn over_values(&mut self, name: &str, arg: &Expr, nested: bool) -> Done {
        self.check.only_selectors = false;
        if let Expr::Call { .. } = arg {
            if self.check.interval.length == 0 {
                return wrong(format!("{name} aggregate requires a GROUP BY interval"));
            }
            return if nested { self.nested(arg) } else { self.expr(arg) };
        }
        if self.check.interval.length != 0 && !self.check.inherited {
            return wrong(format!("aggregate function required inside the call to {name}"));
        }
        self.symbol(name, arg)
    }

    fn nested(&mut self, arg: &Expr) -> Done {
        match arg {
            Expr::Call { name, args } if name == "distinct" => {
                let is_ref = matches!(args.first(), Some(Expr::Ref(_)));
                self.distinct(args.len(), is_ref, true)
            }
            Expr::Distinct(_) => self.distinct(1, true, true),
            other => self.expr(other),
        }
    }

    fn forecast(&mut self, name: &str, args: &[Expr]) -> Done {
        arity(name, 3, args.len())?;
        match args[1] {
            Expr::Integer(count) if count <= 0 => {
                return wrong(format!("second arg to {name} must be greater than 0, got {count}"));
            }
            Expr::Integer(_) => {}
            _ => return wrong(format!("expected integer argument as second arg in {name}")),
        }
        match args[2] {
            Expr::Integer(season) if season < 0 => {
                return wrong(format!("third arg to {name} cannot be negative, got {season}"));
            }
            Expr::Integer(_) => {}
            _ => return wrong(format!("expected integer argument as third arg in {name}")),
        }
        self.check.only_selectors = false;
        if !matches!(args[0], Expr::Call { .. }) {
            return wrong(format!("must use aggregate function with {name}"));
        }
        if self.check.interval.length == 0 {
            return wrong(format!("{name} aggregate requires a GROUP BY interval"));
        }
        self.nested(&args[0])
    }

    fn simple(&mut self, name: &str, args: &[Expr]) -> Done {
        match name {
            "max" | "min" | "first" | "last" => {}
            "count" | "sum" | "mean" | "median" | "mode" | "stddev" | "spread" => {
                self.check.only_selectors = false;
            }
            _ => return wrong(format!("undefined function {name}()")),
        }
        arity(name, 1, args.len())?;
        if name == "count" {
            match &args[0] {
                Expr::Call { name, args } if name == "distinct" => {
                    let is_ref = matches!(args.first(), Some(Expr::Ref(_)));
                    return self.distinct(args.len(), is_ref, true);
                }
                Expr::Distinct(_) => return self.distinct(1, true, true),
                _ => {}
            }
        }
        self.symbol(name, &args[0])
    }

    fn distinct(&mut self, args: usize, is_ref: bool, nested: bool) -> Done {
        if args == 0 {
            return wrong("distinct function requires at least one argument");
        } else if args != 1 {
            return wrong("distinct function can only have one argument");
        } else if !is_ref {
            return wrong("expected field argument in distinct()");
        }
        self.check.distinct |= !nested;
        self.check.only_selectors = false;
        Ok(())
    }

    fn ranked(&mut self, name: &str, args: &[Expr]) -> Done {
        if let Some(name) = &self.check.ranked {
            return wrong(format!(
                "selector function {name}() cannot be combined with other functions"
            ));
        }
        let [first, middle @ .., last] = args else {
            return wrong(format!(
                "invalid number of arguments for {name}, expected at least 2, got {}",
                args.len()
            ));
        };
        match last {
            Expr::Integer(count) if *count <= 0 => {
                return wrong(format!("limit ({count}) in {name} function must be at least 1"));
            }
            Expr::Integer(count) if 0 < self.check.limit && self.check.limit < *count as u64 => {
                return wrong(format!(
                    "limit ({count}) in {name} function can not be larger than the LIMIT ({}) in the select statement",
                    self.check.limit
                ));
            }
            Expr::Integer(_) => {}
            other => {
                return wrong(format!(
                    "expected integer as last argument in {name}(), found {other}"
                ));
            }
        }
        if !matches!(first, Expr::Ref(_)) {
            return wrong(format!(
                "expected first argument to be a field in {name}(), found {first}"
            ));
        }
        for other in middle {
            if !matches!(other, Expr::Ref(_)) {
                return wrong(format!(
                    "only fields or tags are allowed in {name}(), found {other}"
                ));
            }
            self.check.columns = true;
        }
        self.check.ranked = Some(name.to_owned());
        Ok(())
    }

    fn symbol(&mut self, name: &str, arg: &Expr) -> Done {
        match arg {
            Expr::Ref(_) | Expr::Word(_) => Ok(()),
            Expr::Wildcard(_) if !self.wildcard => {
                wrong(format!("unsupported expression with wildcard: {name}()"))
            }
            Expr::Pattern(_) if !self.wildcard => {
                wrong(format!("unsupported expression with regex field: {name}()"))
            }
            Expr::Wildcard(_) | Expr::Pattern(_) => {
                self.check.only_selectors = false;
                Ok(())
            }
            _ => wrong(format!("expected field argument in {name}()")),
        }
    }
}

fn positive(unit: i64) -> Done {
    wrong(format!("duration argument must be positive, got {}", moment::duration_text(unit)))
}
