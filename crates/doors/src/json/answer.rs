//! Writes what requests come to, one object a line.

use std::{io::Write as _, str};

use olivine_command::{Form, Found, Lent, LentFile, Look, Reply};

use super::{
    reader::plain_bytes,
    request::{Act, Shape},
};
use crate::{Answer, base64};

/// Writes the answer to a request.
pub fn answer(shape: &Shape<'_>, filled: Answer, out: &mut Vec<u8>) {
    out.push(b'{');
    match filled {
        Answer::Own => own(&shape.act, out),
        Answer::Reply(Reply::Refused(refusal)) => {
            wrong(&refusal.text, refusal.code.name(), None, out);
        }
        Answer::Reply(reply) => replied(shape, reply, out),
    }
    if let Some(id) = &shape.id {
        out.extend_from_slice(b",\"id\":");
        out.extend_from_slice(id);
    }
    out.extend_from_slice(b"}\n");
}

/// Writes that something went wrong which is no answer to any one request.
pub fn error(message: &str, code: &str, out: &mut Vec<u8>) {
    out.push(b'{');
    wrong(message, code, None, out);
    out.extend_from_slice(b"}\n");
}

/// Writes entries one a line, and the key to go on from behind them if there are more.
pub(crate) fn entry_lines(entries: &[(Vec<u8>, Found)], more: bool, out: &mut Vec<u8>) {
    for (key, found) in entries {
        out.push(b'{');
        member("key", key, out);
        out.push(b',');
        match found.form {
            Form::Bytes => member("value", &found.bytes, out),
            Form::Json => {
                out.extend_from_slice(b"\"value\":");
                out.extend_from_slice(&found.bytes);
            }
        }
        out.extend_from_slice(b"}\n");
    }
    if let Some((key, _)) = entries.last().filter(|_| more) {
        out.push(b'{');
        member("next", key, out);
        out.extend_from_slice(b"}\n");
    }
}

/// Writes a member whose name says when its bytes are no text.
fn member(name: &str, value: &[u8], out: &mut Vec<u8>) {
    let binary = str::from_utf8(value).is_err();
    write(out, format_args!("\"{name}{}\":", if binary { "_base64" } else { "" }));
    bytes(value, binary, out);
}

/// Writes an error as RFC 9457 has it.
pub(crate) fn problem(status: u16, title: &str, code: &str, detail: &str, out: &mut Vec<u8>) {
    write(out, format_args!("{{\"title\":\"{title}\",\"status\":{status},\"code\":"));
    text(code, out);
    out.extend_from_slice(b",\"detail\":");
    text(detail, out);
    out.extend_from_slice(b"}\n");
}

fn own(act: &Act, out: &mut Vec<u8>) {
    match act {
        Act::Ping => ok_message("pong", out),
        Act::Auth => ok_message("Authenticated", out),
        Act::Wrong { message, code, detail } => wrong(message, code, detail.as_deref(), out),
        _ => unreachable!("{act:?} needs a reply"),
    }
}

fn replied(shape: &Shape<'_>, reply: Reply, out: &mut Vec<u8>) {
    match (&shape.act, reply) {
        (Act::Put, Reply::Done(true)) => ok_message("Key-value pair stored", out),
        (Act::Put | Act::Delete { conditional: true }, Reply::Done(false)) => {
            wrong("Condition does not hold", "condition", None, out);
        }
        (Act::Delete { .. }, Reply::Done(_)) => ok_message("Key deleted", out),
        (Act::Expire, Reply::Done(true)) => ok_message("Expiry changed", out),
        (Act::PutMany, Reply::Count(count)) => {
            ok_message(&format!("{count} key-value pairs stored"), out);
        }
        (Act::DeleteMany, Reply::Count(count)) => {
            ok_message(&format!("{count} keys deleted"), out);
        }
        (Act::Get { revision }, Reply::Value(Some(found))) => {
            ok(out);
            out.extend_from_slice(b",\"value\":");
            let binary = shape.binary || !is_shown(&found);
            value(&found, binary, out);
            if *revision {
                write_revision(found.revision, out);
            }
            encoding(binary, out);
        }
        (Act::Look, Reply::Look(Some(look))) => looked(look, out),
        (Act::GetMany, Reply::Values(values)) => {
            let binary = shape.binary || !values.iter().flatten().all(is_shown);
            ok(out);
            out.extend_from_slice(b",\"values\":");
            list(&values, out, |found, out| match found {
                Some(found) => value(found, binary, out),
                None => out.extend_from_slice(b"null"),
            });
            encoding(binary, out);
        }
        (Act::Stats, Reply::Numbers(numbers)) => counted(&numbers, out),
        (Act::Range, Reply::Page { more: true, .. }) => {
            let text =
                "the range is too large for one answer; use scan, which goes on where it ended";
            wrong(text, "too_large", None, out);
        }
        (Act::Range | Act::Scan, Reply::Page { entries, more }) => {
            page(shape, &entries, more, out);
        }
        (Act::Get { .. } | Act::Expire, Reply::Value(None) | Reply::Done(false))
        | (Act::Look, Reply::Look(None)) => {
            out.extend_from_slice(b"\"status\":\"not_found\",\"message\":\"Key not found\"");
        }
        (act, reply) => unreachable!("{act:?} is not answered by {reply:?}"),
    }
}

fn ok(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\"status\":\"ok\"");
}

fn ok_message(message: &str, out: &mut Vec<u8>) {
    ok(out);
    out.extend_from_slice(b",\"message\":");
    text(message, out);
}

fn wrong(message: &str, code: &str, detail: Option<&str>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\"status\":\"error\",\"message\":");
    text(message, out);
    out.extend_from_slice(b",\"code\":");
    text(code, out);
    if let Some(detail) = detail {
        out.extend_from_slice(b",\"detail\":");
        text(detail, out);
    }
}

fn counted(numbers: &[(String, u64)], out: &mut Vec<u8>) {
    ok(out);
    out.extend_from_slice(b",\"data\":{");
    // Those with labels are for programs that draw them, and at `/metrics`.
    let plain = numbers.iter().filter(|(name, _)| !name.contains('{'));
    for (place, (name, number)) in plain.enumerate() {
        out.extend_from_slice(if place == 0 { b"" } else { b"," });
        text(name, out);
        write(out, format_args!(":{number}"));
    }
    out.push(b'}');
}

fn looked(look: Look, out: &mut Vec<u8>) {
    let Look { form, bytes, expiry, revision } = look;
    ok(out);
    let kind = match form {
        Form::Bytes => "string",
        Form::Json => "json",
    };
    write(out, format_args!(",\"type\":\"{kind}\",\"bytes\":{bytes},\"expires_at_ms\":"));
    match expiry {
        Some(expiry) => write(out, format_args!("{expiry}")),
        None => out.extend_from_slice(b"null"),
    }
    write_revision(revision, out);
}

fn write_revision(revision: u64, out: &mut Vec<u8>) {
    write(out, format_args!(",\"revision\":\"{revision:016x}\""));
}

/// Writes what was lent: a line about all of it, and a line for each file.
pub(crate) fn lent_lines(lent: &Lent, out: &mut Vec<u8>) {
    let Lent { id, time, idle, store, files } = lent;
    write(
        out,
        format_args!(
            "{{\"backup\":{id},\"time_ms\":{time},\"idle_ms_max\":{idle},\"store\":\"{store:016x}\",\"files\":{}}}\n",
            files.len()
        ),
    );
    for (number, LentFile { name, bytes }) in files.iter().enumerate() {
        write(out, format_args!("{{\"file\":{number},\"name\":"));
        text(name, out);
        write(out, format_args!(",\"bytes\":{bytes}}}\n"));
    }
}

fn page(shape: &Shape<'_>, entries: &[(Vec<u8>, Found)], more: bool, out: &mut Vec<u8>) {
    let shown = |(key, found): &(Vec<u8>, Found)| is_shown(found) && str::from_utf8(key).is_ok();
    let binary = shape.binary || !entries.iter().all(shown);
    ok(out);
    out.extend_from_slice(b",\"data\":");
    list(entries, out, |(key, found), out| {
        out.push(b'[');
        bytes(key, binary, out);
        out.push(b',');
        value(found, binary, out);
        out.push(b']');
    });
    if matches!(shape.act, Act::Scan) {
        out.extend_from_slice(b",\"next\":");
        match entries.last().filter(|_| more) {
            Some((key, _)) => bytes(key, binary, out),
            None => out.extend_from_slice(b"null"),
        }
    }
    encoding(binary, out);
}

fn list<T>(items: &[T], out: &mut Vec<u8>, mut each: impl FnMut(&T, &mut Vec<u8>)) {
    out.push(b'[');
    for (place, item) in items.iter().enumerate() {
        out.extend_from_slice(if place == 0 { b"" } else { b"," });
        each(item, out);
    }
    out.push(b']');
}

/// Whether a value can be shown without base64.
fn is_shown(found: &Found) -> bool {
    found.form == Form::Json || str::from_utf8(&found.bytes).is_ok()
}

fn value(found: &Found, binary: bool, out: &mut Vec<u8>) {
    match found.form {
        Form::Json => out.extend_from_slice(&found.bytes),
        Form::Bytes => bytes(&found.bytes, binary, out),
    }
}

/// Writes bytes as a text, or as base64.
fn bytes(bytes: &[u8], binary: bool, out: &mut Vec<u8>) {
    match str::from_utf8(bytes) {
        Ok(shown) if !binary => text(shown, out),
        _ => {
            out.push(b'"');
            out.extend_from_slice(base64::encode(bytes).as_bytes());
            out.push(b'"');
        }
    }
}

/// Says that texts in the answer are base64.
fn encoding(binary: bool, out: &mut Vec<u8>) {
    if binary {
        out.extend_from_slice(b",\"encoding\":\"base64\"");
    }
}

/// Writes a text as JSON has it.
pub fn text(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    loop {
        let (plain, escaped) = rest.split_at(plain_bytes(rest));
        out.extend_from_slice(plain);
        let Some((byte, behind)) = escaped.split_first() else { break };
        rest = behind;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            control => write(out, format_args!("\\u{control:04x}")),
        }
    }
    out.push(b'"');
}

fn write(out: &mut Vec<u8>, what: std::fmt::Arguments<'_>) {
    out.write_fmt(what).expect("a vector takes all bytes");
}
