//! What a store of many objects costs: their bytes on the disk, their memory, and listing them.
//!
//! 1. What an empty store takes is subtracted, of the disk and of memory.
//! 2. A store was closed and opened again before it is looked at: what it holds is what it must.

use std::{fs, path::Path, time::Instant};

use super::{KIB, Kind, Run, Site, load, works::Puts};
use crate::{drive::Until, resources::disk_bytes, series::client::Client, store::Result};

/// Clients that write the objects.
const CLIENTS: usize = 128;
/// Keys of one list, at most.
const LISTED_MAX: u64 = 1_000_000;
const LISTS: usize = 3;

/// What a store takes.
struct Taken {
    disk_bytes: f64,
    resident_bytes: f64,
}

pub(super) fn measure(run: &mut Run<'_>, kind: Kind) -> Result<()> {
    let objects = run.args.objects;
    let (name, dir) = (kind.name(), run.args.dir.join("bulk"));
    drop(fs::remove_dir_all(&dir));
    drop(run.start(kind, &dir, (1, 1))?);
    let empty = taken(&run.start(kind, &dir, (1, 1))?, &dir)?;
    let site = run.start(kind, &dir, (1, 1))?;
    let scene = run.scene(&site, "bulk", KIB);
    let key_bytes = scene.key(0).len();
    let began = Instant::now();
    load::run(CLIENTS, 0, Until::Count(objects), &mut Puts(scene))?;
    let per_second = objects as f64 / began.elapsed().as_secs_f64();
    eprintln!("bulk {name}: {objects} objects, {per_second:.0}/s with {CLIENTS} clients");
    drop(site);
    let site = run.start(kind, &dir, (1, 1))?;
    let full = taken(&site, &dir)?;
    let each = |full: f64, empty: f64| (full - empty) / objects as f64;
    let disk = each(full.disk_bytes, empty.disk_bytes) - (key_bytes + KIB) as f64;
    let memory = each(full.resident_bytes, empty.resident_bytes);
    let seconds = list(&site, objects)?;
    for (what, is) in
        [("disk beyond key and value", disk), ("memory", memory), ("listing", seconds)]
    {
        run.figures.sums.insert((what, name), is);
    }
    drop(site);
    drop(fs::remove_dir_all(&dir));
    Ok(())
}

fn taken(site: &Site, dir: &Path) -> Result<Taken> {
    Ok(Taken { disk_bytes: disk_bytes(dir) as f64, resident_bytes: site.resident_bytes()? as f64 })
}

/// Seconds that listing a million keys takes: the median of some.
fn list(site: &Site, objects: u64) -> Result<f64> {
    let port = site.master.rsplit(':').next().and_then(|port| port.parse().ok());
    let port = port.ok_or("a master without a port")?;
    let (target, keys) = if LISTED_MAX < objects {
        (format!("/?list&limit={LISTED_MAX}"), LISTED_MAX)
    } else {
        ("/?list".to_owned(), objects)
    };
    let mut times = Vec::new();
    for _ in 0..LISTS {
        let began = Instant::now();
        let body = Client::connect(port)?.get(&target)?.good("a list")?;
        times.push(began.elapsed().as_secs_f64());
        let listed = body.windows(5).filter(|bytes| bytes == b"bulk-").count() as u64;
        if listed < keys {
            return Err(format!("{listed} keys are listed, and there are {keys}").into());
        }
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2] * 1e6 / keys as f64)
}
