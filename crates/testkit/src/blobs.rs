//! Tier S: a store of blobs is killed under its clients, and what it acknowledged must be there.
//!
//! The store is the program itself: in one process, or a master and two volumes, with one replica and with two, in both
//! manners. Clients put, get and delete over HTTP and follow where they are sent; each keeps what it was told. Then a
//! process is killed without warning and starts again, every key is read back, and the list of all keys is compared.
//!
//! 1. Clients know only what came over their sockets; every byte of every value is one that they can tell.
//! 2. A key holds what was acknowledged last, or what was asked for behind that and never answered: nothing else.
//! 3. What is listed can be read, and what can be read is listed.
//! 4. Only processes started here are killed, each by its own handle.

use std::{fmt, path::PathBuf, time::Duration};

use olivine_vfs::{Clock as _, Random, RealClock};

use crate::{
    report::{count, duration},
    served::remove,
};

mod client;
mod node;
mod wire;

use client::{Client, Moment};
use node::{Node, Shape, Start};

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Decides what is written, and when a process is killed.
    pub seed: u64,
    /// Kills, in all shapes together.
    pub kills: u64,
    /// The longest that clients work before one.
    pub millis_max: u64,
    /// The program.
    pub program: PathBuf,
    /// A bug that its processes make on purpose.
    pub planted: Option<String>,
    /// Where the stores lie.
    pub dir: PathBuf,
    /// Acknowledged changes that there must be at least.
    pub promised: u64,
}

impl Plan {
    /// Acknowledged changes that a full run promises.
    pub const PROMISED: u64 = 100_000;
}

/// The sum of a run.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    pub(crate) kills: u64,
    acknowledged: u64,
    verified: u64,
    extra: u64,
    lost: u64,
    ghosts: u64,
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
        let Summary { kills, extra, lost, ghosts, promised, .. } = self;
        for failure in &self.failures {
            writeln!(f, "FAILED {failure}")?;
        }
        write!(
            f,
            "S blobs    kills {kills} acked {} verified {} | lost={lost} ghosts={ghosts} failed={} extra-unacked {extra} \
             (allowed) | slowest start {} ms | {}",
            count(self.acknowledged),
            count(self.verified),
            self.failures.len(),
            self.slowest.as_millis(),
            duration(self.elapsed),
        )?;
        if self.acknowledged < *promised {
            write!(f, "\ntoo few acknowledged changes: {} are promised", count(*promised))?;
        }
        Ok(())
    }
}

/// Runs `plan`; `say` is told of progress.
pub fn run(plan: &Plan, say: &dyn Fn(&str)) -> Summary {
    let clock = RealClock::new();
    let began = clock.now();
    let mut summary = Summary { promised: plan.promised, ..Summary::default() };
    for (number, shape) in Shape::ALL.into_iter().enumerate() {
        let shapes = Shape::ALL.len() as u64;
        let kills = plan.kills / shapes + u64::from((number as u64) < plan.kills % shapes);
        if kills == 0 {
            continue;
        }
        let dir = plan.dir.join(format!("blobs-{number}"));
        let planted = plan.planted.as_deref();
        let start = Start { program: &plan.program, planted, dir: &dir, shape };
        if let Err(what) = run_one(plan, &mut summary, &start, kills, say) {
            let Plan { seed, kills, millis_max, .. } = plan;
            summary.failures.push(format!(
                "seed {seed}, {shape}: {what}\n  the store is kept in {}\n  repeat (times differ): \
                 cargo xtask rel blobs --seed {seed} --kills {kills} --millis {millis_max}",
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

/// Kills a store of one shape so many times.
fn run_one(
    plan: &Plan,
    summary: &mut Summary,
    start: &Start<'_>,
    kills: u64,
    say: &dyn Fn(&str),
) -> Result<(), String> {
    remove(start.dir);
    let clock = RealClock::new();
    let mut random = Random::new(plan.seed ^ start.shape.salt());
    let mut clients = Client::some(plan.seed, start.shape.overwrites());
    let mut node = Node::start(start)?;
    for kill in 0..kills {
        let life = Duration::from_millis(random.between(plan.millis_max / 4, plan.millis_max));
        let victims = node.victims(&mut random);
        let (moment, master) = (Moment::default(), node.master());
        std::thread::scope(|scope| -> Result<(), String> {
            let working: Vec<_> = clients
                .iter_mut()
                .map(|client| {
                    let moment = &moment;
                    scope.spawn(move || client.work(master, moment))
                })
                .collect();
            clock.sleep(life);
            moment.announce();
            let killed = node.kill(&victims);
            moment.pass();
            for client in working {
                client.join().map_err(|_| "a client panicked".to_owned())??;
            }
            killed
        })?;
        summary.kills += 1;
        let restarted = clock.now();
        node.restart(start)?;
        summary.slowest = summary.slowest.max(clock.now().saturating_sub(restarted));
        let listed = client::list(node.master())?;
        for client in &mut clients {
            let checked = client.check(node.master(), &listed)?;
            summary.verified += checked.verified;
            summary.extra += checked.extra;
            summary.lost += checked.lost.len() as u64;
            summary.ghosts += checked.ghosts.len() as u64;
            if let Some(what) = checked.lost.iter().chain(&checked.ghosts).next() {
                return Err(format!("kill {kill} of {victims:?}: {what}"));
            }
        }
        summary.acknowledged += clients.iter_mut().map(Client::take_acknowledged).sum::<u64>();
    }
    say(&format!("{}: {kills} kills", start.shape));
    Ok(())
}
