//! The engine as its users see it.
#![expect(clippy::unwrap_used, reason = "a test ends where what it needs fails")]

mod basics;
mod check;
mod data;
mod golden;
mod opening;
mod scene;
mod tickets;
mod transactions;
mod values;
mod waiting;
