//! Numbers by the crate `pco`: bins and an entropy coder over the values or their differences.
//!
//! 1. What decoding may allocate is bounded by how many values there are, not by what the bytes say.

use super::{Damage, Effort};
use ::pco::{
    ChunkConfig, PagingSpec,
    data_types::Number,
    metadata::{DeltaEncoding, Mode},
    wrapped::{FileCompressor, FileDecompressor},
};

/// How far back a value may point in what we read: pco writes no more for as few values as a chunk has.
const WINDOW_LOG_MAX: u32 = 16;

const DAMAGED: Damage = Damage("the packed values of a chunk are damaged");

/// Appends the values, packed; nothing is appended if pco does not take them.
pub(super) fn encode<T: Number>(values: &[T], effort: Effort, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    let level = match effort {
        Effort::Hot => 4,
        Effort::Cold => 8,
    };
    let config = ChunkConfig::default()
        .with_compression_level(level)
        .with_paging_spec(PagingSpec::Exact(vec![values.len()]));
    let files = FileCompressor::default();
    let written = files.chunk_compressor(values, &config).and_then(|mut chunk| {
        files.write_header(&mut *out)?;
        chunk.write_meta(&mut *out)?;
        chunk.write_page(0, &mut *out)?;
        Ok(())
    });
    if written.is_err() {
        out.truncate(start);
    }
    written.is_ok()
}

/// Appends `count` values.
pub(super) fn decode<T: Number + Default>(
    bytes: &[u8],
    count: usize,
    out: &mut Vec<T>,
) -> Result<(), Damage> {
    let start = out.len();
    let damaged = |_| DAMAGED;
    let (files, bytes) = FileDecompressor::new(bytes).map_err(damaged)?;
    let (mut chunk, bytes) = files.chunk_decompressor::<T, _>(bytes).map_err(damaged)?;
    match &chunk.meta().delta_encoding {
        DeltaEncoding::Lookback { config, .. } if WINDOW_LOG_MAX < config.window_n_log => {
            return Err(DAMAGED);
        }
        _ => {}
    }
    if matches!(chunk.meta().mode, Mode::Dict(_)) {
        return Err(DAMAGED);
    }
    let mut page = chunk.page_decompressor(bytes, count).map_err(damaged)?;
    out.resize(start + count, T::default());
    let progress = page.read(&mut out[start..]).map_err(damaged)?;
    if progress.finished && progress.n_processed == count && page.into_src().is_empty() {
        Ok(())
    } else {
        Err(DAMAGED)
    }
}
