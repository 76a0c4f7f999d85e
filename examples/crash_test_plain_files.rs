//! Plain file code without the store, crash-tested: a settings file that is replaced as a whole
//! by writing another one and renaming it.
//!
//! `cargo run --release --features sim --example crash_test_plain_files`
//!
//! Two syncs make that safe, and each is often forgotten. Without the one of the new file, its
//! name can reach the disk before its bytes; without the one of the directory, a settings file
//! that was reported as saved can be the old one again. The explorer finds both, and runs every
//! outcome of the version that is right.

use btree_store::sim::{Checked, Crash, Explorer, Report, SimDisk};
use btree_store::vfs::{OpenMode, Vfs, read_exact_at, write_all_at};
use std::io;
use std::path::Path;

const SETTINGS: &str = "settings";
const TEMPORARY: &str = "settings.new";

/// How a file is saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Save {
    /// Without a sync of the new file.
    NoFileSync,
    /// Without a sync of the directory.
    NoDirectorySync,
    /// With both.
    Right,
}

fn save(vfs: &dyn Vfs, text: &[u8], how: Save) -> io::Result<()> {
    let (settings, temporary) = (Path::new(SETTINGS), Path::new(TEMPORARY));
    let file = vfs.open(temporary, OpenMode::Create)?;
    // A crash may have left one that is longer.
    file.set_len(0)?;
    write_all_at(&*file, text, 0)?;
    if how != Save::NoFileSync {
        file.sync_all()?;
    }
    vfs.rename(temporary, settings)?;
    if how != Save::NoDirectorySync {
        vfs.sync_dir(settings)?;
    }
    Ok(())
}

/// The settings; `None` before they were saved for the first time.
fn load(vfs: &dyn Vfs) -> io::Result<Option<Vec<u8>>> {
    let file = match vfs.open(Path::new(SETTINGS), OpenMode::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let len = usize::try_from(file.size()?).map_err(io::Error::other)?;
    let mut text = vec![0; len];
    read_exact_at(&*file, &mut text, 0)?;
    Ok(Some(text))
}

/// The settings of version `n`: a few sectors, of another length each.
fn version(n: u64) -> Vec<u8> {
    format!("version = {n}\n").repeat(80 + 20 * usize::try_from(n % 3).unwrap_or(0)).into_bytes()
}

/// The workload: three versions, one after the other, with marks for the check.
fn work(disk: &SimDisk, how: Save) -> Checked {
    for n in 1..=3 {
        disk.started(n);
        save(disk, &version(n), how)?;
        disk.acknowledged(n);
    }
    Ok(())
}

/// The check: one of the versions that may be found is found, as a whole, and can be replaced.
fn check(disk: &SimDisk, crash: &Crash, how: Save) -> Checked {
    let found = load(disk)?;
    let mut possible = crash.acknowledged()..=crash.started();
    let is_possible = possible.any(|n| found == (n > 0).then(|| version(n)));
    if !is_possible {
        let text = found.map(|text| String::from_utf8_lossy(&text[..text.len().min(24)]).into());
        let text = text.unwrap_or_else(|| "nothing".to_owned());
        let (from, to) = (crash.acknowledged(), crash.started());
        return Err(format!("found {text:?}, not one of the versions {from} to {to}").into());
    }
    save(disk, &version(9), how)?;
    if load(disk)? == Some(version(9)) { Ok(()) } else { Err("the next version is lost".into()) }
}

/// Every outcome of every crash.
pub fn explore(how: Save) -> Report {
    Explorer::new(format!("{how:?}"))
        .explore(|disk| work(disk, how), |disk, crash| check(disk, crash, how))
}

/// Shows all three.
pub fn main() {
    for how in [Save::NoFileSync, Save::NoDirectorySync, Save::Right] {
        println!("{}\n", explore(how));
    }
}
