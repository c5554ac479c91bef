//! Numbers and histories as the tiers print them.

use crate::history::Op;
use std::{fmt::Write as _, time::Duration};

/// A number as people read it: `950`, `12.3k`, `1.0M`.
pub fn count(number: u64) -> String {
    match number {
        0..10_000 => number.to_string(),
        10_000..1_000_000 => format!("{:.1}k", number as f64 / 1e3),
        _ => format!("{:.1}M", number as f64 / 1e6),
    }
}

/// A time as people read it: `41s`, `5m41s`.
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    if seconds < 60 {
        return format!("{:.1}s", time.as_secs_f64());
    }
    format!("{}m{:02}s", seconds / 60, seconds % 60)
}

/// How many operations of a history are printed.
const SHOWN_MAX: usize = 80;

/// A history as a script to keep or to replay, its end if it is long.
pub(crate) fn shown_history(title: &str, history: &[Op]) -> String {
    let left_out = history.len().saturating_sub(SHOWN_MAX);
    let mut shown = format!("  {title} ({} operations", history.len());
    let rest =
        if left_out == 0 { String::new() } else { format!(", the first {left_out} left out") };
    writeln!(shown, "{rest}):").ok();
    for op in &history[left_out..] {
        writeln!(shown, "    {op}").ok();
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_are_short() {
        assert_eq!(count(9_999), "9999");
        assert_eq!(count(12_345), "12.3k");
        assert_eq!(count(1_000_000), "1.0M");
        assert_eq!(duration(Duration::from_millis(41_230)), "41.2s");
        assert_eq!(duration(Duration::from_secs(341)), "5m41s");
    }
}
