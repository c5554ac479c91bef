//! The engine as its users see it.

mod basics;
mod golden;
mod opening;
mod scene;
mod tickets;
mod waiting;
