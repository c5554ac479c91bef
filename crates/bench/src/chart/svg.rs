//! Panels of bars as SVG text, readable on a light ground and on a dark one.
//!
//! 1. A bar's height is its value's share of the axis, and the axis begins at zero.
//! 2. Nothing in the file is fetched from elsewhere: no font, no script, no style sheet.

use std::fmt::Write as _;

use super::ENGINES;
use crate::row::IN_MEMORY;

/// One engine's figure.
pub(super) struct Bar {
    /// Among all engines: decides the colour.
    pub(super) place: usize,
    pub(super) value: f64,
}

/// One row of the table.
pub(super) struct Panel {
    pub(super) title: &'static str,
    pub(super) row: &'static str,
    pub(super) unit: &'static str,
    pub(super) bars: Vec<Bar>,
}

/// The side of a legend's square.
pub(super) const SWATCH: f64 = 10.0;

const WIDTH: f64 = 880.0;
const MARGIN: f64 = 20.0;
const HEAD: f64 = 84.0;
const COLUMNS: usize = 3;
const PANEL_HEIGHT: f64 = 214.0;
/// Of a panel: its titles above the axis, the room for the axis's figures at the left.
const TITLES: f64 = 48.0;
const AXIS_LEFT: f64 = 52.0;
const PLOT_HEIGHT: f64 = 140.0;
const GAP: f64 = 22.0;
const BAR_WIDTH_MAX: f64 = 38.0;

const STYLE: &str = "\
text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif;fill:#1f2328}\
.g{fill:#fff}.s{fill:#59636e}.l{stroke:#d1d9e0;stroke-width:1}.z{stroke:#59636e;stroke-width:1}\
.e0{fill:#6f8f12}.e1{fill:#c8702a}.e2{fill:#e0a86c}.e3{fill:#3a7fb5}.e4{fill:#85868c}\
@media (prefers-color-scheme:dark){text{fill:#e6edf3}.g{fill:#0d1117}.s{fill:#9198a1}\
.l{stroke:#30363d}.z{stroke:#9198a1}\
.e0{fill:#a3c62c}.e1{fill:#e08b45}.e2{fill:#f0c493}.e3{fill:#5aa5dd}.e4{fill:#9b9ca3}}";

/// The whole file.
pub(super) fn render(title: &str, about: &str, panels: &[Panel]) -> String {
    let rows = panels.len().div_ceil(COLUMNS) as f64;
    let height = HEAD + rows * PANEL_HEIGHT + MARGIN / 2.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         width=\"{WIDTH}\" height=\"{height}\" role=\"img\" aria-label=\"{title}\">\n\
         <style>{STYLE}</style>\n\
         <rect class=\"g\" width=\"{WIDTH}\" height=\"{height}\" rx=\"8\"/>\n"
    );
    text(&mut svg, MARGIN, 32.0, "", 18.0, title);
    text(&mut svg, MARGIN, 52.0, "s", 12.0, about);
    legend(&mut svg, panels);
    let panel_width = (WIDTH - 2.0 * MARGIN - GAP * (COLUMNS - 1) as f64) / COLUMNS as f64;
    for (index, panel) in panels.iter().enumerate() {
        let left = MARGIN + (index % COLUMNS) as f64 * (panel_width + GAP);
        let top = HEAD + (index / COLUMNS) as f64 * PANEL_HEIGHT;
        draw(&mut svg, panel, left, top, panel_width);
    }
    svg.push_str("</svg>\n");
    svg
}

fn legend(svg: &mut String, panels: &[Panel]) {
    let mut x = MARGIN;
    for (place, (_, name)) in ENGINES.iter().enumerate() {
        if panels.iter().flat_map(|panel| &panel.bars).any(|bar| bar.place == place) {
            rect(svg, place, x, 63.0, SWATCH, SWATCH);
            text(svg, x + 15.0, 72.0, "", 12.0, name);
            x += 34.0 + 6.6 * name.len() as f64;
        }
    }
}

fn draw(svg: &mut String, panel: &Panel, left: f64, top: f64, width: f64) {
    let most = panel.bars.iter().map(|bar| bar.value).fold(0.0, f64::max);
    let (end, steps) = axis(most);
    let (plot_left, plot_right) = (left + AXIS_LEFT, left + width);
    let zero = top + TITLES + PLOT_HEIGHT;
    text(svg, left, top + 16.0, "", 13.0, panel.title);
    text(svg, left, top + 31.0, "s", 11.0, panel.row);
    for step in 0..=steps {
        let share = f64::from(step) / f64::from(steps);
        let y = zero - share * PLOT_HEIGHT;
        let class = if step == 0 { "z" } else { "l" };
        writeln!(
            svg,
            "<line class=\"{class}\" x1=\"{plot_left:.1}\" y1=\"{y:.1}\" x2=\"{plot_right:.1}\" \
             y2=\"{y:.1}\"/>"
        )
        .expect(IN_MEMORY);
        let label = show(share * end, panel.unit);
        anchored(svg, (plot_left - 6.0, y + 3.5), "s", 10.0, "end", &label);
    }
    let slot = (plot_right - plot_left) / panel.bars.len() as f64;
    let bar_width = (slot - 10.0).min(BAR_WIDTH_MAX);
    for (index, bar) in panel.bars.iter().enumerate() {
        let middle = plot_left + slot * (index as f64 + 0.5);
        let height = bar.value / end * PLOT_HEIGHT;
        rect(svg, bar.place, middle - bar_width / 2.0, zero - height, bar_width, height);
        let label = show(bar.value, panel.unit);
        anchored(svg, (middle, zero - height - 4.0), "", 10.0, "middle", &label);
    }
}

/// Where an axis ends that shows `most`, and in how many steps: round figures, a little air above.
fn axis(most: f64) -> (f64, u32) {
    let wanted = (most * 1.08).max(1e-9);
    let power = 10_f64.powf(wanted.log10().floor());
    let rounds = [(1.0, 4), (1.5, 3), (2.0, 4), (3.0, 3), (4.0, 4), (6.0, 3), (8.0, 4), (10.0, 4)];
    let (end, steps) =
        rounds.into_iter().find(|(end, _)| wanted <= end * power).unwrap_or((10.0, 4));
    (end * power, steps)
}

/// A figure with its unit, in at most four digits.
fn show(value: f64, unit: &str) -> String {
    let (value, prefix) = match value {
        v if unit == "/s" && 1e6 <= v => (v / 1e6, "M"),
        v if unit == "/s" && 1e3 <= v => (v / 1e3, "k"),
        v => (v, ""),
    };
    let digits = match value {
        0.0 => 0,
        v if v < 10.0 => 1,
        _ => 0,
    };
    let space = if unit == "times" { "" } else { " " };
    let unit = if unit == "times" { "x" } else { unit };
    let small = 0.0 < value && value < 1.0;
    let digits = if small { 2 } else { digits };
    format!("{value:.digits$}{space}{prefix}{unit}")
}

fn rect(svg: &mut String, place: usize, x: f64, y: f64, width: f64, height: f64) {
    let name = ENGINES[place].1;
    writeln!(
        svg,
        "<rect class=\"e{place}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" \
         height=\"{height:.2}\"><title>{name}</title></rect>"
    )
    .expect(IN_MEMORY);
}

fn text(svg: &mut String, x: f64, y: f64, class: &str, size: f64, what: &str) {
    anchored(svg, (x, y), class, size, "start", what);
}

fn anchored(
    svg: &mut String,
    (x, y): (f64, f64),
    class: &str,
    size: f64,
    anchor: &str,
    what: &str,
) {
    let what = what.replace('&', "&amp;").replace('<', "&lt;");
    writeln!(
        svg,
        "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" \
         text-anchor=\"{anchor}\">{what}</text>"
    )
    .expect(IN_MEMORY);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_reaches_beyond_its_bars_and_not_far() {
        for most in [0.004, 1.0, 7.3, 9.9, 12.0, 999.0, 1_430_000.0] {
            let (end, steps) = axis(most);
            assert!(most < end && end <= most * 1.8 && 2 < steps, "{most}: {end}");
        }
    }

    #[test]
    fn figures_are_short() {
        let shown = [show(1_432_100.0, "/s"), show(321_000.0, "/s"), show(0.83, "us")];
        assert_eq!(shown, ["1.4 M/s", "321 k/s", "0.83 us"]);
        assert_eq!(
            [show(0.0, "/s"), show(2.53, "times"), show(140.2, "MB")],
            ["0 /s", "2.5x", "140 MB"]
        );
    }
}
