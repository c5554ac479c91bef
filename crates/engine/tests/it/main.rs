//! The engine as its users see it.
#![expect(clippy::unwrap_used, reason = "a test ends where what it needs fails")]

mod basics;
mod check;
mod data;
mod golden;
mod health;
mod opening;
mod repair;
mod scene;
mod streaming;
mod tickets;
mod transactions;
mod values;
mod waiting;
