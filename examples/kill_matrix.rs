//! Switches every seeded bug on, one at a time, and shows which technique of checking finds it,
//! after how many executions. A bug that survives is a hole in the checks.
//!
//! ```text
//! RUSTFLAGS="--cfg seeded_bug" cargo run --release --target-dir target-seeded --features sim \
//!     --example kill_matrix
//! ```
//!
//! It writes `docs/kill-matrix.md` and `kill-matrix.json` beside the built program, and fails
//! when a bug survives, or when a technique finds something in the engine as it is. With names of
//! bugs behind `--` it runs those only, and writes nothing.

#[cfg(all(seeded_bug, feature = "sim"))]
#[path = "kill_matrix/matrix.rs"]
#[rustfmt::skip] // Some of its modules are still to come.
mod matrix;

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
