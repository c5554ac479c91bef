//! Makes writes and queries of requests.

use olivine_command::Command;

use super::{
    answer::{failed, own},
    bound::{self, Parameter},
    line::{self, Fault, Precision, Reading},
    parameters::Parameters,
};
use crate::{Login, http, http::Response};

/// Which of the doors it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// InfluxDB's: writes and queries.
    Influx,
    /// Queries alone.
    Select,
    /// Lines and queries, as the storage itself takes them.
    Ingest,
}

/// What stands before a body.
#[derive(Clone, Copy, Debug, Default)]
pub struct Head<'a> {
    /// The method, in capitals.
    pub method: &'a str,
    /// The path, as it was sent.
    pub path: &'a str,
    /// What stood behind the question mark, as it was sent.
    pub query: &'a str,
    /// The header `Content-Type`.
    pub content_type: Option<&'a str>,
    /// The header `Accept`.
    pub accept: Option<&'a str>,
}

/// How a node takes what comes in.
#[derive(Clone, Copy, Debug)]
pub struct Taking {
    /// What time it is, in nanoseconds since 1970.
    pub now: i64,
    /// The longest line.
    pub line_bytes_max: usize,
    /// Whether a database is made that is not there.
    pub makes_databases: bool,
}

/// One request.
#[derive(Debug)]
pub enum Request {
    /// Points are to be written.
    Write(Write),
    /// A text of statements is to be answered.
    Query(Query),
    /// What was written is to be brought to where it stays.
    Settle,
    /// The door answers by itself.
    Own(Response),
}

/// Points to be written, and how that is answered.
#[derive(Debug)]
pub struct Write {
    pub(super) database: String,
    pub(super) policy: String,
    pub(super) makes_database: bool,
    pub(super) all_or_none: bool,
    pub(super) form: WriteForm,
    /// The points, in pieces, and how many each has.
    pub(super) pieces: Vec<(u64, Vec<u8>)>,
    pub(super) faults: Vec<Fault>,
    /// How many lines are wrong.
    pub(super) wrong: u64,
}

/// How a write is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WriteForm {
    /// As version 1 does.
    First,
    /// As version 2 does.
    Second,
    /// As version 3 does.
    Third,
    /// With a line that says what was done.
    Told,
}

impl Write {
    /// What the store is asked, one after the other as long as nothing is refused. Nothing may be there to ask.
    pub fn commands(&self) -> Vec<Command<'_>> {
        if self.all_or_none && self.wrong != 0 {
            return Vec::new();
        }
        let pieces = self.pieces.iter().map(|(_, points)| Command::WritePoints {
            database: self.database.as_bytes().into(),
            policy: self.policy.as_bytes().into(),
            points: points.into(),
            makes_database: self.makes_database,
            all_or_none: self.all_or_none,
        });
        pieces.collect()
    }
}

/// A text of statements to be answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// The statements.
    pub text: String,
    /// What stands for its parameters.
    pub parameters: Vec<(String, Parameter)>,
    /// The database that is meant where a statement names none; may be empty.
    pub database: String,
    /// The retention policy that is meant; empty for the default one.
    pub policy: String,
    /// The relaxed dialect.
    pub relaxed: bool,
    /// Whether a statement may change something.
    pub may_change: bool,
    pub(super) form: QueryForm,
}

/// How a query is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum QueryForm {
    /// As InfluxDB does.
    Results {
        /// The unit of times; texts if there is none.
        epoch: Option<Precision>,
        pretty: bool,
        /// Rows of one answer among several.
        chunk: Option<usize>,
        csv: bool,
    },
    /// An array of points.
    Objects,
}

/// Rows of one answer among several, if nobody says how many.
const CHUNK_ROWS: usize = 10_000;
/// Bytes of a text of statements.
pub const QUERY_BYTES_MAX: usize = 1 << 20;
/// The database that is meant by who names none, at the doors that let it be.
pub const DEFAULT_DATABASE: &str = "default";

/// Whether a path is there for everybody.
pub fn is_open_to_all(path: &str) -> bool {
    matches!(path, "/ping" | "/health")
}

/// Who sends a request: as its header says, or `u` and `p` behind the question mark; nothing if nobody says.
pub fn credentials(
    authorization: Option<&str>,
    query: &str,
) -> Result<Option<Login<'static>>, String> {
    if let Some(header) = authorization {
        // As clients of version 2 call it; what they send may also be a user and a password.
        let token = header.split_once(' ').filter(|(word, _)| word.eq_ignore_ascii_case("token"));
        if let Some((_, token)) = token {
            let token = token.trim_ascii();
            return Ok(Some(match token.split_once(':') {
                Some((user, password)) => by_password(user, password),
                None => Login::Token(token.as_bytes().to_vec().into()),
            }));
        }
        return Ok(Some(match http::read_credentials(header)? {
            Login::Token(token) => Login::Token(token.into_owned().into()),
            Login::Password { user, password } => Login::Password {
                user: user.into_owned().into(),
                password: password.into_owned().into(),
            },
        }));
    }
    let parameters = Parameters::read(query)?;
    let user = parameters.get("u");
    Ok(user.map(|user| by_password(user, parameters.get("p").unwrap_or_default())))
}

fn by_password(user: &str, password: &str) -> Login<'static> {
    let bytes = |text: &str| text.as_bytes().to_vec().into();
    Login::Password { user: bytes(user), password: bytes(password) }
}

/// Reads one request.
pub fn read<'a>(way: Way, head: &Head<'a>, body: &'a [u8], taking: &Taking) -> Request {
    (Asked { way, head, body, taking }).request().unwrap_or_else(Request::Own)
}

struct Asked<'m, 'a> {
    way: Way,
    head: &'m Head<'a>,
    body: &'a [u8],
    taking: &'m Taking,
}

type Outcome<T> = Result<T, Response>;

impl<'a> Asked<'_, 'a> {
    fn request(&self) -> Outcome<Request> {
        let parameters = self.parameters()?;
        match (self.way, self.head.path, self.head.method) {
            (Way::Influx, "/write", "POST") => self.write(&parameters, WriteForm::First),
            (Way::Influx, "/api/v2/write", "POST") => self.write_second(&parameters),
            (Way::Influx, "/api/v3/write_lp", "POST") => self.write_third(&parameters),
            (Way::Influx | Way::Ingest, "/", "POST") => self.write(&parameters, WriteForm::Told),
            (Way::Influx, "/query", "GET" | "POST") => self.query(&parameters),
            (Way::Select | Way::Ingest, "/", "GET") => Ok(self.objects(&parameters)?),
            (_, "/ping", "GET" | "HEAD") => {
                let verbose = parameters.flag("verbose").map_err(invalid)? == Some(true);
                Ok(Request::Own(own::ping(verbose)))
            }
            // VictoriaMetrics calls it so, and takes any method; ours changes files, if nothing that is seen.
            (Way::Influx, "/internal/force_merge", "POST") => Ok(Request::Settle),
            (_, "/health", "GET" | "HEAD") => Ok(Request::Own(own::health())),
            (Way::Influx, "/", "GET" | "HEAD") => Ok(Request::Own(own::welcome())),
            (_, path, method) => Err(self.no_such(path, method)),
        }
    }

    fn parameters(&self) -> Outcome<Parameters<'a>> {
        Parameters::read(self.head.query).map_err(invalid)
    }

    /// There is no such path, or it takes other methods.
    fn no_such(&self, path: &str, method: &str) -> Response {
        let paths: &[(&str, &str)] = match self.way {
            Way::Influx => &[
                ("/write", "POST"),
                ("/api/v2/write", "POST"),
                ("/api/v3/write_lp", "POST"),
                ("/query", "GET, POST"),
                ("/ping", "GET, HEAD"),
                ("/health", "GET, HEAD"),
                ("/internal/force_merge", "POST"),
                ("/", "GET, HEAD, POST"),
            ],
            Way::Select => &[("/", "GET"), ("/ping", "GET, HEAD"), ("/health", "GET, HEAD")],
            Way::Ingest => &[("/", "GET, POST"), ("/ping", "GET, HEAD"), ("/health", "GET, HEAD")],
        };
        if let Some((_, methods)) = paths.iter().find(|(known, _)| *known == path) {
            let mut response =
                failed(405, &format!("{method} is not for this path; it takes {methods}"));
            response.headers.push(("allow", (*methods).to_owned()));
            return response;
        }
        let names: Vec<&str> = paths.iter().map(|(path, _)| *path).collect();
        failed(404, &format!("there is nothing here; there are {}", names.join(", ")))
    }

    /// Reads a write as version 2 has it.
    fn write_second(&self, parameters: &Parameters<'_>) -> Outcome<Request> {
        let bucket = parameters.get("bucket").or_else(|| parameters.get("db"));
        let Some(bucket) = bucket else {
            return Err(failed(
                400,
                "bucket is required: `bucket=database` or `bucket=database/policy`",
            ));
        };
        let (database, policy) = bucket.split_once('/').unwrap_or((bucket, ""));
        self.write_into(database, policy, parameters, WriteForm::Second)
    }

    /// Reads a write as version 3 has it.
    fn write_third(&self, parameters: &Parameters<'_>) -> Outcome<Request> {
        let Some(database) = parameters.get("db") else {
            return Err(failed(400, "db is required"));
        };
        // Whoever need not wait for the disk is answered as all others are: no sooner, and no less surely.
        parameters.flag("no_sync").map_err(invalid)?;
        self.write_into(database, "", parameters, WriteForm::Third)
    }

    fn write(&self, parameters: &Parameters<'_>, form: WriteForm) -> Outcome<Request> {
        let database = match (parameters.get("db"), form) {
            (Some(database), _) => database,
            (None, WriteForm::Told) => DEFAULT_DATABASE,
            (None, _) => return Err(failed(400, "database is required")),
        };
        // One node keeps one copy, which is any, one, a quorum and all of them.
        match parameters.get("consistency") {
            None | Some("any" | "one" | "quorum" | "all") => {}
            Some(_) => return Err(failed(400, "invalid consistency level")),
        }
        self.write_into(database, parameters.get("rp").unwrap_or_default(), parameters, form)
    }

    fn write_into(
        &self,
        database: &str,
        policy: &str,
        parameters: &Parameters<'_>,
        form: WriteForm,
    ) -> Outcome<Request> {
        let precision = parameters.get("precision").unwrap_or_default();
        let told_by_size = form == WriteForm::Third && matches!(precision, "" | "auto");
        let named =
            if told_by_size { Some(Precision::TOLD_BY_SIZE) } else { Precision::named(precision) };
        let Some(precision) = named else {
            let shown: String = precision.chars().take(64).collect();
            let text = format!("invalid precision {shown:?}; there are n, ns, u, us, ms, s, m, h");
            return Err(failed(400, &text));
        };
        let accepts_part = parameters.flag("accept_partial").map_err(invalid)?;
        let Taking { now, line_bytes_max, makes_databases } = *self.taking;
        let read = line::read(self.body, &Reading { precision, now, line_bytes_max });
        let all_or_none = accepts_part == Some(false);
        let pieces = read.points.into_iter().map(|piece| (piece.points(), piece.finish()));
        let pieces: Vec<(u64, Vec<u8>)> = pieces.collect();
        if all_or_none && 1 < pieces.len() {
            let text = "the points are too many to be written all or none; send fewer at a time";
            return Err(failed(413, text));
        }
        Ok(Request::Write(Write {
            database: database.to_owned(),
            policy: policy.to_owned(),
            makes_database: makes_databases,
            all_or_none,
            form,
            pieces,
            faults: read.faults,
            wrong: read.wrong,
        }))
    }

    /// Reads a query as InfluxDB has it.
    fn query(&self, behind: &Parameters<'a>) -> Outcome<Request> {
        let kind = self.head.content_type.unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        let parameters = if kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            let form = str::from_utf8(self.body)
                .map_err(|_| invalid("the form is not UTF-8".to_owned()))?;
            Parameters::read(form).map_err(invalid)?.and(behind.clone())
        } else if kind.eq_ignore_ascii_case("multipart/form-data") {
            let text = "forms of several parts are not taken; send `q` as application/x-www-form-urlencoded";
            return Err(failed(415, text));
        } else {
            behind.clone()
        };
        let Some(text) = parameters.get("q") else {
            return Err(failed(400, "missing required parameter \"q\""));
        };
        let epoch = match parameters.get("epoch").map(Precision::named) {
            None => None,
            Some(Some(epoch)) => Some(epoch),
            Some(None) => {
                return Err(failed(400, "invalid epoch; there are ns, u, ms, s, m, h"));
            }
        };
        let chunked = parameters.flag("chunked").map_err(invalid)? == Some(true);
        let rows = parameters.get("chunk_size").map(|rows| rows.parse().ok().filter(|n| 0 < *n));
        let rows = match rows {
            None => CHUNK_ROWS,
            Some(Some(rows)) => rows,
            Some(None) => return Err(failed(400, "`chunk_size` is a whole number above 0")),
        };
        let form = QueryForm::Results {
            epoch,
            pretty: parameters.flag("pretty").map_err(invalid)? == Some(true),
            chunk: chunked.then_some(rows),
            csv: wants_csv(self.head.accept),
        };
        let bound = match parameters.get("params") {
            None | Some("null") => Vec::new(),
            Some(params) => bound::read(params)
                .map_err(|why| failed(400, &format!("error parsing query parameters: {why}")))?,
        };
        self.query_of(text, bound, &parameters, form)
    }

    /// Reads a query of which the answer is an array of points.
    fn objects(&self, parameters: &Parameters<'_>) -> Outcome<Request> {
        let Some(text) = parameters.get("query").or_else(|| parameters.get("q")) else {
            let text =
                "missing required parameter \"query\": /?query=select field from measurement";
            return Err(failed(400, text));
        };
        self.query_of(text, Vec::new(), parameters, QueryForm::Objects)
    }

    fn query_of(
        &self,
        text: &str,
        bound: Vec<(String, Parameter)>,
        parameters: &Parameters<'_>,
        form: QueryForm,
    ) -> Outcome<Request> {
        if QUERY_BYTES_MAX < text.len() {
            let text =
                format!("the query has {} bytes, and may have {QUERY_BYTES_MAX}", text.len());
            return Err(failed(413, &text));
        }
        let relaxed = form == QueryForm::Objects;
        let default = if relaxed { DEFAULT_DATABASE } else { "" };
        Ok(Request::Query(Query {
            text: text.to_owned(),
            parameters: bound,
            database: parameters.get("db").unwrap_or(default).to_owned(),
            policy: parameters.get("rp").unwrap_or_default().to_owned(),
            relaxed,
            may_change: self.head.method == "POST",
            form,
        }))
    }
}

fn invalid(why: String) -> Response {
    failed(400, &why)
}

/// Whether the first of what is accepted that this door knows is CSV.
fn wants_csv(accept: Option<&str>) -> bool {
    let kinds = accept.unwrap_or_default().split(',');
    let mut kinds = kinds.map(|kind| kind.split(';').next().unwrap_or_default().trim());
    let known = kinds
        .find(|kind| matches!(*kind, "application/csv" | "text/csv" | "application/json" | "*/*"));
    known.is_some_and(|kind| kind.ends_with("csv"))
}
