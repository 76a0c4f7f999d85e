//! Runs the models: every interleaving, up to a number of preemptions, of the crate's own
//! synchronisation code.
//!
//! ```sh
//! RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom cargo test --release --test models
//! ```
//!
//! `-- NAME` runs those whose name contains NAME. With `--cfg seeded_bug` as well, `-- --bugs`
//! switches one seeded bug on at a time, and fails unless its model finds it; names of bugs behind
//! it run those only, `none` all models without a bug.

#[cfg(not(loom))]
compile_error!("the models need --cfg loom: see the head of models/main.rs");

#[cfg(loom)]
fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    btree_store::models::run(&arguments)
}
