//! Names what a job has written instead of what it has read, piece by piece.
//!
//! ```text
//!  inputs    ░░░░░░░░░░░░┃▓▓▓▓▓▓▓▓▓▓   given up and cut to what is above the key │ still there
//!  outputs   ████████████┃             named by the same edit
//! ```
//!
//! 1. Outputs and directory are durable before the manifest names them, and that before inputs go.
//! 2. Each step is one edit: every key is in the outputs or in what is left of the inputs, and never
//!    visible in both.
//! 3. What was given up leaves the block cache at once, and its file goes with the last reader.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use super::{
    Stop,
    job::{GivenUp, Inputs, Job},
    pick::LAST,
};
use crate::{
    apart::ValueOutputs,
    background::Duty,
    error::Result,
    keyspace::{State, Tree},
    manifest::Change,
    outputs::Outputs,
    planted::{Bug, planted},
    store::Store,
    values::LiveValues,
    version::LiveTable,
};

impl Store {
    /// Names the outputs that are ended instead of what was read below `next`, first durably, then for
    /// readers. False when the keyspace was dropped.
    pub(super) fn install(
        &self,
        tree: &Tree,
        target: usize,
        inputs: &mut Inputs,
        (outputs, values): (&mut Outputs<'_>, &mut ValueOutputs<'_>),
        next: Option<&[u8]>,
    ) -> Result<bool, Stop> {
        let given_up = inputs.given_up(next).map_err(Stop::Unread)?;
        // A fold may have made a value that is long enough to stand apart.
        values.end().map_err(Stop::Unwritten)?;
        outputs.sync_names().map_err(Stop::Unwritten)?;
        let tables = outputs.live();
        let read: u64 = given_up.iter().map(GivenUp::bytes).sum();
        let written: u64 = tables.iter().map(|table| table.info.bytes).sum();
        let apart = (values.changes(tree.id).collect(), values.live());
        let named = |committed: Result<()>| values.hand_over(outputs.hand_over(committed));
        let done = self.replace(tree, target, &given_up, &tables, apart, named);
        if !done.map_err(Stop::Unwritten)? {
            return Ok(false);
        }
        inputs.let_go(&given_up);
        for given in &given_up {
            given.file.table.forget_blocks(&given.file.info.first_key, next);
            if given.left.is_none() {
                given.file.mark_obsolete();
            }
        }
        drop(given_up);
        if target == LAST {
            tree.crawls.merged(next);
        }
        self.counters.compacted_bytes_read.fetch_add(read, Relaxed);
        self.counters.compacted_bytes_written.fetch_add(written, Relaxed);
        self.environment.signal(Duty::Prepare);
        Ok(true)
    }

    /// Puts the inputs of `job` on its target level as they are.
    pub(super) fn move_tables(&self, tree: &Tree, job: &Job) -> Result<()> {
        let whole = |(level, file): &(usize, Arc<LiveTable>)| GivenUp::whole(*level, file);
        let given_up: Vec<_> = job.inputs.iter().map(whole).collect();
        let tables: Vec<_> = job.inputs.iter().map(|(_, file)| Arc::clone(file)).collect();
        self.replace(tree, job.target, &given_up, &tables, Apart::default(), |committed| {
            committed
        })?;
        self.counters.tables_moved.fetch_add(tables.len() as u64, Relaxed);
        Ok(())
    }

    /// One edit: `given_up` goes or is cut, `tables` join the target level. False when the keyspace was
    /// dropped; then nothing was done.
    fn replace(
        &self,
        tree: &Tree,
        target: usize,
        given_up: &[GivenUp],
        tables: &[Arc<LiveTable>],
        (mut changes, values): Apart,
        named: impl FnOnce(Result<()>) -> Result<()>,
    ) -> Result<bool> {
        let mut manifest = self.lock_manifest();
        if tree.is_dropped() {
            return Ok(false);
        }
        let keyspace = tree.id;
        for GivenUp { level, file, left, .. } in given_up {
            let (level, table) = (*level as u8, file.info.id);
            match left {
                Some(left) => changes.extend(Change::cut(keyspace, level, &left.info)),
                None => changes.push(Change::RemoveTable { keyspace, level, table }),
            }
        }
        for table in tables {
            changes.extend(Change::join(keyspace, target as u8, &table.info));
        }
        if planted(Bug::InputsRemovedEarly) {
            let moved = |given: &&GivenUp| tables.iter().any(|t| t.info.id == given.file.info.id);
            for given in given_up.iter().filter(|given| given.left.is_none() && !moved(given)) {
                self.environment.vfs().remove_file(&given.file.path).ok();
            }
        }
        named(manifest.commit(changes))?;
        let edit = manifest.last_edit();
        let removed: Vec<_> =
            given_up.iter().map(|given| (given.level, Arc::clone(&given.file))).collect();
        let cut = given_up.iter().filter_map(|given| Some((given.level, given.left.clone()?)));
        let added: Vec<_> = cut.chain(tables.iter().map(|table| (target, table.clone()))).collect();
        tree.change_state(|state| State {
            active: Arc::clone(&state.active),
            frozen: state.frozen.clone(),
            version: Arc::new(state.version.edited(&removed, &added).with_values(&[], &values)),
        });
        drop(manifest);
        self.note_edit(edit);
        Ok(true)
    }
}

/// Value files that are named together with tables: the changes, and the files.
type Apart = (Vec<Change>, Vec<Arc<LiveValues>>);

impl GivenUp {
    /// Bytes of its file that are no longer visible.
    fn bytes(&self) -> u64 {
        let left = self.left.as_ref().map_or(0, |left| left.info.visible_bytes());
        self.file.info.visible_bytes().saturating_sub(left)
    }
}
