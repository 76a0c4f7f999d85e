//! Counts the words of text files into a database, reopens it, verifies it and shows the result.
//!
//! `cargo run --release --example word_count -- [--db FILE] [TEXT FILE]...`
//!
//! Without text files it reads those of this repository. A database file that is named must not
//! exist yet; without one, that of the last run is replaced. Each text file becomes a bucket,
//! `text` and the end of its path, and the bucket `total` holds the sums; a file's words are
//! committed together. Counts are stored as eight bytes, big endian.

use btree_store::vfs::OsVfs;
use btree_store::{BTree, Error, MultiTxn};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Where the sums are.
const TOTAL: &str = "total";
/// Words shown.
const SHOWN: usize = 20;

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("word_count: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Failure> {
    let mut db_path = None;
    let mut texts = Vec::new();
    let mut args = std::env::args_os().skip(1);
    while let Some(arg) = args.next() {
        if arg == "--db" {
            db_path = Some(PathBuf::from(args.next().ok_or("--db needs a file")?));
        } else {
            texts.push(PathBuf::from(arg));
        }
    }
    if texts.is_empty() {
        texts = texts_of_the_repository(Path::new(env!("CARGO_MANIFEST_DIR")))?;
    }
    let db_path = match db_path {
        Some(named) if named.exists() => {
            return Err(format!("{} exists already", named.display()).into());
        }
        Some(named) => named,
        None => {
            let own = PathBuf::from("target/word_count.db");
            if own.exists() {
                std::fs::remove_file(&own)?;
            }
            own
        }
    };
    if let Some(dir) = db_path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    let commits = fill(&db_path, &texts)?;
    show(&db_path, commits)
}

/// The Markdown and Rust files of this repository.
fn texts_of_the_repository(root: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut texts = Vec::new();
    for dir in ["", "docs", "src", "src/commit", "src/node", "src/space", "src/tree", "src/txn"] {
        for entry in std::fs::read_dir(root.join(dir))? {
            let path = entry?.path();
            if path.extension().is_some_and(|ending| ending == "md" || ending == "rs") {
                texts.push(path);
            }
        }
    }
    texts.sort();
    Ok(texts)
}

/// Counts each text into its bucket and into the total. Returns the number of commits.
fn fill(db_path: &Path, texts: &[PathBuf]) -> Result<u64, Failure> {
    let db = BTree::open(db_path)?;
    for path in texts {
        let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let text = String::from_utf8_lossy(&bytes);
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| word.len() > 2) {
            // The longest key is a quarter of a page.
            let word: String = word.to_lowercase().chars().take(200).collect();
            *counts.entry(word).or_default() += 1;
        }
        let bucket: String = path.to_string_lossy().chars().rev().take(200).collect();
        let bucket = format!("text {}", bucket.chars().rev().collect::<String>());
        db.exec_multi(|multi| {
            add(multi, &bucket, &counts)?;
            add(multi, TOTAL, &counts)
        })?;
    }
    Ok(db.current_seq())
}

/// Adds counts to those of a bucket.
fn add(
    multi: &mut MultiTxn<'_>,
    bucket: &str,
    counts: &BTreeMap<String, u64>,
) -> btree_store::Result<()> {
    multi.exec(bucket, |txn| {
        for (word, count) in counts {
            let before = txn.find(word)?.map_or(Ok(0), |bytes| decode(&bytes))?;
            txn.put(word, (before + count).to_be_bytes())?;
        }
        Ok(())
    })
}

fn decode(bytes: &[u8]) -> btree_store::Result<u64> {
    bytes.try_into().map(u64::from_be_bytes).map_err(|_| Error::Corruption)
}

/// Reopens the database, verifies it and shows the most frequent words.
fn show(db_path: &Path, commits: u64) -> Result<(), Failure> {
    let report = btree_store::verify::verify_path(&OsVfs, db_path)?;
    if !report.is_sound() {
        return Err(format!("{} is damaged:\n{report}", db_path.display()).into());
    }
    let db = BTree::open(db_path)?;
    let mut words = db.view(TOTAL, |txn| {
        let (mut key, mut value, mut words) = (Vec::new(), Vec::new(), Vec::new());
        let mut iter = txn.iter();
        while iter.next_ref(&mut key, &mut value) {
            words.push((decode(&value)?, String::from_utf8_lossy(&key).into_owned()));
        }
        Ok(words)
    })?;
    let distinct = words.len();
    words.sort_unstable_by(|a, b| b.cmp(a));
    for (count, word) in words.iter().take(SHOWN) {
        println!("{count:>8}  {word}");
    }
    let size = std::fs::metadata(db_path)?.len();
    println!(
        "{} buckets, {distinct} words, {commits} commits, {size} bytes, verified: {}",
        db.buckets()?.len(),
        db_path.display(),
    );
    Ok(())
}
