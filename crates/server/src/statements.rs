//! Makes commands of the text of a query.

use olivine_command::{Command, Statement};
use olivine_doors::influx::{Parameter, Query};
use olivine_query::{Class, Dialect, Param, ParseError, parse_with};

use crate::settings::QuerySettings;

/// The commands that the statements of a query are, in their order, or why the text is wrong.
pub(crate) fn commands(
    query: &Query,
    settings: &QuerySettings,
) -> Result<Vec<Command<'static>>, ParseError> {
    let dialect = if query.relaxed { Dialect::Relaxed } else { Dialect::Strict };
    let parameters = query.parameters.iter();
    let parameters = parameters.map(|(name, value)| (name.clone(), param(value))).collect();
    let statements = parse_with(&query.text, dialect, &parameters)?;
    Ok(statements.iter().map(|statement| command(query, settings, statement)).collect())
}

fn param(value: &Parameter) -> Param {
    match value {
        Parameter::Text(text) => Param::Text(text.clone()),
        Parameter::Number(number) => Param::Number(*number),
        Parameter::Integer(number) => Param::Integer(*number),
        Parameter::Boolean(value) => Param::Boolean(*value),
        Parameter::Name(name) => Param::Name(name.clone()),
        Parameter::Pattern(pattern) => Param::Pattern(pattern.clone()),
        Parameter::Duration(duration) => Param::Duration(duration.clone()),
    }
}

fn command(
    query: &Query,
    settings: &QuerySettings,
    parsed: &olivine_query::Statement,
) -> Command<'static> {
    let bytes = |text: &str| text.as_bytes().to_vec().into();
    let statement = Statement {
        text: parsed.to_string().into_bytes().into(),
        database: bytes(&query.database),
        policy: bytes(&query.policy),
        relaxed: query.relaxed,
        millis_max: settings.time_max.as_millis() as u64,
        bytes_max: settings.bytes_max,
        points_max: settings.points_max,
    };
    match parsed.class() {
        Class::Reads => Command::Query { statement },
        Class::Writes => Command::Alter { statement, defines: false },
        Class::Defines => Command::Alter { statement, defines: true },
    }
}
