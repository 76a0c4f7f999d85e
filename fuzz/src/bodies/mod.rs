//! What each target does with its bytes. A body returns, or panics and says why.
//!
//! Every input is read to its end and means something; nothing is drawn from anywhere else.

mod disk;
mod dump;
mod file;
mod input;
mod node;
mod op;
mod page;
mod patch;
mod reseal;
mod script;
mod seeds;
mod space;
mod stream;

/// Makes what inputs share, so that no input is measured with it.
#[allow(dead_code, reason = "the fuzz targets measure nothing")]
pub fn prepare() {
    seeds::all();
}

/// Operations on a simulated disk that fails and loses power, against the oracle.
pub fn ops(data: &[u8]) {
    disk::run(data);
}

/// An arbitrary or a damaged file, its checksums as they are: opened, read, verified, written,
/// opened again.
pub fn file(data: &[u8]) {
    file::damaged(data);
}

/// The same for a file whose checksums were made to fit.
pub fn forged(data: &[u8]) {
    file::forged(data);
}

/// Arbitrary bytes as pages, and pages built by operations beside a twin.
pub fn page(data: &[u8]) {
    page::run(data);
}

/// Operations on a store in memory, against the oracle, reply by reply.
pub fn script(data: &[u8]) {
    script::run(data);
}

/// A damaged or a forged backup stream, or the stream of a forged file: restored, and looked at.
pub fn stream(data: &[u8]) {
    stream::run(data);
}
