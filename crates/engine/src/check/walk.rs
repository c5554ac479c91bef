//! Walks all tables of a keyspace side by side, in the order of their keys.
//!
//! 1. Every data block is read and verified once; one that does not verify is told and passed over.
//! 2. Within a table entries ascend, lie between the separators around their block, and are let
//!    through by the filter; what was counted is what footer and manifest say.
//! 3. Of one key, what stands further down is older.

use std::{
    cmp::Ordering,
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
    vec,
};

use olivine_vfs::Vfs;

use super::{SALVAGE, report::CheckReport};
use crate::{
    error::Error,
    key::{Kind, SeqNo, Stamp},
    pointer::UseCount,
    store::table_name,
    table::{Entries, Examiner, FEATURE_NUMBERED_LATER, Layout, Piece, TableInfo, mixed},
    values::ValuesExaminer,
};

/// Tells how many more bytes were walked over.
type Walked<'a> = &'a mut dyn FnMut(u64);

/// Runs of tables that do not overlap, out of the tables of a level, newer runs first. On level 0 each
/// table is a run of its own.
pub(super) fn runs_of(level: usize, mut tables: Vec<TableInfo>) -> Vec<Vec<TableInfo>> {
    if level == 0 {
        tables.sort_by_key(|table| std::cmp::Reverse((table.seqno_max, table.id)));
        return tables.into_iter().map(|table| vec![table]).collect();
    }
    tables.sort_by(|a, b| a.first_key.cmp(&b.first_key));
    let mut runs: Vec<Vec<TableInfo>> = Vec::new();
    for table in tables {
        let behind = |run: &&mut Vec<TableInfo>| {
            run.last().is_some_and(|last| last.ends_before(&table.first_key))
        };
        match runs.iter_mut().find(behind) {
            Some(run) => run.push(table),
            None => runs.push(vec![table]),
        }
    }
    runs
}

/// Walks runs, the newest first, to their ends.
pub(super) fn walk(mut walks: Vec<Walk>, report: &mut CheckReport, walked: Walked<'_>) {
    for walk in &mut walks {
        walk.advance(report, walked);
    }
    let mut key = Vec::new();
    loop {
        let keys = walks.iter().filter_map(|walk| walk.open.as_ref().map(|open| &open.key));
        match keys.min() {
            Some(least) => key.clone_from(least),
            None => return,
        }
        // The oldest version met so far, and where.
        let mut older: Option<(SeqNo, u64)> = None;
        for walk in &mut walks {
            while walk.open.as_ref().is_some_and(|open| open.key == key) {
                let Some(open) = &walk.open else { break };
                if let Some((seqno, table)) = older
                    && table != open.info.id
                    && seqno <= open.seqno()
                {
                    let what = format!(
                        "key {:?} stands here as of write {}, and table {table} above has it as of write {}",
                        key.escape_ascii().to_string(),
                        open.seqno(),
                        seqno
                    );
                    let error = Error::corrupt(&open.path, open.offset, what);
                    report.damage(&open.path, &error, SALVAGE);
                }
                older = Some((open.seqno(), open.info.id));
                walk.advance(report, walked);
            }
        }
    }
}

/// Tables that follow one another, and the entry that the walk stands on.
pub(super) struct Walk {
    values: Rc<ValuesExaminer>,
    vfs: Arc<dyn Vfs>,
    dir: PathBuf,
    store: u64,
    level: usize,
    tables: vec::IntoIter<TableInfo>,
    open: Option<OpenTable>,
}

/// A table in the middle of being walked.
struct OpenTable {
    info: TableInfo,
    path: PathBuf,
    examiner: Examiner,
    layout: Layout,
    /// The piece that is next.
    next: usize,
    block: Option<Entries>,
    at: usize,
    /// Where the block begins.
    offset: u64,
    key: Vec<u8>,
    stamp: Stamp,
    /// Whether the walk stands on an entry.
    stands: bool,
    /// Whether an entry before, of the same key, hides it: one that is no operand.
    is_hidden: bool,
    /// Whether the block before said that its last key goes on.
    continues: bool,
    /// The separator of the block before.
    before: Option<Box<[u8]>>,
    separator: Box<[u8]>,
    counted: Counted,
}

/// What was counted in a table.
#[derive(Default)]
struct Counted {
    /// Whether a block was passed over, so that no count means anything.
    torn: bool,
    entries: u64,
    shown: u64,
    tombstones: u64,
    seqnos: Option<(SeqNo, SeqNo)>,
    first_key: Option<Vec<u8>>,
    checksum: u64,
    values: UseCount,
    /// Whether something was said of the order, or of the filter, already: once is enough.
    told_order: bool,
    told_filter: bool,
}

impl Walk {
    pub(super) fn new(
        vfs: &Arc<dyn Vfs>,
        dir: &Path,
        store: u64,
        level: usize,
        tables: Vec<TableInfo>,
        values: &Rc<ValuesExaminer>,
    ) -> Walk {
        let (vfs, values, tables) = (Arc::clone(vfs), Rc::clone(values), tables.into_iter());
        Walk { values, vfs, dir: dir.into(), store, level, tables, open: None }
    }

    /// Goes to the next entry that shows, through blocks and tables.
    fn advance(&mut self, report: &mut CheckReport, walked: Walked<'_>) {
        loop {
            if let Some(open) = &mut self.open {
                while open.advance(report, walked) {
                    if open.shows() {
                        open.follow(&self.values, report, walked);
                        return;
                    }
                }
                open.end(report);
                self.open = None;
            }
            let Some(info) = self.tables.next() else { return };
            let path = self.dir.join(table_name(info.id));
            report.tables += 1;
            report.table_bytes += info.bytes;
            match Examiner::open(self.vfs.as_ref(), &path, self.store, info.id) {
                Ok(examiner) => {
                    self.open = Some(OpenTable::new(info, path, examiner, self.level, report));
                }
                Err(error) => report.damage(&path, &error, SALVAGE),
            }
        }
    }
}

impl OpenTable {
    /// The number of the entry that it stands on.
    fn seqno(&self) -> SeqNo {
        if self.is_numbered_later() { self.info.seqno_max } else { self.stamp.seqno() }
    }

    fn is_numbered_later(&self) -> bool {
        let footer = self.examiner.footer();
        footer.is_ok_and(|footer| footer.features & FEATURE_NUMBERED_LATER != 0)
    }

    fn new(
        info: TableInfo,
        path: PathBuf,
        mut examiner: Examiner,
        level: usize,
        report: &mut CheckReport,
    ) -> OpenTable {
        let mut torn = false;
        let layout = examiner.layout(&mut |error| {
            torn = true;
            report.damage(&path, &error, SALVAGE);
        });
        if let Ok(footer) = examiner.footer()
            && footer.checksum != info.checksum
        {
            let at = footer.parts.last().map_or(0, |(_, at)| *at);
            let what = "the table is not the one that was written here";
            report.damage(&path, &Error::corrupt(&path, at, what), SALVAGE);
        }
        if let Some(written) = layout.number::<1>("level")
            && (level as u64) < written
        {
            let what = format!("the table was written for level {written} and stands on {level}");
            report.damage(&path, &Error::corrupt(&path, 0, what), SALVAGE);
        }
        OpenTable {
            info,
            path,
            examiner,
            layout,
            next: 0,
            block: None,
            at: 0,
            offset: 0,
            key: Vec::new(),
            stamp: Stamp(0),
            stands: false,
            is_hidden: false,
            continues: false,
            before: None,
            separator: Box::default(),
            counted: Counted { torn, ..Counted::default() },
        }
    }

    /// Counts the entry it stands on if it shows: of a table that was cut, not all do.
    fn shows(&mut self) -> bool {
        let shows = !self.info.is_cut() || self.info.spans(&self.key);
        self.counted.shown += u64::from(shows);
        shows
    }

    fn corrupt(&self, what: &'static str) -> Error {
        Error::corrupt(&self.path, self.offset, what)
    }

    fn order(&mut self, report: &mut CheckReport, what: &'static str) {
        if !self.counted.told_order {
            self.counted.told_order = true;
            report.damage(&self.path, &self.corrupt(what), SALVAGE);
        }
    }

    /// Reads the value that the entry points to, when it does.
    fn follow(&mut self, values: &ValuesExaminer, report: &mut CheckReport, walked: Walked<'_>) {
        if self.stamp.kind() != Some(Kind::Pointer) {
            return;
        }
        let Some(block) = &self.block else { return };
        match values.verify(block.value(self.at - 1)) {
            Ok(pointer) => {
                walked(pointer.record_bytes);
                self.counted.values.add(&pointer, self.is_hidden);
            }
            Err(error) => {
                self.counted.torn = true;
                report.damage(&self.path, &error, SALVAGE);
            }
        }
    }

    /// Goes to the next entry; false when there is none.
    fn advance(&mut self, report: &mut CheckReport, walked: Walked<'_>) -> bool {
        loop {
            if let Some(block) = &self.block
                && self.at < block.count()
            {
                self.enter(report);
                return true;
            }
            if self.block.take().is_some() && *self.separator < *self.key {
                self.order(report, "the separator of a block is less than its last key");
            }
            let Some(piece) = self.layout.pieces.get(self.next) else { return false };
            self.next += 1;
            match piece.clone() {
                Piece::Block { offset, stored, separator } => {
                    walked(u64::from(stored));
                    self.offset = offset;
                    self.before = Some(std::mem::replace(&mut self.separator, separator))
                        .filter(|_| 1 < self.next);
                    self.begin(report, offset, stored);
                }
                Piece::Unknown { offset, end } => {
                    walked(end - offset);
                    self.counted.torn = true;
                }
            }
        }
    }

    fn begin(&mut self, report: &mut CheckReport, offset: u64, stored: u32) {
        match self.examiner.block(offset, stored) {
            Ok(block) => {
                report.blocks += 1;
                self.counted.checksum = mixed(self.counted.checksum, block.checksum);
                (self.block, self.at) = (Some(block), 0);
            }
            Err(error) => {
                self.counted.torn = true;
                self.continues = true;
                report.damage(&self.path, &error, SALVAGE);
            }
        }
    }

    /// Stands on the next entry of the block.
    fn enter(&mut self, report: &mut CheckReport) {
        let Some(block) = &self.block else { return };
        let (mut key, stamp, first_of_block) = (Vec::new(), block.stamp(self.at), self.at == 0);
        block.copy_key(self.at, &mut key);
        let continues = block.continues();
        self.at += 1;
        let order = if self.stands { self.key.cmp(&key) } else { Ordering::Less };
        if order == Ordering::Greater || order == Ordering::Equal && self.stamp <= stamp {
            self.order(report, "the entries of a table are out of order");
        }
        let hides = self.is_hidden || self.stamp.kind() != Some(Kind::Merge);
        self.is_hidden = order == Ordering::Equal && hides;
        if first_of_block {
            let goes_on = std::mem::replace(&mut self.continues, continues);
            let below = self.before.as_deref().is_some_and(|before| match before.cmp(&key) {
                Ordering::Less => false,
                Ordering::Equal => !goes_on,
                Ordering::Greater => true,
            });
            if below {
                self.order(report, "a key lies below the separator of the block before");
            }
        }
        if order != Ordering::Equal && !self.counted.told_filter && !self.layout.may_contain(&key) {
            self.counted.told_filter = true;
            report.damage(
                &self.path,
                &self.corrupt("the filter denies a key that is there"),
                SALVAGE,
            );
        }
        let Some(kind) = stamp.kind() else {
            self.order(report, "an entry has an unknown kind");
            (self.key, self.stamp, self.stands) = (key, stamp, true);
            return;
        };
        report.entries += 1;
        report.tombstones += u64::from(kind == Kind::Delete);
        let counted = &mut self.counted;
        counted.entries += 1;
        counted.tombstones += u64::from(kind == Kind::Delete);
        let seqno = stamp.seqno();
        let (least, most) = counted.seqnos.unwrap_or((seqno, seqno));
        counted.seqnos = Some((least.min(seqno), most.max(seqno)));
        counted.first_key.get_or_insert_with(|| key.clone());
        (self.key, self.stamp, self.stands) = (key, stamp, true);
    }

    /// Compares what was counted with what footer and manifest say.
    fn end(&mut self, report: &mut CheckReport) {
        let Ok(footer) = self.examiner.footer() else { return };
        if self.counted.torn {
            return;
        }
        let (counted, info, list) = (&self.counted, self.info.uncut(), &self.layout.range_deletes);
        let (mut least, mut most) = counted.seqnos.unwrap_or((0, 0));
        if let Some(bounds) = list.seqno_bounds() {
            (least, most) = (least.min(bounds.0), most.max(bounds.1));
        }
        let mut spanned = TableInfo {
            first_key: counted.first_key.clone().unwrap_or_default(),
            last_key: self.key.clone(),
            last_is_excluded: false,
            ..info.clone()
        };
        spanned.widen(list);
        let found = [counted.entries, counted.tombstones, least, most];
        // Of a table that was numbered later only the manifest knows the number, one for all entries.
        let one = self.is_numbered_later() && info.seqno_min == info.seqno_max;
        let (info_min, info_max) =
            if one { (least, most) } else { (info.seqno_min, info.seqno_max) };
        let told = [
            ("footer", [footer.entries, footer.tombstones, footer.seqno_min, footer.seqno_max]),
            ("manifest", [info.entries, info.tombstones, info_min, info_max]),
        ];
        let names = ["entries", "deletions", "as its lowest write", "as its highest write"];
        let mut wrong = Vec::new();
        for (who, told) in told {
            for ((found, told), name) in found.iter().zip(told).zip(names) {
                if *found != told {
                    wrong.push(format!("the {who} says {told} {name}, and there is {found}"));
                }
            }
        }
        if list.count() != info.range_deletes {
            wrong.push("the manifest says that there are other deleted ranges".into());
        }
        if self.info.is_cut() && counted.shown != self.info.entries {
            wrong.push(format!(
                "the manifest says that {} entries are visible, and {} are",
                self.info.entries, counted.shown
            ));
        }
        if counted.values.uses() != self.info.values {
            wrong.push("the manifest says that other values are pointed to".into());
        }
        if spanned != info {
            wrong.push("the manifest says that other keys are the first and the last one".into());
        }
        let checksum = self.examiner.blocks_checksum(counted.checksum, &self.layout);
        match checksum {
            Ok(checksum) if Some(checksum) == self.examiner.expected_blocks_checksum() => {}
            Ok(_) => wrong.push("the checksums of its blocks are not those of the footer".into()),
            Err(error) => report.damage(&self.path, &error, SALVAGE),
        }
        let at = footer.parts.last().map_or(0, |(_, at)| *at);
        for what in wrong {
            report.damage(&self.path, &Error::corrupt(&self.path, at, what), SALVAGE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{TableOptions, TableWriter};
    use olivine_vfs::MemoryVfs;

    /// Writes a table of puts with these keys and numbers.
    fn table(vfs: &Arc<dyn Vfs>, id: u64, entries: &[(&[u8], SeqNo)]) -> TableInfo {
        let path = Path::new("/").join(table_name(id));
        let options = TableOptions::default();
        let mut writer = TableWriter::create(vfs.as_ref(), path, 1, id, options).unwrap();
        for (key, seqno) in entries {
            writer.add(key, Stamp::new(*seqno, Kind::Put), b"value").unwrap();
        }
        writer.finish().unwrap()
    }

    fn walked(vfs: &Arc<dyn Vfs>, levels: &[(usize, &TableInfo)]) -> CheckReport {
        let values = Rc::new(ValuesExaminer::new(vfs, Path::new("/"), 1, []));
        let walk_of = |(level, table): &(usize, &TableInfo)| {
            Walk::new(vfs, Path::new("/"), 1, *level, vec![(*table).clone()], &values)
        };
        let mut report = CheckReport::default();
        walk(levels.iter().map(walk_of).collect(), &mut report, &mut |_| {});
        report
    }

    fn disk() -> Arc<dyn Vfs> {
        Arc::new(MemoryVfs::new())
    }

    #[test]
    fn an_older_version_above_a_newer_one_is_found() {
        let vfs = disk();
        let newer = table(&vfs, 1, &[(b"a", 5), (b"b", 7), (b"b", 6)]);
        let older = table(&vfs, 2, &[(b"a", 4), (b"b", 5), (b"c", 9)]);
        assert_eq!(walked(&vfs, &[(0, &newer), (1, &older)]).findings, []);
        let report = walked(&vfs, &[(0, &older), (1, &newer)]);
        assert_eq!(report.damages, 2, "{report:?}");
        assert!(report.findings[0].what.contains("key \"a\" stands here as of write 5"));
        assert_eq!((report.entries, report.tables), (6, 2));
    }

    #[test]
    fn counts_and_keys_that_the_manifest_has_wrong_are_found() {
        let vfs = disk();
        let right = table(&vfs, 1, &[(b"a", 5), (b"b", 7)]);
        for (wrong, said) in [
            (TableInfo { entries: 3, ..right.clone() }, "says 3 entries, and there is 2"),
            (TableInfo { tombstones: 1, ..right.clone() }, "says 1 deletions"),
            (TableInfo { seqno_min: 4, ..right.clone() }, "says 4 as its lowest write"),
            (TableInfo { last_key: b"c".into(), ..right.clone() }, "other keys"),
            (TableInfo { checksum: 9, ..right.clone() }, "not the one that was written here"),
            (TableInfo { range_deletes: 1, ..right.clone() }, "other deleted ranges"),
        ] {
            let report = walked(&vfs, &[(0, &wrong)]);
            assert_eq!(report.damages, 1, "{report:?}");
            assert!(report.findings[0].what.contains(said), "{report:?}");
        }
    }

    #[test]
    fn tables_that_overlap_are_runs_of_their_own() {
        let vfs = disk();
        let of = |id, first: &[u8], last: &[u8]| table(&vfs, id, &[(first, 1), (last, 2)]);
        let tables = [of(1, b"a", b"c"), of(2, b"d", b"f"), of(3, b"b", b"e"), of(4, b"g", b"h")];
        let ids = |runs: Vec<Vec<TableInfo>>| -> Vec<Vec<u64>> {
            runs.iter().map(|run| run.iter().map(|table| table.id).collect()).collect()
        };
        assert_eq!(ids(runs_of(1, tables.to_vec())), [vec![1, 2, 4], vec![3]]);
        assert_eq!(ids(runs_of(0, tables.to_vec())), [[4], [3], [2], [1]]);
    }
}
