//! `olivine backup --server`: a backup of a node that serves, wherever it is, made here.
//!
//! The node lends its files as they are at one moment (`docs/protocols/http.md`), and what is missing here
//! comes over, piece by piece. Several pieces are asked for before the first has come, so that a long way costs
//! little.
//!
//! 1. What comes is verified before it counts, and the backup is published last: whatever ends in the middle, the
//!    backups there are as they were.
//! 2. A connection that is lost is made anew a few times; what has come is not asked for again, neither then nor by
//!    the next call.
//! 3. However it ends, the node is told if it can be, so that it need not hold files for nobody.

use std::{
    collections::VecDeque,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use olivine_engine::{BackupInfo, Backups, Error, Lender, Offer, Offered, OnPiece};
use olivine_vfs::Interrupts;

use crate::{
    call::Call,
    check::environment,
    ending::{Ending, Failure, interrupts},
    http_client::{Client, Response, Server},
    json::Json,
    progress::{Progress, Unit},
};

/// Bytes that the list of files may have.
const LIST_BYTES_MAX: u64 = 1 << 30;
/// Bytes that a piece may have; a node sends no more.
const PIECE_BYTES_MAX: u64 = 1 << 20;
/// Pieces that are asked for before the first of them has come.
const AHEAD_MAX: usize = 8;
/// How often a connection that was lost is made anew before anything more has come.
const TRIES_MAX: u32 = 3;
/// What the names of the store's files begin with.
const STORE: &str = "store/";

/// Makes a backup of the node at `--server` in the directory `target`.
pub(crate) fn backup(call: &Call, url: &str, target: &Path) -> Result<BackupInfo, Failure> {
    let server = Server::of(call, "--server", url)?;
    let interrupts = interrupts()?;
    let backups = Backups::new(&environment(call)?, target);
    let mut client = server.connect()?;
    let (id, offer) = begun(&client.ask("POST", "/backup", LIST_BYTES_MAX)?)?;
    let progress = Progress::new(call, Unit::Bytes, false);
    let mut remote = Remote {
        server,
        client: Some(client),
        interrupts,
        id,
        dir: target.to_path_buf(),
        names: offer.files.iter().map(|file| file.name.clone()).collect(),
        piece_bytes: PIECE_BYTES_MAX,
        failure: None,
    };
    let received =
        backups.receive(&offer, &mut remote, &mut |done| progress.at(done.bytes_done, done.bytes));
    drop(progress);
    remote.end(received.is_ok());
    received.map_err(|error| told(error, remote.failure))
}

/// Why there is no backup.
fn told(error: Error, failure: Option<Failure>) -> Failure {
    match (failure, error) {
        (Some(failure), _)
            if matches!(failure.ending(), Ending::Interrupted | Ending::Terminated) =>
        {
            failure
        }
        (Some(failure), _) => {
            let text = failure.text();
            let next =
                "there is no backup more; run it again, and what has come is not fetched again";
            Failure::new(failure.ending(), format!("{text}; {next}"))
        }
        (None, Error::Corrupt { path, what, .. }) => {
            let text = format!(
                "{} did not come as it should: {what}; there is no backup more. Run it again; if it comes so again, let \
                 `olivine check` look at the server's store",
                path.display()
            );
            Failure::new(Ending::Damaged, text)
        }
        (None, error) => error.into(),
    }
}

/// What a node says that it lends: the number of the copy, and its files.
fn begun(response: &Response) -> Result<(u64, Offer), Failure> {
    match response.status {
        200 => {}
        404 | 405 => {
            let text =
                "the server makes no backups; is it `olivine` of this release, and its HTTP door?";
            return Err(Failure::new(Ending::Failed, text));
        }
        503 => {
            let text = format!("the server cannot make a backup now: {}", response.problem());
            return Err(Failure::new(Ending::Failed, text));
        }
        _ => {
            let text = format!("the server makes no backup: {}", response.problem());
            return Err(Failure::new(Ending::Failed, text));
        }
    }
    let other = |what: &str| {
        let text = format!("the server does not begin a backup as a node does: {what}");
        Failure::new(Ending::Failed, text)
    };
    let text = str::from_utf8(&response.body).map_err(|_| other("it sends no text"))?;
    let mut lines = text.lines();
    let first = members(lines.next()).ok_or_else(|| other("its first line is no object"))?;
    let missing = || other("its first line is not complete");
    let id = number(&first, "backup").ok_or_else(missing)?;
    let time = number(&first, "time_ms").ok_or_else(missing)? / 1_000;
    let count = number(&first, "files").ok_or_else(missing)?;
    let store = word(&first, "store").and_then(|store| u64::from_str_radix(store, 16).ok());
    let store = store.ok_or_else(missing)?;
    let mut files = Vec::new();
    for line in lines {
        let file = members(Some(line)).unwrap_or_default();
        let (name, bytes) = (word(&file, "name"), number(&file, "bytes"));
        let (Some(name), Some(bytes)) = (name, bytes) else {
            return Err(other("a line is none of a file"));
        };
        let Some(name) = name.strip_prefix(STORE) else {
            let text = format!(
                "the server has {name:?} beside its store, which this release cannot back up; take the `olivine` that \
                 the server runs"
            );
            return Err(Failure::new(Ending::Failed, text));
        };
        files.push(Offered { name: name.to_owned(), bytes });
    }
    if files.len() as u64 != count {
        return Err(other("its list of files is cut off"));
    }
    Ok((id, Offer { store, time, files }))
}

fn members(line: Option<&str>) -> Option<Vec<(String, Json)>> {
    match Json::parse(line?) {
        Ok(Json::Object(members)) => Some(members),
        _ => None,
    }
}

fn member<'a>(members: &'a [(String, Json)], name: &str) -> Option<&'a Json> {
    members.iter().find(|(known, _)| known == name).map(|(_, value)| value)
}

fn number(members: &[(String, Json)], name: &str) -> Option<u64> {
    match member(members, name)? {
        Json::Number(number) => number.parse().ok(),
        _ => None,
    }
}

fn word<'a>(members: &'a [(String, Json)], name: &str) -> Option<&'a str> {
    match member(members, name)? {
        Json::Text(text) => Some(text),
        _ => None,
    }
}

/// A copy that a node lends.
struct Remote {
    server: Server,
    /// Nothing while there is no connection.
    client: Option<Client>,
    interrupts: Interrupts,
    id: u64,
    /// Where the backup goes.
    dir: PathBuf,
    names: Vec<String>,
    /// How much a piece has, unless it is the last of its file.
    piece_bytes: u64,
    /// Why no more came.
    failure: Option<Failure>,
}

impl Lender for Remote {
    fn fetch(&mut self, file: usize, bytes: u64, each: OnPiece<'_>) -> Result<(), Error> {
        let (mut at, mut tries) = (0, 0);
        while at < bytes {
            let before = at;
            let failure = match self.pieces(file, &mut at, bytes, each) {
                Ok(()) => continue,
                Err(Stopped::Refused(error)) => return Err(error),
                Err(Stopped::Failed(failure)) => failure,
            };
            self.client = None;
            tries = if before < at { 1 } else { tries + 1 };
            if failure.ending() != Ending::Unreachable || TRIES_MAX < tries {
                return Err(self.failed(file, failure));
            }
            match self.server.connect() {
                Ok(client) => self.client = Some(client),
                Err(failure) => return Err(self.failed(file, failure)),
            }
        }
        Ok(())
    }
}

/// Why no more pieces come.
enum Stopped {
    /// Who wanted them does not any more.
    Refused(Error),
    Failed(Failure),
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Stopped {
        Stopped::Failed(failure)
    }
}

impl Remote {
    /// Has the pieces of a file from `at` on come, and moves `at` behind each.
    fn pieces(
        &mut self,
        file: usize,
        at: &mut u64,
        bytes: u64,
        each: OnPiece<'_>,
    ) -> Result<(), Stopped> {
        let mut client = match self.client.take() {
            Some(client) => client,
            None => self.server.connect()?,
        };
        let mut asked = *at;
        // Where the pieces begin that are to come.
        let mut ahead = VecDeque::new();
        while *at < bytes {
            if let Some(interrupt) = self.interrupts.asked() {
                return Err(Failure::asked(interrupt).into());
            }
            while ahead.len() < AHEAD_MAX && asked < bytes {
                client.send("GET", &format!("/backup/{}/{file}?offset={asked}", self.id))?;
                ahead.push_back(asked);
                asked += self.piece_bytes;
            }
            let response = client.receive(PIECE_BYTES_MAX)?;
            let begins = ahead.pop_front();
            check(&response)?;
            if begins != Some(*at) {
                // One before it was shorter than it was thought to be.
                asked = if ahead.is_empty() { *at } else { asked };
                continue;
            }
            let hash =
                response.header("olivine-xxh3").and_then(|hash| u64::from_str_radix(hash, 16).ok());
            let Some(hash) = hash.filter(|_| !response.body.is_empty()) else {
                let text = "the server sends no piece where one should be";
                return Err(Failure::new(Ending::Failed, text).into());
            };
            each(&response.body, hash).map_err(Stopped::Refused)?;
            let came = response.body.len() as u64;
            *at += came;
            if came < self.piece_bytes && *at < bytes {
                // So it will be with the next ones; those that were asked for begin elsewhere.
                self.piece_bytes = came;
                asked = if ahead.is_empty() { *at } else { bytes };
            }
        }
        self.client = Some(client);
        Ok(())
    }

    /// Keeps why no more comes, and makes an error of it that the engine passes on.
    fn failed(&mut self, file: usize, failure: Failure) -> Error {
        let source = Arc::new(io::Error::other(failure.text().to_owned()));
        self.failure = Some(failure);
        let name = self.names.get(file).map_or("", String::as_str);
        Error::Io { operation: "fetch", path: self.dir.join(name), source }
    }

    /// Tells the node that it need hold the files no longer, and whether they have become a backup.
    fn end(&mut self, kept: bool) {
        // There may be answers under way on the old connection that are not this one's.
        let connected = if kept { self.client.take().map(Ok) } else { None };
        let target = format!("/backup/{}?kept={kept}", self.id);
        let told = connected.unwrap_or_else(|| self.server.connect());
        // A node that cannot be told ends the copy by itself; a backup that is there is there.
        told.and_then(|mut client| client.ask("DELETE", &target, 0)).ok();
    }
}

/// Refuses an answer that is no piece.
fn check(response: &Response) -> Result<(), Failure> {
    let why = match response.status {
        200 => return Ok(()),
        404 => "the server has ended this backup: it was started again, or nothing was read for too long".into(),
        _ => format!("the server cannot read its files: {}", response.problem()),
    };
    Err(Failure::new(Ending::Failed, why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http_client::answer_for_tests as answer;

    const FIRST: &str = r#"{"backup":7,"time_ms":1795217000123,"idle_ms_max":300000,"store":"00f3a9c1d2e4b567","files":2}"#;

    #[test]
    fn what_a_node_lends_is_read() {
        let lines = format!(
            "{FIRST}\n{{\"file\":0,\"name\":\"store/catalog\",\"bytes\":112}}\n{{\"file\":1,\"name\":\"store/x\",\"bytes\":0}}\n"
        );
        let (id, offer) = begun(&answer(200, &lines)).unwrap();
        assert_eq!((id, offer.store, offer.time), (7, 0x00f3_a9c1_d2e4_b567, 1_795_217_000));
        let files: Vec<_> =
            offer.files.iter().map(|file| (file.name.as_str(), file.bytes)).collect();
        assert_eq!(files, [("catalog", 112), ("x", 0)]);
        // Cut anywhere but before its last line end, it is not taken.
        for end in 0..lines.len() - 1 {
            begun(&answer(200, &lines[..end])).unwrap_err();
        }
    }

    #[test]
    fn what_it_does_not_lend_is_told() {
        let other = format!("{FIRST}\n{{\"file\":0,\"name\":\"olivedb/x\",\"bytes\":1}}\n");
        for (status, body, what) in [
            (200, other.as_str(), "\"olivedb/x\" beside its store"),
            (200, "[]", "its first line is no object"),
            (200, FIRST, "cut off"),
            (404, "", "makes no backups"),
            (503, "{\"detail\":\"4 backups are under way\"}", "now: 4 backups are under way"),
            (500, "{\"detail\":\"why\"}", "makes no backup: why"),
        ] {
            let failure = begun(&answer(status, body)).unwrap_err();
            assert!(failure.text().contains(what), "{what}: {}", failure.text());
        }
    }
}
