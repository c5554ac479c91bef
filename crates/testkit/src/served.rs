//! Tier N: a serving node is killed, and what its doors acknowledged must be there.
//!
//! The node is the program itself, in one process or in two. Clients write through JSON lines, many
//! requests under way, and through HTTP; each keeps what it was told. Then a process of the node is
//! killed without warning, the node starts again, and every key is read back.
//!
//! 1. Clients know only what came over their sockets.
//! 2. A client's requests are carried out in their order, so that behind what was acknowledged there is a
//!    start of what was under way, and nothing else. Where only a coordinator was killed, too.
//! 3. Only processes started here are killed, each by its own handle.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use olivine_vfs::{Clock as _, Random, RealClock};

use crate::report::{count, duration};

mod client;
mod node;

use client::{Client, Killed};
use node::{Node, Shape, Start};

pub(crate) use node::remove;

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Decides what is written, and when a process is killed.
    pub seed: u64,
    /// Kills, in one process and in two together.
    pub kills: u64,
    /// The longest that clients write before one.
    pub millis_max: u64,
    /// The program.
    pub program: PathBuf,
    /// A bug that its processes make on purpose.
    pub planted: Option<String>,
    /// Where the stores lie.
    pub dir: PathBuf,
    /// Acknowledged writes that there must be at least.
    pub promised: u64,
}

impl Plan {
    /// Acknowledged writes that a full run promises.
    pub const PROMISED: u64 = 2_000_000;
}

/// The sum of a run.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    pub(crate) kills: u64,
    acknowledged: u64,
    verified: u64,
    extra: u64,
    lost: u64,
    pub(crate) failures: Vec<String>,
    slowest: Duration,
    promised: u64,
    elapsed: Duration,
}

impl Summary {
    /// Whether nothing failed, and enough was written to say so.
    pub fn passed(&self) -> bool {
        self.failures.is_empty() && 0 < self.kills && self.promised.max(1) <= self.acknowledged
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { kills, extra, lost, promised, .. } = self;
        for failure in &self.failures {
            writeln!(f, "FAILED {failure}")?;
        }
        write!(
            f,
            "N served   kills {kills} acked {} verified {} | lost={lost} failed={} extra-unacked {extra} (allowed) \
             | slowest start {} ms | {}",
            count(self.acknowledged),
            count(self.verified),
            self.failures.len(),
            self.slowest.as_millis(),
            duration(self.elapsed),
        )?;
        if self.acknowledged < *promised {
            write!(f, "\ntoo few acknowledged writes: {} are promised", count(*promised))?;
        }
        Ok(())
    }
}

/// Runs `plan`; `say` is told of progress.
pub fn run(plan: &Plan, say: &dyn Fn(&str)) -> Summary {
    let clock = RealClock::new();
    let began = clock.now();
    let mut summary = Summary { promised: plan.promised, ..Summary::default() };
    let settings =
        [(Shape::One, "sync"), (Shape::Two, "sync"), (Shape::One, "os"), (Shape::Two, "os")];
    for (number, (shape, durability)) in settings.into_iter().enumerate() {
        let kills = plan.kills / 4 + u64::from((number as u64) < plan.kills % 4);
        let dir = plan.dir.join(format!("{durability}-{number}"));
        if let Err(what) = run_one(plan, &mut summary, (shape, durability), kills, &dir, say) {
            let Plan { seed, kills, millis_max, .. } = plan;
            summary.failures.push(format!(
                "seed {seed}, {shape:?}, {durability}: {what}\n  the store is kept in {}\n  repeat (times differ): \
                 cargo xtask rel served --seed {seed} --kills {kills} --millis {millis_max}",
                dir.display()
            ));
            continue;
        }
        remove(&dir);
    }
    if summary.failures.is_empty() {
        remove(&plan.dir);
    }
    summary.elapsed = clock.now().saturating_sub(began);
    summary
}

/// Kills a node of one shape so many times.
fn run_one(
    plan: &Plan,
    summary: &mut Summary,
    (shape, durability): (Shape, &str),
    kills: u64,
    dir: &Path,
    say: &dyn Fn(&str),
) -> Result<(), String> {
    remove(dir);
    let clock = RealClock::new();
    let mut random = Random::new(plan.seed ^ dir.as_os_str().len() as u64);
    let mut clients = Client::some(plan.seed);
    let planted = plan.planted.as_deref();
    let start = Start { program: &plan.program, planted, dir, shape, durability };
    let mut node = Node::start(&start)?;
    for kill in 0..kills {
        let life = Duration::from_millis(random.between(plan.millis_max / 4, plan.millis_max));
        let victim = node.victim(&mut random);
        let killed = Killed::default();
        let ports = node.ports();
        let outcome: Result<(), String> = std::thread::scope(|scope| {
            let writing: Vec<_> = clients
                .iter_mut()
                .map(|client| {
                    let killed = &killed;
                    scope.spawn(move || client.write(ports, killed))
                })
                .collect();
            clock.sleep(life);
            killed.announce();
            node.kill(victim)?;
            for client in writing {
                client.join().map_err(|_| "a client panicked".to_owned())??;
            }
            Ok(())
        });
        outcome?;
        summary.kills += 1;
        let restarted = clock.now();
        node = node.restart(&start)?;
        summary.slowest = summary.slowest.max(clock.now().saturating_sub(restarted));
        for client in &mut clients {
            let checked = client.check(node.ports())?;
            summary.verified += checked.verified;
            summary.extra += checked.extra;
            summary.lost += checked.lost.len() as u64;
            if let Some(lost) = checked.lost.first() {
                return Err(format!("kill {kill}: {lost}"));
            }
        }
        summary.acknowledged += clients.iter_mut().map(Client::take_acknowledged).sum::<u64>();
    }
    say(&format!("{shape:?} {durability}: {kills} kills"));
    Ok(())
}
