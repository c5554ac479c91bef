//! Ranges of keys that are replaced as a whole.
//!
//! 1. To the log of commits it is one entry: every key of the range that stands goes, and what comes
//!    stands, all at one position.

use super::{Driver, Effects, Stop, is_record};
use crate::{
    history::Value,
    oracle::{Bytes, Event},
};
use olivine_engine::{Error, Keyspace, SeqNo};

impl Driver {
    /// Replaces what the keyspace `name` holds from the key `from` up to `to`.
    pub(super) fn replace(
        &mut self,
        name: &str,
        from: &[u8],
        to: &[u8],
        entries: &[(Vec<u8>, Value)],
    ) -> Result<(), Stop> {
        let Some((handle, _)) = self.handles.get(name) else { return Ok(()) };
        let handle = handle.clone();
        let before = self.position();
        if to <= from {
            let seqno = replace(&handle, (from, to), &[])?;
            return self.check_seqno(before, before, seqno);
        }
        let spelled: Vec<(Vec<u8>, Bytes)> =
            entries.iter().map(|(key, value)| (key.clone(), value.spell().into())).collect();
        let position = self.with_log(|log| {
            let within = |key: &[u8]| from <= key && key < to && !is_record(key);
            let gone = log.range(before, name).filter(|(key, _)| within(key));
            // Also where there was nothing and comes nothing, it is an entry of the log.
            let gone = gone.map(|(key, _)| key.to_vec()).chain([from.to_vec()]);
            let mut written: Effects = gone.map(|key| (name.to_owned(), key, None)).collect();
            let come = spelled.iter().cloned();
            written.extend(come.map(|(key, value)| (name.to_owned(), key, Some(value))));
            log.push(Event::Write(written))
        });
        match replace(&handle, (from, to), &spelled) {
            Ok(seqno) => {
                self.seqnos.push(seqno);
                self.check_seqno(before, position, seqno)?;
                self.acknowledged.is_lasting(position);
                Ok(())
            }
            Err(error) => {
                self.failed(before, position, &error)?;
                Err(error.into())
            }
        }
    }
}

/// Has the engine do it.
fn replace(
    keyspace: &Keyspace,
    (from, to): (&[u8], &[u8]),
    entries: &[(Vec<u8>, Bytes)],
) -> Result<SeqNo, Error> {
    let mut ingest = keyspace.replace_range(from, to)?;
    for (key, value) in entries {
        ingest.add(key, value)?;
    }
    ingest.finish()
}
