//! Makes commands of the text of a query.

use olivine_command::{Command, Statement};
use olivine_doors::influx::Query;

use crate::settings::QuerySettings;

/// The commands that the statements of a query are, in their order, or why the text is wrong.
pub(crate) fn commands(
    query: &Query,
    settings: &QuerySettings,
) -> Result<Vec<Command<'static>>, String> {
    let mut commands = Vec::new();
    if query.text.trim().is_empty() {
        return Ok(commands);
    }
    for text in query.text.split(';').map(str::trim).filter(|text| !text.is_empty()) {
        let word = text.split_whitespace().next().unwrap_or_default().to_ascii_lowercase();
        let statement = Statement {
            text: text.as_bytes().to_vec().into(),
            database: query.database.as_bytes().to_vec().into(),
            policy: query.policy.as_bytes().to_vec().into(),
            relaxed: query.relaxed,
            millis_max: settings.time_max.as_millis() as u64,
            bytes_max: settings.bytes_max,
            points_max: settings.points_max,
        };
        commands.push(match &*word {
            "create" | "alter" => Command::Alter { statement, defines: true },
            "drop" | "delete" => Command::Alter { statement, defines: false },
            _ => Command::Query { statement },
        });
    }
    Ok(commands)
}
