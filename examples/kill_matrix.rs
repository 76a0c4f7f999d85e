//! Switches every seeded bug on, one at a time, and shows which technique of checking finds it,
//! after how many executions. A bug that survives is a hole in the checks.
//!
//! ```text
//! RUSTFLAGS="--cfg seeded_bug" cargo run --release --target-dir target-seeded --features sim \
//!     --example kill_matrix
//! ```
//!
//! It writes `docs/kill-matrix.md`, and fails when a bug survives, when the median of the
//! executions to kill exceeds a hundred, when a technique finds something in the engine as it is,
//! or when the certificate tells a failure badly: with a token of more than 300 characters, of a
//! workload of more than three transactions, or such that a replay takes more than a second or does
//! not tell the same. A technique is ended after 15 seconds; that counts as a find for those bugs
//! only whose shape is that somebody waits for ever. With names of bugs behind `--` it
//! runs those only, without a limit for their median, and writes nothing.

#[cfg(all(seeded_bug, feature = "sim"))]
#[path = "kill_matrix/matrix.rs"]
mod matrix;

/// What the tests have for looking at files, and at what reaches the storage.
#[cfg(all(seeded_bug, feature = "sim"))]
#[expect(dead_code, clippy::unwrap_used, reason = "the tests use more of it")]
#[path = "kill_matrix"]
mod common {
    #[path = "../../tests/corruption/forge.rs"]
    pub mod forge;
    #[path = "../../tests/common/walk.rs"]
    pub mod walk;
    #[path = "../../tests/common/watch.rs"]
    pub mod watch;
}

#[cfg(all(seeded_bug, feature = "sim"))]
fn main() -> std::process::ExitCode {
    matrix::main()
}

#[cfg(not(all(seeded_bug, feature = "sim")))]
fn main() {
    println!(
        "This build holds no seeded bugs. To run them all:\n\
         RUSTFLAGS=\"--cfg seeded_bug\" cargo run --release --target-dir target-seeded \
         --features sim --example kill_matrix"
    );
}
