//! `olivine import`: points from files of other databases, or from tables, into a running server.
//!
//! Modules in reading order: `input` are files, unpacked and cut into records; `format` tells what they are; `lines`,
//! `csv` and `objects` make lines of line protocol of them, with `naming` for what columns are, `moment` for times and
//! `point` for the lines; `sink` sends them.
//!
//! 1. Whatever the length of the input, memory is a few batches and one record.
//! 2. What is refused is told with file, line and reason, and counted; it costs no other line.
//! 3. When it ends well, everything is acknowledged; however it ends, it is told from which line to go on.
//! 4. Importing the same again changes nothing.

mod csv;
mod format;
mod input;
mod lines;
mod moment;
mod naming;
mod objects;
mod point;
mod sink;

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use olivine_doors::influx::line::Precision;
use olivine_vfs::{Clock as _, Interrupts, RealClock};

use self::{
    csv::Table,
    format::{FORMAT, Format},
    input::{Input, LINE_BYTES_MAX, Next},
    lines::Protocol,
    naming::Naming,
    objects::Objects,
    sink::{Outcome, Place, Sending, Sink},
};
use crate::{
    call::{Call, Command, JSON, Opt, QUIET},
    ending::{Ending, Failure, interrupts},
    http_client::{CA, Server, TOKEN_FILE},
    json::Json,
    progress::{self, Progress, Unit},
    shown::counted,
};

const SERVER: Opt = Opt::value(
    "--server",
    "URL",
    "the server, at http://HOST:PORT or https://HOST:PORT: its door of time series",
)
.or("http://localhost:8086");
const DATABASE: Opt =
    Opt::value("--database", "NAME", "where points belong, whatever the input says")
        .also(&["--db"]);
const POLICY: Opt =
    Opt::value("--policy", "NAME", "the retention policy (the database's default)").also(&["--rp"]);
const BATCH: Opt = Opt::value("--batch", "N", "points that are sent together").or("10000");
const FROM_LINE: Opt =
    Opt::value("--from-line", "N", "pass over the lines of the first file before this one");
const FIELD: Opt = Opt::value(
    "--field",
    "NAME",
    "what the value of a series is called that VictoriaMetrics exported",
)
.or("value");
const DELIMITER: Opt =
    Opt::value("--delimiter", "SIGN", "between values of a row: , or ; or tab").or(",");

pub(crate) const COMMAND: Command = Command {
    name: "import",
    what: "write points from files into a running server: line protocol, CSV, JSON",
    about: "Import writes points into a server that runs, from files or the standard input, packed with gzip or not: line \
        protocol, also as `influx_inspect export` writes it; CSV with a header, or with the annotations of InfluxDB 2; \
        lines of JSON, as VictoriaMetrics exports series, or an object a point. The form is told by what is there. Of \
        tables and objects the options say which column is what.",
    operands: &["[FILE...]"],
    options: &[
        &[SERVER, TOKEN_FILE, CA],
        &[DATABASE, POLICY, FORMAT, FROM_LINE, BATCH],
        &[
            naming::MEASUREMENT,
            naming::MEASUREMENT_COLUMN,
            naming::TAGS,
            naming::FIELDS,
            naming::TYPES,
            naming::TIME_COLUMN,
            naming::TIME_FORMAT,
            naming::PRECISION,
            DELIMITER,
            FIELD,
        ],
        &[JSON, QUIET],
    ],
    notes: "Without FILE, or with -, the standard input is read. A line that is refused is told and costs no other; the \
        exit code is 1 then. An import that is cut short says from which line to go on; one that is repeated changes \
        nothing, unless points have no time.",
    examples: &[
        "olivine import metrics.lp.gz --database metrics",
        "influx_inspect export -compress -out d.gz && olivine import d.gz",
        "olivine import loads.csv --database ops --measurement load --tags host --precision s",
        "curl -s 'http://vm:8428/api/v1/export?match[]=up' | olivine import --database vm",
        "olivine import --server https://db:8086 --token-file in.token --database d a.lp b.lp",
    ],
    run,
};

/// What is imported, and how.
struct Plan {
    files: Vec<PathBuf>,
    format: Option<Format>,
    naming: Naming,
    field: String,
    delimiter: Option<u8>,
    sending: Sending,
}

impl Plan {
    fn of(call: &Call) -> Result<Plan, Failure> {
        let mut files = Vec::new();
        while let Some(file) = call.operand(files.len()) {
            files.push(PathBuf::from(file));
        }
        if files.is_empty() {
            files.push("-".into());
        }
        if 1 < files.iter().filter(|file| is_standard(file)).count() {
            return Err(Failure::misused("the standard input is there once"));
        }
        let delimiter = match call.text(DELIMITER.name)?.as_deref() {
            None => None,
            Some("tab" | "\t" | "\\t") => Some(b'\t'),
            Some(sign) => match sign.as_bytes() {
                [byte] if byte.is_ascii_punctuation() && *byte != b'"' => Some(*byte),
                _ => {
                    return Err(call.wrong(
                        DELIMITER.name,
                        format!("wants a sign such as , or tab, not `{sign}`"),
                    ));
                }
            },
        };
        let precision = call.text(naming::PRECISION.name)?.unwrap_or_else(|| "ns".to_owned());
        if Precision::named(&precision).is_none() {
            let wants = "wants one of ns, us, ms, s, m, h";
            return Err(call.wrong(naming::PRECISION.name, format!("{wants}, not `{precision}`")));
        }
        let url = call.text(SERVER.name)?.unwrap_or_else(|| SERVER.default.to_owned());
        let server = Server::of(call, SERVER.name, &url)?.at_door("door of time series");
        let named = |option: &str| -> Result<Option<String>, Failure> {
            match call.text(option)? {
                Some(name) if name.is_empty() => Err(call.wrong(option, "wants a name")),
                name => Ok(name),
            }
        };
        Ok(Plan {
            files,
            format: Format::of(call)?,
            naming: Naming::of(call)?,
            field: call.text(FIELD.name)?.unwrap_or_else(|| FIELD.default.to_owned()),
            delimiter,
            sending: Sending {
                server,
                database: named(DATABASE.name)?,
                policy: named(POLICY.name)?,
                precision,
                batch_lines_max: call.count(BATCH.name)?.unwrap_or(10_000),
                from_line: call.count(FROM_LINE.name)?.unwrap_or(1),
            },
        })
    }
}

fn is_standard(file: &Path) -> bool {
    file == Path::new("-")
}

/// What is read, and how far it is.
struct Import<'a> {
    plan: &'a Plan,
    interrupts: Interrupts,
    progress: Progress,
    /// Bytes of all files; 0 if nobody knows.
    bytes: u64,
    /// Bytes and lines of the inputs before this one.
    bytes_before: u64,
    lines: u64,
}

fn run(call: &Call) -> Result<Ending, Failure> {
    let plan = Plan::of(call)?;
    let interrupts = interrupts()?;
    // Before anything is sent: who mistypes a name has the others not half imported.
    let sizes: Result<Vec<u64>, Failure> = plan.files.iter().map(|file| size(file)).collect();
    let sizes = sizes?;
    let bytes = if sizes.contains(&0) { 0 } else { sizes.iter().sum() };
    let clock = RealClock::new();
    let began = clock.now();
    let mut sink = Sink::new(&plan.sending)?;
    let mut import = Import {
        plan: &plan,
        interrupts,
        progress: Progress::new(call, Unit::Bytes, false),
        bytes,
        bytes_before: 0,
        lines: 0,
    };
    let ended = import.all(&mut sink);
    import.progress.wipe();
    let Import { lines, bytes_before, .. } = import;
    let mut outcome = sink.outcome;
    outcome.told.sort_by_key(|(place, _)| *place);
    let report = Report {
        plan: &plan,
        lines,
        bytes: bytes_before,
        took: clock.now().saturating_sub(began),
        outcome,
    };
    if let Err(failure) = &ended
        && failure.ending() == Ending::Misused
        && report.outcome.written == 0
    {
        return ended.map(|()| Ending::Good);
    }
    report.print(call.has("--json"), ended.is_ok())?;
    match ended {
        Ok(()) if report.outcome.refused == 0 => Ok(Ending::Good),
        Ok(()) => Ok(Ending::Failed),
        Err(failure) => {
            Err(Failure::new(failure.ending(), format!("{}; {}", failure.text(), report.go_on())))
        }
    }
}

/// Bytes of a file, which must be there; 0 of what is no file.
fn size(file: &Path) -> Result<u64, Failure> {
    if is_standard(file) { Ok(0) } else { Ok(crate::files::Sequential::open(file)?.bytes()) }
}

impl Import<'_> {
    fn all(&mut self, sink: &mut Sink<'_>) -> Result<(), Failure> {
        for file in 0..self.plan.files.len() {
            let path = &self.plan.files[file];
            let read = self.one(file, path, sink);
            // What was handed over is written, however it ended.
            let finished = sink.finish();
            read.map_err(|failure| match failure.ending() {
                Ending::Failed => failure.within(&path.display().to_string()),
                _ => failure,
            })?;
            finished?;
        }
        Ok(())
    }

    /// Reads one input to its end.
    fn one(&mut self, file: usize, path: &Path, sink: &mut Sink<'_>) -> Result<(), Failure> {
        let mut input =
            if is_standard(path) { Input::standard(&self.interrupts)? } else { Input::open(path)? };
        let format = match self.plan.format {
            Some(format) => format,
            None => Format::told(path, &input.begins, &self.plan.naming)?,
        };
        sink.begin(file, format == Format::Lines)?;
        let read = self.records(format, &mut input, sink);
        self.bytes_before += input.read();
        self.lines += input.lines.next_number() - 1;
        read
    }

    fn records(
        &mut self,
        format: Format,
        input: &mut Input,
        sink: &mut Sink<'_>,
    ) -> Result<(), Failure> {
        let mut reader = Reader::new(format, self.plan)?;
        loop {
            if let Some(asked) = self.interrupts.asked() {
                return Err(Failure::asked(asked));
            }
            let next = match reader.next(input) {
                Ok(next) => next,
                // It came while a line was waited for, which is not whole.
                Err(_) if self.interrupts.asked().is_some() => continue,
                Err(error) => {
                    let line = input.lines.next_number();
                    return Err(Failure::io(format!("cannot read line {line}"))(error));
                }
            };
            let first = input.lines.first();
            match next {
                Next::End => break,
                Next::TooLong => {
                    sink.passed(first);
                    sink.refuse(first, format!("it is longer than {LINE_BYTES_MAX} bytes"));
                }
                Next::Record => {
                    sink.passed(first);
                    reader.take(input.lines.record(), first, sink)?;
                }
            }
            sink.passed(input.lines.next_number());
            self.progress.at(self.bytes_before + input.read(), self.bytes);
        }
        Ok(())
    }
}

/// Who makes lines of records.
enum Reader {
    Lines(Protocol),
    Table(Box<Table>, u8),
    Objects(Box<Objects>),
}

impl Reader {
    fn new(format: Format, plan: &Plan) -> Result<Reader, Failure> {
        let Plan { naming, .. } = plan;
        Ok(match format {
            Format::Lines => Reader::Lines(Protocol::new()),
            Format::Csv => {
                naming.check_measurement()?;
                let delimiter = plan.delimiter.unwrap_or(b',');
                Reader::Table(Box::new(Table::new(naming, delimiter.into(), false)), delimiter)
            }
            Format::Annotated => Reader::Table(Box::new(Table::new(naming, ',', true)), b','),
            Format::Json => Reader::Objects(Box::new(Objects::new(naming, &plan.field))),
        })
    }

    fn next(&self, input: &mut Input) -> io::Result<Next> {
        match self {
            Reader::Lines(_) => Protocol::next(&mut input.lines),
            Reader::Table(_, delimiter) => {
                input.lines.read_record(|record| csv::is_whole(record, *delimiter))
            }
            Reader::Objects(_) => input.lines.read_line(),
        }
    }

    fn take(&mut self, record: &[u8], number: u64, sink: &mut Sink<'_>) -> Result<(), Failure> {
        match self {
            Reader::Lines(protocol) => protocol.take(record, number, sink),
            Reader::Table(table, _) => table.take(record, number, sink),
            Reader::Objects(objects) => objects.take(record, number, sink),
        }
    }
}

/// What came of it, for people and programs.
struct Report<'a> {
    plan: &'a Plan,
    lines: u64,
    bytes: u64,
    took: Duration,
    outcome: Outcome,
}

impl Report<'_> {
    fn print(&self, in_json: bool, is_whole: bool) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        let Outcome { written, refused, told, left_out, next } = &self.outcome;
        if in_json {
            let told = told.iter().map(|(place, why)| {
                Json::object([
                    ("file", self.file(*place).into()),
                    ("line", place.line.into()),
                    ("reason", why.as_str().into()),
                ])
            });
            let go_on =
                Json::object([("file", self.file(*next).into()), ("line", next.line.into())]);
            let report = Json::object([
                ("lines", self.lines.into()),
                ("bytes", self.bytes.into()),
                ("points", (*written).into()),
                ("refused", (*refused).into()),
                ("refusals", Json::list(told)),
                ("without_number", (*left_out).into()),
                ("milliseconds", (self.took.as_millis() as u64).into()),
                ("go_on", if is_whole { Json::Null } else { go_on }),
            ]);
            return Ok(writeln!(out, "{report}")?);
        }
        let seconds = self.took.as_secs_f64();
        let rate = if 0.0 < seconds { *written as f64 / seconds } else { 0.0 };
        writeln!(
            out,
            "{} read ({}), {} written, {} refused; {}, {rate:.0} points/s",
            counted(self.lines, "line", "lines"),
            progress::bytes(self.bytes),
            counted(*written, "point", "points"),
            counted(*refused, "line", "lines"),
            progress::time(seconds),
        )?;
        if *left_out != 0 {
            let samples = counted(*left_out, "sample", "samples");
            writeln!(out, "{samples} without a number left out")?;
        }
        for (place, why) in told {
            writeln!(out, "{}:{}: {why}", self.file(*place), place.line)?;
        }
        let untold = refused - told.len() as u64;
        if untold != 0 {
            writeln!(out, "and {untold} more")?;
        }
        Ok(())
    }

    fn file(&self, place: Place) -> String {
        self.plan.files.get(place.file).map_or_else(String::new, |file| file.display().to_string())
    }

    /// From where to go on.
    fn go_on(&self) -> String {
        let next = self.outcome.next;
        let written = counted(self.outcome.written, "point is", "points are");
        let rest = self.plan.files.get(next.file..).unwrap_or_default();
        let rest: Vec<String> = rest.iter().map(|file| file.display().to_string()).collect();
        format!("{written} written, go on with --from-line {} {}", next.line, rest.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use olivine_doors::influx::line::{Reading, read};
    use olivine_vfs::Random;
    use std::{ffi::OsString, io::Cursor};

    const SAMPLES: &[(Format, &str)] = &[
        (Format::Csv, "time,host,v,s\n1,a,1.5,\"x, \"\"y\"\"\"\n2,b\\,true,\n3,,,z\n"),
        (
            Format::Annotated,
            "#group,false,false,true,true\n#datatype,string,dateTime:RFC3339,string,string,double\n\
             #default,_result,,,,\n,result,_time,_field,host,_value\n,,1970-01-01T00:00:01Z,f,a b,1\n\n\
             #datatype measurement,tag,long,dateTime:number\nm,host,v,time\nm,a,5,7\n",
        ),
        (
            Format::Json,
            "{\"metric\":{\"__name__\":\"up\",\"job\":\"a=b\"},\"values\":[1,null,-0.5e-3],\"timestamps\":[1,2,3]}\n\
             {\"time\":5,\"host\":\"a\\\\\",\"v\":1e300,\"s\":\"\\u00e4\\n\",\"up\":false}\n",
        ),
        (
            Format::Lines,
            "# DDL\nCREATE DATABASE d\n# CONTEXT-DATABASE:d\nm,t=a v=1,s=\"x\ny\" 5\nm v=\"z 6\n",
        ),
    ];

    /// What comes of an input that is not sent, and how many lines it has.
    fn taken(format: Format, bytes: &[u8], check: impl FnOnce(&Sink<'_>)) {
        let arguments =
            ["--database", "db", "--measurement", "m", "--tags", "host", "--types", "s:string"];
        let arguments = arguments.map(OsString::from);
        let plan = Plan::of(&Call::parse(&COMMAND, &arguments).unwrap()).unwrap();
        let mut sink = Sink::for_tests(&plan.sending);
        let Ok(mut input) = Input::of(Cursor::new(bytes.to_vec())) else { return };
        let mut reader = Reader::new(format, &plan).unwrap();
        while let Ok(next @ (Next::Record | Next::TooLong)) = reader.next(&mut input) {
            let first = input.lines.first();
            let record = input.lines.record();
            if next == Next::Record && reader.take(record, first, &mut sink).is_err() {
                break;
            }
        }
        check(&sink);
    }

    /// Whatever the input is, the lines that are made of it are lines, a point each.
    #[test]
    fn what_is_made_of_garbage_is_lines() {
        let precision = Precision::NANOSECONDS;
        let reading = Reading { precision, now: 0, line_bytes_max: 1 << 20 };
        for (format, sample) in SAMPLES {
            let mut random = Random::new(sample.len() as u64);
            for round in 0..3_000 {
                let mut bytes = sample.as_bytes().to_vec();
                for _ in 0..random.below(4).min(round) {
                    let at = random.below(bytes.len() as u64) as usize;
                    let signs = b"\\\",=# \n\r\t{}[]:0-\x00\xff";
                    let sign = signs[random.below(signs.len() as u64) as usize];
                    match random.below(3) {
                        0 => bytes[at] = sign,
                        1 => bytes.insert(at, sign),
                        _ => drop(bytes.remove(at)),
                    }
                }
                taken(*format, &bytes, |sink| {
                    let (body, points) = sink.waiting();
                    assert!(round != 0 || points != 0, "{format:?}");
                    let read = read(body, &reading);
                    let found: u64 = read.points.iter().map(|piece| piece.points()).sum();
                    let is_made = *format != Format::Lines;
                    let said = String::from_utf8_lossy(body);
                    assert!(
                        !is_made || (read.wrong, found) == (0, points),
                        "{said}\n{:?}",
                        read.faults
                    );
                });
            }
        }
    }
}
