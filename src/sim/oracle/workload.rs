//! Making operations up (part of the oracle, layer L8).
//!
//! Owns: [`Workload`]. Must not know: what a store answers.
//! Keeps: the same source gives the same operations; a source of zeros gives the plainest ones.

use super::op::{
    By, CursorMove, Data, End, Ends, Exec, Op, Part, Peek, Read, SnapshotAct, Step, View, Way,
    Write,
};
use super::shape::{KeyShape, ValueShape, inline_len_max, sequential, short};
use super::source::{Source, SourceEnd};
use crate::Durability;
use crate::error::Error;
use crate::format::{bucket_name_len_max, key_len_max};
use crate::pager::PIECE_BYTES;
use crate::sim::{Choice, Choose, index};
use std::ops::Bound;

/// A source of operations.
#[derive(Clone, Debug)]
pub struct Workload {
    page_size: usize,
    /// What keys look like.
    pub keys: KeyShape,
    /// How long values are.
    pub values: ValueShape,
    /// How many different keys there are, sequential ones aside.
    pub key_count: u32,
    /// How many different buckets there are.
    pub bucket_count: u32,
    /// Steps of a closure; one in eight has eight times as many.
    pub steps_max: u32,
    /// Of eight write transactions, how many are deferred. Without any, nothing is chosen for it.
    pub deferred: u32,
    /// Of eight write transactions beside those over several buckets, how many are owned. Without
    /// any, nothing is chosen for it.
    pub owned: u32,
    /// Of eight owned transactions, during how many another one commits a change of something that
    /// the first has touched, or may. Without any, nothing is chosen for it.
    pub rivals: u32,
    /// Of eight puts, how many are of a value that comes from a reader. Without any, nothing is
    /// chosen for it; with some, a few values are so long that they do not wait in memory.
    pub readers: u32,
    /// Of so many additions one is a bulk load.
    pub bulks: u32,
    /// Of so many removals one is of a range.
    pub ranges: u32,
    /// Of some 120 operations, how many are compactions. With more than one, none is inside of an
    /// owned transaction, to which a very large value that was moved is another.
    pub compactions: u32,
    /// About so many operations go by until another share of the changes removes.
    pub phase: u32,
    /// Sequential keys so far.
    next: u32,
    /// Of eight changes, how many remove; it varies as time goes by, so that trees grow high and
    /// collapse.
    removing: u32,
}

/// How deep calls inside closures go.
const DEPTH_MAX: u32 = 2;
/// Cursors that are kept.
const SLOTS: u32 = 4;
/// Of so many values one goes to the file before the commit; where none comes from a reader, none.
const EARLY_OF: u32 = 64;
const FAILURES: [Error; 4] = [Error::NotFound, Error::Conflict, Error::Invalid, Error::Internal];

/// A source of choices, with a few ways to ask.
struct Dice<'a>(&'a mut dyn Choose);

impl Dice<'_> {
    fn below(&mut self, bound: u32) -> u32 {
        if bound < 2 { 0 } else { self.0.choose(bound, Choice::User) }
    }

    /// True once in `bound` times; never, if the source says 0.
    fn once_in(&mut self, bound: u32) -> bool {
        self.below(bound) + 1 == bound
    }

    /// An index; `weights` say how often each comes.
    fn weighted(&mut self, weights: &[u32]) -> usize {
        let mut left = self.below(weights.iter().sum());
        for (at, &weight) in weights.iter().enumerate() {
            if left < weight {
                return at;
            }
            left -= weight;
        }
        0
    }
}

impl Workload {
    /// Operations on a store with pages of this size, in bytes.
    pub fn new(page_size: u32, keys: KeyShape, values: ValueShape) -> Workload {
        Workload {
            page_size: index(page_size),
            keys,
            values,
            key_count: 400,
            bucket_count: 4,
            steps_max: 6,
            deferred: 0,
            owned: 0,
            rivals: 0,
            readers: 0,
            bulks: 24,
            ranges: 24,
            compactions: 1,
            phase: 96,
            next: 0,
            removing: 2,
        }
    }

    /// The next operation.
    pub fn op(&mut self, source: &mut dyn Choose) -> Op {
        self.op_at(&mut Dice(source), 0)
    }

    fn op_at(&mut self, dice: &mut Dice<'_>, depth: u32) -> Op {
        if dice.once_in(self.phase) {
            self.removing = [2, 7, 0, 4][index(dice.below(4))];
        }
        match dice.weighted(&[60, 20, 12, 10, 2, 2, 2, self.compactions, 12, 2]) {
            0 if self.owned > 0 && dice.below(8) >= 8_u32.saturating_sub(self.owned) => {
                self.owned(dice, depth)
            }
            0 => {
                let mut exec = self.exec(dice, depth);
                if let Some(durability) = self.durability(dice, depth) {
                    let at = index(dice.below(2)) * exec.steps.len();
                    exec.steps.insert(at, Step::Durability(durability));
                }
                Op::Exec(exec)
            }
            1 => Op::View(self.view(dice, depth)),
            2 => self.multi(dice, depth),
            3 => Op::Cursor(self.cursor_move(dice)),
            4 => Op::DelBucket(self.name(dice)),
            5 => Op::Buckets,
            6 if self.deferred > 0 && dice.once_in(2) => Op::Sync,
            6 => Op::Commit,
            7 if depth > 0 && self.compactions > 1 => Op::Buckets,
            7 => Op::Compact([0, 4096, 1 << 16, u64::MAX][index(dice.below(4))]),
            8 => self.snapshot(dice, depth),
            _ => Op::Reopen,
        }
    }

    /// What a transaction asks for. A call inside a closure is durable: when the store flushes
    /// unasked is seen behind the call that made it.
    fn durability(&self, dice: &mut Dice<'_>, depth: u32) -> Option<Durability> {
        if self.deferred == 0 || depth > 0 {
            return None;
        }
        let is_deferred = dice.below(8) >= 8_u32.saturating_sub(self.deferred);
        is_deferred.then_some(Durability::Deferred)
    }

    fn exec(&mut self, dice: &mut Dice<'_>, depth: u32) -> Exec {
        let bucket = self.name(dice);
        let count = self.count(dice);
        let steps = (0..count).map(|_| self.step(dice, depth)).collect();
        Exec { bucket, steps, end: end(dice) }
    }

    fn owned(&mut self, dice: &mut Dice<'_>, depth: u32) -> Op {
        let by = if dice.once_in(3) { By::Transact } else { By::Begin };
        let mut exec = self.exec(dice, depth);
        if self.rivals > 0 && by == By::Begin && dice.below(8) >= 8_u32.saturating_sub(self.rivals)
        {
            let place = dice.below(u32::try_from(exec.steps.len()).unwrap_or(0) + 1);
            let rival = Op::Exec(self.rival(dice, &exec));
            exec.steps.insert(index(place), Step::Peek(Peek::Nest(rival)));
        }
        Op::Owned { by, exec }
    }

    /// A transaction that changes one key, most of the time one of another's.
    fn rival(&mut self, dice: &mut Dice<'_>, of: &Exec) -> Exec {
        let keys: Vec<&Data> = of.steps.iter().filter_map(Step::key).collect();
        let most = u32::try_from(keys.len()).unwrap_or(0);
        let picked = keys.get(index(dice.below(most + 1))).copied().cloned();
        let key = picked.unwrap_or_else(|| self.key(dice));
        let write = if dice.once_in(4) {
            Write::Del(key)
        } else {
            let value = self.value(dice, key.bytes().len());
            Write::Put(key, value)
        };
        Exec { bucket: of.bucket.clone(), steps: vec![Step::Write(write)], end: End::Commit }
    }

    fn count(&self, dice: &mut Dice<'_>) -> u32 {
        let most = if dice.once_in(8) { self.steps_max * 8 } else { self.steps_max };
        dice.below(most + 1)
    }

    fn multi(&mut self, dice: &mut Dice<'_>, depth: u32) -> Op {
        let count = dice.below(5);
        let mut parts = Vec::new();
        for _ in 0..count {
            parts.push(match dice.weighted(&[12, 2, 1]) {
                0 => Part::Exec(self.exec(dice, depth)),
                1 => Part::DelBucket(self.name(dice)),
                _ if depth < DEPTH_MAX => Part::Nest(self.op_at(dice, depth + 1)),
                _ => Part::Nest(Op::Buckets),
            });
        }
        if let Some(durability) = self.durability(dice, depth) {
            parts.push(Part::Durability(durability));
        }
        Op::Multi { parts, end: end(dice) }
    }

    fn view(&mut self, dice: &mut Dice<'_>, depth: u32) -> View {
        let bucket = self.name(dice);
        let count = self.count(dice);
        let steps = (0..count).map(|_| self.peek(dice, depth)).collect();
        View { bucket, steps, end: end(dice) }
    }

    fn snapshot(&mut self, dice: &mut Dice<'_>, depth: u32) -> Op {
        // Two, so that one that was taken is read again.
        let [slot, other] = [0, 1].map(|_| u8::from(dice.once_in(2)));
        let act = match dice.weighted(&[3, 1, 6, 1, 1]) {
            0 => SnapshotAct::Take,
            1 => SnapshotAct::CloneTo(other),
            2 => SnapshotAct::View(self.view(dice, depth)),
            3 => SnapshotAct::Buckets,
            _ => SnapshotAct::Drop,
        };
        Op::Snapshot { slot, act }
    }

    fn step(&mut self, dice: &mut Dice<'_>, depth: u32) -> Step {
        if dice.once_in(4) {
            return Step::Peek(self.peek(dice, depth));
        }
        let removes = dice.below(8) + self.removing >= 8;
        Step::Write(if removes { self.removal(dice) } else { self.addition(dice) })
    }

    fn addition(&mut self, dice: &mut Dice<'_>) -> Write {
        if dice.once_in(self.bulks) {
            return Write::BulkLoad(self.ascending(dice));
        }
        let which = dice.weighted(&[8, 2, 2, 1]);
        let is_new = which < 2 && self.keys == KeyShape::Sequential && dice.below(3) > 0;
        let key = if is_new {
            self.next += 1;
            sequential(self.next)
        } else {
            self.key(dice)
        };
        let value = self.value(dice, key.bytes().len());
        match which {
            0 if self.readers > 0 && dice.below(8) >= 8_u32.saturating_sub(self.readers) => {
                let source = source(dice, value.bytes().len());
                Write::PutFrom { key, value, source }
            }
            0 => Write::Put(key, value),
            1 => Write::Insert(key, value),
            2 => Write::Update(key, value),
            _ => swap(dice, key, Some(value)),
        }
    }

    /// Entries for a bulk load: most of them ascend, and most lie behind all others.
    fn ascending(&mut self, dice: &mut Dice<'_>) -> Vec<(Data, Data)> {
        let count = dice.below(4 * self.steps_max);
        let is_behind = !dice.once_in(4);
        let mut keys = Vec::new();
        for _ in 0..count {
            keys.push(if is_behind {
                // A key that comes twice is refused.
                self.next += u32::from(!dice.once_in(100));
                Data::from([&[255, 255], sequential(self.next).bytes()].concat())
            } else {
                self.key(dice)
            });
        }
        if !is_behind && !dice.once_in(8) {
            keys.sort();
            keys.dedup();
        }
        keys.into_iter().map(|key| (key.clone(), self.value(dice, key.bytes().len()))).collect()
    }

    fn removal(&mut self, dice: &mut Dice<'_>) -> Write {
        if dice.once_in(self.ranges) {
            return Write::DeleteRange(self.bound(dice), self.bound(dice));
        }
        let key = self.key(dice);
        if dice.once_in(12) { swap(dice, key, None) } else { Write::Del(key) }
    }

    fn bound(&mut self, dice: &mut Dice<'_>) -> Bound<Data> {
        match dice.weighted(&[4, 4, 1]) {
            0 => Bound::Included(self.key(dice)),
            1 => Bound::Excluded(self.key(dice)),
            _ => Bound::Unbounded,
        }
    }

    fn peek(&mut self, dice: &mut Dice<'_>, depth: u32) -> Peek {
        if depth < DEPTH_MAX && dice.once_in(32) {
            return Peek::Nest(self.op_at(dice, depth + 1));
        }
        Peek::Read(match dice.weighted(&[6, 2, 1, 1, 1, 3, 5, 1, 2, 1]) {
            0 => Read::Get(self.key(dice)),
            1 => Read::Contains(self.key(dice)),
            2 => Read::Len,
            3 => Read::First,
            4 => Read::Last,
            5 => {
                let from = if dice.once_in(2) { Some(self.sought(dice)) } else { None };
                Read::Open { slot: slot(dice), from }
            }
            6 => Read::Cursor(self.cursor_move(dice)),
            7 => Read::GetMany((0..dice.below(40)).map(|_| self.key(dice)).collect()),
            8 => Read::Range(self.bound(dice), self.bound(dice), ends(dice)),
            _ => {
                let mut prefix = self.key(dice).bytes().to_vec();
                prefix.truncate(index(dice.below(3)));
                Read::Prefix(prefix.into(), ends(dice))
            }
        })
    }

    fn cursor_move(&mut self, dice: &mut Dice<'_>) -> CursorMove {
        let seek = if dice.once_in(4) { Some(self.sought(dice)) } else { None };
        let way = if dice.once_in(3) { Way::Down } else { Way::Up };
        let most = [1, 2, 5, 40][index(dice.below(4))];
        CursorMove { slot: slot(dice), seek, way, most }
    }

    fn name(&self, dice: &mut Dice<'_>) -> String {
        let limit = bucket_name_len_max(self.page_size);
        if dice.once_in(96) {
            return [String::new(), "l".repeat(limit + 1), "l".repeat(limit)][index(dice.below(3))]
                .clone();
        }
        format!("b{}", dice.below(self.bucket_count))
    }

    /// A key to seek: also one that no entry may have.
    fn sought(&mut self, dice: &mut Dice<'_>) -> Data {
        let mut key = self.key(dice).bytes().to_vec();
        match dice.weighted(&[4, 2, 2]) {
            1 => key.push(0),
            2 => drop(key.pop()),
            _ => {}
        }
        key.into()
    }

    fn key(&mut self, dice: &mut Dice<'_>) -> Data {
        let limit = key_len_max(self.page_size);
        if dice.once_in(128) {
            return vec![b'x'; if dice.below(2) == 0 { 0 } else { limit + 1 }].into();
        }
        let shape = match self.keys {
            KeyShape::Mixed => [
                KeyShape::Short,
                KeyShape::SharedPrefix,
                KeyShape::Nested,
                KeyShape::Sequential,
                KeyShape::Longest,
            ][index(dice.below(5))],
            shape => shape,
        };
        let number = dice.below(self.key_count);
        match shape {
            KeyShape::Sequential => {
                let most = self.next.max(self.key_count);
                sequential(dice.below(most + 1))
            }
            KeyShape::SharedPrefix => {
                let mut key = vec![b'p'; limit / 3];
                key.extend_from_slice(format!("{number:05}").as_bytes());
                key.into()
            }
            KeyShape::Nested => {
                let len = index(number) % limit + 1;
                let mut key = vec![b'n'; len];
                // Some branch off at the end.
                key[len - 1] = [b'n', b'n', 0, 255][index(number) / limit % 4];
                key.into()
            }
            KeyShape::Longest => {
                let mut key = vec![b'm'; limit];
                let place = [0, limit / 2, limit - 4][index(number) % 3];
                key[place..place + 4].copy_from_slice(&number.to_be_bytes());
                key.into()
            }
            KeyShape::Short | KeyShape::Mixed => short(number),
        }
    }

    /// A value for a key of `key_len` bytes.
    fn value(&self, dice: &mut Dice<'_>, key_len: usize) -> Data {
        let shape = match self.values {
            ValueShape::Mixed => {
                let weights = [8, 1, 2, 1];
                [ValueShape::Small, ValueShape::Empty, ValueShape::Edge, ValueShape::Large]
                    [dice.weighted(&weights)]
            }
            shape => shape,
        };
        let page = self.page_size;
        let len = match shape {
            _ if self.readers > 0 && dice.once_in(EARLY_OF) => {
                [PIECE_BYTES, PIECE_BYTES - 1, PIECE_BYTES + 1, PIECE_BYTES + page]
                    [index(dice.below(4))]
            }
            ValueShape::Empty => 0,
            ValueShape::Small | ValueShape::Mixed => index(dice.below(41)),
            ValueShape::Edge => inline_len_max(page, key_len) - 2 + index(dice.below(5)),
            ValueShape::Large => {
                let pages = page * (1 + index(dice.below(4)));
                match dice.below(4) {
                    0 => pages,
                    1 => pages + 1,
                    2 => pages - 1,
                    _ => pages + index(dice.below(512)),
                }
            }
        };
        let start = dice.below(251);
        let bytes: Vec<u8> = (start..).map(|at| (at % 251).to_le_bytes()[0]).take(len).collect();
        bytes.into()
    }
}

/// Now and then what is expected is what an earlier swap put there.
fn swap(dice: &mut Dice<'_>, key: Data, new: Option<Data>) -> Write {
    let few = [None, Some(Data::from("")), Some(Data::from("a")), Some(Data::from("b"))];
    let mut pick = || few[index(dice.below(4))].clone();
    let expected = pick();
    let new = if new.is_some() && pick().is_some() { pick() } else { new };
    Write::Swap { key, expected, new }
}

/// How a value of `len` bytes comes from a reader; most come whole.
fn source(dice: &mut Dice<'_>, len: usize) -> Source {
    let piece_max = [u32::MAX, 1, 100, 4096][index(dice.below(4))];
    let most = u32::try_from(len).unwrap_or(u32::MAX - 1);
    let end = match dice.weighted(&[8, 1, 1, 1]) {
        0 => SourceEnd::There,
        1 => SourceEnd::Short(dice.below(most)),
        2 => SourceEnd::Fails(dice.below(most + 1)),
        _ => SourceEnd::Beyond,
    };
    Source { piece_max, end }
}

fn ends(dice: &mut Dice<'_>) -> Ends {
    let mut most = || [1, 0, 3, 40][index(dice.below(4))];
    Ends { front: most(), back: most() }
}

fn slot(dice: &mut Dice<'_>) -> u8 {
    u8::try_from(dice.below(SLOTS)).expect("there are few cursors")
}

fn end(dice: &mut Dice<'_>) -> End {
    match dice.weighted(&[24, 2, 1]) {
        0 => End::Commit,
        1 => End::Fail(FAILURES[index(dice.below(4))]),
        _ => End::Panic,
    }
}
