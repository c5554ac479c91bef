//! Which of the forms an input has: told by its name, or by how it begins.
//!
//! 1. What cannot be told is asked for; nothing is guessed from a doubtful line.

use std::path::Path;

use super::{lines::begins_with_points, naming::Naming};
use crate::{
    call::{Call, Opt},
    ending::Failure,
};

pub(crate) const FORMAT: Opt = Opt::value(
    "--format",
    "FORMAT",
    "lines, csv, annotated or json, instead of what names and first lines tell",
);

/// The form of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Line protocol.
    Lines,
    /// A table with a header.
    Csv,
    /// Tables of InfluxDB 2.
    Annotated,
    /// Lines of JSON.
    Json,
}

impl Format {
    /// What the call says.
    pub(crate) fn of(call: &Call) -> Result<Option<Format>, Failure> {
        if call.value(FORMAT.name).is_none() {
            return Ok(None);
        }
        Ok(Some(match call.one_of(FORMAT.name, &["lines", "csv", "annotated", "json"])? {
            "csv" => Format::Csv,
            "annotated" => Format::Annotated,
            "json" => Format::Json,
            _ => Format::Lines,
        }))
    }

    /// What the name of a file and its first bytes tell.
    pub(crate) fn told(path: &Path, begins: &[u8], naming: &Naming) -> Result<Format, Failure> {
        let begins = begins.strip_prefix(b"\xef\xbb\xbf").unwrap_or(begins).trim_ascii_start();
        let annotations = ["#datatype", "#group", "#default"];
        if annotations.iter().any(|name| begins.starts_with(name.as_bytes())) {
            return Ok(Format::Annotated);
        }
        let packed = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz"));
        let bare = if packed { path.file_stem().map(Path::new) } else { Some(path) };
        let extension = bare.and_then(Path::extension).unwrap_or_default();
        match extension.to_string_lossy().to_ascii_lowercase().as_str() {
            "lp" | "line" => return Ok(Format::Lines),
            "csv" | "tsv" => return Ok(Format::Csv),
            "json" | "jsonl" | "ndjson" => return Ok(Format::Json),
            _ => {}
        }
        if begins.starts_with(b"{") {
            return Ok(Format::Json);
        }
        // Nothing but comments, or nothing at all, is a file of lines without points.
        if begins_with_points(begins).unwrap_or(true) {
            return Ok(Format::Lines);
        }
        if naming.check_measurement().is_ok() {
            return Ok(Format::Csv);
        }
        let what = "it cannot be told what it is: the first line is no line protocol, and no JSON. `--format` says it";
        Err(Failure::misused(what).within(&path.display().to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;

    fn told(path: &str, begins: &str, arguments: &[&str]) -> Result<Format, String> {
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        let call = Call::parse(&super::super::COMMAND, &arguments).unwrap();
        let naming = Naming::of(&call).unwrap();
        let told = Format::told(Path::new(path), begins.as_bytes(), &naming);
        told.map_err(|failure| failure.text().to_owned())
    }

    #[test]
    fn the_form_is_told_by_name_and_content() {
        for (path, begins, format) in [
            ("-", "cpu,host=a v=1 5\n", Format::Lines),
            ("-", "# INFLUXDB EXPORT\n# DDL\nCREATE DATABASE d\n", Format::Lines),
            ("-", "", Format::Lines),
            ("-", "{\"metric\":{}}\n", Format::Json),
            ("-", "#group,false\n#datatype,string\n", Format::Annotated),
            ("x.csv", "#datatype,string\n", Format::Annotated),
            ("x.CSV.gz", "a,b\n", Format::Csv),
            ("x.jsonl", "\n", Format::Json),
            ("x.lp.gz", "a,b\n", Format::Lines),
            ("x.gz", "m v=1\n", Format::Lines),
        ] {
            assert_eq!(told(path, begins, &[]), Ok(format), "{path} {begins}");
        }
        assert_eq!(told("-", "time,v\n1,2\n", &["--measurement", "m"]), Ok(Format::Csv));
        let said = told("x", "time,v\n1,2\n", &[]).unwrap_err();
        assert!(said.starts_with("x: it cannot be told what it is"), "{said}");
    }
}
