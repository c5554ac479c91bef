//! Code that a store calls by name: what `merge` does, and what compaction may drop.
//!
//! The name stands in the store, the code does not. A store that names an operator or a filter which
//! was not given when it is opened is refused, so that no operand is ever folded by other rules.
//!
//! 1. An operator is a function of its arguments alone: the same at every reading, in any grouping.
//! 2. What an operator cannot fold stays as it was written; no operand is lost over it.

use std::{fmt::Debug, sync::Arc};

use crate::error::{Error, Result};

/// What merging values into a key makes of it.
pub trait MergeOperator: Send + Sync + Debug {
    /// What stores know it by. An operator whose rules change needs another name.
    fn name(&self) -> &str;

    /// Refuses an operand that could not be folded, before it is written.
    fn check(&self, operand: &[u8]) -> Result<(), String> {
        let _ = operand;
        Ok(())
    }

    /// The value that `operands`, oldest first, make of `base`, the value before them.
    fn fold(&self, key: &[u8], base: Option<&[u8]>, operands: &[&[u8]]) -> Result<Vec<u8>, String>;

    /// One operand that does what `operands`, oldest first, do one after the other, if there is one.
    fn join(&self, key: &[u8], operands: &[&[u8]]) -> Option<Vec<u8>> {
        let _ = (key, operands);
        None
    }
}

/// What compaction may drop beside what is hidden.
pub trait CompactionFilter: Send + Sync + Debug {
    /// What stores know it by.
    fn name(&self) -> &str;

    /// Whether the entry is still wanted. Asked of the newest version of a key, once no snapshot may
    /// ask for an older one; what is dropped reads as deleted from then on. It may be asked at any time,
    /// again or never, and must not write to the store.
    fn wants(&self, key: &[u8], value: &[u8]) -> bool;
}

/// Adds numbers of 64 bits with a sign, little endian. Sums wrap around; no value is 0.
#[derive(Debug)]
struct AddI64;

impl MergeOperator for AddI64 {
    fn name(&self) -> &'static str {
        "add-i64"
    }

    fn check(&self, operand: &[u8]) -> Result<(), String> {
        number(operand).map(|_| ())
    }

    fn fold(
        &self,
        _key: &[u8],
        base: Option<&[u8]>,
        operands: &[&[u8]],
    ) -> Result<Vec<u8>, String> {
        let mut sum = base.map_or(Ok(0), number)?;
        for operand in operands {
            sum = sum.wrapping_add(number(operand)?);
        }
        Ok(sum.to_le_bytes().to_vec())
    }

    fn join(&self, key: &[u8], operands: &[&[u8]]) -> Option<Vec<u8>> {
        self.fold(key, None, operands).ok()
    }
}

fn number(bytes: &[u8]) -> Result<i64, String> {
    let wrong = || format!("add-i64 takes 8 bytes, and there are {}", bytes.len());
    Ok(i64::from_le_bytes(bytes.try_into().map_err(|_| wrong())?))
}

/// Appends bytes; no value is empty.
#[derive(Debug)]
struct Append;

impl MergeOperator for Append {
    fn name(&self) -> &'static str {
        "append"
    }

    fn fold(
        &self,
        _key: &[u8],
        base: Option<&[u8]>,
        operands: &[&[u8]],
    ) -> Result<Vec<u8>, String> {
        let mut value = base.unwrap_or_default().to_vec();
        value.extend(operands.iter().copied().flatten());
        Ok(value)
    }

    fn join(&self, _key: &[u8], operands: &[&[u8]]) -> Option<Vec<u8>> {
        Some(operands.concat())
    }
}

/// Sets the bits that are set in an operand; the shorter one counts as followed by zeros.
#[derive(Debug)]
struct BitmapOr;

impl MergeOperator for BitmapOr {
    fn name(&self) -> &'static str {
        "bitmap-or"
    }

    fn fold(
        &self,
        _key: &[u8],
        base: Option<&[u8]>,
        operands: &[&[u8]],
    ) -> Result<Vec<u8>, String> {
        let mut value = base.unwrap_or_default().to_vec();
        for operand in operands {
            value.resize(value.len().max(operand.len()), 0);
            value.iter_mut().zip(*operand).for_each(|(byte, bits)| *byte |= bits);
        }
        Ok(value)
    }

    fn join(&self, key: &[u8], operands: &[&[u8]]) -> Option<Vec<u8>> {
        self.fold(key, None, operands).ok()
    }
}

/// The operator called `name`: one of `given`, or one that comes with the engine.
pub(crate) fn find_operator(
    given: &[Arc<dyn MergeOperator>],
    name: &str,
) -> Result<Arc<dyn MergeOperator>> {
    let shipped: [Arc<dyn MergeOperator>; 3] =
        [Arc::new(AddI64), Arc::new(Append), Arc::new(BitmapOr)];
    let found = given.iter().chain(&shipped).find(|operator| operator.name() == name);
    found.cloned().ok_or_else(|| Error::Invalid {
        field: "merge_operators",
        what: format!("has no operator {name:?}, which a keyspace names; give it when opening"),
    })
}

/// The filter called `name`, one of `given`.
pub(crate) fn find_filter(
    given: &[Arc<dyn CompactionFilter>],
    name: &str,
) -> Result<Arc<dyn CompactionFilter>> {
    let found = given.iter().find(|filter| filter.name() == name);
    found.cloned().ok_or_else(|| Error::Invalid {
        field: "compaction_filters",
        what: format!("has no filter {name:?}, which a keyspace names; give it when opening"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fold(name: &str, base: Option<&[u8]>, operands: &[&[u8]]) -> Result<Vec<u8>, String> {
        find_operator(&[], name).unwrap().fold(b"key", base, operands)
    }

    #[test]
    fn numbers_are_added_from_nothing_and_around_the_end() {
        let [one, most] = [1i64.to_le_bytes(), i64::MAX.to_le_bytes()];
        assert_eq!(fold("add-i64", None, &[&one, &one]).unwrap(), 2i64.to_le_bytes());
        assert_eq!(fold("add-i64", Some(&most), &[&one]).unwrap(), i64::MIN.to_le_bytes());
        assert!(fold("add-i64", Some(b"text"), &[&one]).unwrap_err().contains("8 bytes"));
    }

    #[test]
    fn bytes_are_appended_and_bits_united() {
        assert_eq!(fold("append", Some(b"a"), &[b"b", b"", b"cd"]).unwrap(), b"abcd");
        assert_eq!(fold("bitmap-or", Some(&[1, 0]), &[&[2], &[0, 0, 8]]).unwrap(), [3, 0, 8]);
    }

    /// Joining operands first and folding then is folding them one by one.
    #[test]
    fn a_join_folds_as_its_parts_do() {
        for name in ["add-i64", "append", "bitmap-or"] {
            let operator = find_operator(&[], name).unwrap();
            let operands: Vec<[u8; 8]> = (1..6u64).map(|n| (n * 77).to_le_bytes()).collect();
            let all: Vec<&[u8]> = operands.iter().map(<[u8; 8]>::as_slice).collect();
            let joined = operator.join(b"key", &all[..3]).unwrap();
            let rest = operator.join(b"key", &all[3..]).unwrap();
            assert_eq!(
                operator.fold(b"key", Some(all[0]), &[&joined, &rest]),
                operator.fold(b"key", Some(all[0]), &all)
            );
        }
    }

    #[test]
    fn an_operator_nobody_gave_is_refused_by_name() {
        let error = find_operator(&[], "max-u32").unwrap_err().to_string();
        assert!(error.contains("max-u32") && error.contains("merge_operators"), "{error}");
    }
}
