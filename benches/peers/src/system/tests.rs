//! What the system tells is true of what this process did.

use super::*;
use std::io::Write;
use std::time::Instant;

#[test]
fn syncs_and_bytes_of_the_standard_library_are_counted() {
    let _alone = crate::tests::alone();
    let path = std::env::temp_dir().join(format!("peers-test-{}", std::process::id()));
    let mut file = std::fs::File::create(&path).unwrap();
    let (bytes, syncs_before) = (bytes_written(), syncs());
    file.write_all(&[1; 5_000]).unwrap();
    file.sync_data().unwrap();
    file.sync_all().unwrap();
    assert_eq!(syncs() - syncs_before, 2);
    assert!(bytes_written() - bytes >= 5_000);
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_directory_in_memory_is_known_as_one() {
    let memory = Path::new("/dev/shm");
    assert!(!memory.is_dir() || is_in_memory(memory));
    assert!(!is_in_memory(Path::new("/proc")) && !is_in_memory(Path::new("/missing")));
}

#[test]
fn clocks_run_while_the_thread_does() {
    let (cpu, start) = (process_cpu(), Instant::now());
    while start.elapsed().as_millis() < 50 {}
    assert!(process_cpu() > cpu);
    assert!(peak_memory() > 0);
}

#[test]
fn urgency_ends_with_its_guard() {
    // Whether it is allowed or not, the thread goes on as an ordinary one: policy 0, which is the
    // 41st field, or the 39th behind the name.
    drop(Urgent::begin());
    let text = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    let behind_name = text.rsplit(')').next().unwrap();
    assert_eq!(behind_name.split_whitespace().nth(38), Some("0"));
}
