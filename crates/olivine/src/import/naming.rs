//! What the columns of a table, or the members of an object, are: the flags say it.
//!
//! 1. Everything that is named and not there is an error; what is not named is a field, unless fields are.
//! 2. The type of a field stays what its first value was taken for, and a value that is none refuses its line.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    moment::Clock,
    point::{Kind, Point, shown},
};
use crate::{
    call::{Call, Opt},
    ending::Failure,
};

pub(crate) const MEASUREMENT: Opt =
    Opt::value("--measurement", "NAME", "the measurement of all points");
pub(crate) const MEASUREMENT_COLUMN: Opt =
    Opt::value("--measurement-column", "NAME", "the column that has the measurement");
pub(crate) const TAGS: Opt = Opt::value("--tags", "NAME,...", "the columns that are tags");
pub(crate) const FIELDS: Opt =
    Opt::value("--fields", "NAME,...", "the columns that are fields (all the others)");
pub(crate) const TYPES: Opt = Opt::value(
    "--types",
    "NAME:TYPE,...",
    "float, integer, unsigned, boolean or string; others are what their first value looks like, a number a float",
);
pub(crate) const TIME_COLUMN: Opt =
    Opt::value("--time-column", "NAME", "the column that has the time").or("time");
pub(crate) const TIME_FORMAT: Opt = Opt::value(
    "--time-format",
    "FORMAT",
    "unix, rfc3339, or a pattern such as %Y-%m-%d %H:%M:%S (either of the first two)",
);
pub(crate) const PRECISION: Opt =
    Opt::value("--precision", "UNIT", "of times that are numbers: ns, us, ms, s, m or h").or("ns");

/// What somebody is who has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Measurement,
    Tag,
    Time,
    Field,
    /// Nobody wants it.
    Nothing,
}

/// What the flags say of columns.
#[derive(Clone, Debug)]
pub(crate) struct Naming {
    measurement: Option<String>,
    measurement_column: Option<String>,
    tags: BTreeSet<String>,
    fields: Option<BTreeSet<String>>,
    types: BTreeMap<String, Kind>,
    time_column: String,
    pub(crate) clock: Clock,
}

impl Naming {
    pub(crate) fn of(call: &Call) -> Result<Naming, Failure> {
        let list = |name| -> Result<Option<BTreeSet<String>>, Failure> {
            let text = call.text(name)?;
            Ok(text.map(|text| text.split(',').map(str::to_owned).collect()))
        };
        let mut types = BTreeMap::new();
        for typed in call.text(TYPES.name)?.iter().flat_map(|text| text.split(',')) {
            let kind = typed
                .rsplit_once(':')
                .and_then(|(name, kind)| Some((name.to_owned(), Kind::named(kind)?)));
            let wants = "wants names with their types, such as load:float,host:string";
            types.extend([
                kind.ok_or_else(|| call.wrong(TYPES.name, format!("{wants}, not `{typed}`")))?
            ]);
        }
        let clock = Clock::named(
            call.text(TIME_FORMAT.name)?.as_deref(),
            call.text(PRECISION.name)?.as_deref(),
        );
        let naming = Naming {
            measurement: call.text(MEASUREMENT.name)?,
            measurement_column: call.text(MEASUREMENT_COLUMN.name)?,
            tags: list(TAGS.name)?.unwrap_or_default(),
            fields: list(FIELDS.name)?,
            types,
            time_column: call.text(TIME_COLUMN.name)?.unwrap_or_else(|| "time".to_owned()),
            clock: clock.map_err(Failure::misused)?,
        };
        if naming.measurement.is_some() && naming.measurement_column.is_some() {
            let what =
                "`--measurement` is that of all points, `--measurement-column` has it; not both";
            return Err(Failure::misused(what));
        }
        Ok(naming)
    }

    /// Whether it can be told of which measurement points are.
    pub(crate) fn check_measurement(&self) -> Result<(), Failure> {
        if self.measurement.is_some() || self.measurement_column.is_some() {
            return Ok(());
        }
        let what = "`--measurement` or `--measurement-column` says of which measurement the points are, and is missing";
        Err(Failure::misused(what))
    }

    /// What a column of this name is.
    pub(crate) fn role(&self, name: &str) -> Role {
        if self.measurement_column.as_deref() == Some(name) {
            Role::Measurement
        } else if self.time_column == name {
            Role::Time
        } else if self.tags.contains(name) {
            Role::Tag
        } else if self.fields.as_ref().is_none_or(|fields| fields.contains(name)) {
            Role::Field
        } else {
            Role::Nothing
        }
    }

    /// The type of a field, if somebody says it.
    pub(crate) fn kind(&self, name: &str) -> Option<Kind> {
        self.types.get(name).copied()
    }

    /// The measurement of all points.
    pub(crate) fn measurement(&self) -> Option<&str> {
        self.measurement.as_deref()
    }

    /// Refuses a table that lacks a column that is named.
    pub(crate) fn check_columns(&self, columns: &[String]) -> Result<(), String> {
        let named = self.tags.iter().chain(self.fields.iter().flatten());
        let named = named.chain(self.measurement_column.iter()).chain(self.types.keys());
        let missing = named.chain([&self.time_column]).find(|name| !columns.contains(name));
        match missing {
            None => Ok(()),
            Some(name) => {
                let known: Vec<String> = columns.iter().take(50).map(|name| shown(name)).collect();
                let time = if *name == self.time_column {
                    "; `--time-column` says which has the time"
                } else {
                    ""
                };
                Err(format!(
                    "there is no column `{}`; there are {}{time}",
                    shown(name),
                    known.join(", ")
                ))
            }
        }
    }
}

/// What one row or object has, put in the order in which a line has it.
#[derive(Debug, Default)]
pub(crate) struct Row {
    pub(crate) measurement: String,
    pub(crate) tags: Vec<(String, String)>,
    pub(crate) fields: Vec<(String, Kind, String)>,
    pub(crate) time: Option<i64>,
}

impl Row {
    pub(crate) fn clear(&mut self) {
        self.measurement.clear();
        self.tags.clear();
        self.fields.clear();
        self.time = None;
    }

    /// The line that says it.
    pub(crate) fn line<'p>(&self, point: &'p mut Point) -> Result<&'p [u8], String> {
        let time = self.time.ok_or("it has no time")?;
        point.begin(&self.measurement)?;
        for (name, value) in &self.tags {
            point.tag(name, value)?;
        }
        for (name, kind, text) in &self.fields {
            point.field(name, *kind, text)?;
        }
        point.end(time).ok_or_else(|| "it has no field with a value".to_owned())
    }
}
