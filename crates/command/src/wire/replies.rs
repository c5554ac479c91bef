//! Replies as bytes.

use super::{
    Malformed,
    batch::{form, role},
    bytes::{Reader, put_bytes, put_number, put_option},
    tables,
};
use crate::{
    access::{Access, Principal},
    refusal::{Code, Refusal},
    reply::{Found, Lent, LentFile, Look, Piece, Rejected, Reply},
};

/// The byte a reply begins with.
mod kind {
    pub(super) const DONE: u8 = 1;
    pub(super) const COUNT: u8 = 2;
    pub(super) const VALUE: u8 = 3;
    pub(super) const VALUES: u8 = 4;
    pub(super) const LOOK: u8 = 5;
    pub(super) const PAGE: u8 = 6;
    pub(super) const REFUSED: u8 = 7;
    pub(super) const NUMBERS: u8 = 8;
    pub(super) const PRINCIPAL: u8 = 9;
    pub(super) const PRINCIPALS: u8 = 10;
    pub(super) const ACCESS: u8 = 11;
    pub(super) const LENT: u8 = 12;
    pub(super) const PIECE: u8 = 13;
    pub(super) const WRITTEN: u8 = 14;
    pub(super) const ANSWER: u8 = 15;
}

pub(super) fn encode(replies: &[Reply], out: &mut Vec<u8>) {
    put_number(replies.len() as u64, out);
    for reply in replies {
        put_reply(reply, out);
    }
}

pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Vec<Reply>, Malformed> {
    reader.list(reply)
}

fn put_reply(reply: &Reply, out: &mut Vec<u8>) {
    match reply {
        Reply::Done(done) => out.extend([kind::DONE, (*done).into()]),
        Reply::Count(count) => {
            out.push(kind::COUNT);
            put_number(*count, out);
        }
        Reply::Value(found) => {
            out.push(kind::VALUE);
            put_option(found.as_ref(), out, put_found);
        }
        Reply::Values(values) => {
            out.push(kind::VALUES);
            put_number(values.len() as u64, out);
            for found in values {
                put_option(found.as_ref(), out, put_found);
            }
        }
        Reply::Look(look) => {
            out.push(kind::LOOK);
            put_option(look.as_ref(), out, put_look);
        }
        Reply::Page { entries, more } => {
            out.push(kind::PAGE);
            put_number(entries.len() as u64, out);
            for (key, found) in entries {
                put_bytes(key, out);
                put_found(found, out);
            }
            out.push((*more).into());
        }
        Reply::Numbers(numbers) => {
            out.push(kind::NUMBERS);
            put_number(numbers.len() as u64, out);
            for (name, number) in numbers {
                put_bytes(name.as_bytes(), out);
                put_number(*number, out);
            }
        }
        Reply::Principal(principal) => {
            out.push(kind::PRINCIPAL);
            put_option(principal.as_ref(), out, put_principal);
        }
        Reply::Principals(principals) => {
            out.push(kind::PRINCIPALS);
            put_number(principals.len() as u64, out);
            for principal in principals {
                put_principal(principal, out);
            }
        }
        Reply::Access(Access { generation, users }) => {
            out.push(kind::ACCESS);
            put_number(*generation, out);
            put_number(*users, out);
        }
        Reply::Lent(lent) => {
            out.push(kind::LENT);
            put_lent(lent, out);
        }
        Reply::Piece(piece) => {
            out.push(kind::PIECE);
            put_option(piece.as_ref(), out, |piece, out| {
                put_bytes(&piece.bytes, out);
                put_number(piece.hash, out);
            });
        }
        Reply::Written { stored, rejected } => {
            out.push(kind::WRITTEN);
            put_number(*stored, out);
            put_number(rejected.len() as u64, out);
            for Rejected { place, why } in rejected {
                put_number(*place, out);
                put_bytes(why.as_bytes(), out);
            }
        }
        Reply::Answer(answer) => {
            out.push(kind::ANSWER);
            tables::put_answer(answer, out);
        }
        Reply::Refused(Refusal { code, text }) => {
            out.extend([kind::REFUSED, *code as u8]);
            put_bytes(text.as_bytes(), out);
        }
    }
}

fn reply(reader: &mut Reader<'_>) -> Result<Reply, Malformed> {
    Ok(match reader.byte()? {
        kind::DONE => Reply::Done(reader.flag()?),
        kind::COUNT => Reply::Count(reader.number()?),
        kind::VALUE => Reply::Value(reader.option(found)?),
        kind::VALUES => Reply::Values(reader.list(|reader| reader.option(found))?),
        kind::LOOK => Reply::Look(reader.option(look)?),
        kind::PAGE => {
            let entry = |reader: &mut Reader<'_>| Ok((reader.bytes()?.to_vec(), found(reader)?));
            Reply::Page { entries: reader.list(entry)?, more: reader.flag()? }
        }
        kind::NUMBERS => {
            let number = |reader: &mut Reader<'_>| Ok((text(reader)?, reader.number()?));
            Reply::Numbers(reader.list(number)?)
        }
        kind::PRINCIPAL => Reply::Principal(reader.option(principal)?),
        kind::PRINCIPALS => Reply::Principals(reader.list(principal)?),
        kind::ACCESS => {
            Reply::Access(Access { generation: reader.number()?, users: reader.number()? })
        }
        kind::LENT => Reply::Lent(lent(reader)?),
        kind::PIECE => {
            let piece = |reader: &mut Reader<'_>| {
                Ok(Piece { bytes: reader.bytes()?.to_vec(), hash: reader.number()? })
            };
            Reply::Piece(reader.option(piece)?)
        }
        kind::WRITTEN => {
            let rejected = |reader: &mut Reader<'_>| {
                Ok(Rejected { place: reader.number()?, why: text(reader)? })
            };
            Reply::Written { stored: reader.number()?, rejected: reader.list(rejected)? }
        }
        kind::ANSWER => Reply::Answer(tables::answer(reader)?),
        kind::REFUSED => Reply::Refused(refusal(reader)?),
        _ => return reader.fault("there is no such reply"),
    })
}

fn put_found(found: &Found, out: &mut Vec<u8>) {
    out.push(found.form as u8);
    put_bytes(&found.bytes, out);
    put_number(found.revision, out);
}

fn found(reader: &mut Reader<'_>) -> Result<Found, Malformed> {
    let form = form(reader)?;
    Ok(Found { form, bytes: reader.bytes()?.to_vec(), revision: reader.number()? })
}

fn put_lent(lent: &Lent, out: &mut Vec<u8>) {
    for number in [lent.id, lent.time, lent.idle, lent.store, lent.files.len() as u64] {
        put_number(number, out);
    }
    for LentFile { name, bytes } in &lent.files {
        put_bytes(name.as_bytes(), out);
        put_number(*bytes, out);
    }
}

fn lent(reader: &mut Reader<'_>) -> Result<Lent, Malformed> {
    let file =
        |reader: &mut Reader<'_>| Ok(LentFile { name: text(reader)?, bytes: reader.number()? });
    Ok(Lent {
        id: reader.number()?,
        time: reader.number()?,
        idle: reader.number()?,
        store: reader.number()?,
        files: reader.list(file)?,
    })
}

fn put_look(look: &Look, out: &mut Vec<u8>) {
    out.push(look.form as u8);
    put_number(look.bytes, out);
    put_option(look.expiry.as_ref(), out, |expiry, out| put_number(*expiry, out));
    put_number(look.revision, out);
}

fn look(reader: &mut Reader<'_>) -> Result<Look, Malformed> {
    Ok(Look {
        form: form(reader)?,
        bytes: reader.number()?,
        expiry: reader.option(Reader::number)?,
        revision: reader.number()?,
    })
}

fn put_principal(principal: &Principal, out: &mut Vec<u8>) {
    let Principal { user, token, role, prefix, secret, made, expiry } = principal;
    put_bytes(user, out);
    put_option(token.as_ref(), out, |id, out| put_bytes(id, out));
    out.push(*role as u8);
    put_bytes(prefix, out);
    put_bytes(secret, out);
    put_number(*made, out);
    put_option(expiry.as_ref(), out, |expiry, out| put_number(*expiry, out));
}

fn principal(reader: &mut Reader<'_>) -> Result<Principal, Malformed> {
    let owned = |reader: &mut Reader<'_>| Ok(reader.bytes()?.to_vec());
    Ok(Principal {
        user: owned(reader)?,
        token: reader.option(owned)?,
        role: role(reader)?,
        prefix: owned(reader)?,
        secret: owned(reader)?,
        made: reader.number()?,
        expiry: reader.option(Reader::number)?,
    })
}

fn refusal(reader: &mut Reader<'_>) -> Result<Refusal, Malformed> {
    let number = reader.byte()?;
    let Some(code) = Code::ALL.into_iter().find(|code| *code as u8 == number) else {
        return reader.fault("there is no such code");
    };
    Ok(Refusal::new(code, text(reader)?))
}

pub(super) fn text(reader: &mut Reader<'_>) -> Result<String, Malformed> {
    match str::from_utf8(reader.bytes()?) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => reader.fault("a text is not UTF-8"),
    }
}
