//! The log store and the state machine, as openraft sees them.

mod cluster;
mod common;
mod crash;
mod hostile;
mod log;
mod machine;
mod reach;
mod suite;
