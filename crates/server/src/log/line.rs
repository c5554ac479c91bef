//! An event as a line: `2026-01-31T12:00:00.000Z INFO  door_opened door=json address=127.0.0.1:9999`, or the
//! same as a JSON object.
//!
//! 1. A value is escaped (`shown.rs`) and cut: at 256 bytes, or at 1,024 where it is a text that the node
//!    itself wrote. What clients send is bytes, and never such a text.
//! 2. Times are UTC.

use std::{
    fmt::{self, Debug, Write as _},
    sync::Arc,
    time::Duration,
};

use olivine_vfs::Clock;
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span,
    subscriber::Interest,
};

use super::{
    LogFormat,
    queue::Queue,
    shown::{CLIENT_BYTES_MAX, shown},
};

/// The most that is shown of a text of the node itself: a path in it is the operator's.
const OWN_BYTES_MAX: usize = 1_024;

/// Parts of names of fields that have no value in any line.
const SECRET: [&str; 5] = ["password", "secret", "token", "authorization", "credential"];

/// Makes lines of events, and queues them.
pub(super) struct Teller {
    format: LogFormat,
    level: Level,
    clock: Arc<dyn Clock>,
    queue: Arc<Queue>,
}

impl Teller {
    pub(super) fn new(
        format: LogFormat,
        level: Level,
        clock: Arc<dyn Clock>,
        queue: &Arc<Queue>,
    ) -> Teller {
        Teller { format, level, clock, queue: Arc::clone(queue) }
    }
}

impl Subscriber for Teller {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.enabled(metadata) { Interest::always() } else { Interest::never() }
    }

    /// Only events of ours: those of other crates have no names of the list.
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event()
            && *metadata.level() <= self.level
            && metadata.target().starts_with("olivine")
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level.into())
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::new(self.format);
        event.record(&mut line);
        let line = line.ended(self.clock.wall(), *event.metadata().level());
        self.queue.add(line.as_bytes());
    }

    // There are no spans here.
    fn new_span(&self, _span: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _span: &span::Id, _values: &span::Record<'_>) {}

    fn record_follows_from(&self, _span: &span::Id, _follows: &span::Id) {}

    fn enter(&self, _span: &span::Id) {}

    fn exit(&self, _span: &span::Id) {}
}

/// The line that tells how many others could not be written.
pub(super) fn lost_line(format: LogFormat, clock: &dyn Clock, count: u64) -> Vec<u8> {
    let mut line = Line::new(format);
    "lines_lost".clone_into(&mut line.event);
    line.plain("count", count);
    line.ended(clock.wall(), Level::WARN).into_bytes()
}

/// A line as it grows.
struct Line {
    format: LogFormat,
    event: String,
    fields: String,
}

impl Line {
    fn new(format: LogFormat) -> Line {
        Line { format, event: String::new(), fields: String::new() }
    }

    /// Adds a field that needs no quotes.
    fn plain(&mut self, name: &str, value: impl fmt::Display) {
        let _infallible = match self.format {
            LogFormat::Text => write!(self.fields, " {name}={value}"),
            LogFormat::Json => write!(self.fields, ",\"{name}\":{value}"),
        };
    }

    fn text(&mut self, name: &str, bytes: &[u8], bytes_max: usize) {
        if SECRET.iter().any(|secret| name.contains(secret)) {
            return self.plain(name, "\"(secret)\"");
        }
        let shown = shown(bytes, bytes_max);
        let is_word = !shown.is_empty() && !shown.contains([' ', '"', '=']);
        if self.format == LogFormat::Text && is_word {
            self.plain(name, shown);
        } else {
            self.plain(name, Quoted(&shown, self.format));
        }
    }

    fn ended(self, time: Duration, level: Level) -> String {
        let Line { format, event, fields } = self;
        let (time, level) = (Utc(time), level.as_str());
        match format {
            LogFormat::Text => format!("{time} {level:5} {event}{fields}\n"),
            LogFormat::Json => {
                let level = level.to_ascii_lowercase();
                format!(
                    "{{\"time\":\"{time}\",\"level\":\"{level}\",\"event\":\"{event}\"{fields}}}\n"
                )
            }
        }
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "event" => value.clone_into(&mut self.event),
            name => self.text(name, value.as_bytes(), OWN_BYTES_MAX),
        }
    }

    fn record_bytes(&mut self, field: &Field, value: &[u8]) {
        self.text(field.name(), value, CLIENT_BYTES_MAX);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.text(field.name(), format!("{value:?}").as_bytes(), CLIENT_BYTES_MAX);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.plain(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.plain(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.plain(field.name(), value);
    }
}

/// What was shown, in quotes. In JSON its backslashes are escaped once more, so that who reads the JSON has
/// what was shown; in a text they stand as they are.
pub(crate) struct Quoted<'a>(pub(crate) &'a str, pub(crate) LogFormat);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Quoted(shown, format) = self;
        f.write_char('"')?;
        for letter in shown.chars() {
            if letter == '"' || (letter == '\\' && *format == LogFormat::Json) {
                f.write_char('\\')?;
            }
            f.write_char(letter)?;
        }
        f.write_char('"')
    }
}

/// A time since 1970 as RFC 3339 writes it, in UTC, with milliseconds.
pub(crate) struct Utc(pub(crate) Duration);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, millis) = (self.0.as_secs(), self.0.subsec_millis());
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = date(days);
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
    }
}

/// The date so many days after the first of 1970: years are counted from a March, so that the day that some
/// have more is their last.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (400 * era + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use olivine_vfs::ManualClock;
    use std::sync::Mutex;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.007Z"),
            (951_782_399, "2000-02-28T23:59:59.007Z"),
            (951_782_400, "2000-02-29T00:00:00.007Z"),
            (951_868_800, "2000-03-01T00:00:00.007Z"),
            (1_767_225_599, "2025-12-31T23:59:59.007Z"),
            (4_107_542_400, "2100-03-01T00:00:00.007Z"),
        ] {
            assert_eq!(Utc(Duration::from_millis(seconds * 1_000 + 7)).to_string(), text);
        }
        // Every day of four centuries is the one after the day before.
        let mut before = date(0);
        for day in 1..146_097 {
            let next = date(day);
            let follows = next == (before.0, before.1, before.2 + 1)
                || next == (before.0, before.1 + 1, 1)
                || next == (before.0 + 1, 1, 1);
            assert!(follows && next.2 <= 31, "{before:?} {next:?}");
            before = next;
        }
        assert_eq!(date(146_097), (2370, 1, 1));
    }

    /// What is told in `tell`, in one format.
    fn told(format: LogFormat, level: Level, tell: impl FnOnce()) -> String {
        let queue = Arc::new(Queue::default());
        let clock = Arc::new(ManualClock::new());
        clock.set_wall(Duration::from_millis(1_000_000_000_123));
        let teller = Teller::new(format, level, clock, &queue);
        tracing::subscriber::with_default(teller, tell);
        let written = Arc::new(Mutex::new(Vec::new()));
        queue.end(Duration::ZERO);
        super::super::queue::write_all(&queue, Box::new(Kept(Arc::clone(&written))), |_| vec![]);
        String::from_utf8(std::mem::take(&mut *written.lock().unwrap())).unwrap()
    }

    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl super::super::queue::Sink for Kept {
        fn write(&mut self, lines: &[u8]) -> std::io::Result<()> {
            self.0.lock().unwrap().extend_from_slice(lines);
            Ok(())
        }
    }

    fn some_events() {
        let key: &[u8] = b"a\r\n\x1b[31m\"\\";
        tracing::info!(event = "tried", door = "json", key, why = "two words", n = 7_u64);
        tracing::warn!(event = "tried", api_token = "hunter2", password = &b"x"[..], is = true);
        tracing::info!(event = "tried", absent = None::<u64>, empty = "", debug = ?"a b");
        tracing::debug!(event = "not_told");
        tracing::error!(target: "hyper", event = "of_others");
    }

    #[test]
    fn an_event_is_one_line_for_people() {
        let lines = told(LogFormat::Text, Level::INFO, some_events);
        let time = "2001-09-09T01:46:40.123Z";
        assert_eq!(
            lines,
            format!(
                "{time} INFO  tried door=json key=\"a\\r\\n\\x1b[31m\\\"\\\\\" why=\"two words\" n=7\n\
                 {time} WARN  tried api_token=\"(secret)\" password=\"(secret)\" is=true\n\
                 {time} INFO  tried empty=\"\" debug=\"\\\"a b\\\"\"\n"
            )
        );
    }

    #[test]
    fn an_event_is_one_object_for_programs() {
        let lines = told(LogFormat::Json, Level::INFO, some_events);
        let first = "{\"time\":\"2001-09-09T01:46:40.123Z\",\"level\":\"info\",\"event\":\"tried\",\
            \"door\":\"json\",\"key\":\"a\\\\r\\\\n\\\\x1b[31m\\\"\\\\\\\\\",\"why\":\"two words\",\"n\":7}";
        assert_eq!(lines.lines().next().unwrap(), first);
        assert_eq!(lines.lines().count(), 3);
        assert!(!lines.contains("hunter2") && lines.contains("\"api_token\":\"(secret)\""));
    }

    #[test]
    fn a_client_fills_no_line() {
        let key = vec![b'k'; 1 << 20];
        let lines = told(LogFormat::Json, Level::WARN, || {
            tracing::warn!(event = "tried", key = &key[..], debug = ?"d".repeat(9_999));
            tracing::info!(event = "not_told");
        });
        assert!(lines.len() < 700 && lines.contains("…(1048576 bytes)"), "{lines}");
        assert_eq!(lines.lines().count(), 1);
    }
}
