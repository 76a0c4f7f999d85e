//! How a command ends.
//!
//! Owns: [`Code`], the numbers that scripts see, and [`Failure`], one line for people.
//! Must not know: what any command does.

use btree_store::{DetailedError, Error};
use std::io::{self, ErrorKind};
use std::process::ExitCode;

/// The codes with which the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    Done,
    NotFound,
    Usage,
    Damage,
    Busy,
    Failed,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> ExitCode {
        ExitCode::from(match code {
            Code::Done => 0,
            Code::NotFound => 1,
            Code::Usage => 2,
            Code::Damage => 3,
            Code::Busy => 4,
            Code::Failed => 5,
        })
    }
}

impl Code {
    /// How a command ends that has come to this, though something may not have been written: a
    /// finding is worth more than that, and counts whether or not somebody read it to its end.
    pub fn though(self, written: Done<()>) -> Done {
        match written {
            Ok(()) | Err(Failure::ClosedPipe) => Ok(self),
            Err(Failure::Told { message, .. }) if self == Code::Damage => {
                Err(Failure::new(self, message))
            }
            Err(failure) => Err(failure),
        }
    }
}

/// Why a command ends early.
#[derive(Debug)]
pub enum Failure {
    /// Nobody reads any more what it prints: it ends without a word.
    ClosedPipe,
    Told {
        code: Code,
        message: String,
    },
}

/// What each command returns.
pub type Done<T = Code> = Result<T, Failure>;

impl Failure {
    pub fn new(code: Code, message: impl Into<String>) -> Failure {
        Failure::Told { code, message: message.into() }
    }

    pub fn usage(message: impl Into<String>) -> Failure {
        Failure::new(Code::Usage, message)
    }

    /// What could not be done with a file of the system.
    pub fn io(what: &str, error: &io::Error) -> Failure {
        Failure::new(Code::Failed, format!("{what}: {error}"))
    }

    /// The same failure, with what it is about in front.
    pub fn about(self, what: &str) -> Failure {
        match self {
            Failure::ClosedPipe => Failure::ClosedPipe,
            Failure::Told { code, message } => {
                // The store may name it too.
                let message = message.replacen(&format!(": {what}: "), ": ", 1);
                Failure::new(code, format!("{what}: {message}"))
            }
        }
    }
}

/// Of the store, with its detail.
impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let code = match error {
            Error::NotFound => Code::NotFound,
            Error::Invalid | Error::TooLarge => Code::Usage,
            Error::Corruption => Code::Damage,
            Error::Busy => Code::Busy,
            _ => Code::Failed,
        };
        Failure::new(code, DetailedError::from(error).to_string())
    }
}

/// Of what is printed.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            ErrorKind::BrokenPipe => Failure::ClosedPipe,
            _ => Failure::io("write the output", &error),
        }
    }
}
