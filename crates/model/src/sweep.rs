//! Takes away rows that have expired.
//!
//! 1. A place in `deadlines` goes once the row it names is gone, or expires at another time.
//! 2. What was swept by the time of a batch stays gone, whatever the clock says later: that time is
//!    written down with it.

use olivine_command::Reply;
use olivine_engine::{Batch, Error, Result};

use crate::{
    layout::{TIME, count_key, deadline, user_key},
    model::{Applied, Behind, Model},
    refused::refused,
    row::Row,
};

impl Model {
    /// Looks at `limit` places of which the time has come.
    pub(crate) fn sweep(&self, now: u64, limit: u64) -> Result<Applied, Behind> {
        match self.try_sweep(now, limit) {
            Ok(applied) => Ok(applied),
            Err(Error::Busy { retry_after }) => Err(Behind { retry_after }),
            Err(error) => {
                let replies = vec![Reply::Refused(refused(&error))];
                Ok(Applied { replies, durable_at: None })
            }
        }
    }

    fn try_sweep(&self, now: u64, limit: u64) -> Result<Applied> {
        let places = self.places_due(now, limit)?;
        let row_keys = places.iter().filter_map(|place| Some(deadline(place)?.1));
        let _held = self.locks.hold(row_keys.map(user_key));
        let mut batch = Batch::new();
        let mut taken = 0i64;
        // Reads by no time: what has expired shows.
        for place in &places {
            batch.delete(&self.deadlines, place)?;
            let Some((expiry, row_key)) = deadline(place) else {
                continue;
            };
            let row = self.rows.get(row_key)?;
            let row = row.as_deref().and_then(|row| Row::decode(row).ok());
            if row.is_some_and(|row| row.expiry == Some(expiry)) {
                batch.delete(&self.rows, row_key)?;
                taken -= 1;
            }
        }
        if taken != 0 {
            batch.merge(&self.numbers, &count_key(), &taken.to_le_bytes())?;
            batch.put(&self.numbers, TIME, &now.to_le_bytes())?;
        }
        let durable_at = self.write(batch)?;
        Ok(Applied { replies: vec![Reply::Count(places.len() as u64)], durable_at })
    }

    /// The first places of which the time has come.
    fn places_due(&self, now: u64, limit: u64) -> Result<Vec<Vec<u8>>> {
        let end = now.saturating_add(1).to_be_bytes();
        let mut cursor = self.deadlines.cursor_within(..end)?;
        let mut places = Vec::new();
        cursor.seek_first()?;
        while cursor.valid() && (places.len() as u64) < limit {
            places.push(cursor.key().to_vec());
            cursor.next()?;
        }
        Ok(places)
    }
}
