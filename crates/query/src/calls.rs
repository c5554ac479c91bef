//! SELECT of functions over points.
//!
//! Each group is done by itself. The functions that take points one by one share one pass over its points (`pass`);
//! others get the points they need. What each function comes to is filled, cut to the limit, and then put side by side by
//! the times.
//!
//! 1. The work is estimated before it is begun: more buckets than the limit are refused at once.
//! 2. Reading ends as soon as nothing can change the answer any more.

mod pass;

use self::pass::Pass;
use crate::{
    ast::{Expr, Fill, Ref},
    code::Code,
    feed::{Flow, Groups, Key, Origin, Part, Want, groups},
    fold::{Simple, State},
    forecast::Forecast,
    moment::{SECOND, TIME_MIN},
    plan::Plan,
    raw::{Points, gather},
    select::{Context, Frame, Scope},
    settings::QueryError,
    shape::{Shape, Shaped},
    share,
    source::Buckets,
    stream::Stream,
    types::{self, Type},
    vector::Vector,
    window::{Filling, Window},
};
use olivine_command::Cell;
use std::collections::{BTreeMap, BTreeSet};

/// A stretch of time that some function needs.
type Span = (i64, i64);

/// A function that takes points one by one, and of which column.
type Leaf = (Expr, Simple, Ref, Type);

struct Calls<'a> {
    context: &'a Context<'a>,
    plan: &'a Plan,
    /// Whether it is one selector, whose points keep their times and bring other columns with them.
    selector: bool,
    /// Rows beyond these are cut off.
    at_most: usize,
    /// What is asked for as a whole.
    span: Span,
    groups: BTreeMap<Span, Groups<'a>>,
}

pub(crate) fn run(
    context: &Context<'_>,
    plan: &Plan,
    scope: &Scope,
    dims: &[String],
) -> Result<Vec<Frame>, QueryError> {
    let span = (scope.from, scope.to);
    let at_most = if plan.limit == 0 { u64::MAX } else { plan.limit.saturating_add(plan.offset) };
    let mut calls = Calls {
        context,
        plan,
        selector: matches!(&plan.calls[..], [call] if is_selector(call)),
        at_most: usize::try_from(at_most).unwrap_or(usize::MAX),
        span,
        groups: BTreeMap::new(),
    };
    for call in &plan.calls {
        check_type(plan, call)?;
    }
    if let Some(count) = calls.window(span).count()
        && plan.checked.fill != Fill::None
    {
        // One group at least; more are counted as they are filled.
        let limit = context.settings().limits.buckets_max;
        let count = count.min(at_most);
        if limit != 0 && limit < count {
            return Err(QueryError::Limit(format!(
                "max-select-buckets limit exceeded: ({count}/{limit})"
            )));
        }
    }
    let mut spans = BTreeSet::new();
    plan.calls.iter().for_each(|call| calls.spans(call, span, &mut spans));
    for (from, to) in spans {
        let scope = Scope { from, to, ..scope.clone() };
        calls.groups.insert((from, to), groups(context, plan, &scope, dims)?);
    }
    let keys: BTreeSet<&Key> = calls.groups.values().flat_map(|groups| groups.keys()).collect();
    let mut keys: Vec<&Key> = keys.into_iter().collect();
    if !plan.checked.ascending {
        keys.reverse();
    }
    share::over(context, keys.len(), &|number| {
        context.budget.check()?;
        let mut group = Group { calls: &calls, key: keys[number], folded: BTreeMap::new() };
        let points: Vec<Points> = plan
            .calls
            .iter()
            .map(|call| Ok(calls.cut(group.call(call, span)?)))
            .collect::<Result<_, QueryError>>()?;
        Ok(calls.together(keys[number], dims, &points))
    })
}

/// Whether a function makes few points of many, and does not go over them one by one.
pub(crate) fn reduces(call: &Expr) -> bool {
    let Expr::Call { name, .. } = call else {
        return false;
    };
    Simple::named(name).is_some()
        || matches!(
            &**name,
            "median" | "mode" | "stddev" | "percentile" | "sample" | "top" | "bottom" | "distinct"
        )
}

fn is_selector(call: &Expr) -> bool {
    let Expr::Call { name, .. } = call else {
        return false;
    };
    matches!(&**name, "first" | "last" | "min" | "max" | "percentile" | "sample" | "top" | "bottom")
}

/// Whether a function can be applied to what it is applied to.
fn check_type(plan: &Plan, call: &Expr) -> Result<(), QueryError> {
    use crate::ast::FieldType::{Boolean, Text};
    let Expr::Call { name, args } = call else {
        return Ok(());
    };
    let Some(arg) = args.first() else {
        return Ok(());
    };
    if let Expr::Call { .. } = arg {
        check_type(plan, arg)?;
    }
    let Type::Field(kind) = types::of(arg, &|name| plan.type_of(name))? else {
        return Ok(());
    };
    let fits = match &**name {
        "count" | "first" | "last" | "mode" | "distinct" | "sample" | "elapsed" | "percentile" => {
            true
        }
        "min" | "max" => kind != Text,
        _ => !matches!(kind, Text | Boolean),
    };
    if fits {
        return Ok(());
    }
    QueryError::wrong(format!("unsupported {name} iterator type: {}", kind.name()))
}

/// What a function does.
enum Does {
    Simple,
    Shape(Shape),
    Stream(Stream),
    Forecast(Forecast),
}

fn integer(expr: Option<&Expr>) -> i64 {
    match expr {
        Some(Expr::Integer(number) | Expr::Duration(number)) => *number,
        _ => 0,
    }
}

impl Calls<'_> {
    fn window(&self, span: Span) -> Window<'_> {
        Window {
            interval: self.plan.interval(),
            zone: self.plan.zone.as_deref(),
            from: span.0,
            to: span.1,
        }
    }

    /// What a function of this name and these arguments does.
    fn does(&self, name: &str, args: &[Expr]) -> Does {
        if name == "count" && matches!(args.first(), Some(Expr::Call { .. })) {
            return Does::Shape(Shape::CountDistinct);
        }
        if Simple::named(name).is_some() {
            return Does::Simple;
        }
        let length = self.plan.interval().length;
        let nested = matches!(args.first(), Some(Expr::Call { .. }));
        let unit = |otherwise: i64| match args.get(1) {
            Some(Expr::Duration(unit)) => *unit,
            _ => otherwise,
        };
        let count = |place: usize| integer(args.get(place)).max(0) as usize;
        match name {
            "median" => Does::Shape(Shape::Median),
            "mode" => Does::Shape(Shape::Mode),
            "stddev" => Does::Shape(Shape::Stddev),
            "percentile" => Does::Shape(Shape::Percentile(match args.get(1) {
                Some(Expr::Number(number)) => *number,
                other => integer(other) as f64,
            })),
            "sample" => Does::Shape(Shape::Sample(count(1))),
            "top" | "bottom" => Does::Shape(Shape::Ranked(name == "top", count(args.len() - 1))),
            "derivative" | "non_negative_derivative" => {
                let otherwise = if nested && length != 0 { length } else { SECOND };
                Does::Stream(Stream::Derivative(unit(otherwise), name != "derivative"))
            }
            "difference" | "non_negative_difference" => {
                Does::Stream(Stream::Difference(name != "difference"))
            }
            "cumulative_sum" => Does::Stream(Stream::CumulativeSum),
            "moving_average" => Does::Stream(Stream::MovingAverage(count(1).max(1))),
            "elapsed" => Does::Stream(Stream::Elapsed(unit(1))),
            "integral" => Does::Stream(Stream::Integral(unit(SECOND))),
            "holt_winters" | "holt_winters_with_fit" => Does::Forecast(Forecast {
                count: count(1),
                season: count(2),
                fitted: name != "holt_winters",
                interval: length.max(1),
            }),
            _ => Does::Shape(Shape::Distinct),
        }
    }

    /// The stretch that the argument of a function is asked for.
    fn inner_span(&self, name: &str, (from, to): Span) -> Span {
        let length = self.plan.interval().length;
        let needs_more = matches!(
            name,
            "derivative"
                | "non_negative_derivative"
                | "difference"
                | "non_negative_difference"
                | "moving_average"
                | "elapsed"
        );
        if !needs_more || length == 0 {
            (from, to)
        } else if self.plan.checked.ascending {
            // Where there is no beginning, there is nothing before it either.
            (if from == TIME_MIN { from } else { from.saturating_sub(length) }, to)
        } else {
            (from, to.saturating_add(length))
        }
    }

    fn spans(&self, call: &Expr, span: Span, spans: &mut BTreeSet<Span>) {
        let Expr::Call { name, args } = call else {
            return;
        };
        let span = self.inner_span(name, span);
        match args.first() {
            Some(inner @ Expr::Call { .. }) => self.spans(inner, span, spans),
            _ => {
                spans.insert(span);
            }
        }
    }

    /// The rows that the limit leaves.
    fn cut(&self, points: Points) -> Points {
        let count = points.times.len();
        let from = (self.plan.offset as usize).min(count);
        points.slice(from, count.min(self.at_most))
    }

    /// What the functions came to, side by side.
    fn together(&self, key: &Key, dims: &[String], points: &[Points]) -> Option<Frame> {
        if points.iter().all(|points| points.times.is_empty()) {
            return None;
        }
        let ascending = self.plan.checked.ascending;
        let fill = self.plan.checked.fill;
        let (mut times, mut inputs) = (Vec::new(), Vec::new());
        if let [points] = points {
            times.clone_from(&points.times);
            inputs.clone_from(&points.columns);
        } else {
            let mut next = vec![0; points.len()];
            let mut cells: Vec<Vec<Cell>> = vec![Vec::new(); points.len()];
            loop {
                let ahead =
                    points.iter().zip(&next).filter_map(|(points, next)| points.times.get(*next));
                let time = if ascending { ahead.min() } else { ahead.max() };
                let Some(time) = time.copied() else {
                    break;
                };
                times.push(time);
                for ((points, next), cells) in points.iter().zip(&mut next).zip(&mut cells) {
                    if points.times.get(*next) == Some(&time) {
                        cells.push(points.columns[0].get(*next));
                        *next += 1;
                    } else {
                        cells.push(Cell::Null);
                    }
                }
            }
            inputs.extend(cells.into_iter().map(Vector::from_iter));
        }
        if !matches!(fill, Fill::Null | Fill::None) {
            let without_type = |number: usize| {
                self.plan.calls.get(number).is_some_and(|call| {
                    let found = types::of(call, &|name| self.plan.type_of(name));
                    found == Ok(Type::Unknown)
                })
            };
            for (number, input) in inputs.iter_mut().enumerate() {
                if fill != Fill::Linear && !without_type(number) {
                    *input = crate::raw::without_gaps(input, fill);
                }
            }
        }
        let columns = self.plan.columns.iter();
        let columns = columns.map(|expr| self.column(expr, &inputs, times.len())).collect();
        Some(Frame::new(key, dims, times, columns))
    }

    /// The number of a function or of a column that comes with it.
    fn place(&self, expr: &Expr) -> Option<usize> {
        match expr {
            Expr::Call { .. } => self.plan.calls.iter().position(|call| call == expr),
            Expr::Ref(reference) => {
                let place = self.plan.refs.iter().position(|(other, _)| other == reference)?;
                Some(self.plan.calls.len() + place)
            }
            _ => None,
        }
    }

    fn column(&self, expr: &Expr, inputs: &[Vector], rows: usize) -> Vector {
        let missing = || Vector::nulls(rows);
        if let Some(place) = self.place(expr) {
            return inputs.get(place).cloned().unwrap_or_else(missing);
        }
        let code = Code::new(expr, &mut |expr| self.place(expr).map(Code::Column));
        let get = |row: usize| {
            move |column: usize| inputs.get(column).map_or(Cell::Null, |input| input.get(row))
        };
        (0..rows).map(|row| code.of(&get(row), true)).collect()
    }
}

/// The functions of one group.
struct Group<'c, 'a> {
    calls: &'c Calls<'a>,
    key: &'c Key,
    /// What one pass over the points of a stretch came to, for each of its functions.
    folded: BTreeMap<Span, Vec<(Expr, Points)>>,
}

impl<'a> Group<'_, 'a> {
    fn origins(&self, span: Span) -> &[Origin<'a>] {
        let groups = self.calls.groups.get(&span);
        groups.and_then(|groups| groups.get(self.key)).map_or(&[], |origins| &origins[..])
    }

    /// What a function comes to.
    fn call(&mut self, call: &Expr, span: Span) -> Result<Points, QueryError> {
        let Expr::Call { name, args } = call else {
            return Ok(Points::default());
        };
        match self.calls.does(name, args) {
            Does::Simple => self.simple(call, span),
            Does::Shape(shape) => self.shape(&shape, name, args, span),
            Does::Stream(stream) => {
                let inner = self.calls.inner_span(name, span);
                let points = self.argument(args, inner)?;
                let window = self.calls.window(span);
                Ok(stream.of(&points, self.calls.plan.checked.ascending, window))
            }
            Does::Forecast(forecast) => {
                let points = self.argument(args, span)?;
                let found = forecast.of(&points, self.calls.context.budget)?;
                let (times, cells): (Vec<i64>, Vec<Cell>) = found.into_iter().unzip();
                Ok(Points { times, columns: vec![cells.into_iter().collect()] })
            }
        }
    }

    /// The points of the argument of a function.
    fn argument(&mut self, args: &[Expr], span: Span) -> Result<Points, QueryError> {
        match args.first() {
            Some(call @ Expr::Call { .. }) => self.call(call, span),
            Some(Expr::Ref(reference)) => self.points(std::slice::from_ref(reference), span),
            _ => Ok(Points::default()),
        }
    }

    fn typed(&self, reference: &Ref) -> (Ref, Type) {
        let plan = self.calls.plan;
        let kind = types::of_ref(reference, &|name| plan.type_of(name));
        (reference.clone(), kind)
    }

    /// The points of the first column, with others beside.
    fn points(&self, refs: &[Ref], span: Span) -> Result<Points, QueryError> {
        let refs: Vec<(Ref, Type)> = refs.iter().map(|reference| self.typed(reference)).collect();
        if !matches!(refs[0].1, Type::Field(_)) {
            return Ok(Points { times: Vec::new(), columns: vec![Vector::new(); refs.len()] });
        }
        let want = Want {
            refs: &refs,
            from: span.0,
            to: span.1,
            backward: !self.calls.plan.checked.ascending,
            newest: false,
            summaries: None,
            valued: true,
        };
        let points = gather(self.calls.context, self.origins(span), &want, usize::MAX)?;
        let count = points.times.len() as u32;
        let with: Vec<u32> =
            (0..count).filter(|place| points.columns[0].has(*place as usize)).collect();
        Ok(if with.len() == points.times.len() { points } else { points.picked(&with) })
    }

    /// The columns that a selector brings with it.
    fn beside(&self) -> Vec<Ref> {
        if !self.calls.selector {
            return Vec::new();
        }
        self.calls.plan.refs.iter().map(|(reference, _)| reference.clone()).collect()
    }

    fn shape(
        &mut self,
        shape: &Shape,
        name: &str,
        args: &[Expr],
        span: Span,
    ) -> Result<Points, QueryError> {
        let field = match args.first() {
            Some(Expr::Ref(reference)) => reference,
            Some(Expr::Call { args, .. }) => match args.first() {
                Some(Expr::Ref(reference)) => reference,
                _ => return Ok(Points::default()),
            },
            _ => return Ok(Points::default()),
        };
        let mut refs = vec![field.clone()];
        refs.extend(self.beside());
        let aux = refs.len();
        let by: Vec<Ref> = match shape {
            Shape::Ranked(..) => args[1..args.len() - 1].iter().filter_map(as_ref).collect(),
            _ => Vec::new(),
        };
        refs.extend(by);
        let mut points = self.points(&refs, span)?;
        let window = self.calls.window(span);
        let ascending = self.calls.plan.checked.ascending;
        if !ascending {
            // A stretch is looked at oldest first whatever the order of the answer.
            let places: Vec<u32> = (0..points.times.len() as u32).rev().collect();
            points = points.picked(&places);
        }
        if refs.len() != aux {
            points = best_of_each(&points, aux, shape, window);
        }
        points.columns.truncate(aux);
        let interval = window.interval.length != 0;
        let own_times = matches!(shape, Shape::Sample(_) | Shape::Ranked(..))
            || !interval && self.calls.selector && is_selector_name(name);
        let mut out = Points { times: Vec::new(), columns: vec![Vector::new(); aux] };
        let mut stretches = cut(&points.times, window);
        if !ascending {
            stretches.reverse();
        }
        for (start, from, to) in stretches {
            self.calls.context.budget.check()?;
            let cells: Vec<Cell> = (from..to).map(|row| points.columns[0].get(row)).collect();
            match shape.of(&points.times[from..to], &cells) {
                Shaped::Nothing => {}
                Shaped::Value(cell) => {
                    out.times.push(Window::shown(start));
                    out.columns[0].push(cell);
                    out.columns[1..].iter_mut().for_each(|column| column.push(Cell::Null));
                }
                Shaped::Places(mut places) => {
                    if !ascending {
                        places.reverse();
                    }
                    for place in places {
                        let row = from + place as usize;
                        let time = if own_times { points.times[row] } else { Window::shown(start) };
                        out.times.push(time);
                        for (column, from) in out.columns.iter_mut().zip(&points.columns) {
                            column.push(from.get(row));
                        }
                    }
                }
            }
        }
        let unfilled = matches!(shape, Shape::Sample(_) | Shape::Ranked(..) | Shape::Distinct);
        if interval && !unfilled {
            return self.filled(&out, false, span);
        }
        Ok(out)
    }

    fn filled(&self, points: &Points, counts: bool, span: Span) -> Result<Points, QueryError> {
        let plan = self.calls.plan;
        let filling = Filling {
            window: self.calls.window(span),
            fill: plan.checked.fill,
            ascending: plan.checked.ascending,
            at_most: self.calls.at_most,
            budget: self.calls.context.budget,
        };
        filling.filled(points, counts)
    }

    fn simple(&mut self, call: &Expr, span: Span) -> Result<Points, QueryError> {
        if !self.folded.contains_key(&span) {
            let found = self.fold(span)?;
            self.folded.insert(span, found);
        }
        let folded = self.folded.get(&span).into_iter().flatten();
        let found = { folded }.find(|(other, _)| other == call);
        Ok(found.map(|(_, points)| points.clone()).unwrap_or_default())
    }

    /// All functions that take points one by one over one stretch.
    fn fold(&self, span: Span) -> Result<Vec<(Expr, Points)>, QueryError> {
        let calls = self.calls;
        let mut leaves = Vec::new();
        for call in &calls.plan.calls {
            calls.leaves(call, calls.span, span, &mut leaves);
        }
        let leaves: Vec<Leaf> = leaves
            .into_iter()
            .map(|(call, simple, reference): (Expr, Simple, Ref)| {
                let (reference, kind) = self.typed(&reference);
                (call, simple, reference, kind)
            })
            .filter(|(.., kind)| matches!(kind, Type::Field(_)))
            .collect();
        let mut refs: Vec<(Ref, Type)> = Vec::new();
        let mut places = Vec::new();
        for (_, _, reference, kind) in &leaves {
            let known = refs.iter().position(|(other, _)| other == reference);
            places.push(known.unwrap_or(refs.len()));
            if known.is_none() {
                refs.push((reference.clone(), *kind));
            }
        }
        let beside = refs.len();
        refs.extend(self.beside().iter().map(|reference| self.typed(reference)));
        let window = calls.window(span);
        let mut pass = Pass::new(window, &leaves, &places, beside);
        if !leaves.is_empty() {
            self.read_all(&mut pass, &refs, span)?;
        }
        let mut out = Vec::new();
        let Pass { slots, states, .. } = pass;
        for (number, (call, simple, ..)) in leaves.iter().enumerate() {
            let points =
                self.points_of(&slots, &states, leaves.len(), number, *simple, refs.len() - beside);
            let points = if calls.plan.interval().length != 0 {
                self.filled(&points, *simple == Simple::Count, span)?
            } else {
                points
            };
            out.push((call.clone(), points));
        }
        Ok(out)
    }

    /// Takes all points of a stretch, as far as they can matter.
    fn read_all(
        &self,
        pass: &mut Pass<'_>,
        refs: &[(Ref, Type)],
        span: Span,
    ) -> Result<(), QueryError> {
        let plan = self.calls.plan;
        let ascending = plan.checked.ascending;
        let interval = plan.interval();
        let all = |simple: Simple| pass.leaves.iter().all(|(_, leaf, ..)| *leaf == simple);
        let ends = interval.length == 0 && (all(Simple::First) || all(Simple::Last));
        let limited = interval.length != 0
            && self.calls.at_most != usize::MAX
            && plan.calls.iter().all(
                |call| matches!(call, Expr::Call { name, .. } if Simple::named(name).is_some()),
            );
        let backward = if ends { all(Simple::Last) } else { limited && !ascending };
        let counted = |simple: &Simple, kind: &Type| {
            *simple == Simple::Count
                || !matches!(
                    kind,
                    Type::Field(crate::ast::FieldType::Text | crate::ast::FieldType::Boolean)
                )
        };
        let summed = pass.beside == refs.len()
            && plan.zone.is_none()
            && pass.leaves.iter().all(|(_, simple, _, kind)| counted(simple, kind));
        for origin in self.origins(span) {
            let buckets = Buckets {
                origin: interval.offset,
                length: if interval.length == 0 { i64::MAX } else { interval.length },
            };
            let want = Want {
                refs,
                from: span.0,
                to: span.1,
                backward,
                newest: false,
                summaries: (summed && !origin.is_filtered()).then_some(buckets),
                valued: false,
            };
            let mut seen = vec![false; pass.leaves.len()];
            origin.read(self.calls.context, &want, &mut |part| {
                let at = match part {
                    Part::Block(block) => {
                        pass.block(&block, &mut seen);
                        let row = block.rows.get(if backward { 0 } else { block.rows.len() - 1 });
                        block.times[row]
                    }
                    Part::Summary(summary) => {
                        pass.summary(&summary, &mut seen);
                        if backward { summary.first } else { summary.last }
                    }
                };
                let enough = ends && seen.iter().all(|seen| *seen)
                    || limited && pass.beyond(at, self.calls.at_most, plan.checked.fill, ascending);
                Ok(if enough { Flow::Enough } else { Flow::More })
            })?;
            if plan.checked.fill == Fill::None {
                let limit = self.calls.context.settings().limits.buckets_max;
                if limit != 0 && limit < pass.slots.len() as u64 {
                    self.calls.context.budget.take_buckets(pass.slots.len() as u64)?;
                }
            }
        }
        Ok(())
    }

    /// What a function came to in each stretch.
    fn points_of(
        &self,
        slots: &BTreeMap<i64, usize>,
        states: &[State],
        leaves: usize,
        number: usize,
        simple: Simple,
        beside: usize,
    ) -> Points {
        let window = self.calls.window((0, 0));
        let own_time = window.interval.length == 0 && self.calls.selector;
        let mut out = Points { times: Vec::new(), columns: vec![Vector::new(); 1 + beside] };
        let mut add = |start: i64, slot: usize| {
            let Some((value, time, aux)) = simple.end(states[slot * leaves + number].clone())
            else {
                return;
            };
            let shown = Window::shown(start);
            out.times.push(if own_time { time.unwrap_or(shown) } else { shown });
            out.columns[0].push(value);
            let cells = aux.into_iter().chain(std::iter::repeat(Cell::Null));
            out.columns[1..].iter_mut().zip(cells).for_each(|(column, cell)| column.push(cell));
        };
        if self.calls.plan.checked.ascending {
            for (start, slot) in slots {
                add(*start, *slot);
            }
        } else {
            for (start, slot) in slots.iter().rev() {
                add(*start, *slot);
            }
        }
        out
    }
}

impl Calls<'_> {
    /// The functions within one that take points one by one, and are asked over the stretch that is wanted.
    fn leaves(&self, call: &Expr, span: Span, wanted: Span, leaves: &mut Vec<(Expr, Simple, Ref)>) {
        let Expr::Call { name, args } = call else {
            return;
        };
        let span = self.inner_span(name, span);
        match (Simple::named(name), args.first()) {
            (_, Some(inner @ Expr::Call { name: inner_name, .. })) if inner_name != "distinct" => {
                self.leaves(inner, span, wanted, leaves);
            }
            (Some(simple), Some(Expr::Ref(reference)))
                if span == wanted && !leaves.iter().any(|(other, ..)| other == call) =>
            {
                leaves.push((call.clone(), simple, reference.clone()));
            }
            _ => {}
        }
    }
}

fn as_ref(expr: &Expr) -> Option<Ref> {
    match expr {
        Expr::Ref(reference) => Some(reference.clone()),
        _ => None,
    }
}

fn is_selector_name(name: &str) -> bool {
    is_selector(&Expr::Call { name: name.to_owned(), args: Vec::new() })
}

/// Where the stretches of some times begin, and which times are in each.
fn cut(times: &[i64], window: Window<'_>) -> Vec<(i64, usize, usize)> {
    let (mut found, mut from) = (Vec::new(), 0);
    while from < times.len() {
        let (start, end) = window.of(times[from]);
        let count = if window.interval.length == 0 {
            times.len() - from
        } else {
            times[from..].partition_point(|time| *time < end).max(1)
        };
        found.push((start, from, from + count));
        from += count;
    }
    found
}

/// Of the points of a stretch that are alike in some columns the greatest, or the least.
fn best_of_each(points: &Points, by: usize, shape: &Shape, window: Window<'_>) -> Points {
    let greatest = matches!(shape, Shape::Ranked(true, _));
    let mut kept = Vec::new();
    for (_, from, to) in cut(&points.times, window) {
        let mut best: BTreeMap<Vec<String>, usize> = BTreeMap::new();
        for row in from..to {
            let group: Vec<String> = points.columns[by..]
                .iter()
                .map(|column| match column.get(row) {
                    Cell::Text(text) => text,
                    _ => String::new(),
                })
                .collect();
            let value = points.columns[0].get(row);
            let known = best.entry(group).or_insert(row);
            let order = crate::fold::order(&value, &points.columns[0].get(*known));
            if if greatest { order.is_gt() } else { order.is_lt() } {
                *known = row;
            }
        }
        let mut rows: Vec<u32> = best.into_values().map(|row| row as u32).collect();
        rows.sort_unstable();
        kept.extend(rows);
    }
    points.picked(&kept)
}
