//! Live stores read like ordered maps.

use olivine_testkit::reads_like_a_map;

/// Any history of writes, reads, flushes, compactions and reopenings reads like a `BTreeMap`.
#[test]
fn any_history_reads_like_a_map() {
    for seed in 0..200 {
        reads_like_a_map(seed, 500);
    }
}
