//! Time series as the TSBS benchmark makes them for processors: hosts with tags and ten fields that walk.
//!
//! 1. The same seed gives the same hosts and values, whichever way they are written.

use crate::keys::Random;
use std::fmt::Write as _;

/// The fields of a host.
pub(crate) const FIELDS: [&str; 10] = [
    "usage_user",
    "usage_system",
    "usage_idle",
    "usage_nice",
    "usage_iowait",
    "usage_irq",
    "usage_softirq",
    "usage_steal",
    "usage_guest",
    "usage_guest_nice",
];

/// From one row of a host to the next, in nanoseconds.
pub(crate) const STEP: i64 = 10_000_000_000;

/// 1 January 2016, when TSBS begins.
pub(crate) const START: i64 = 1_451_606_400_000_000_000;

/// What values look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Whole numbers from 0 to 100, as integers: what TSBS writes.
    Integers,
    /// The same walk, as doubles of two decimals.
    Decimals,
    /// The same walk, as doubles in full.
    Full,
}

impl Shape {
    pub(crate) const ALL: [Shape; 3] = [Shape::Integers, Shape::Decimals, Shape::Full];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Shape::Integers => "integers",
            Shape::Decimals => "decimals",
            Shape::Full => "full",
        }
    }
}

/// Hosts that walk.
pub(crate) struct Hosts {
    draw: Random,
    /// Tags of each, as they stand in a line.
    tags: Vec<String>,
    walks: Vec<[f64; FIELDS.len()]>,
}

impl Hosts {
    pub(crate) fn new(count: usize, seed: u64) -> Hosts {
        let mut draw = Random::new(seed);
        let tags = (0..count).map(|host| tags(host, &mut draw)).collect();
        let walks = (0..count).map(|_| std::array::from_fn(|_| unit(&mut draw) * 100.0)).collect();
        Hosts { draw, tags, walks }
    }

    pub(crate) fn count(&self) -> usize {
        self.tags.len()
    }

    /// A step of every value of a host.
    pub(crate) fn walk(&mut self, host: usize) -> [f64; FIELDS.len()] {
        for value in &mut self.walks[host] {
            *value = (*value + normal(&mut self.draw)).clamp(0.0, 100.0);
        }
        self.walks[host]
    }

    /// Appends the line of a host's next row.
    pub(crate) fn push_line(&mut self, host: usize, time: i64, shape: Shape, out: &mut String) {
        let values = self.walk(host);
        out.push_str("cpu,");
        out.push_str(&self.tags[host]);
        let mut before = ' ';
        for (field, value) in FIELDS.iter().zip(values) {
            let _infallible = match shape {
                Shape::Integers => write!(out, "{before}{field}={}i", value as i64),
                Shape::Decimals => write!(out, "{before}{field}={value:.2}"),
                Shape::Full => write!(out, "{before}{field}={value}"),
            };
            before = ',';
        }
        let _infallible = writeln!(out, " {time}");
    }
}

/// A draw from 0 to before 1.
fn unit(draw: &mut Random) -> f64 {
    (draw.next() >> 11) as f64 / (1u64 << 53) as f64
}

/// A draw from the normal distribution.
fn normal(draw: &mut Random) -> f64 {
    let (one, other) = (1.0 - unit(draw), unit(draw));
    (-2.0 * one.ln()).sqrt() * (std::f64::consts::TAU * other).cos()
}

/// The tags of a host, in the order in which TSBS writes them.
fn tags(host: usize, draw: &mut Random) -> String {
    const REGIONS: [&str; 9] = [
        "us-east-1",
        "us-west-1",
        "us-west-2",
        "eu-west-1",
        "eu-central-1",
        "ap-southeast-1",
        "ap-southeast-2",
        "ap-northeast-1",
        "sa-east-1",
    ];
    let region = REGIONS[draw.below(9) as usize];
    let zone = ['a', 'b', 'c'][draw.below(3) as usize];
    let rack = draw.below(100);
    let os = ["Ubuntu16.10", "Ubuntu16.04LTS", "Ubuntu15.10"][draw.below(3) as usize];
    let arch = ["x64", "x86"][draw.below(2) as usize];
    let team = ["SF", "NYC", "LON", "CHI"][draw.below(4) as usize];
    let (service, version) = (draw.below(20), draw.below(2));
    let environment = ["production", "staging", "test"][draw.below(3) as usize];
    format!(
        "hostname=host_{host},region={region},datacenter={region}{zone},rack={rack},os={os},arch={arch},\
         team={team},service={service},service_version={version},service_environment={environment}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_of_tsbs() {
        let mut line = String::new();
        Hosts::new(3, 1).push_line(2, START, Shape::Integers, &mut line);
        assert!(line.starts_with("cpu,hostname=host_2,region="), "{line}");
        assert!(line.ends_with("i 1451606400000000000\n"), "{line}");
        assert_eq!(line.matches(',').count(), 10 + 9, "{line}");
        let mut again = String::new();
        Hosts::new(3, 1).push_line(2, START, Shape::Integers, &mut again);
        assert_eq!(line, again);
    }
}
