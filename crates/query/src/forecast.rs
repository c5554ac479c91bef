//! Holt and Winters: values to come, from values that were, with trend and seasons.
//!
//! The parameters are found as InfluxDB finds them (the method of Nelder and Mead, from sixteen starts), so that the
//! numbers are its numbers.
//!
//! 1. The work is bounded: so many starts, so many steps each, and as much per step as there are points.

use crate::{
    math,
    raw::Points,
    settings::{Budget, QueryError},
};
use olivine_command::Cell;

/// Steps of the search from one start.
const STEPS_MAX: usize = 1000;
/// When the values at the corners differ by less, the search ends.
const EPSILON: f64 = 1.0e-4;
/// Values that are looked at, gaps included.
const VALUES_MAX: i64 = 100_000;
/// Points that a season may have.
const SEASON_MAX: usize = 1000;

/// What is to be found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Forecast {
    /// How many values.
    pub(crate) count: usize,
    /// How many points a season has; below two there are none.
    pub(crate) season: usize,
    /// Whether what fits the points is answered too.
    pub(crate) fitted: bool,
    /// From one point to the next.
    pub(crate) interval: i64,
}

impl Forecast {
    /// The values to come.
    pub(crate) fn of(
        self,
        points: &Points,
        budget: &Budget<'_>,
    ) -> Result<Vec<(i64, Cell)>, QueryError> {
        let known: Vec<(i64, f64)> = (0..points.times.len())
            .filter_map(|row| Some((points.times[row], math::float(&points.columns[0].get(row))?)))
            .collect();
        let seasonal = 2 <= self.season;
        if known.len() < 2 || seasonal && known.len() < self.season {
            return Ok(Vec::new());
        }
        let (first, last) = (known[0].0, known[known.len() - 1].0);
        let steps = self.rounded(last).saturating_sub(self.rounded(first)) / self.interval;
        if steps <= 0 {
            return Ok(Vec::new());
        }
        if VALUES_MAX < steps
            || VALUES_MAX.cast_unsigned() < self.count as u64
            || SEASON_MAX < self.season
        {
            return Err(QueryError::Limit(format!(
                "holt_winters() takes at most {VALUES_MAX} intervals and seasons of {SEASON_MAX}: choose a longer interval or a shorter stretch of time"
            )));
        }
        let values = self.series(&known);
        if seasonal && values.len() < self.season {
            return Ok(Vec::new());
        }
        let model = Model { values: &values, seasonal };
        let mut best = model.fit(self.season, budget)?;
        let forecast = model.forecast(self.count, &mut best);
        let (skip, start) = if self.fitted {
            (0, first)
        } else {
            (values.len(), last.saturating_add(self.interval))
        };
        Ok(forecast[skip..]
            .iter()
            .zip(0i64..)
            .filter(|(value, _)| !value.is_nan())
            .map(|(value, place)| {
                let time = start.saturating_add(self.interval.saturating_mul(place));
                (time, Cell::Float(*value))
            })
            .collect())
    }

    fn rounded(self, at: i64) -> i64 {
        let rest = at % self.interval;
        let up = if self.interval / 2 < rest { at.saturating_add(self.interval) } else { at };
        up / self.interval * self.interval
    }

    /// The values in equal steps, with gaps where there are none.
    fn series(self, known: &[(i64, f64)]) -> Vec<f64> {
        let mut values = vec![known[0].1];
        let mut at = self.rounded(known[0].0);
        for (time, value) in &known[1..] {
            let time = self.rounded(*time);
            if time <= at {
                continue;
            }
            at += self.interval;
            while time != at {
                values.push(f64::NAN);
                at += self.interval;
            }
            values.push(*value);
        }
        values
    }
}

struct Model<'v> {
    values: &'v [f64],
    seasonal: bool,
}

impl Model<'_> {
    /// The parameters that fit best: four weights, level, trend, and one for each point of a season.
    fn fit(&self, season: usize, budget: &Budget<'_>) -> Result<Vec<f64>, QueryError> {
        let y = self.values;
        let mut start = vec![0.0; 6];
        if self.seasonal {
            let parts = season as f64;
            let known = |place: usize| y.get(place).copied().filter(|value| !value.is_nan());
            start[4] = (0..season).filter_map(known).map(|value| value / parts).sum();
            start[5] = (0..season)
                .filter_map(|place| known(place).zip(known(place + season)))
                .map(|(a, b)| 1.0 / (parts * parts) * (b - a))
                .sum();
            let level = start[4];
            start.extend((0..season).map(|place| known(place).map_or(0.0, |value| value / level)));
        } else {
            start[4] = 0.5 * y[0];
            start[5] =
                y.get(1).filter(|next| !next.is_nan()).map_or(0.0, |next| 0.5 * (next - y[0]));
        }
        let mut best: Option<(f64, Vec<f64>)> = None;
        for choice in 0..16usize {
            for (place, weight) in start[..4].iter_mut().enumerate() {
                *weight = if choice >> (3 - place) & 1 == 0 { 0.3 } else { 0.7 };
            }
            let (error, found) = minimum(&|parameters| self.error(parameters), &start, budget)?;
            if best.as_ref().is_none_or(|(least, _)| error < *least) {
                best = Some((error, found));
            }
        }
        Ok(best.map_or(start, |(_, found)| found))
    }

    fn error(&self, parameters: &mut [f64]) -> f64 {
        let mut sum = 0.0;
        for (found, known) in self.forecast(0, parameters).iter().zip(self.values) {
            if known.is_nan() {
                continue;
            }
            if found.is_nan() {
                return f64::INFINITY;
            }
            sum += (found - known) * (found - known);
        }
        sum
    }

    /// What the parameters make of it, and so many values beyond.
    fn forecast(&self, count: usize, parameters: &mut [f64]) -> Vec<f64> {
        for weight in &mut parameters[..4] {
            *weight = weight.clamp(0.0, 1.0);
        }
        let [alpha, beta, gamma, phi, mut level, mut trend] =
            [0, 1, 2, 3, 4, 5].map(|place| parameters[place]);
        let mut phi_sum = phi;
        let seasons = &mut parameters[6..];
        let season = seasons.len();
        let mut shift = season.saturating_sub(1);
        let mut value = self.values[0];
        let mut out = Vec::with_capacity(self.values.len() + count);
        out.push(value);
        let (mut now, mut ahead) = (1.0, 1.0);
        for step in 1..self.values.len() + count {
            if self.seasonal {
                now = seasons[(step + shift) % season];
                ahead = seasons[(step + step % season + shift) % season];
            }
            let base = level + phi * trend;
            let next_level = alpha * (value / now) + (1.0 - alpha) * base;
            let next_trend = beta * (next_level - level) + (1.0 - beta) * phi * trend;
            let next_season = gamma * (value / base) + (1.0 - gamma) * now;
            value = (next_level + phi_sum * next_trend) * ahead;
            (level, trend) = (next_level, next_trend);
            phi_sum += phi.powf(step as f64);
            if self.seasonal {
                seasons[(step + shift) % season] = next_season;
                shift += 1;
            }
            out.push(value);
        }
        out
    }
}

/// Where a function is least, near a start, and what it is there.
fn minimum(
    f: &dyn Fn(&mut [f64]) -> f64,
    start: &[f64],
    budget: &Budget<'_>,
) -> Result<(f64, Vec<f64>), QueryError> {
    let n = start.len();
    let size = n as f64;
    let root = (size + 1.0).sqrt();
    let far = (root - 1.0 + size) / (size * 2f64.sqrt());
    let near = (root - 1.0) / (size * 2f64.sqrt());
    let mut corners = vec![start.to_vec(); n + 1];
    for (number, corner) in corners.iter_mut().enumerate().skip(1) {
        for (place, value) in corner.iter_mut().enumerate() {
            *value = start[place] + if number - 1 == place { far } else { near };
        }
    }
    let mut values: Vec<f64> = corners.iter_mut().map(|corner| f(corner)).collect();
    for _ in 0..STEPS_MAX {
        budget.check()?;
        let (mut worst, mut best) = (0, 0);
        for place in 0..=n {
            if values[place] > values[worst] {
                worst = place;
            }
            if values[place] < values[best] {
                best = place;
            }
        }
        let mut second = best;
        for place in 0..=n {
            if values[place] > values[second] && values[place] < values[worst] {
                second = place;
            }
        }
        let centre: Vec<f64> = (0..n)
            .map(|axis| {
                let others = (0..=n).filter(|place| *place != worst);
                others.map(|place| corners[place][axis]).sum::<f64>() / size
            })
            .collect();
        let towards = |from: &[f64], to: &[f64], by: f64| -> Vec<f64> {
            from.iter().zip(to).map(|(from, to)| from + by * (from - to)).collect()
        };
        let mut mirrored = towards(&centre, &corners[worst], 1.0);
        let there = f(&mut mirrored);
        if there < values[second] && there >= values[best] {
            corners[worst].clone_from(&mirrored);
            values[worst] = there;
        }
        if there < values[best] {
            let mut beyond = towards(&centre, &mirrored, -2.0);
            let further = f(&mut beyond);
            if further < there {
                corners[worst] = beyond;
                values[worst] = further;
            } else {
                corners[worst].clone_from(&mirrored);
                values[worst] = there;
            }
        }
        if there >= values[second] {
            let mut between = if there < values[worst] {
                towards(&centre, &mirrored, -0.5)
            } else {
                towards(&centre, &corners[worst], -0.5)
            };
            let inner = f(&mut between);
            if inner < values[worst] {
                corners[worst] = between;
                values[worst] = inner;
            } else {
                let target = corners[best].clone();
                for (place, corner) in corners.iter_mut().enumerate() {
                    if place != best {
                        for (value, goal) in corner.iter_mut().zip(&target) {
                            *value = goal + (*value - goal) / 2.0;
                        }
                    }
                }
                values[worst] = f(&mut corners[worst]);
                values[second] = f(&mut corners[second]);
            }
        }
        let mean = values.iter().sum::<f64>() / (size + 1.0);
        let spread: f64 = values.iter().map(|value| (value - mean).powi(2) / size).sum();
        if spread.sqrt() < EPSILON {
            break;
        }
    }
    let best =
        (0..=n).fold(0, |best, place| if values[place] < values[best] { place } else { best });
    let found = corners.swap_remove(best);
    // Seasons go on while they are reckoned with, so what was found is kept apart from what is reckoned.
    let value = f(&mut found.clone());
    Ok((value, found))
}
