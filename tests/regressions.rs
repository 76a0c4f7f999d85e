//! Cases that failed once. Each names the claim that it broke.
//!
//! Attacks: failed-sync-poisons, durable-before-ok.

use btree_store::{BTree, Options};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Commits when it is dropped, also while its thread unwinds.
struct CommitsInDrop(BTree);

impl Drop for CommitsInDrop {
    fn drop(&mut self) {
        let done = self.0.exec("b", |txn| txn.put("dropped", "while unwinding"));
        assert_eq!(done, Ok(()));
    }
}

/// The leader of a commit took a panic that was under way already for its own, and poisoned the
/// store after the commit had succeeded.
#[test]
fn a_commit_by_a_destructor_of_a_panicking_thread_does_not_poison() {
    let db = Options::new().page_size(512).open_in_memory().unwrap();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _guard = CommitsInDrop(db.clone());
        resume_unwind(Box::new("the application's own panic"));
    }));
    assert!(panicked.is_err());
    assert_eq!(db.view("b", |txn| txn.get("dropped")).unwrap(), b"while unwinding");
    assert_eq!(db.exec("b", |txn| txn.put("later", "on")), Ok(()));
}
