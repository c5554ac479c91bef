//! Lines of JSON: what VictoriaMetrics exports, a series a line, or objects, a point each.
//!
//! 1. A line that is wrong costs itself; of an exported series, a sample that is wrong costs itself.
//! 2. Of a long line no more is taken apart at a time than its names and one sample.
//! 3. Numbers are passed on as they are written.

use super::{
    naming::{Naming, Role, Row},
    point::{Kind, Point, shown},
    sink::Sink,
};
use crate::{
    ending::Failure,
    json::{Json, Spans},
};

/// Makes points of lines.
pub(crate) struct Objects {
    naming: Naming,
    /// What the value of an exported series is called.
    field: String,
    row: Row,
    point: Point,
}

impl Objects {
    pub(crate) fn new(naming: &Naming, field: &str) -> Objects {
        Objects {
            naming: naming.clone(),
            field: field.to_owned(),
            row: Row::default(),
            point: Point::default(),
        }
    }

    /// Takes one line.
    pub(crate) fn take(
        &mut self,
        record: &[u8],
        number: u64,
        sink: &mut Sink<'_>,
    ) -> Result<(), Failure> {
        let text = match str::from_utf8(record) {
            Ok(text) => text.trim(),
            Err(error) => {
                let why = format!("it is no UTF-8 from byte {} on", error.valid_up_to() + 1);
                sink.refuse(number, why);
                return Ok(());
            }
        };
        if text.is_empty() {
            return Ok(());
        }
        let members = match Spans::members(text) {
            Ok(members) => members,
            Err((at, what)) => {
                sink.refuse(number, format!("column {}: {what}", at + 1));
                return Ok(());
            }
        };
        let member =
            |name: &str| members.iter().find(|(known, _)| known == name).map(|(_, span)| *span);
        let is_series = |span: &str| span.starts_with('{');
        if let Some(metric) = member("metric").filter(|span| is_series(span)) {
            let (values, times) = (member("values"), member("timestamps"));
            let (Some(values), Some(times)) = (values, times) else {
                sink.refuse(number, "a series has `metric`, `values` and `timestamps`".into());
                return Ok(());
            };
            return self.series(number, metric, (values, times), sink);
        }
        self.naming.check_measurement()?;
        match self.object(&members).and_then(|()| self.row.line(&mut self.point)) {
            Ok(line) => sink.line(number, line),
            Err(why) => {
                sink.refuse(number, why);
                Ok(())
            }
        }
    }

    /// An exported series.
    fn series(
        &mut self,
        number: u64,
        metric: &str,
        (values, times): (&str, &str),
        sink: &mut Sink<'_>,
    ) -> Result<(), Failure> {
        if let Err(why) = self.named(metric) {
            sink.refuse(number, why);
            return Ok(());
        }
        let lists =
            Spans::elements(values).and_then(|values| Ok((values, Spans::elements(times)?)));
        let (mut values, mut times) = match lists {
            Ok(lists) => lists,
            Err((_, what)) => {
                sink.refuse(number, format!("of the samples {what}"));
                return Ok(());
            }
        };
        for sample in 1_u64.. {
            let (value, time) = match (values.next(), times.next()) {
                (None, None) => break,
                (Some(Ok(value)), Some(Ok(time))) => (value, time),
                (Some(Err(what)), _) | (_, Some(Err(what))) => {
                    sink.refuse(number, format!("sample {sample}: {what}"));
                    return Ok(());
                }
                _ => {
                    let why = "there are not as many values as timestamps";
                    sink.refuse(number, format!("sample {sample}: {why}"));
                    return Ok(());
                }
            };
            // What is no number is exported so; no line can say it.
            if value == "null" {
                sink.leave_out();
                continue;
            }
            match self.sample(value, time) {
                Ok(line) => sink.line(number, line)?,
                Err(why) => sink.refuse(number, format!("sample {sample}: {why}")),
            }
        }
        Ok(())
    }

    /// Reads of which series samples are.
    fn named(&mut self, metric: &str) -> Result<(), String> {
        let metric = Json::parse(metric).map_err(|(_, what)| format!("of the metric {what}"))?;
        let Json::Object(labels) = metric else { return Err("`metric` is no object".into()) };
        self.row.clear();
        self.row.measurement.push_str(self.naming.measurement().unwrap_or_default());
        for (name, value) in labels {
            let Json::Text(value) = value else {
                return Err(format!("the label `{}` is no text", shown(&name)));
            };
            if name == "__name__" {
                if self.naming.measurement().is_none() {
                    self.row.measurement = value;
                }
            } else {
                self.row.tags.push((name, value));
            }
        }
        Ok(())
    }

    fn sample(&mut self, value: &str, time: &str) -> Result<&[u8], String> {
        const MILLISECOND: i64 = 1_000_000;
        let millis = time.parse::<i64>().ok().and_then(|millis| millis.checked_mul(MILLISECOND));
        self.row.time =
            Some(millis.ok_or_else(|| format!("`{}` is no time in milliseconds", shown(time)))?);
        self.row.fields.clear();
        self.row.fields.push((self.field.clone(), Kind::Float, value.trim_matches('"').to_owned()));
        self.row.line(&mut self.point)
    }

    /// Puts what an object has in order.
    fn object(&mut self, members: &[(String, &str)]) -> Result<(), String> {
        let row = &mut self.row;
        row.clear();
        row.measurement.push_str(self.naming.measurement().unwrap_or_default());
        for (name, span) in members {
            let role = self.naming.role(name);
            if role == Role::Nothing || *span == "null" {
                continue;
            }
            let (kind, text) = scalar(span).ok_or_else(|| {
                format!(
                    "`{}` is a list or an object; a point has numbers, texts, true and false",
                    shown(name)
                )
            })?;
            match role {
                Role::Measurement => row.measurement = text,
                Role::Tag => row.tags.push((name.clone(), text)),
                Role::Time => row.time = Some(self.naming.clock.read(&text)?),
                Role::Field => {
                    let kind = self.naming.kind(name).unwrap_or(kind);
                    row.fields.push((name.clone(), kind, text));
                }
                Role::Nothing => {}
            }
        }
        Ok(())
    }
}

/// A value that is no list and no object.
fn scalar(span: &str) -> Option<(Kind, String)> {
    if span.starts_with(['[', '{']) {
        return None;
    }
    Some(match Json::parse(span).ok()? {
        Json::Text(text) => (Kind::Text, text),
        Json::Bool(value) => (Kind::Boolean, value.to_string()),
        Json::Number(number) => (Kind::Float, number),
        Json::Null | Json::List(_) | Json::Object(_) => return None,
    })
}
