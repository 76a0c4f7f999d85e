//! The command `btree-store` (layer L9): a store read, written, checked and crash-tested from a
//! shell.
//!
//! Owns: which command runs, and how the process ends. Must not know: anything of the library but
//! its public interface.
#![warn(clippy::unwrap_used)]

mod args;
mod copies;
mod dump;
mod entries;
mod files;
mod health;
mod load;
mod outcome;
mod output;
mod picture;
mod scan;
mod text;
mod torture;

use args::{Cli, Command, Typed};
use outcome::{Code, Done, Failure};
use output::{Output, Reader, note};
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let ended = args::read().and_then(|typed| match typed {
        Typed::Cli(cli) => run(&cli),
        Typed::Text(text) => {
            let mut out = Output::new(Reader::Person);
            out.text(&text)?;
            out.finish()?;
            Ok(Code::Done)
        }
    });
    let code = match ended {
        Ok(code) => code,
        Err(Failure::ClosedPipe) => Code::Done,
        Err(Failure::Told { code, message }) => {
            let line = message.replace(char::is_control, " ");
            note(&format!("btree-store: {line}"));
            code
        }
    };
    code.into()
}

fn run(cli: &Cli) -> Done {
    let reader = if cli.json { Reader::Program } else { Reader::Person };
    let mut out = Output::new(reader);
    let ended = match &cli.command {
        Command::Get(args) => about(&args.place.file, entries::get(args, &mut out)),
        Command::Put(args) => about(&args.place.file, entries::put(args, &mut out)),
        Command::Del(args) => about(&args.place.file, entries::del(args, &mut out)),
        Command::Scan(args) => about(&args.place.file, scan::scan(args, &mut out)),
        Command::Buckets(args) => about(&args.file, entries::buckets(args, &mut out)),
        Command::Load(args) => about(&args.file, load::load(args, &mut out)),
        Command::Dump(args) => about(&args.file, dump::dump(args, &mut out)),
        Command::Stat(args) => about(&args.file, health::stat(args, &mut out)),
        Command::Check(args) => about(&args.file, health::check(args, &mut out)),
        Command::Compact(args) => about(&args.file, health::compact(args, &mut out)),
        Command::Backup(args) => about(&args.file, copies::backup(args, &mut out)),
        Command::Restore(args) => about(&args.file, copies::restore(args, &mut out)),
        Command::Pages(args) => about(&args.file, picture::pages(args, &mut out)),
        Command::Torture(args) => torture::torture(args, &mut out),
        Command::Replay(args) => torture::replay(args, &mut out),
    };
    let ended = ended.and_then(|code| match out.finish() {
        // A copy of which nobody has read the rest is none.
        Err(Failure::ClosedPipe) if is_copy(&cli.command) => Err(Failure::ClosedPipe),
        finished => code.though(finished),
    });
    match ended {
        Err(Failure::ClosedPipe) if is_copy(&cli.command) => Ok(Code::Failed),
        ended => ended,
    }
}

/// Whether what is printed is a copy of a store.
fn is_copy(command: &Command) -> bool {
    match command {
        Command::Dump(_) => true,
        Command::Backup(args) => args.target.is_none(),
        _ => false,
    }
}

/// Puts the file in front of what went wrong with it.
fn about(file: &Path, ended: Done) -> Done {
    ended.map_err(|failure| failure.about(&file.to_string_lossy()))
}
