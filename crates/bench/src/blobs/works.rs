//! What the clients of a store of blobs do.

use std::sync::Arc;

use super::{
    load::{Request, Work},
    wire::Answer,
};
use crate::store::Result;

/// Statuses that are right, whatever the manner.
const PUT: &[u16] = &[200, 201, 204];
const GET: &[u16] = &[200];
const DELETE: &[u16] = &[200, 204];
const MISSING: &[u16] = &[404];
const REDIRECT: &[u16] = &[301, 302, 307, 308];

/// Bytes that all values are pieces of.
pub(crate) struct Values(Vec<u8>);

impl Values {
    pub(crate) fn new(bytes_max: usize) -> Values {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut bytes = Vec::with_capacity(bytes_max + (1 << 20) + 8);
        while bytes.len() < bytes_max + (1 << 20) {
            // xorshift: nothing that compresses, and the same in every run.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend_from_slice(&state.to_le_bytes());
        }
        Values(bytes)
    }

    /// Where the value of a key stands.
    pub(crate) fn place(number: u64, bytes: usize) -> (usize, usize) {
        let start = (number.wrapping_mul(0x9e37_79b1) % (1 << 20)) as usize;
        (start, start + bytes)
    }

    pub(crate) fn at(&self, (start, end): (usize, usize)) -> &[u8] {
        &self.0[start..end]
    }
}

/// Whom a work asks, and with what values.
#[derive(Clone)]
pub(crate) struct Scene {
    pub(crate) values: Arc<Values>,
    pub(crate) master: String,
    pub(crate) value_bytes: usize,
    /// What all keys begin with.
    pub(crate) prefix: &'static str,
}

impl Scene {
    pub(crate) fn key(&self, number: u64) -> String {
        format!("{}-{number:012}", self.prefix)
    }

    fn request(&self, method: &'static str, number: u64, wanted: &'static [u16]) -> Request {
        Request {
            method,
            to: self.master.clone(),
            target: format!("/{}", self.key(number)),
            wanted,
            follows: true,
            ..Request::default()
        }
    }

    fn put(&self, number: u64) -> Request {
        let place = Values::place(number, self.value_bytes);
        Request { body: self.values.at(place).to_vec(), ..self.request("PUT", number, PUT) }
    }

    fn get(&self, number: u64) -> Request {
        let expected = Some(Values::place(number, self.value_bytes));
        Request { expected, ..self.request("GET", number, GET) }
    }
}

/// Writes a key, reads it, and takes it away.
pub(crate) struct Cycles(pub(crate) Scene);

impl Work for Cycles {
    fn task(&mut self, number: u64, requests: &mut Vec<Request>) {
        let delete = self.0.request("DELETE", number, DELETE);
        requests.extend([self.0.put(number), self.0.get(number), delete]);
    }

    fn values(&self) -> &[u8] {
        &self.0.values.0
    }
}

/// Writes keys.
pub(crate) struct Puts(pub(crate) Scene);

impl Work for Puts {
    fn task(&mut self, number: u64, requests: &mut Vec<Request>) {
        requests.push(self.0.put(number));
    }

    fn values(&self) -> &[u8] {
        &self.0.values.0
    }
}

/// Asks for keys that are not there.
pub(crate) struct Missing(pub(crate) Scene);

impl Work for Missing {
    fn task(&mut self, number: u64, requests: &mut Vec<Request>) {
        requests.push(self.0.request("GET", number, MISSING));
    }

    fn values(&self) -> &[u8] {
        &self.0.values.0
    }
}

/// Asks the master for keys that are there, and does not follow; what it said last is kept, key by key.
pub(crate) struct Redirects {
    pub(crate) scene: Scene,
    pub(crate) keys: u64,
    /// Targets at volumes: `host:port` and the rest.
    pub(crate) places: Vec<(String, String)>,
}

impl Work for Redirects {
    fn task(&mut self, number: u64, requests: &mut Vec<Request>) {
        let number = number % self.keys;
        requests.push(Request { follows: false, ..self.scene.request("GET", number, REDIRECT) });
    }

    fn values(&self) -> &[u8] {
        &self.scene.values.0
    }

    fn answered(&mut self, request: &Request, answer: &Answer) -> Result<()> {
        let location = answer.location.as_deref().unwrap_or_default();
        let rest = location.strip_prefix("http://").ok_or("a redirect without a Location")?;
        let (to, target) = rest.split_at(rest.find('/').ok_or("a Location without a path")?);
        let number: u64 = request.target[self.scene.prefix.len() + 2..].parse()?;
        self.places[number as usize] = (to.to_owned(), target.to_owned());
        Ok(())
    }
}

/// Reads values from where they lie.
pub(crate) struct Direct {
    pub(crate) scene: Scene,
    pub(crate) places: Vec<(String, String)>,
}

impl Work for Direct {
    fn task(&mut self, number: u64, requests: &mut Vec<Request>) {
        // An odd step visits all of them in an order that is none.
        let number = number.wrapping_mul(0x9e37_79b1) % self.places.len() as u64;
        let (to, target) = &self.places[number as usize];
        let request = self.scene.get(number);
        requests.push(Request { to: to.clone(), target: target.clone(), ..request });
    }

    fn values(&self) -> &[u8] {
        &self.scene.values.0
    }
}
