//! What is decoded is what was encoded, and nothing else is decoded.

use std::borrow::Cow;

use super::*;
use crate::{
    Access, Bound, Code, Command, Condition, Copying, Entry, Expiry, Form, Found, Lent, LentFile,
    Look, Piece, Principal, Refusal, Role, Token, User, Value, Who,
};

fn entry(key: &'static [u8], form: Form) -> Entry<'static> {
    Entry { key: key.into(), value: Value { form, bytes: Cow::Borrowed(b"value") } }
}

/// One of every command, with every part of it in every form.
fn commands() -> Vec<Command<'static>> {
    let key = || Cow::Borrowed(&b"key"[..]);
    let mut commands = vec![
        Command::Get { key: key() },
        Command::GetMany { keys: vec![] },
        Command::GetMany { keys: vec![key(), Cow::Borrowed(b"")] },
        Command::Look { key: key() },
        Command::PutMany { entries: vec![], expiry: Expiry::Never },
        Command::PutMany {
            entries: vec![entry(b"", Form::Bytes), entry(b"b", Form::Json)],
            expiry: Expiry::At(300),
        },
        Command::DeleteMany { keys: vec![key()] },
        Command::Count,
        Command::Numbers,
        Command::Sweep { limit: 1_000 },
        Command::Principal { who: Who::User(key()) },
        Command::Principal { who: Who::Token(key()) },
        Command::Principals,
        Command::DropUser { name: key() },
        Command::DropToken { id: key() },
        Command::Access,
        Command::Copy(Copying::Begin),
        Command::Copy(Copying::Read { id: u64::MAX, file: 0, offset: 1 << 40, bytes: 1 << 20 }),
        Command::Copy(Copying::End { id: 1, kept: true }),
        Command::Copy(Copying::End { id: 1, kept: false }),
    ];
    for expiry in [None, Some(7)] {
        let token = Token { id: key(), user: key(), secret: key(), expiry };
        commands.push(Command::SetToken { token });
    }
    for role in Role::ALL {
        let user = User { name: key(), role, prefix: Cow::Borrowed(b""), secret: key() };
        commands.push(Command::SetUser { user });
    }
    let conditions =
        [Condition::Always, Condition::Absent, Condition::Present, Condition::Revision(u64::MAX)];
    for condition in conditions {
        commands.push(Command::Delete { key: key(), condition });
        for expiry in [Expiry::Never, Expiry::Kept, Expiry::At(0), Expiry::At(u64::MAX)] {
            commands.push(Command::Put { entry: entry(b"a", Form::Bytes), condition, expiry });
            commands.push(Command::Expire { key: key(), expiry });
        }
    }
    let bounds = [Bound::Open, Bound::Included(key()), Bound::Excluded(key())];
    for (start, end) in bounds.iter().zip(bounds.iter().rev()) {
        for backward in [false, true] {
            let (start, end) = (start.clone(), end.clone());
            commands.push(Command::Scan { start, end, limit: u64::MAX, backward });
        }
    }
    commands
}

fn principal(role: Role, token: Option<Vec<u8>>) -> Principal {
    let expiry = token.as_ref().map(|_| u64::MAX);
    let (user, prefix, secret) = (b"ada".to_vec(), b"a:".to_vec(), b"hash".to_vec());
    Principal { user, token, role, prefix, secret, made: 1, expiry }
}

fn lent() -> Lent {
    let file = |name: &str, bytes| LentFile { name: name.to_owned(), bytes };
    let files = vec![file("store/catalog", 0), file("", u64::MAX)];
    Lent { id: 7, time: u64::MAX, idle: 300_000, store: 1 << 63, files }
}

fn replies() -> Vec<Reply> {
    let found = |form| Found { form, bytes: b"bytes".to_vec(), revision: u64::MAX };
    let look = |expiry| Look { form: Form::Json, bytes: 128, expiry, revision: 1 };
    let mut replies = vec![
        Reply::Done(true),
        Reply::Done(false),
        Reply::Count(u64::MAX),
        Reply::Value(None),
        Reply::Value(Some(found(Form::Bytes))),
        Reply::Values(vec![None, Some(found(Form::Json))]),
        Reply::Look(None),
        Reply::Look(Some(look(None))),
        Reply::Look(Some(look(Some(0)))),
        Reply::Principal(None),
        Reply::Principals(Role::ALL.map(|role| principal(role, None)).into()),
        Reply::Principal(Some(principal(Role::Reader, Some(b"id".to_vec())))),
        Reply::Access(Access { generation: 3, users: 200 }),
        Reply::Numbers(vec![("keys".to_owned(), 7)]),
        Reply::Lent(lent()),
        Reply::Piece(None),
        Reply::Piece(Some(Piece { bytes: b"bytes".to_vec(), hash: u64::MAX })),
        Reply::Page { entries: vec![(b"k".to_vec(), found(Form::Bytes))], more: true },
    ];
    replies.extend(Code::ALL.map(|code| Reply::Refused(Refusal::new(code, "why"))));
    replies
}

#[test]
fn what_is_decoded_is_what_was_encoded() {
    let batch = Batch { now: 1_700_000_000_000, commands: commands() };
    let mut bytes = Vec::new();
    encode_batch(&batch, &mut bytes);
    assert_eq!(decode_batch(&bytes), Ok(batch));

    let mut bytes = Vec::new();
    encode_replies(&replies(), &mut bytes);
    assert_eq!(decode_replies(&bytes), Ok(replies()));
}

/// Every start of the bytes, and every byte changed in every bit, is malformed or something that
/// encodes to just these bytes.
#[test]
fn other_bytes_are_malformed_or_mean_something_else() {
    let mut batch = Vec::new();
    encode_batch(&Batch { now: 300, commands: commands() }, &mut batch);
    let again = |bytes: &[u8]| {
        let decoded = decode_batch(bytes).ok()?;
        let mut again = Vec::new();
        encode_batch(&decoded, &mut again);
        Some(again)
    };
    check(&batch, again);
    let mut bytes = Vec::new();
    encode_replies(&replies(), &mut bytes);
    let again = |bytes: &[u8]| {
        let decoded = decode_replies(bytes).ok()?;
        let mut again = Vec::new();
        encode_replies(&decoded, &mut again);
        Some(again)
    };
    check(&bytes, again);
}

fn check(bytes: &[u8], again: impl Fn(&[u8]) -> Option<Vec<u8>>) {
    for end in 0..bytes.len() {
        assert_eq!(again(&bytes[..end]), None, "cut at {end}");
    }
    let longer = [bytes, &[0]].concat();
    assert_eq!(again(&longer), None);
    for place in 0..bytes.len() * 8 {
        let mut changed = bytes.to_vec();
        changed[place / 8] ^= 1 << (place % 8);
        if let Some(again) = again(&changed) {
            assert_eq!(again, changed, "bit {place}");
        }
    }
}

#[test]
fn lengths_are_not_believed() {
    let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    let list = [&[VERSION, 0][..], &huge].concat();
    assert_eq!(decode_batch(&list), Err(Malformed { at: 12, what: "it is cut off" }));
    let bytes = [&[VERSION, 0, 1, 1][..], &huge].concat();
    assert_eq!(decode_batch(&bytes), Err(Malformed { at: 14, what: "it is cut off" }));
    assert_eq!(
        decode_batch(&[VERSION, 0x80, 0]),
        Err(Malformed { at: 3, what: "a number is longer than it need be" })
    );
    assert_eq!(
        decode_batch(&[2]),
        Err(Malformed { at: 0, what: "the version is not one that is read here" })
    );
}
