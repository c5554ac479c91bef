//! How fast the log is: `cargo test --release -p olivine-engine log::tests::speed -- --ignored --nocapture`.

use std::env;

use olivine_vfs::RealVfs;

use super::*;

const RECORDS: u64 = 2_000_000;

/// A record of the size of a small put.
const PAYLOAD: usize = 140;

/// Time that this thread has had on a processor: other work of the machine does not count.
fn nanoseconds(vfs: RealVfs) -> u64 {
    let mut text = [0; 64];
    let file = vfs.open(Path::new("/proc/thread-self/schedstat"), Open::Read).unwrap();
    let len = file.read_at(&mut text, 0).unwrap();
    let text = str::from_utf8(&text[..len]).unwrap();
    text.split_whitespace().next().unwrap().parse().unwrap()
}

fn nanoseconds_each(vfs: RealVfs, work: impl FnOnce()) -> u64 {
    let start = nanoseconds(vfs);
    work();
    (nanoseconds(vfs) - start) / RECORDS
}

/// Records of 140 bytes on the real disk, handed over one by one or in groups, then read back.
/// Sketch: hashing 140 bytes 15 ns, header and chain 20 ns, copying 20 ns, `pwrite` about 300 ns;
/// reading 60 ns. Above 100 ns for an append without `pwrite`, or for reading, look.
#[test]
#[ignore = "measures"]
fn records() {
    let vfs = RealVfs::new();
    let dir = env::temp_dir().join(format!("olivine-log-{}", std::process::id()));
    for group in [1, 16, 1000] {
        vfs.create_dir(&dir).unwrap();
        let home = LogDir { vfs: Arc::new(vfs), path: dir.clone(), store: STORE };
        let options = LogOptions::default();
        let mut writer = LogWriter::create(home.clone(), options, 1).unwrap();
        let payload = Random::new(1).bytes(PAYLOAD);
        let write = nanoseconds_each(vfs, || {
            for seq in 1..=RECORDS {
                let hash = payload_hash(&[&payload]);
                writer.append(seq, 1, &[&payload], hash).unwrap();
                if seq % group == 0 {
                    writer.hand_over().unwrap();
                }
                if writer.pool().is_due() {
                    writer.pool().step().unwrap();
                }
            }
        });
        drop(writer);
        let (mut read, mut bytes) = (0, 0);
        let proof = Proof { oldest: 1, durable: None };
        let recovery = nanoseconds_each(vfs, || {
            recover(&home, proof, &mut |record| {
                read += 1;
                bytes += record.payload.len();
                Ok(())
            })
            .unwrap();
        });
        assert_eq!((read, bytes), (RECORDS, RECORDS as usize * PAYLOAD));
        println!(
            "groups of {group}: append and hand over {write} ns a record, recover {recovery} ns, on the processor"
        );
        for entry in vfs.list(&dir).unwrap() {
            vfs.remove_file(&dir.join(entry.name)).unwrap();
        }
        vfs.remove_dir(&dir).unwrap();
    }
}
