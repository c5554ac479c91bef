//! How long a node waits for others, as options.

use std::time::Duration;

use olivine_server::{Patience, Wait};

use crate::{
    call::{Call, Opt},
    ending::Failure,
};

const fn time(wait: Wait) -> Opt {
    Opt::value(wait.flag(), "TIME", wait.what()).or(wait.default_text())
}

/// What whoever has doors over HTTP waits for.
pub(super) const OF_HTTP_TIMES: &[Opt] = &[time(Wait::Head), time(Wait::Body)];

/// What whoever has doors over lines waits for.
pub(super) const OF_LINES_TIMES: &[Opt] = &[time(Wait::Line), time(Wait::Idle), time(Wait::Login)];

/// What whoever has connections waits for.
pub(super) const OF_CONNECTIONS: &[Opt] =
    &[time(Wait::Answer), time(Wait::Handshake), time(Wait::Drain)];

/// What whoever has a store waits for.
pub(super) const OF_STORE_TIMES: &[Opt] = &[time(Wait::Store)];

/// What whoever has a storage elsewhere waits for.
pub(super) const OF_LINK_TIMES: &[Opt] = &[time(Wait::Connect)];

/// The times that a call gives; those that its command does not know are as ever.
pub(crate) fn patience(call: &Call) -> Result<Patience, Failure> {
    let mut patience = Patience::default();
    let (least, most) = Patience::BOUNDS;
    let known = |wait: &Wait| call.command().options().any(|option| option.name == wait.flag());
    for wait in Wait::ALL.into_iter().filter(known) {
        let name = wait.flag();
        let Some(text) = call.text(name)? else { continue };
        let wanted = "wants a time such as 500ms, 30s or 5m";
        let wrong = || call.wrong(name, format_args!("{wanted}, not `{text}`"));
        let time = duration(&text).ok_or_else(wrong)?;
        if !(least..=most).contains(&time) {
            let (least, most) = (least.as_millis(), most.as_secs() / 60);
            return Err(call.wrong(name, format_args!("may be {least}ms to {most}m, not {text}")));
        }
        patience.set(wait, time);
    }
    Ok(patience)
}

/// `500ms`, `1s`, `5m`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let units = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
    let millis = units.iter().find_map(|(unit, millis)| {
        text.strip_suffix(unit)?.parse::<u64>().ok()?.checked_mul(*millis)
    });
    millis.map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_times_that_can_be_given() {
        let patience = Patience::default();
        for wait in Wait::ALL {
            assert_eq!(duration(wait.default_text()), Some(patience.of(wait)), "{}", wait.name());
        }
    }
}
