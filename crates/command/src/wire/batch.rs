//! Batches of commands as bytes.

use super::{
    Malformed,
    bytes::{Reader, put_bytes, put_number, put_option},
};
use crate::{
    access::{Role, Token, User, Who},
    command::{
        Batch, Bound, Bytes, Command, Condition, Copying, Entry, Expiry, Form, Statement, Value,
    },
};

/// The byte a command begins with.
mod op {
    pub(super) const GET: u8 = 1;
    pub(super) const GET_MANY: u8 = 2;
    pub(super) const LOOK: u8 = 3;
    pub(super) const PUT: u8 = 4;
    pub(super) const PUT_MANY: u8 = 5;
    pub(super) const DELETE: u8 = 6;
    pub(super) const DELETE_MANY: u8 = 7;
    pub(super) const EXPIRE: u8 = 8;
    pub(super) const SCAN: u8 = 9;
    pub(super) const COUNT: u8 = 10;
    pub(super) const SWEEP: u8 = 11;
    pub(super) const NUMBERS: u8 = 12;
    pub(super) const PRINCIPAL: u8 = 13;
    pub(super) const PRINCIPALS: u8 = 14;
    pub(super) const SET_USER: u8 = 15;
    pub(super) const DROP_USER: u8 = 16;
    pub(super) const SET_TOKEN: u8 = 17;
    pub(super) const DROP_TOKEN: u8 = 18;
    pub(super) const ACCESS: u8 = 19;
    pub(super) const COPY: u8 = 20;
    pub(super) const WRITE_POINTS: u8 = 21;
    pub(super) const QUERY: u8 = 22;
    pub(super) const ALTER: u8 = 23;
    pub(super) const SETTLE: u8 = 24;
}

pub(super) fn encode(now: u64, commands: &[Command<'_>], out: &mut Vec<u8>) {
    put_number(now, out);
    put_number(commands.len() as u64, out);
    for command in commands {
        put_command(command, out);
    }
}

pub(super) fn decode<'a>(reader: &mut Reader<'a>) -> Result<Batch<'a>, Malformed> {
    Ok(Batch { now: reader.number()?, commands: reader.list(command)? })
}

fn put_command(command: &Command<'_>, out: &mut Vec<u8>) {
    match command {
        Command::Get { key } => {
            out.push(op::GET);
            put_bytes(key, out);
        }
        Command::GetMany { keys } => {
            out.push(op::GET_MANY);
            put_keys(keys, out);
        }
        Command::Look { key } => {
            out.push(op::LOOK);
            put_bytes(key, out);
        }
        Command::Put { entry, condition, expiry } => {
            out.push(op::PUT);
            put_entry(entry, out);
            put_condition(*condition, out);
            put_expiry(*expiry, out);
        }
        Command::PutMany { entries, expiry } => {
            out.push(op::PUT_MANY);
            put_number(entries.len() as u64, out);
            for entry in entries {
                put_entry(entry, out);
            }
            put_expiry(*expiry, out);
        }
        Command::Delete { key, condition } => {
            out.push(op::DELETE);
            put_bytes(key, out);
            put_condition(*condition, out);
        }
        Command::DeleteMany { keys } => {
            out.push(op::DELETE_MANY);
            put_keys(keys, out);
        }
        Command::Expire { key, expiry } => {
            out.push(op::EXPIRE);
            put_bytes(key, out);
            put_expiry(*expiry, out);
        }
        Command::Scan { start, end, limit, backward } => {
            out.push(op::SCAN);
            put_bound(start, out);
            put_bound(end, out);
            put_number(*limit, out);
            out.push((*backward).into());
        }
        Command::Count => out.push(op::COUNT),
        Command::Numbers => out.push(op::NUMBERS),
        Command::Copy(copying) => {
            out.push(op::COPY);
            put_copying(*copying, out);
        }
        Command::Sweep { limit } => {
            out.push(op::SWEEP);
            put_number(*limit, out);
        }
        Command::Principal { who } => {
            out.push(op::PRINCIPAL);
            put_who(who, out);
        }
        Command::Principals => out.push(op::PRINCIPALS),
        Command::SetUser { user } => {
            out.push(op::SET_USER);
            put_bytes(&user.name, out);
            out.push(user.role as u8);
            put_bytes(&user.prefix, out);
            put_bytes(&user.secret, out);
        }
        Command::DropUser { name } => {
            out.push(op::DROP_USER);
            put_bytes(name, out);
        }
        Command::SetToken { token } => {
            out.push(op::SET_TOKEN);
            put_bytes(&token.id, out);
            put_bytes(&token.user, out);
            put_bytes(&token.secret, out);
            put_option(token.expiry.as_ref(), out, |expiry, out| put_number(*expiry, out));
        }
        Command::DropToken { id } => {
            out.push(op::DROP_TOKEN);
            put_bytes(id, out);
        }
        Command::Access => out.push(op::ACCESS),
        Command::WritePoints { database, policy, points, makes_database, all_or_none } => {
            out.push(op::WRITE_POINTS);
            for bytes in [database, policy, points] {
                put_bytes(bytes, out);
            }
            out.extend([u8::from(*makes_database), u8::from(*all_or_none)]);
        }
        Command::Query { statement } => {
            out.push(op::QUERY);
            put_statement(statement, out);
        }
        Command::Settle => out.push(op::SETTLE),
        Command::Alter { statement, defines } => {
            out.push(op::ALTER);
            put_statement(statement, out);
            out.push((*defines).into());
        }
    }
}

fn command<'a>(reader: &mut Reader<'a>) -> Result<Command<'a>, Malformed> {
    Ok(match reader.byte()? {
        op::GET => Command::Get { key: key(reader)? },
        op::GET_MANY => Command::GetMany { keys: reader.list(key)? },
        op::LOOK => Command::Look { key: key(reader)? },
        op::PUT => Command::Put {
            entry: entry(reader)?,
            condition: condition(reader)?,
            expiry: expiry(reader)?,
        },
        op::PUT_MANY => Command::PutMany { entries: reader.list(entry)?, expiry: expiry(reader)? },
        op::DELETE => Command::Delete { key: key(reader)?, condition: condition(reader)? },
        op::DELETE_MANY => Command::DeleteMany { keys: reader.list(key)? },
        op::EXPIRE => Command::Expire { key: key(reader)?, expiry: expiry(reader)? },
        op::SCAN => Command::Scan {
            start: bound(reader)?,
            end: bound(reader)?,
            limit: reader.number()?,
            backward: reader.flag()?,
        },
        op::COUNT => Command::Count,
        op::NUMBERS => Command::Numbers,
        op::COPY => Command::Copy(copying(reader)?),
        op::SWEEP => Command::Sweep { limit: reader.number()? },
        op::PRINCIPAL => Command::Principal { who: who(reader)? },
        op::PRINCIPALS => Command::Principals,
        op::SET_USER => Command::SetUser { user: user(reader)? },
        op::DROP_USER => Command::DropUser { name: key(reader)? },
        op::SET_TOKEN => Command::SetToken { token: token(reader)? },
        op::DROP_TOKEN => Command::DropToken { id: key(reader)? },
        op::ACCESS => Command::Access,
        op::WRITE_POINTS => Command::WritePoints {
            database: key(reader)?,
            policy: key(reader)?,
            points: key(reader)?,
            makes_database: reader.flag()?,
            all_or_none: reader.flag()?,
        },
        op::SETTLE => Command::Settle,
        op::QUERY => Command::Query { statement: statement(reader)? },
        op::ALTER => Command::Alter { statement: statement(reader)?, defines: reader.flag()? },
        _ => return reader.fault("there is no such command"),
    })
}

fn put_statement(statement: &Statement<'_>, out: &mut Vec<u8>) {
    for bytes in [&statement.text, &statement.database, &statement.policy] {
        put_bytes(bytes, out);
    }
    out.push(statement.relaxed.into());
    for number in [statement.millis_max, statement.bytes_max, statement.points_max] {
        put_number(number, out);
    }
}

fn statement<'a>(reader: &mut Reader<'a>) -> Result<Statement<'a>, Malformed> {
    Ok(Statement {
        text: key(reader)?,
        database: key(reader)?,
        policy: key(reader)?,
        relaxed: reader.flag()?,
        millis_max: reader.number()?,
        bytes_max: reader.number()?,
        points_max: reader.number()?,
    })
}

fn put_who(who: &Who<'_>, out: &mut Vec<u8>) {
    let (kind, name) = match who {
        Who::User(name) => (0, name),
        Who::Token(id) => (1, id),
    };
    out.push(kind);
    put_bytes(name, out);
}

fn who<'a>(reader: &mut Reader<'a>) -> Result<Who<'a>, Malformed> {
    match reader.byte()? {
        0 => Ok(Who::User(key(reader)?)),
        1 => Ok(Who::Token(key(reader)?)),
        _ => reader.fault("there is nobody of this kind"),
    }
}

pub(super) fn role(reader: &mut Reader<'_>) -> Result<Role, Malformed> {
    let number = reader.byte()?;
    Role::numbered(number).map_or_else(|| reader.fault("there is no such role"), Ok)
}

fn user<'a>(reader: &mut Reader<'a>) -> Result<User<'a>, Malformed> {
    Ok(User { name: key(reader)?, role: role(reader)?, prefix: key(reader)?, secret: key(reader)? })
}

fn token<'a>(reader: &mut Reader<'a>) -> Result<Token<'a>, Malformed> {
    Ok(Token {
        id: key(reader)?,
        user: key(reader)?,
        secret: key(reader)?,
        expiry: reader.option(Reader::number)?,
    })
}

fn put_keys(keys: &[Bytes<'_>], out: &mut Vec<u8>) {
    put_number(keys.len() as u64, out);
    for key in keys {
        put_bytes(key, out);
    }
}

fn key<'a>(reader: &mut Reader<'a>) -> Result<Bytes<'a>, Malformed> {
    reader.bytes().map(Bytes::Borrowed)
}

fn put_entry(entry: &Entry<'_>, out: &mut Vec<u8>) {
    put_bytes(&entry.key, out);
    out.push(entry.value.form as u8);
    put_bytes(&entry.value.bytes, out);
}

fn entry<'a>(reader: &mut Reader<'a>) -> Result<Entry<'a>, Malformed> {
    let key = key(reader)?;
    let value = Value { form: form(reader)?, bytes: reader.bytes()?.into() };
    Ok(Entry { key, value })
}

pub(super) fn form(reader: &mut Reader<'_>) -> Result<Form, Malformed> {
    match reader.byte()? {
        0 => Ok(Form::Bytes),
        1 => Ok(Form::Json),
        _ => reader.fault("there is no such form"),
    }
}

fn put_condition(condition: Condition, out: &mut Vec<u8>) {
    match condition {
        Condition::Always => out.push(0),
        Condition::Absent => out.push(1),
        Condition::Present => out.push(2),
        Condition::Revision(revision) => {
            out.push(3);
            put_number(revision, out);
        }
    }
}

fn condition(reader: &mut Reader<'_>) -> Result<Condition, Malformed> {
    Ok(match reader.byte()? {
        0 => Condition::Always,
        1 => Condition::Absent,
        2 => Condition::Present,
        3 => Condition::Revision(reader.number()?),
        _ => return reader.fault("there is no such condition"),
    })
}

fn put_expiry(expiry: Expiry, out: &mut Vec<u8>) {
    match expiry {
        Expiry::Never => out.push(0),
        Expiry::Kept => out.push(1),
        Expiry::At(time) => {
            out.push(2);
            put_number(time, out);
        }
    }
}

fn expiry(reader: &mut Reader<'_>) -> Result<Expiry, Malformed> {
    Ok(match reader.byte()? {
        0 => Expiry::Never,
        1 => Expiry::Kept,
        2 => Expiry::At(reader.number()?),
        _ => return reader.fault("there is no such expiry"),
    })
}

fn put_copying(copying: Copying, out: &mut Vec<u8>) {
    match copying {
        Copying::Begin => out.push(0),
        Copying::Read { id, file, offset, bytes } => {
            out.push(1);
            for number in [id, file, offset, bytes] {
                put_number(number, out);
            }
        }
        Copying::End { id, kept } => {
            out.push(2);
            put_number(id, out);
            out.push(kept.into());
        }
    }
}

fn copying(reader: &mut Reader<'_>) -> Result<Copying, Malformed> {
    Ok(match reader.byte()? {
        0 => Copying::Begin,
        1 => Copying::Read {
            id: reader.number()?,
            file: reader.number()?,
            offset: reader.number()?,
            bytes: reader.number()?,
        },
        2 => Copying::End { id: reader.number()?, kept: reader.flag()? },
        _ => return reader.fault("there is no such step of a copy"),
    })
}

fn put_bound(bound: &Bound<'_>, out: &mut Vec<u8>) {
    match bound {
        Bound::Open => out.push(0),
        Bound::Included(key) => {
            out.push(1);
            put_bytes(key, out);
        }
        Bound::Excluded(key) => {
            out.push(2);
            put_bytes(key, out);
        }
    }
}

fn bound<'a>(reader: &mut Reader<'a>) -> Result<Bound<'a>, Malformed> {
    Ok(match reader.byte()? {
        0 => Bound::Open,
        1 => Bound::Included(key(reader)?),
        2 => Bound::Excluded(key(reader)?),
        _ => return reader.fault("there is no such bound"),
    })
}
