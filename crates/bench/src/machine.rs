//! What the machine itself can do, so that an engine's figures can be judged.

use std::{
    fs::{self, File, OpenOptions},
    hint::black_box,
    os::unix::fs::FileExt,
    path::Path,
    time::{Duration, Instant},
};

use lz4_flex::block;

use crate::{
    drive::{Actor, Pace, Until, drive},
    keys::{KeyKind, Records},
    row::Row,
    store::Result,
};

const BLOCK_BYTES: usize = 4096;

/// The rows of the machine: syncs, checksum, compression, clock.
pub(crate) fn measure(dir: &Path, seconds: f64) -> Result<Vec<Row>> {
    fs::create_dir_all(dir)?;
    let path = dir.join("machine");
    let until = Until::Elapsed(Duration::from_secs_f64(seconds));
    let block = sample_block();
    let mut rows = Vec::new();

    let file = File::create(&path)?;
    let tally = drive(Pace::each_timed(1, until), |_| Sync {
        file: &file,
        block: &block,
        offset: 0,
        wrap_blocks: u64::MAX,
    })?;
    rows.push(Row::rate("disk: append 4 KiB + fdatasync", &tally));

    let file = OpenOptions::new().write(true).open(&path)?;
    let blocks = 512;
    for index in 0..blocks {
        file.write_all_at(&block, index * BLOCK_BYTES as u64)?;
    }
    file.sync_all()?;
    let tally = drive(Pace::each_timed(1, until), |_| Sync {
        file: &file,
        block: &block,
        offset: 0,
        wrap_blocks: blocks,
    })?;
    rows.push(Row::rate("disk: 4 KiB in place + fdatasync", &tally));
    fs::remove_file(&path)?;

    let mut out = vec![0; block::get_maximum_output_size(BLOCK_BYTES)];
    let packed_bytes = block::compress_into(&block, &mut out)?;
    let packed = out[..packed_bytes].to_vec();
    rows.push(bandwidth("xxh3 64 bit, 4 KiB", seconds, || {
        black_box(xxhash_rust::xxh3::xxh3_64(black_box(&block)));
    }));
    rows.push(bandwidth("lz4 compress, 4 KiB", seconds, || {
        black_box(block::compress_into(black_box(&block), &mut out).is_ok());
    }));
    rows.push(bandwidth("lz4 decompress, 4 KiB", seconds, || {
        black_box(block::decompress_into(black_box(&packed), &mut out).is_ok());
    }));
    rows.push(bandwidth("clock read", seconds, || {
        black_box(Instant::now());
    }));
    Ok(rows)
}

/// What a table block holds: records in the order of their keys.
fn sample_block() -> Vec<u8> {
    let records = Records::new(KeyKind::Hashed, 1000);
    let mut block = Vec::new();
    for index in 0.. {
        block.extend_from_slice(records.key(index).as_bytes());
        block.extend_from_slice(records.value(index, 0));
        if BLOCK_BYTES <= block.len() {
            break;
        }
    }
    block.truncate(BLOCK_BYTES);
    block
}

fn bandwidth(name: &str, seconds: f64, mut run: impl FnMut()) -> Row {
    let (start, mut calls) = (Instant::now(), 0_u64);
    while start.elapsed().as_secs_f64() < seconds / 4.0 {
        for _ in 0..200 {
            run();
        }
        calls += 200;
    }
    let per_second = calls as f64 / start.elapsed().as_secs_f64();
    let mut row = Row::duration(name, Duration::ZERO);
    row.unit = crate::row::Unit::PerSecond;
    row.value = per_second;
    if name.contains("4 KiB") {
        row.note = format!("{:.2} GB/s", per_second * BLOCK_BYTES as f64 / 1e9);
    } else {
        row.note = format!("{:.0} ns", 1e9 / per_second);
    }
    row
}

struct Sync<'a> {
    file: &'a File,
    block: &'a [u8],
    offset: u64,
    wrap_blocks: u64,
}

impl Actor for Sync<'_> {
    fn prepare(&mut self, _: usize) {}

    fn act(&mut self, _: usize) -> Result<()> {
        let offset = self.offset % self.wrap_blocks * BLOCK_BYTES as u64;
        self.file.write_all_at(self.block, offset)?;
        self.file.sync_data()?;
        self.offset += 1;
        Ok(())
    }
}
