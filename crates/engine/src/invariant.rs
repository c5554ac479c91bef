//! Assertions that walk data: on in tests and debug builds, absent in release.

/// Asserts what is too dear to check in release. Cheap conditions use `assert!`, which stays on.
macro_rules! invariant {
    ($($arg:tt)*) => {
        if cfg!(debug_assertions) {
            assert!($($arg)*);
        }
    };
}

pub(crate) use invariant;
