//! Keys, values that tell whether they are whole, and what is drawn.
//!
//! Owns: the form of keys and values, and the source of numbers. Must not know: who writes and
//! reads them.

use btree_store::{Error, Result};

/// Numbers that a key may have are below it.
pub const KEYS: u64 = 3000;
/// What a value tells of itself: the number of its key, and what else it was made from.
const HEAD_BYTES: usize = 16;

/// A source of numbers, the same ones for the same seed (`SplitMix64`).
pub struct Draw(u64);

impl Draw {
    pub fn new(seed: u64) -> Draw {
        Draw(seed)
    }

    /// A source of its own, for another thread.
    pub fn apart(&mut self) -> Draw {
        Draw(self.number())
    }

    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.number() % bound
    }

    /// True once in so many times.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// The number of a key.
    pub fn key(&mut self) -> u64 {
        self.below(KEYS)
    }

    /// How long a value is: mostly within its leaf, at times on a few pages, or on many.
    pub fn len(&mut self) -> usize {
        let len = match self.below(20) {
            0 => 3000 + self.below(5000),
            1 => 20_000 + self.below(60_000),
            2..=5 => self.below(400),
            _ => self.below(60),
        };
        usize::try_from(len).expect("it is below 80,000")
    }
}

pub fn key(number: u64) -> String {
    format!("key{number:05}")
}

/// A value for a key, of so many bytes beside its head; the stamp decides which.
pub fn value(number: u64, stamp: u64, len: usize) -> Vec<u8> {
    let bytes = HEAD_BYTES + len;
    let mut value = Vec::with_capacity(bytes + 8);
    value.extend(number.to_le_bytes());
    value.extend(stamp.to_le_bytes());
    let mut draw = Draw::new(number ^ stamp << 20);
    while value.len() < bytes {
        value.extend(draw.number().to_le_bytes());
    }
    value.truncate(bytes);
    value
}

fn word(value: &[u8], at: usize) -> u64 {
    let word = value.get(at..at + 8).expect("a value begins with its head");
    u64::from_le_bytes(word.try_into().expect("these are eight bytes"))
}

/// The stamp of a value.
pub fn stamp(value: &[u8]) -> u64 {
    word(value, 8)
}

/// A value is that of its key, as a whole.
pub fn check(key: impl AsRef<[u8]>, value: &[u8]) {
    let name = String::from_utf8_lossy(key.as_ref());
    let number = name.strip_prefix("key").and_then(|digits| digits.parse::<u64>().ok());
    let number = number.unwrap_or_else(|| panic!("{name} is no key"));
    assert_eq!(word(value, 0), number, "the value of another key");
    let whole = self::value(number, stamp(value), value.len() - HEAD_BYTES);
    assert!(value == whole, "the value of {name} is not whole");
}

/// That a key is missing is no failure.
pub fn if_there<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(Error::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}
