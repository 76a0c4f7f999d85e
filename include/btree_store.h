/*
 * btree_store: a persistent embedded key-value store, a copy-on-write B+tree in one file.
 *
 * The C ABI of the library, built with the feature `ffi`. docs/ffi.md is the manual; this header
 * says what each function does, what it needs and how it fails. C99 or later, or C++11 or later.
 *
 * For all functions:
 *
 * - A function that can fail returns an int: 0 (BTREE_OK) or one of the negative codes below. The
 *   text behind it is kept for the thread; btree_last_error returns it. A call that succeeds
 *   leaves code and text of an earlier failure as they are, and so does the end of an iteration.
 * - A callback returns 0 to go on. Any other value ends its transaction, or the call that ran it,
 *   without effect, and is returned unchanged by the function that ran the callback. Take positive
 *   values for codes of your own, so that they differ from those of the library.
 * - Txn and MultiTxn belong to the callback that got them and to its thread; a BTreeTxn, and a Txn
 *   of one, to the program until btree_txn_commit or btree_txn_abort. They are numbers in the guise
 *   of pointers and never followed: a stale one, or one of another thread's callback, is answered
 *   by BTREE_ERR_INVALID.
 * - BTree, BTreeSnapshot, TxnIter and TxnReader are pointers. To use one after it was closed or
 *   freed is undefined.
 * - Keys and values are bytes, names and paths UTF-8 texts that end with a NUL. NULL where an
 *   argument is needed is BTREE_ERR_INVALID.
 * - Panics in the library do not leave it: BTREE_ERR_INTERNAL, with the message as the text.
 *   A callback must not leave by longjmp; a C++ exception that leaves a callback ends the process.
 *   With glibc so does a thread that ends inside of a call, by pthread_exit or pthread_cancel; with a C
 *   library that does not unwind it is as longjmp.
 */
#ifndef BTREE_STORE_H
#define BTREE_STORE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The version of the library that this header came with. btree_version tells that of the library
 * that the program found. */
#define BTREE_STORE_VERSION_MAJOR 0
#define BTREE_STORE_VERSION_MINOR 1
#define BTREE_STORE_VERSION_PATCH 0
/* The same as a text. */
#define BTREE_STORE_VERSION "0.1.0"
/* The same as a number, to be compared: 1002003 is 1.2.3. */
#define BTREE_STORE_VERSION_NUMBER                                                           \
    (BTREE_STORE_VERSION_MAJOR * 1000000 + BTREE_STORE_VERSION_MINOR * 1000 +                \
     BTREE_STORE_VERSION_PATCH)

/* A store: buckets of ordered entries in one file. Any number of threads may use a handle. */
typedef struct BTree BTree;
/* A durable state of all buckets that is kept. Any number of threads may use it. */
typedef struct BTreeSnapshot BTreeSnapshot;
/* A transaction on one bucket: of btree_exec it may write, of btree_view it may not. */
typedef struct Txn Txn;
/* A write transaction over several buckets. */
typedef struct MultiTxn MultiTxn;
/* A write transaction over all buckets that is begun, and ended by a call. */
typedef struct BTreeTxn BTreeTxn;
/* A position in a bucket as it was when the iterator was made. One thread at a time uses it. */
typedef struct TxnIter TxnIter;
/* A value that is read from its beginning to its end. One thread at a time uses it. */
typedef struct TxnReader TxnReader;

/* Codes. */

/* Success. */
#define BTREE_OK 0
/* The key or the bucket does not exist; the end of an iteration. */
#define BTREE_ERR_NOT_FOUND (-1)
/* The file's bytes break an invariant; the text names page and invariant. */
#define BTREE_ERR_CORRUPTION (-2)
/* A key, a value or a name exceeds its limit; the text names it. */
#define BTREE_ERR_TOO_LARGE (-3)
/* A defect of the library: a panic was caught, and the transaction rolled back. */
#define BTREE_ERR_INTERNAL (-4)
/* The disk is full. The state is the one before the call. */
#define BTREE_ERR_NO_SPACE (-5)
/* The operating system reported an error; the text names it. */
#define BTREE_ERR_IO (-6)
/* The call is not allowed here; the text says why. */
#define BTREE_ERR_INVALID (-7)
/* The key, the bucket or the file exists already, where the call wants it absent. */
#define BTREE_ERR_DUPLICATE (-8)
/* Another transaction committed first: begin again. btree_txn_commit says so; before it, whatever
 * cannot read a value that txn_put_from put, where a commit of others has failed since, which may
 * have taken it, and then every call of that transaction. */
#define BTREE_ERR_CONFLICT (-9)
/* Another process has the file open, or this one for reading only and it is to be written. */
#define BTREE_ERR_BUSY (-10)
/* A sync failed earlier, so that nothing more is acknowledged. Close all that belongs to the store,
 * and open it again. */
#define BTREE_ERR_POISONED (-11)
/* No function of this version returns it. */
#define BTREE_ERR_UNKNOWN (-1000)

/* The same codes by their short names. */
#define BTREE_NOT_FOUND BTREE_ERR_NOT_FOUND
#define BTREE_CORRUPTION BTREE_ERR_CORRUPTION
#define BTREE_TOO_LARGE BTREE_ERR_TOO_LARGE
#define BTREE_INTERNAL BTREE_ERR_INTERNAL
#define BTREE_NO_SPACE BTREE_ERR_NO_SPACE
#define BTREE_IO BTREE_ERR_IO
#define BTREE_INVALID BTREE_ERR_INVALID
#define BTREE_DUPLICATE BTREE_ERR_DUPLICATE
#define BTREE_CONFLICT BTREE_ERR_CONFLICT
#define BTREE_BUSY BTREE_ERR_BUSY
#define BTREE_POISONED BTREE_ERR_POISONED
#define BTREE_UNKNOWN BTREE_ERR_UNKNOWN

/* Callbacks. ctx is what the program passed along. */

typedef int (*BTreeTxnFn)(Txn *txn, void *ctx);
typedef int (*BTreeMultiTxnFn)(MultiTxn *mtxn, void *ctx);
/* text ends with a NUL, which len does not count; it lives until the callback returns. */
typedef int (*BTreeTextFn)(const char *text, size_t len, void *ctx);
/*
 * Puts bytes of a value at buf, at most capacity of them, and their number into *len, which is 0
 * before. No bytes are the end of the value.
 */
typedef int (*BTreeReadFn)(uint8_t *buf, size_t capacity, size_t *len, void *ctx);
/*
 * Shows the next entry: where its key and its value are. The places hold NULL and 0 before; a key
 * that stays NULL says that there are no more. What is shown stays as it is until the callback is
 * called again, or the call that runs it returns.
 */
typedef int (*BTreeEntryFn)(const uint8_t **key, size_t *klen, const uint8_t **val, size_t *vlen,
                            void *ctx);

/* Opening and closing. */

/* Of BTreeOptions.flags: nothing is written; several processes may read at once. */
#define BTREE_READ_ONLY 1
/* Of BTreeOptions.flags: a missing file is an error, not created. */
#define BTREE_MUST_EXIST 2
/* Of BTreeOptions.flags: commits are deferred; btree_sync waits for them. */
#define BTREE_DEFERRED 4
/* Of BTreeOptions.flags: a file that exists is BTREE_ERR_DUPLICATE, not opened. */
#define BTREE_CREATE_NEW 8
/* Of BTreeOptions.barriers: a commit uses one barrier. */
#define BTREE_BARRIERS_ONE 1
/* Of BTreeOptions.barriers: a commit uses two barriers. */
#define BTREE_BARRIERS_TWO 2
/* Of BTreeOptions.cache_bytes: as much as the library finds right. */
#define BTREE_CACHE_BYTES_DEFAULT UINT64_MAX

/* How a store is opened. Begin with BTREE_OPTIONS_INIT and change what you want otherwise. */
typedef struct BTreeOptions {
    size_t size;          /* sizeof(BTreeOptions) */
    uint64_t cache_bytes; /* bytes of pages kept in memory at most; 0 keeps none */
    uint32_t page_size;   /* of a new file: a power of two from 512 to 32768; 0: the default */
    uint32_t barriers;    /* BTREE_BARRIERS_ONE or BTREE_BARRIERS_TWO; 0: the default */
    uint32_t flags;       /* any of the four above, or 0 */
    uint32_t reserved;    /* 0 */
} BTreeOptions;

#define BTREE_OPTIONS_INIT { sizeof(BTreeOptions), BTREE_CACHE_BYTES_DEFAULT, 0, 0, 0, 0 }

/*
 * Opens a store, and creates it when there is no file. *out becomes a handle, which btree_close
 * ends; NULL on failure. A file that the process has open already is shared.
 * Fails: BUSY (another process has it open, or this one for reading only), POISONED (it is open
 * here, and a sync failed), CORRUPTION (no database, or one that cannot be recovered; the file is
 * left as it is), IO, NO_SPACE, INVALID.
 */
int btree_open(const char *path, BTree **out);

/*
 * Opens a store as the options say; NULL stands for the defaults. A file that the process has
 * open already is shared, whatever the options say, but for BTREE_DEFERRED and BTREE_READ_ONLY,
 * which are the handle's own, and BTREE_CREATE_NEW.
 * Fails: as btree_open; INVALID for options that are not allowed or not known, or exclude each
 * other; DUPLICATE for a file that exists and is to be new.
 */
int btree_open_with(const char *path, const BTreeOptions *options, BTree **out);

/*
 * Opens a store that lives in memory and goes away with its handle; a backup of it is a file, and
 * stays. options may be NULL.
 * Fails: INVALID.
 */
int btree_open_in_memory(const BTreeOptions *options, BTree **out);

/*
 * Ends a handle; NULL is none. The file is closed with its last handle, snapshot, iterator, reader,
 * and transaction that was begun; of the last, btree_txn_commit commits all the same. No other
 * thread may be in a call with the handle. A callback may close the handle that its transaction
 * came from: the store stays open until the transaction has ended.
 */
void btree_close(BTree *db);

/* Transactions. */

/*
 * Runs a write transaction on a bucket, which is made when it is missing. When fn returns 0, the
 * changes are durable before this returns, unless commits are deferred (BTREE_DEFERRED); any other
 * value rolls them back and is returned. Waits for the write transaction that runs on the store:
 * threads that write to several stores, one inside the other, all begin with the same one.
 * Fails: INVALID (also inside another write transaction of the same thread on the same store, and
 * on a read-only store), TOO_LARGE (the name), NO_SPACE, IO, CORRUPTION, POISONED, INTERNAL, and
 * before fn runs what took deferred commits of this handle, until btree_sync has told it; then
 * nothing has changed, except that after IO of a failed sync the outcome is known only when the
 * store was opened again.
 */
int btree_exec(BTree *db, const char *bucket, BTreeTxnFn fn, void *ctx);

/*
 * Runs a read transaction on a bucket of the newest durable state. A value other than 0 that fn
 * returns is returned. An error of the storage that the transaction or one of its iterators met
 * is returned even when fn returns 0.
 * Fails: NOT_FOUND (no such bucket), INVALID, TOO_LARGE (the name), IO, CORRUPTION, INTERNAL.
 */
int btree_view(BTree *db, const char *bucket, BTreeTxnFn fn, void *ctx);

/*
 * Runs a write transaction over several buckets, with one flush for all of them.
 * Fails: as btree_exec.
 */
int btree_exec_multi(BTree *db, BTreeMultiTxnFn fn, void *ctx);

/*
 * A bucket of the transaction, which is made when it is missing. *out becomes a handle that is
 * valid until the callback of the transaction returns, or the bucket is removed; it is not freed,
 * and the same name gives the same handle. NULL on failure. An error of the storage that this or an
 * operation on it meets fails the whole transaction.
 * Fails: INVALID, TOO_LARGE (the name), IO, CORRUPTION.
 */
int mtxn_bucket(MultiTxn *mtxn, const char *bucket, Txn **out);

/*
 * Runs fn on a bucket, which is made when it is missing. When fn returns another value than 0,
 * what it did is undone, the value is returned, and the transaction may go on. Until fn returns,
 * mtxn and the handles of mtxn_bucket are answered by INVALID.
 * Fails: as mtxn_bucket; with an error of the storage that fn met, what fn did is undone.
 */
int mtxn_exec(MultiTxn *mtxn, const char *bucket, BTreeTxnFn fn, void *ctx);

/*
 * Removes a bucket and all that it holds. A handle that mtxn_bucket gave out for it ends.
 * Fails: NOT_FOUND (no such bucket; nothing has changed), INVALID, TOO_LARGE; IO, CORRUPTION: the
 * transaction keeps failing.
 */
int mtxn_del_bucket(MultiTxn *mtxn, const char *bucket);

/* Transactions without callbacks. */

/*
 * Begins an optimistic write transaction over all buckets, on the newest durable state. *out
 * becomes its handle, which btree_txn_commit or btree_txn_abort ends; NULL on failure. Until it
 * commits it waits for nobody, but in txn_put_from, and nobody waits for it. Several may be open at
 * once: of those that touch the same, the first to commit wins. Any thread may use it, one at a
 * time. It keeps the store open, and the pages that it may read from being reused.
 * Fails: INVALID (also a handle that was opened for reading only: btree_snapshot reads).
 */
int btree_begin(BTree *db, BTreeTxn **out);

/*
 * Makes the changes durable, if nothing that the transaction read or wrote has changed since it
 * began; otherwise nothing has happened. The handle ends, whatever this returns, and so do those of
 * its buckets; but not while a call with it is under way, on another thread or around a callback:
 * INVALID.
 * Fails: CONFLICT (others were ahead, or a commit of others failed that may have taken what
 * txn_put_from put: begin again), INVALID (a handle that has ended; inside a write transaction of
 * the same thread), NO_SPACE, IO, POISONED, CORRUPTION, INTERNAL, and what took deferred commits of
 * the handle that began it, until btree_sync has told it.
 */
int btree_txn_commit(BTreeTxn *txn);

/*
 * Ends a transaction, and nothing of it has happened.
 * Fails: INVALID (a handle that has ended, or NULL).
 */
int btree_txn_abort(BTreeTxn *txn);

/*
 * A bucket of the transaction, for the functions that take a Txn. It need not be there: then it has
 * no entries, and the first call that puts one makes it. *out becomes a handle that is valid until
 * the transaction ends, also if the bucket is removed; it is not freed, and the same name gives the
 * same handle. NULL on failure.
 * Fails: INVALID, TOO_LARGE (the name); IO, CORRUPTION: the transaction keeps failing.
 */
int btree_txn_bucket(BTreeTxn *txn, const char *bucket, Txn **out);

/*
 * Makes a bucket without entries.
 * Fails: DUPLICATE (it is there; nothing has changed), and as btree_txn_bucket.
 */
int btree_txn_create_bucket(BTreeTxn *txn, const char *bucket);

/*
 * Whether there is a bucket of this name: 0 when there is.
 * Fails: NOT_FOUND (there is none), and as btree_txn_bucket.
 */
int btree_txn_contains_bucket(BTreeTxn *txn, const char *bucket);

/*
 * Removes a bucket and all that it holds. A handle of it shows no entries then, and may put some.
 * Fails: NOT_FOUND (no such bucket; nothing has changed), and as btree_txn_bucket.
 */
int btree_txn_del_bucket(BTreeTxn *txn, const char *bucket);

/*
 * Calls fn with the name of each bucket that the transaction sees, in ascending order. A value other
 * than 0 ends the listing and is returned. fn may use the transaction, and end it.
 * Fails: INVALID; IO, CORRUPTION: the transaction keeps failing.
 */
int btree_txn_buckets(BTreeTxn *txn, BTreeTextFn fn, void *ctx);

/* Entries. */

/*
 * The value of a key. *out becomes memory of *out_len bytes, which btree_free frees; it is not
 * NULL, also for an empty value. On failure they become NULL and 0.
 * Fails: NOT_FOUND, INVALID (an empty key), TOO_LARGE (the key), IO, CORRUPTION. The last two
 * stick: the transaction keeps failing.
 */
int txn_get(Txn *txn, const uint8_t *key, size_t klen, uint8_t **out, size_t *out_len);

/*
 * Inserts an entry, or replaces its value. val may be NULL when vlen is 0.
 * Fails: INVALID (an empty key, a view), TOO_LARGE: nothing has changed. IO, CORRUPTION, and
 * NO_SPACE for a value of 256 KiB or more: stick.
 */
int txn_put(Txn *txn, const uint8_t *key, size_t klen, const uint8_t *val, size_t vlen);

/*
 * Inserts an entry whose key is absent.
 * Fails: DUPLICATE (the key exists; nothing has changed), and as txn_put.
 */
int txn_insert(Txn *txn, const uint8_t *key, size_t klen, const uint8_t *val, size_t vlen);

/*
 * Replaces the value of a key that exists.
 * Fails: NOT_FOUND (it does not; nothing has changed), and as txn_put.
 */
int txn_update(Txn *txn, const uint8_t *key, size_t klen, const uint8_t *val, size_t vlen);

/*
 * Removes an entry.
 * Fails: NOT_FOUND (there is none; nothing has changed), and as txn_put.
 */
int txn_del(Txn *txn, const uint8_t *key, size_t klen);

/*
 * Removes the entries whose keys are not below start and below end. NULL for start: from the first
 * entry on. NULL for end: through the last one. removed, which may be NULL, becomes how many there
 * were; none in a range that ends before it begins.
 * Fails: INVALID (a view), IO, CORRUPTION.
 */
int txn_del_range(Txn *txn, const uint8_t *start, size_t slen, const uint8_t *end, size_t elen,
                  uint64_t *removed);

/*
 * Whether the bucket holds a key: 0 when it does.
 * Fails: NOT_FOUND (it does not), and as txn_get.
 */
int txn_contains(Txn *txn, const uint8_t *key, size_t klen);

/*
 * The number of entries of the bucket, known without a scan.
 * Fails: INVALID; IO, CORRUPTION that stuck to the transaction before.
 */
int txn_len(Txn *txn, uint64_t *entries);

/* Values piece by piece. */

/*
 * As txn_put, of a value of len bytes that read brings. It is called until it has brought all of
 * them, and then once more with room for one byte, when it must bring none. A value that has no
 * room in a leaf goes to the file meanwhile: at most 256 KiB of it are in memory at a time. The
 * bytes at key stay as they are until this returns.
 * When read returns another value than 0, nothing has changed, the value is returned, and the
 * transaction may go on. Until this returns, all calls with the transaction are answered by INVALID;
 * but one of btree_begin may be used by read, and aborted.
 * Fails: INVALID (read brings less than len bytes, or more, or says that it put more than it had
 * room for; nothing has changed), and as txn_put; NO_SPACE sticks, whatever the length. In a
 * transaction of btree_begin, a value that has no room in a leaf waits for the write transaction
 * that runs: INVALID inside one of the same thread; POISONED.
 */
int txn_put_from(Txn *txn, const uint8_t *key, size_t klen, uint64_t len, BTreeReadFn read,
                 void *ctx);

/*
 * A reader of the value that a key has now; later writes do not change what it gives. *out becomes
 * the reader, which txn_reader_free frees; NULL on failure. It may outlive its transaction, keeps
 * the store open, and keeps the pages that it may read from being reused. In a transaction of
 * btree_begin the value counts as read as a whole.
 * Fails: as txn_get.
 */
int txn_reader_new(Txn *txn, const uint8_t *key, size_t klen, TxnReader **out);

/*
 * The length of the whole value in bytes, however much of it was read.
 * Fails: INVALID.
 */
int txn_reader_len(TxnReader *reader, uint64_t *len);

/*
 * Copies the bytes that follow those which were read to buf. *len becomes their number: capacity,
 * or what is left of the value, and 0 at its end. buf may be NULL when capacity is 0. At most
 * 256 KiB of the value are in memory besides. The checksum is compared before the last bytes are
 * given: who acts on earlier ones acts on bytes that nobody has checked. On failure *len is 0, and
 * what is at buf counts for nothing.
 * Fails: INVALID; IO, CORRUPTION: reader and transaction keep failing.
 */
int txn_reader_read(TxnReader *reader, uint8_t *buf, size_t capacity, size_t *len);

/* Frees a reader; NULL is none. Inside its callback or after it, at any place of the value. */
void txn_reader_free(TxnReader *reader);

/* Bulk load. */

/*
 * Puts entries with ascending keys into an empty bucket, or behind its last key, as next shows them,
 * until it shows none. Builds full pages from the bottom up, without a search for each key. loaded,
 * which may be NULL, becomes how many there were; 0 on failure. The pages stay in memory until the
 * transaction commits, and so do large values, unlike those of txn_put.
 * When next returns another value than 0, nothing has changed, the value is returned, and the
 * transaction may go on. Until this returns, all calls with the transaction are answered by INVALID;
 * but one of btree_begin may be used by next, and aborted. There, all keys from the first entry's on
 * count as read.
 * Fails: DUPLICATE (a key that equals the one before), INVALID (a key that is lower, or empty; a
 * value without a key; a view; next has changed the bucket), TOO_LARGE: nothing has changed. IO,
 * CORRUPTION: stick.
 */
int txn_bulk_load(Txn *txn, BTreeEntryFn next, void *ctx, uint64_t *loaded);

/* Iteration. */

/*
 * An iterator over the bucket as it is now; later writes do not change what it yields. It stands
 * before the first entry for txn_iter_next, and behind the last one for txn_iter_prev. *out
 * becomes the iterator, which txn_iter_free frees; NULL on failure. It may outlive its
 * transaction, keeps the store open, and keeps the pages that it may read from being reused. In a
 * transaction of btree_begin, what it steps over counts as read; when that has ended, it does not
 * move any more: INVALID.
 * Fails: INVALID; IO, CORRUPTION that stuck to the transaction before.
 */
int txn_iter_new(Txn *txn, TxnIter **out);

/*
 * Moves to the place in front of the first entry whose key is not below key; an empty key leads
 * before the first entry.
 * Fails: INVALID; IO, CORRUPTION: iterator and transaction keep failing.
 */
int txn_iter_seek(TxnIter *iter, const uint8_t *key, size_t klen);

/*
 * Steps over the next entry. Key and value stay where the pointers show until the next call with
 * this iterator; they are not freed. On failure the answers become NULL and 0.
 * Fails: NOT_FOUND (the end), INVALID; IO, CORRUPTION: iterator and transaction keep failing.
 */
int txn_iter_next(TxnIter *iter, const uint8_t **key, size_t *klen, const uint8_t **val,
                  size_t *vlen);

/* Steps over the previous entry. Otherwise as txn_iter_next; both move the same position. */
int txn_iter_prev(TxnIter *iter, const uint8_t **key, size_t *klen, const uint8_t **val,
                  size_t *vlen);

/*
 * Steps over the next entry and shows its key alone: the value is not read, however large it is. In
 * a transaction of btree_begin it counts as read all the same. Otherwise as txn_iter_next.
 */
int txn_iter_next_key(TxnIter *iter, const uint8_t **key, size_t *klen);

/* Steps over the previous entry. Otherwise as txn_iter_next_key; all steps move the same position. */
int txn_iter_prev_key(TxnIter *iter, const uint8_t **key, size_t *klen);

/* Frees an iterator; NULL is none. Inside its callback or after it. */
void txn_iter_free(TxnIter *iter);

/* Snapshots. */

/*
 * The newest durable state, to be read for as long as wanted, over all buckets. *out becomes the
 * snapshot, which btree_snapshot_free frees; NULL on failure. It keeps the store open, and the
 * pages that it may read from being reused.
 * Fails: INVALID.
 */
int btree_snapshot(BTree *db, BTreeSnapshot **out);

/*
 * Runs a read transaction on a bucket of the snapshot's state.
 * Fails: as btree_view.
 */
int btree_snapshot_view(BTreeSnapshot *snapshot, const char *bucket, BTreeTxnFn fn, void *ctx);

/*
 * Calls fn with the name of each of the snapshot's buckets, in ascending order. A value other than
 * 0 ends the listing and is returned.
 * Fails: INVALID, IO, CORRUPTION.
 */
int btree_snapshot_buckets(BTreeSnapshot *snapshot, BTreeTextFn fn, void *ctx);

/*
 * The number of the snapshot's state: that of btree_current_seq when it was made.
 * Fails: INVALID.
 */
int btree_snapshot_seq(BTreeSnapshot *snapshot, uint64_t *seq);

/*
 * Copies the snapshot's state into a new store file.
 * Fails: as btree_backup.
 */
int btree_snapshot_backup(BTreeSnapshot *snapshot, const char *path);

/*
 * Frees a snapshot; NULL is none. No other thread may be in a call with it. A callback that reads
 * it may: its state stays until the callback has returned.
 */
void btree_snapshot_free(BTreeSnapshot *snapshot);

/* The whole store. */

/*
 * Calls fn with the name of each bucket of the newest durable state, in ascending order. A value
 * other than 0 ends the listing and is returned. fn may use the store.
 * Fails: INVALID, IO, CORRUPTION.
 */
int btree_buckets(BTree *db, BTreeTextFn fn, void *ctx);

/*
 * Removes a bucket and all that it holds, in a transaction of its own.
 * Fails: NOT_FOUND (no such bucket), and as btree_exec.
 */
int btree_del_bucket(BTree *db, const char *bucket);

/*
 * Waits until all commits made before, by whichever handle, are durable. Where none is deferred
 * (BTREE_DEFERRED) that is so already, and this only reports whether the store still can.
 * Fails: what took deferred commits of which this handle was not told, NO_SPACE and IO (all that
 * waited for the flush is taken back), POISONED, INVALID (inside a write transaction; read-only).
 */
int btree_sync(BTree *db);

/* As btree_sync, under another name. */
int btree_commit(BTree *db);

typedef struct BTreeCompactStats {
    uint64_t moved_pages;          /* filled up, or moved */
    uint64_t remaining_candidates; /* beyond the wanted end of the file, could not be moved */
} BTreeCompactStats;

/*
 * Fills leaves up, moves pages from the end of the file to free places, and shortens the file by
 * target_bytes if it can; 0 asks for as much as it can, and is no built-in ratio. The file is longer meanwhile, and as long
 * as a reader needs what was replaced. stats may be NULL.
 * Fails: as btree_exec.
 */
int btree_compact(BTree *db, uint64_t target_bytes, BTreeCompactStats *stats);

/*
 * Copies the newest durable state into a new store file, which btree_open opens afterwards. Others
 * read and write meanwhile. The file is at path as a whole or not at all.
 * Fails: INVALID (also when another store, or anything longer than 64 KiB, has the name with -create
 * behind it); DUPLICATE (something is at path, and left as it is); BUSY (somebody else makes the same
 * file); NO_SPACE, IO, CORRUPTION (of the source).
 */
int btree_backup(BTree *db, const char *path);

/*
 * The number of the newest durable state: it grows with every commit that changed something, and with
 * those of a compaction, which leave the contents as they are. Commits that share a flush share a
 * number, so that deferred ones have that of the commit that makes them durable. A transaction that
 * leaves its buckets empty or missing, as they were, has changed nothing.
 * Fails: INVALID.
 */
int btree_current_seq(BTree *db, uint64_t *seq);

/*
 * A rough figure of the write transaction that runs: how many places its part that wrote last has
 * given up, a value with pages of its own counted as one, and as many made anew, at least one. Both
 * are 0 between transactions.
 * Fails: INVALID.
 */
int btree_pending_pages(BTree *db, uint64_t *made, uint64_t *given_up);

typedef struct BTreeStats {
    uint32_t page_size;     /* bytes of a page */
    uint32_t page_count;    /* pages of the file, the two meta pages included */
    uint64_t free_pages;    /* pages that hold nothing */
    uint64_t pending_pages; /* pages that an older state, a put or a reader of it still needs */
    uint64_t cached_pages;  /* pages in memory now */
    uint64_t pages_read;    /* pages read from the file since it was opened */
    uint64_t buckets;
    uint64_t seq;           /* the newest durable state */
    uint64_t pinned_states; /* older ones that snapshots or transactions still read */
    uint64_t oldest_seq;    /* the oldest of them; seq where there are none */
} BTreeStats;

/*
 * Figures of the store now. Free and pending pages are those that the next commit would find; the
 * other figures of the file are those of the newest durable state. Waits for the write transaction
 * that runs.
 * Fails: INVALID (also inside a write transaction of the same thread); CORRUPTION, IO where the store
 * was opened with BTREE_READ_ONLY and its free space is not known, since the pages that tell it are
 * damaged or cannot be read: what it holds can be read all the same.
 */
int btree_stats(BTree *db, BTreeStats *stats);

/*
 * Walks the whole file of an open store and checks every invariant that can be seen in it. Commits
 * wait meanwhile. fn, which may be NULL, gets a text for each violation; a value other than 0 ends
 * the listing and is returned.
 * Fails: CORRUPTION (something is wrong; the text is the first violation), IO, INVALID (inside a
 * write transaction of the same thread).
 */
int btree_verify(BTree *db, BTreeTextFn fn, void *ctx);

/*
 * Walks a file that is not open, also one that cannot be opened; nothing is written.
 * Fails: as btree_verify; BUSY (the file is open for writing, by this process or another).
 */
int btree_verify_path(const char *path, BTreeTextFn fn, void *ctx);

/* Memory, errors, version. */

/*
 * Frees a value of txn_get; len is the length that came with it. NULL or a length of 0 is nothing
 * to free.
 */
void btree_free(void *p, size_t len);

/*
 * The code and the text of the latest call of this thread that failed; 0 and an empty text when
 * none did. *msg ends with a NUL, which *len does not count; each of the two may be NULL. The text
 * lives until the next call of this thread that fails, or btree_last_error_clear.
 */
int btree_last_error(const char **msg, size_t *len);

/* Forgets the thread's error, and frees its text. */
void btree_last_error_clear(void);

/* The version of the library, such as 0.1.0: a static text that ends with a NUL. */
const char *btree_version(void);

/* The same as a number: that of BTREE_STORE_VERSION_NUMBER where header and library belong together. */
uint32_t btree_version_number(void);

#ifdef __cplusplus
}
#endif

#endif
