//! What the command line asks for.

use crate::engine::Result;
use crate::engines;
use std::path::PathBuf;

pub const USAGE: &str = "\
usage: btree-store-peers [FILTER ...] [OPTION ...]

A FILTER is a part of a row's name, or several with commas between them; a row is run when each
filter fits: `get/small 1t` runs get/small/.../1t. Without filters all rows are run.

  --list             print the names of the rows and stop
  --peers A,B        run only these beside ours (lmdb, redb, seed, canopydb, fjall, sqlite,
                     BTreeMap, pwrite)
  --keys 100k,1m     sizes of the data sets (default 100k,1m; 10m takes minutes and gigabytes)
  --rounds N         rounds of cheap rows (default 9); costly rows take half of it
  --queries N        reads in a timed piece and thread (default 20000)
  --memory DIR       where files lie when the processor is measured (default /dev/shm)
  --disk DIR         where files lie when the disk is measured (default the temporary directory)
  --no-burst         do not ask for a priority above the neighbours'
  --json FILE        write all samples
  --markdown FILE    write the tables
  --svg FILE         write the chart
  --save FILE        write all samples, for a later --load
  --load A,B         begin with the rows of earlier runs; `--load A none` runs none besides
  --docs DIR         put table and chart into README.md and docs/ of the project at DIR
";

pub struct Settings {
    pub filters: Vec<String>,
    pub list: bool,
    peers: Option<Vec<String>>,
    pub counts: Vec<usize>,
    pub rounds: usize,
    pub queries: usize,
    pub memory: PathBuf,
    pub disk: PathBuf,
    pub burst: bool,
    pub json: Option<PathBuf>,
    pub markdown: Option<PathBuf>,
    pub svg: Option<PathBuf>,
    pub docs: Option<PathBuf>,
    pub save: Option<PathBuf>,
    pub load: Vec<PathBuf>,
}

impl Settings {
    pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Settings> {
        let memory = PathBuf::from("/dev/shm");
        let memory = if memory.is_dir() { memory } else { std::env::temp_dir() };
        let mut settings = Settings {
            filters: Vec::new(),
            list: false,
            peers: None,
            counts: vec![100_000, 1_000_000],
            rounds: 9,
            queries: 20_000,
            memory,
            disk: std::env::temp_dir(),
            burst: true,
            json: None,
            markdown: None,
            svg: None,
            docs: None,
            save: None,
            load: Vec::new(),
        };
        let mut arguments = arguments.peekable();
        while let Some(argument) = arguments.next() {
            if !argument.starts_with("--") {
                settings.filters.push(argument);
                continue;
            }
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
            match argument.as_str() {
                "--list" => settings.list = true,
                "--no-burst" => settings.burst = false,
                "--peers" => {
                    settings.peers = Some(value()?.split(',').map(str::to_owned).collect());
                }
                "--keys" => {
                    settings.counts = value()?.split(',').map(count).collect::<Result<_>>()?;
                }
                "--rounds" => settings.rounds = count(&value()?)?.max(1),
                "--queries" => settings.queries = count(&value()?)?.max(1),
                "--memory" => settings.memory = value()?.into(),
                "--disk" => settings.disk = value()?.into(),
                "--json" => settings.json = Some(value()?.into()),
                "--markdown" => settings.markdown = Some(value()?.into()),
                "--svg" => settings.svg = Some(value()?.into()),
                "--save" => settings.save = Some(value()?.into()),
                "--load" => settings.load = value()?.split(',').map(PathBuf::from).collect(),
                "--docs" => settings.docs = Some(value()?.into()),
                "--help" => return Err(USAGE.into()),
                _ => return Err(format!("{argument} is unknown\n\n{USAGE}").into()),
            }
        }
        Ok(settings)
    }

    /// Whether a row is asked for.
    pub fn wants(&self, row: &str) -> bool {
        self.filters.iter().all(|filter| filter.split(',').any(|part| row.contains(part)))
    }

    /// Whether an engine is asked for. Ours always is.
    pub fn has_peer(&self, name: &str) -> bool {
        let is_listed = |list: &Vec<String>| list.iter().any(|peer| peer == name);
        name == engines::OURS || self.peers.as_ref().is_none_or(is_listed)
    }
}

/// `1000`, `100k` or `1m`.
fn count(text: &str) -> Result<usize> {
    let lower = text.to_lowercase();
    let (digits, factor) = match lower.strip_suffix(['k', 'm']) {
        Some(digits) if lower.ends_with('k') => (digits, 1_000),
        Some(digits) => (digits, 1_000_000),
        None => (lower.as_str(), 1),
    };
    Ok(digits.parse::<usize>().map_err(|_| format!("{text} is no number"))? * factor)
}

/// A count as the rows' names spell it.
pub fn short(count: usize) -> String {
    match count {
        _ if count >= 1_000_000 && count.is_multiple_of(1_000_000) => {
            format!("{}m", count / 1_000_000)
        }
        _ if count >= 1_000 && count.is_multiple_of(1_000) => format!("{}k", count / 1_000),
        _ => count.to_string(),
    }
}
