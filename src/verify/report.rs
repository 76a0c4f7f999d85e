//! What a walk found (part of verify, layer L5).
//!
//! Owns: [`Report`] and its parts, their text and their JSON form.
//! Must not know: how anything was found.

use super::owners::{Owner, Owners};
use crate::invariant::Invariant;
use std::fmt::{self, Write};

/// The result of a walk of a whole file.
///
/// Its `Display` form is for people, [`Report::to_json`] for programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The page size in bytes; `None` when no slot tells it.
    pub page_size: Option<u32>,
    /// The length of the file in bytes.
    pub file_len: u64,
    /// The states of the slots that hold a meta page, newest first.
    pub states: Vec<StateReport>,
    /// Why a slot does not count, one entry for each that does not. After a crash that is as it
    /// should be: the other slot counts.
    pub refused: Vec<Violation>,
    /// What is wrong with the file, or with a state that an open may choose.
    pub violations: Vec<Violation>,
    /// How many violations more there were than are kept.
    pub violations_dropped: u64,
    /// Of the accepted state.
    pub(super) owners: Owners,
}

/// What an open of the file would do with a slot's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Standing {
    /// This is the state that an open finds.
    Accepted,
    /// The accepted state once more.
    Twin,
    /// Older and whole: the state that an open would find if the accepted one were lost.
    Fallback,
    /// What the slot lists is not whole, or the file is too short for it; or a newer one is so, and
    /// this is not the state before that.
    Refused,
}

impl Standing {
    /// The name in text and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Standing::Accepted => "accepted",
            Standing::Twin => "twin",
            Standing::Fallback => "fallback",
            Standing::Refused => "refused",
        }
    }
}

/// The state of a slot. The counts are those of the walk; a refused state and a twin have none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateReport {
    /// The slot, 0 or 1.
    pub slot: u8,
    /// The state's transaction.
    pub txn: u64,
    /// The slot holds a copy that was written when the other one was durable.
    pub is_mirror: bool,
    /// What an open would do with it.
    pub standing: Standing,
    /// All trees and the space log could be followed to their ends; else some pages are counted
    /// as lost that may not be.
    pub is_complete: bool,
    /// Pages of the file in this state.
    pub page_count: u32,
    /// Pages of the catalog, the buckets and their overflow runs.
    pub reachable: u64,
    /// Pages of the catalog's tree, which are reachable too; 0 when it lies in the meta page.
    pub catalog_pages: u64,
    /// Pages of the space log.
    pub log_pages: u64,
    /// Unused pages that the next transaction may write.
    pub free: u64,
    /// Unused pages that the state before may still need.
    pub pending: u64,
    /// Pages without an owner.
    pub lost: u64,
    /// The buckets by name.
    pub buckets: Vec<BucketReport>,
}

/// A bucket's tree, as it was counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BucketReport {
    /// The name; bytes that are no UTF-8 are replaced.
    pub name: String,
    /// Entries.
    pub entries: u64,
    /// The root's level, which is 0 when the root is a leaf; `None` for an empty bucket.
    pub level: Option<u8>,
    /// Leaves.
    pub leaf_pages: u64,
    /// Branches.
    pub branch_pages: u64,
    /// Pages of overflow runs.
    pub overflow_pages: u64,
    /// Bytes of all keys.
    pub key_bytes: u64,
    /// Bytes of all values.
    pub value_bytes: u64,
    /// Bytes of leaves and branches that are in use.
    pub used_bytes: u64,
    /// Bytes of leaves and branches.
    pub tree_bytes: u64,
}

impl BucketReport {
    /// How full leaves and branches are, in percent; 0 when there are none.
    pub fn fill_percent(&self) -> u64 {
        let used = u128::from(self.used_bytes) * 100;
        let percent = used.checked_div(u128::from(self.tree_bytes)).unwrap_or(0);
        u64::try_from(percent).unwrap_or(u64::MAX)
    }
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The page, where it belongs to one.
    pub page: Option<u32>,
    /// The invariant that does not hold.
    pub invariant: Invariant,
    /// What the invariant asks for.
    pub expected: String,
    /// What the file holds.
    pub found: String,
    /// The slot whose state is concerned, 0 or 1.
    pub slot: Option<u8>,
    /// The transaction of that state.
    pub txn: Option<u64>,
    /// The way to the page: the tree, then level and page from the root on. May be empty.
    pub path: String,
}

impl Report {
    /// Whether nothing is wrong with any state that an open may choose, and there is one.
    pub fn is_sound(&self) -> bool {
        self.violations.is_empty() && self.violations_dropped == 0
    }

    /// Whether the file is as a clean close leaves it: sound, both slots hold the same state.
    pub fn is_at_rest(&self) -> bool {
        self.is_sound()
            && self.refused.is_empty()
            && self.states.iter().any(|state| state.standing == Standing::Twin)
    }

    /// The state that an open of the file finds.
    pub fn accepted(&self) -> Option<&StateReport> {
        self.states.iter().find(|state| state.standing == Standing::Accepted)
    }

    /// What each page of the accepted state is there for, from page 0 on; nothing where no state is
    /// accepted. It is in neither form of the report.
    ///
    /// ```
    /// use btree_store::verify::Owner;
    /// # let db = btree_store::Options::new().open_in_memory()?;
    /// db.exec("b", |txn| txn.put("k", "v"))?;
    /// let report = db.verify()?;
    /// assert_eq!(report.owners()[..2], [Owner::Slot; 2]);
    /// assert_eq!(report.owners().iter().filter(|&&owner| owner == Owner::Leaf).count(), 1);
    /// # Ok::<(), btree_store::Error>(())
    /// ```
    pub fn owners(&self) -> &[Owner] {
        self.owners.all()
    }

    /// Whether a violation of this invariant on this page was found.
    pub fn violates(&self, invariant: Invariant, page: Option<u32>) -> bool {
        self.violations.iter().any(|found| found.invariant == invariant && found.page == page)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(page) = self.page {
            write!(f, "page {page}: ")?;
        }
        write!(f, "{}: expected {}, found {}", self.invariant, self.expected, self.found)?;
        let mut separator = " (";
        if let Some(slot) = self.slot {
            write!(f, "{separator}slot {slot}")?;
            separator = ", ";
        }
        if let Some(txn) = self.txn {
            write!(f, "{separator}transaction {txn}")?;
            separator = ", ";
        }
        if !self.path.is_empty() {
            write!(f, "{separator}{}", self.path)?;
            separator = ", ";
        }
        if separator == ", " { f.write_str(")") } else { Ok(()) }
    }
}

/// A name on a line: what can be printed stands for itself, all else is escaped by a backslash, as
/// the command `btree-store` writes and reads keys and names.
pub(super) struct Shown<'a>(pub(super) &'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '\\' | '\n' | '\r' | '\t' => write!(f, "{}", c.escape_default()),
            ' '..='~' => f.write_char(c),
            _ if !c.is_ascii() && c.escape_debug().len() == 1 => f.write_char(c),
            _ => {
                let mut bytes = [0; 4];
                let bytes = c.encode_utf8(&mut bytes).bytes();
                bytes.into_iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))
            }
        })
    }
}

impl fmt::Display for BucketReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bucket \"{}\": {} entries", Shown(&self.name), self.entries)?;
        let Some(level) = self.level else { return Ok(()) };
        let (leaves, branches, runs) = (self.leaf_pages, self.branch_pages, self.overflow_pages);
        write!(
            f,
            ", root at level {level}; leaf pages: {leaves}, branch pages: {branches}, \
             overflow pages: {runs}; {}% full; {} bytes of keys, {} of values",
            self.fill_percent(),
            self.key_bytes,
            self.value_bytes
        )
    }
}

impl fmt::Display for StateReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mirror = if self.is_mirror { ", a mirror" } else { "" };
        let (slot, txn, standing) = (self.slot, self.txn, self.standing.name());
        writeln!(
            f,
            "slot {slot}: transaction {txn}, {standing}{mirror}, {} pages",
            self.page_count
        )?;
        if matches!(self.standing, Standing::Twin | Standing::Refused) {
            return Ok(());
        }
        writeln!(
            f,
            "  {} reachable ({} of the catalog), {} of the space log, {} free, {} pending, {} {}",
            self.reachable,
            self.catalog_pages,
            self.log_pages,
            self.free,
            self.pending,
            self.lost,
            if self.is_complete { "lost" } else { "not accounted for" }
        )?;
        self.buckets.iter().try_for_each(|bucket| writeln!(f, "  {bucket}"))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.file_len)?;
        if let Some(page_size) = self.page_size {
            write!(f, ", pages of {page_size}")?;
        }
        writeln!(f)?;
        self.states.iter().try_for_each(|state| state.fmt(f))?;
        for refused in &self.refused {
            writeln!(f, "refused: {refused}")?;
        }
        if self.is_sound() {
            return writeln!(f, "sound");
        }
        let count = self.violations.len() as u64 + self.violations_dropped;
        writeln!(f, "{count} {}:", if count == 1 { "violation" } else { "violations" })?;
        for violation in &self.violations {
            writeln!(f, "  {violation}")?;
        }
        match self.violations_dropped {
            0 => Ok(()),
            more => writeln!(f, "  and {more} more"),
        }
    }
}
