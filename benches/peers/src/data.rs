//! The pairs that are stored and the keys that are asked for: made from seeds, the same each run.

use std::sync::OnceLock;

/// Which pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `key_000000` with `val_000000`: 20 bytes that share a prefix.
    Small,
    /// 24 random bytes with a value of 150.
    Random,
}

/// How often each key is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// Each key alike.
    Uniform,
    /// The law of Zipf with exponent 0.99, the frequent keys strewn over the key space.
    Zipf,
}

/// In which order pairs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Random,
    Sorted,
}

const RANDOM_KEY_LEN: usize = 24;
const RANDOM_VALUE_LEN: usize = 150;
const ZIPF_EXPONENT: f64 = 0.99;
/// Values are cut from this many bytes, so that ten million of them need no room of their own.
const POOL_BYTES: usize = 1 << 20;
/// By which the generator steps: odd, so that it meets each number once.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// A small generator (splitmix64): the same numbers everywhere, for nothing.
#[derive(Clone)]
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Chance {
        Chance(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    pub fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.next()) * end as u128) >> 64) as usize
    }

    /// From 0 to below 1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// A seed of its own for each piece of each row, so that no two share their draws.
pub fn seed(row: &str, piece: &[usize]) -> u64 {
    let name = row.bytes().map(u64::from);
    let numbers = piece.iter().map(|number| *number as u64);
    name.chain(numbers).fold(0, |seed, number| mix((seed ^ number).wrapping_add(STEP)))
}

fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The pairs of a data set.
pub struct Data {
    pub kind: Kind,
    pub count: usize,
    keys: Vec<u8>,
    key_len: usize,
    pool: Vec<u8>,
    value_len: usize,
    /// Costly to make, wanted by each set of queries.
    zipf: OnceLock<Zipf>,
}

impl Data {
    pub fn new(kind: Kind, count: usize) -> Data {
        match kind {
            Kind::Small => Data::small(count),
            Kind::Random => Data::random(count, RANDOM_VALUE_LEN),
        }
    }

    fn small(count: usize) -> Data {
        // As many digits as the greatest number needs, so that all keys are of one length.
        let width = count.saturating_sub(1).to_string().len().max(6);
        let list = |prefix: &str| -> Vec<u8> {
            (0..count).flat_map(|i| format!("{prefix}{i:0width$}").into_bytes()).collect()
        };
        let (keys, pool) = (list("key_"), list("val_"));
        let (key_len, value_len) = (4 + width, 4 + width);
        Data { kind: Kind::Small, count, keys, key_len, pool, value_len, zipf: OnceLock::new() }
    }

    /// Random keys with values of `value_len` bytes.
    pub fn random(count: usize, value_len: usize) -> Data {
        let mut chance = Chance::new(1);
        let mut bytes = |len: usize| -> Vec<u8> {
            (0..len.div_ceil(8)).flat_map(|_| chance.next().to_le_bytes()).take(len).collect()
        };
        let (keys, pool) = (bytes(count * RANDOM_KEY_LEN), bytes(POOL_BYTES + value_len));
        let (kind, key_len) = (Kind::Random, RANDOM_KEY_LEN);
        Data { kind, count, keys, key_len, pool, value_len, zipf: OnceLock::new() }
    }

    pub fn key(&self, i: usize) -> &[u8] {
        &self.keys[i * self.key_len..][..self.key_len]
    }

    /// The value that the key gets in the `version`th write of it.
    pub fn value(&self, i: usize, version: usize) -> &[u8] {
        let at = match self.kind {
            Kind::Small => (i + version) % self.count * self.value_len,
            Kind::Random => mix((i + version * self.count) as u64) as usize % POOL_BYTES,
        };
        &self.pool[at..][..self.value_len]
    }

    /// Keys and values, in bytes.
    pub fn bytes(&self) -> u64 {
        (self.count * (self.key_len + self.value_len)) as u64
    }

    /// The numbers of all pairs, as they are counted.
    pub fn in_order(&self) -> Vec<u32> {
        (0..self.count).map(|i| i as u32).collect()
    }

    /// The numbers of all pairs in an order.
    pub fn order(&self, order: Order) -> Vec<u32> {
        let mut list = self.in_order();
        match order {
            Order::Random => shuffle(&mut list, 7),
            Order::Sorted => list.sort_unstable_by_key(|i| self.key(*i as usize)),
        }
        list
    }
}

pub fn shuffle(list: &mut [u32], seed: u64) {
    let mut chance = Chance::new(seed);
    for end in (1..list.len()).rev() {
        list.swap(end, chance.below(end + 1));
    }
}

/// Draws the number of a key.
fn draw(data: &Data, spread: Spread, chance: &mut Chance) -> usize {
    match spread {
        Spread::Uniform => chance.below(data.count),
        Spread::Zipf => {
            let zipf = data.zipf.get_or_init(|| Zipf::new(data.count));
            let rank = zipf.rank(chance.unit());
            // The frequent keys must not be neighbours.
            ((u128::from(mix(rank as u64 + 1)) * data.count as u128) >> 64) as usize
        }
    }
}

/// Ranks by the law of Zipf, by the method of Gray and others (1994), as YCSB draws them.
struct Zipf {
    count: f64,
    sum: f64,
    eta: f64,
}

impl Zipf {
    fn new(count: usize) -> Zipf {
        let sum: f64 = (1..=count).map(|i| (i as f64).powf(-ZIPF_EXPONENT)).sum();
        let first_two = 1.0 + 0.5f64.powf(ZIPF_EXPONENT);
        let count = count as f64;
        let eta = (1.0 - (2.0 / count).powf(1.0 - ZIPF_EXPONENT)) / (1.0 - first_two / sum);
        Zipf { count, sum, eta }
    }

    fn rank(&self, unit: f64) -> usize {
        let scaled = unit * self.sum;
        if scaled < 1.0 {
            return 0;
        }
        if scaled < 1.0 + 0.5f64.powf(ZIPF_EXPONENT) {
            return 1;
        }
        let power = 1.0 / (1.0 - ZIPF_EXPONENT);
        let rank = self.count * (self.eta * unit - self.eta + 1.0).powf(power);
        (rank as usize).min(self.count as usize - 1)
    }
}

/// Keys to look for, one behind the other, so that reading them costs each engine the same.
pub struct Queries {
    pairs: Vec<u32>,
    keys: Vec<u8>,
    key_len: usize,
}

impl Queries {
    pub fn new(data: &Data, spread: Spread, count: usize, seed: u64) -> Queries {
        let mut chance = Chance::new(seed);
        Queries::of(data, (0..count).map(|_| draw(data, spread, &mut chance) as u32).collect())
    }

    /// Every key once.
    pub fn in_order(data: &Data) -> Queries {
        Queries::of(data, data.in_order())
    }

    /// The keys of these pairs.
    pub fn of(data: &Data, pairs: Vec<u32>) -> Queries {
        let mut keys = Vec::with_capacity(pairs.len() * data.key_len);
        pairs.iter().for_each(|pair| keys.extend_from_slice(data.key(*pair as usize)));
        Queries { pairs, keys, key_len: data.key_len }
    }

    /// The numbers of the pairs that are looked for.
    pub fn pairs(&self) -> &[u32] {
        &self.pairs
    }

    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.keys.chunks_exact(self.key_len)
    }
}
