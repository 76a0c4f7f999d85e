/*
 * The C ABI at work: a small phone book.
 *
 *   cargo build --release --features ffi
 *   cc -I./include examples/ffi.c -L./target/release -lbtree_store -o ffi
 *   LD_LIBRARY_PATH=./target/release ./ffi            (DYLD_LIBRARY_PATH on macOS)
 *
 * The first argument is the file, phone.db without one.
 */
#include "btree_store.h"
#include <stdio.h>
#include <string.h>

/* Codes of this program are positive, so that they differ from those of the library. */
enum { CHANGED_MIND = 1 };

static const uint8_t *bytes(const char *text) { return (const uint8_t *)text; }

/* Says what failed, and passes the code on. */
static int report(const char *what, int code) {
    const char *text;
    btree_last_error(&text, NULL);
    fprintf(stderr, "%s: %s (code %d)\n", what, text, code);
    return code;
}

static int put(Txn *txn, const char *key, const char *value) {
    return txn_put(txn, bytes(key), strlen(key), bytes(value), strlen(value));
}

/* A write transaction. What fails is returned, so that everything is rolled back. */
static int add_people(Txn *txn, void *ctx) {
    int code;
    (void)ctx;
    if ((code = put(txn, "alice", "100")) != BTREE_OK) return code;
    if ((code = put(txn, "bob", "200")) != BTREE_OK) return code;
    return put(txn, "carol", "300");
}

/* A callback that thinks better of it: the transaction has no effect. */
static int remove_everybody(Txn *txn, void *ctx) {
    int code;
    (void)ctx;
    if ((code = txn_del_range(txn, NULL, 0, NULL, 0, NULL)) != BTREE_OK) return code;
    return CHANGED_MIND;
}

/* A read transaction: one value, which is freed, then all entries in order. */
static int show_people(Txn *txn, void *ctx) {
    uint8_t *value;
    size_t len;
    TxnIter *iter;
    const uint8_t *k, *v;
    size_t klen, vlen;
    int code = txn_get(txn, bytes("alice"), 5, &value, &len);
    (void)ctx;
    if (code != BTREE_OK) return code;
    printf("alice has number %.*s\n", (int)len, (const char *)value);
    btree_free(value, len);

    if ((code = txn_iter_new(txn, &iter)) != BTREE_OK) return code;
    while ((code = txn_iter_next(iter, &k, &klen, &v, &vlen)) == BTREE_OK) {
        printf("%.*s: %.*s\n", (int)klen, (const char *)k, (int)vlen, (const char *)v);
    }
    txn_iter_free(iter);
    return code == BTREE_ERR_NOT_FOUND ? BTREE_OK : code;
}

/* Two buckets change together, with one flush. */
static int move_bob(MultiTxn *mtxn, void *ctx) {
    Txn *people, *former;
    int code;
    (void)ctx;
    if ((code = mtxn_bucket(mtxn, "people", &people)) != BTREE_OK) return code;
    if ((code = mtxn_bucket(mtxn, "former", &former)) != BTREE_OK) return code;
    if ((code = txn_del(people, bytes("bob"), 3)) != BTREE_OK) return code;
    return put(former, "bob", "200");
}

static int run(BTree *db) {
    int code;
    if ((code = btree_exec(db, "people", add_people, NULL)) != BTREE_OK) {
        return report("add people", code);
    }
    if ((code = btree_exec(db, "people", remove_everybody, NULL)) != CHANGED_MIND) {
        return report("remove everybody", code);
    }
    if ((code = btree_exec_multi(db, move_bob, NULL)) != BTREE_OK) {
        return report("move bob", code);
    }
    if ((code = btree_view(db, "people", show_people, NULL)) != BTREE_OK) {
        return report("show people", code);
    }
    /* An error on purpose, to see its text. */
    code = btree_view(db, "no such bucket", show_people, NULL);
    report("show a bucket that does not exist", code);
    btree_last_error_clear();
    return code == BTREE_ERR_NOT_FOUND ? BTREE_OK : code;
}

int main(int argc, char **argv) {
    BTree *db;
    int code = btree_open(argc > 1 ? argv[1] : "phone.db", &db);
    if (code != BTREE_OK) {
        report("open", code);
        return 1;
    }
    code = run(db);
    btree_close(db);
    return code == BTREE_OK ? 0 : 1;
}
