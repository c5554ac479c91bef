//! Panics as answers.
//!
//! 1. A panic within `caught` is not printed; its message and place are answered.
//! 2. Panics elsewhere are printed as ever.

use std::{
    cell::{Cell, RefCell},
    panic::{self, AssertUnwindSafe},
    sync::Once,
};

thread_local! {
    static CATCHING: Cell<bool> = const { Cell::new(false) };
    static MESSAGE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// What `run` answers, or the message of its panic.
pub fn caught<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if CATCHING.get() {
                MESSAGE.with_borrow_mut(|message| *message = info.to_string().replace('\n', " "));
            } else {
                usual(info);
            }
        }));
    });
    let before = CATCHING.replace(true);
    let outcome = panic::catch_unwind(AssertUnwindSafe(run));
    CATCHING.set(before);
    outcome.map_err(|_| MESSAGE.with_borrow(String::clone))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_answered_with_its_message_and_place() {
        assert_eq!(caught(|| 3), Ok(3));
        let message = caught(|| panic!("no {}", 1)).expect_err("it panics");
        assert!(message.contains("no 1") && message.contains("caught.rs"), "{message}");
    }
}
