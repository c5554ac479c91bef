//! The HTTP door: key-values under `/kv`, and what watchers of a node ask for. `docs/protocols/http.md`
//!
//! Sockets, framing and header syntax are the server's; here a request is its method, its path and a
//! few headers.
//!
//! 1. Nothing is changed by GET or HEAD.
//! 2. Errors are `application/problem+json`, with a code for programs and words for people.
//! 3. A request that a browser sends on behalf of another site is refused (`strangers`).

mod answer;
mod credentials;
mod request;
mod strangers;

pub use answer::{Response, answer, lines, problem, unknown};
pub use credentials::{is_open_to_all, read as read_credentials};
pub use request::{Head, Request, Shape, read};
pub use strangers::{Hosts, check as check_stranger, check_site};

#[cfg(test)]
mod tests;
