//! What is typed.
//!
//! Owns: the arguments of each command, their help, and the line that says what is wrong with
//! them. Must not know: what a command does.

use super::outcome::Failure;
use btree_store::sim::campaign::{PER_SESSION, SESSION_MAX};
use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand, value_parser};
use std::ffi::OsString;
use std::num::{NonZeroU16, NonZeroU32, NonZeroU64};
use std::path::PathBuf;

const ABOUT: &str = "Reads, writes, checks and crash-tests stores of btree-store";

const GUIDE: &str = r"A store is one file. It holds buckets by name; a bucket holds
keys with values, in the order of the keys.

EXAMPLES
  btree-store put --create data.db users id:100 Alice
  btree-store get data.db users id:100
  btree-store scan data.db users --prefix id: --limit 10
  btree-store dump data.db > backup.txt
  btree-store load --create copy.db < backup.txt
  btree-store check data.db && echo sound

TEXT
  Names, keys and values are bytes. As arguments and in what is printed, bytes that can be printed
  as UTF-8 stand for themselves, but for the backslash. All others are \\ \n \r \t, or \x and two
  hexadecimal digits. With --hex, keys and values are hexadecimal instead, typed and printed; names
  of buckets stay text. `get` without --hex, and `put` without VALUE, move the bytes of the value
  as they are.

JSON
  With --json a command prints one object on one line; `scan` and `dump` print one for each entry.
  Names, keys and values are strings in the same text form, or hexadecimal with --hex.

EXIT CODES
  0  done, nothing wrong        3  the file is damaged or no store, or a check found something
  1  no such key or bucket      4  another process has the file open
  2  wrong arguments or input   5  anything else: no such file, no permission, a full disk
  What went wrong is one line on standard error. A closed pipe (`| head`) is no error, but of
  `dump` and `backup`, whose copy is not whole then: 5, without a word.

Commands that only read open the file for reading, beside other readers, and never create or change
it. `put`, `del`, `load` and `compact` need the file for themselves; only `put` and `load` make
one, when --create says so. `backup` and `restore` make a new file, never in place of one. Until it
is whole it has another name, FILE-btree-store-backup, and beside it stands FILE-create: what has
these names is written over, or removed.";

#[derive(Debug, Parser)]
#[command(name = "btree-store", version, about = ABOUT, after_long_help = GUIDE)]
#[command(after_help = "`btree-store --help` has examples, the text form and the exit codes.")]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    /// Print for programs: JSON, one object a line
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Get(Get),
    Put(Put),
    Del(Del),
    Scan(Scan),
    Buckets(Buckets),
    Load(Load),
    Dump(Dump),
    Stat(Stat),
    Check(Check),
    Compact(Compact),
    Backup(Backup),
    Restore(Restore),
    Pages(Pages),
    Torture(Torture),
    Replay(Replay),
}

/// A store, and one of its buckets.
#[derive(Args, Debug)]
pub struct Place {
    /// The store's file
    pub file: PathBuf,
    /// The bucket's name
    pub bucket: OsString,
}

/// How keys and values are written.
#[derive(Args, Clone, Copy, Debug)]
pub struct FormArgs {
    /// Keys and values are hexadecimal, typed and printed
    #[arg(long)]
    pub hex: bool,
}

/// What happens without a file.
#[derive(Args, Clone, Copy, Debug)]
pub struct Create {
    /// Make the file if there is none
    #[arg(long)]
    pub create: bool,
    /// The page size of a file that is made: a power of two from 512 to 32768
    #[arg(long, value_name = "BYTES", default_value_t = 4096, requires = "create")]
    pub page_size: u32,
}

/// Print the value of a key, as it is, or its hexadecimal digits on a line.
///
/// A value that has pages of its own is printed piece by piece while it is read; damage to it is
/// known at its end, and then the last piece is not printed.
#[derive(Args, Debug)]
pub struct Get {
    #[command(flatten)]
    pub place: Place,
    /// The key
    pub key: OsString,
    #[command(flatten)]
    pub form: FormArgs,
}

/// Give a key a value: VALUE, the content of a file, or standard input.
///
/// A bucket that is missing is made. The entry is on the disk when this ends with 0.
#[derive(Args, Debug)]
pub struct Put {
    #[command(flatten)]
    pub place: Place,
    /// The key
    pub key: OsString,
    /// The value; standard input, as it is, when absent
    #[arg(conflicts_with = "from_file")]
    pub value: Option<OsString>,
    /// The value is the content of this file, which need not fit into memory
    #[arg(long = "file", value_name = "PATH")]
    pub from_file: Option<PathBuf>,
    #[command(flatten)]
    pub form: FormArgs,
    #[command(flatten)]
    pub create: Create,
}

/// Remove a key, or a whole bucket.
#[derive(Args, Debug)]
pub struct Del {
    #[command(flatten)]
    pub place: Place,
    /// The key
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub key: Option<OsString>,
    /// Remove the whole bucket
    #[arg(long)]
    pub all: bool,
    #[command(flatten)]
    pub form: FormArgs,
}

/// Print entries in the order of their keys: key, tab, value.
///
/// All of them belong to one state of the store.
#[derive(Args, Debug)]
pub struct Scan {
    #[command(flatten)]
    pub place: Place,
    /// Begin with this key, or the next one that is there
    #[arg(long, value_name = "KEY")]
    pub from: Option<OsString>,
    /// End in front of this key
    #[arg(long, value_name = "KEY")]
    pub to: Option<OsString>,
    /// Only keys that begin with this
    #[arg(long)]
    pub prefix: Option<OsString>,
    /// From the highest key down
    #[arg(long)]
    pub reverse: bool,
    /// At most this many entries
    #[arg(long, value_name = "COUNT")]
    pub limit: Option<u64>,
    /// Print keys only; values are not read, however large
    #[arg(long)]
    pub keys: bool,
    #[command(flatten)]
    pub form: FormArgs,
}

/// List the buckets: name, tab, number of entries.
#[derive(Args, Debug)]
pub struct Buckets {
    /// The store's file
    pub file: PathBuf,
}

const DUMP_FORM: &str = r"THE FORM
  btree-store dump 1         the first line; `btree-store dump 1 hex` with --hex
  bucket NAME                what follows belongs to this bucket, which may be empty
   KEY<tab>VALUE             an entry: a space, the key, a tab, the value
  end BUCKETS ENTRIES        the last line, with the number of such lines before it

Names, keys and values are in the text form of `btree-store --help`, so that no line holds a byte
below a space but the tab. Every value and every key is given back as it was; a dump that was cut
off lacks its last line, and is refused.";

/// Take in what `dump` printed, from standard input.
///
/// Buckets that are missing are made; keys that are there get the new value. All is one
/// transaction, which happens as a whole or not at all, and stays in memory until its end; with
/// --batch a transaction ends after so many entries. What is wrong is told with its line; nothing
/// of its transaction is kept.
#[derive(Args, Debug)]
#[command(after_long_help = DUMP_FORM)]
pub struct Load {
    /// The store's file
    pub file: PathBuf,
    /// Commit after so many entries
    #[arg(long, value_name = "ENTRIES")]
    pub batch: Option<NonZeroU64>,
    #[command(flatten)]
    pub create: Create,
}

/// Print all buckets and entries, for `load`.
///
/// All of it belongs to one state of the store.
#[derive(Args, Debug)]
#[command(after_long_help = DUMP_FORM)]
pub struct Dump {
    /// The store's file
    pub file: PathBuf,
    /// The buckets; all when absent
    #[arg(value_name = "BUCKET")]
    pub buckets: Vec<OsString>,
    #[command(flatten)]
    pub form: FormArgs,
}

/// Print sizes and counts.
///
/// They are known without a walk. With --full the file is walked, which also gives the height of
/// each tree, its pages, and how full they are.
#[derive(Args, Debug)]
pub struct Stat {
    /// The store's file
    pub file: PathBuf,
    /// Walk the file, and tell of each tree
    #[arg(long)]
    pub full: bool,
}

/// Check every page and every invariant, also of a file that does not open.
///
/// Prints what was found, each finding with its page and its invariant; docs/invariants.md says
/// what that asks for. Ends with 3 when there are any. A slot that is refused is no finding: after
/// a crash one of the two may be torn.
#[derive(Args, Debug)]
pub struct Check {
    /// The store's file
    pub file: PathBuf,
}

/// Fill pages up, and give the end of the file back to the system.
///
/// Done in many small transactions: to interrupt it loses nothing.
#[derive(Args, Debug)]
pub struct Compact {
    /// The store's file
    pub file: PathBuf,
    /// Shorten the file by so much, if it can be; by all that can be won when absent
    #[arg(long, value_name = "BYTES", default_value_t = 0, hide_default_value = true)]
    pub bytes: u64,
}

/// Copy the store into a new file, or into a stream on standard output.
///
/// The copy is of one state, and its pages are full. The new file gets its name when it is whole
/// and on the disk.
///
/// With --since it is a stream in any case, of the pages that are newer than a state: of all of
/// them since 0, with which a chain begins, then since the state that the one before has told: on
/// standard error, where the stream is on standard output. `restore` makes a store of the chain.
#[derive(Args, Debug)]
pub struct Backup {
    /// The store's file
    pub file: PathBuf,
    /// The new file, which must not exist; a stream for `restore` is printed when absent
    pub target: Option<PathBuf>,
    /// Only what is newer than this state, as a stream
    #[arg(long, value_name = "SEQ")]
    pub since: Option<u64>,
}

/// Make a store of what `backup` printed: of a stream, or of a chain of them.
///
/// A chain is the stream of a backup --since 0, and those since the state of the one before. With
/// --onto one of them is put on the state of a store that was restored so, which stays as it is.
#[derive(Args, Debug)]
pub struct Restore {
    /// The new file, which must not exist; it gets its name when it is whole
    pub file: PathBuf,
    /// The streams, in their order; standard input when absent
    #[arg(value_name = "STREAM")]
    pub streams: Vec<PathBuf>,
    /// The store below the stream
    #[arg(long, value_name = "BASE")]
    pub onto: Option<PathBuf>,
}

/// Draw the file: a character for each page, or for some.
///
/// M meta page, C catalog, B branch, L leaf, O overflow (a value with pages of its own), S space
/// log, `.` free, `-` pending (the state before may need it), `?` nothing is known of it. Where a
/// character stands for several pages of several kinds, it is the small letter of the most
/// frequent, or `,` or `~`; but `?` where one of them is. Ends with 3 where `check` does.
#[derive(Args, Debug)]
pub struct Pages {
    /// The store's file
    pub file: PathBuf,
    /// Characters in a row
    #[arg(long, value_name = "COLUMNS", default_value = "64")]
    pub width: NonZeroU16,
    /// Pages of a character; as few as fit into 32 rows when absent
    #[arg(long, value_name = "PAGES")]
    pub scale: Option<NonZeroU32>,
}

/// Run random transactions on a simulated disk that fails in every way.
///
/// A session is some transactions beside a model, on a disk of its own. The power fails inside of
/// them and inside of the recoveries, up to three times in a row; the disk is full; syncs fail in
/// five ways; processes end. After each, the store is compared with the model, and every page is
/// accounted for. No file of the system is touched. A session that fails is made smaller and told
/// with a token for `replay`; then this ends with 3. The same seeds give the same report, on any
/// number of threads.
///
/// To share a campaign of one seed among four machines, run it on each with another of --shard 1/4
/// to 4/4.
#[derive(Args, Debug)]
pub struct Torture {
    /// How many transactions all shards run together, rounded up to whole sessions
    #[arg(long, value_name = "COUNT", default_value_t = 10_000,
        value_parser = value_parser!(u64).range(1..))]
    pub transactions: u64,
    /// Transactions of a session; thousands give stores with a history
    #[arg(long, value_name = "COUNT", default_value_t = PER_SESSION,
        value_parser = value_parser!(u64).range(1..=SESSION_MAX))]
    pub session: u64,
    /// The seed of the first session; the others have those that follow
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Run only this part of the sessions
    #[arg(long, value_name = "K/N", default_value = "1/1", value_parser = Shard::parse)]
    pub shard: Shard,
    /// Threads, 1024 at most; as many as the machine runs at once when absent
    #[arg(long, value_name = "COUNT", value_parser = value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Write a report as a web page, without any other file
    #[arg(long, value_name = "PATH")]
    pub html: Option<PathBuf>,
    /// Write the report that --json prints
    #[arg(long, value_name = "PATH")]
    pub json_file: Option<PathBuf>,
}

/// A part of a campaign: `part` of `parts`, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    pub part: u64,
    pub parts: u64,
}

impl Shard {
    fn parse(text: &str) -> Result<Shard, String> {
        let numbers = text.split_once('/');
        let numbers = numbers.and_then(|(k, n)| Some((k.parse().ok()?, n.parse().ok()?)));
        match numbers {
            Some((part, parts)) if 1 <= part && part <= parts => Ok(Shard { part, parts }),
            _ => Err("a shard is K/N, with K from 1 to N".to_owned()),
        }
    }
}

/// Tell what a token of a failed run stands for.
///
/// Takes the tokens of `torture`, and those of the certificate of crashes (docs/crash-model.md).
/// Runs it again, and tells what happens in it, whether or not it still fails. Ends with 3 when it
/// fails.
#[derive(Args, Debug)]
pub struct Replay {
    /// The token, as it was printed
    pub token: String,
}

/// What is typed, or the text to print instead: help and version.
pub enum Typed {
    Cli(Cli),
    Text(String),
}

/// Reads the arguments.
///
/// # Errors
/// In one line, what is wrong with them.
pub fn read() -> Result<Typed, Failure> {
    let error = match Cli::try_parse() {
        Ok(cli) => return Ok(Typed::Cli(cli)),
        Err(error) => error,
    };
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Ok(Typed::Text(error.to_string())),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            Err(Failure::usage("a command is missing, see btree-store --help"))
        }
        _ => {
            // What is wrong stands in front of the first empty line.
            let text = error.to_string();
            let lines = text.lines().take_while(|line| !line.trim().is_empty());
            let line = lines.map(str::trim).collect::<Vec<_>>().join(" ");
            let line = line.strip_prefix("error: ").unwrap_or(&line);
            Err(Failure::usage(format!("{line}, see btree-store --help")))
        }
    }
}
