/* Calls that are wrong, and what they answer. Nothing here is undefined. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"
#include <pthread.h>

static Txn *stale;
static MultiTxn *stale_multi;
static int calls;

#define INVALID(call) RETURNS(BTREE_ERR_INVALID, call)

static int nothing(Txn *txn, void *ctx) {
    (void)txn;
    (void)ctx;
    calls++;
    return 0;
}

static int nothing_multi(MultiTxn *mtxn, void *ctx) {
    (void)mtxn;
    (void)ctx;
    calls++;
    return 0;
}

static int nothing_name(const char *name, size_t len, void *ctx) {
    (void)name;
    (void)len;
    (void)ctx;
    calls++;
    return 0;
}

static void null_store(void) {
    BTreeStats stats;
    uint64_t number;
    INVALID(btree_exec(NULL, "b", nothing, NULL));
    LAST_ERROR(BTREE_ERR_INVALID, "NULL");
    INVALID(btree_view(NULL, "b", nothing, NULL));
    INVALID(btree_exec_multi(NULL, nothing_multi, NULL));
    INVALID(btree_buckets(NULL, nothing_name, NULL));
    INVALID(btree_del_bucket(NULL, "b"));
    INVALID(btree_commit(NULL));
    INVALID(btree_sync(NULL));
    INVALID(btree_compact(NULL, 0, NULL));
    INVALID(btree_current_seq(NULL, &number));
    INVALID(btree_pending_pages(NULL, &number, &number));
    INVALID(btree_stats(NULL, &stats));
    INVALID(btree_verify(NULL, NULL, NULL));
}

static void null_arguments(BTree *db, const char *path) {
    BTree *other = db;
    uint64_t number;
    INVALID(btree_open(NULL, &other));
    CHECK(other == NULL);
    INVALID(btree_open(path, NULL));
    INVALID(btree_open_with(NULL, NULL, &other));
    INVALID(btree_open_with(path, NULL, NULL));
    INVALID(btree_open_in_memory(NULL, NULL));
    INVALID(btree_exec(db, NULL, nothing, NULL));
    INVALID(btree_exec(db, "b", NULL, NULL));
    INVALID(btree_view(db, NULL, nothing, NULL));
    INVALID(btree_view(db, "b", NULL, NULL));
    INVALID(btree_exec_multi(db, NULL, NULL));
    INVALID(btree_buckets(db, NULL, NULL));
    INVALID(btree_del_bucket(db, NULL));
    INVALID(btree_current_seq(db, NULL));
    INVALID(btree_pending_pages(db, NULL, &number));
    INVALID(btree_pending_pages(db, &number, NULL));
    INVALID(btree_stats(db, NULL));
    INVALID(btree_verify_path(NULL, NULL, NULL));
    RETURNS(BTREE_ERR_BUSY, btree_verify_path(path, nothing_name, NULL));
}

static void names(BTree *db) {
    char name[5000];
    BTree *other;
    INVALID(btree_exec(db, "\xff\xfe", nothing, NULL));
    LAST_ERROR(BTREE_ERR_INVALID, "UTF-8");
    INVALID(btree_open("/tmp/\xc3\x28", &other));
    INVALID(btree_view(db, "\xff", nothing, NULL));
    INVALID(btree_del_bucket(db, "\xff"));
    INVALID(btree_exec(db, "", nothing, NULL));
    INVALID(btree_view(db, "", nothing, NULL));
    memset(name, 'n', sizeof name);
    name[sizeof name - 1] = 0;
    RETURNS(BTREE_ERR_TOO_LARGE, btree_exec(db, name, nothing, NULL));
    LAST_ERROR(BTREE_ERR_TOO_LARGE, "4999");
}

static void bad_options(const char *path) {
    BTreeOptions options = BTREE_OPTIONS_INIT;
    BTree *db;
    options.size = 4;
    INVALID(btree_open_with(path, &options, &db));
    options.size = sizeof options;
    options.page_size = 1000;
    INVALID(btree_open_with(path, &options, &db));
    LAST_ERROR(BTREE_ERR_INVALID, "power of two");
    options.page_size = 0;
    options.barriers = 3;
    INVALID(btree_open_with(path, &options, &db));
    options.barriers = 0;
    options.flags = 16;
    INVALID(btree_open_with(path, &options, &db));
    options.flags = BTREE_CREATE_NEW | BTREE_READ_ONLY;
    INVALID(btree_open_with(path, &options, &db));
    options.flags = BTREE_CREATE_NEW | BTREE_MUST_EXIST;
    INVALID(btree_open_with(path, &options, &db));
    options.flags = 0;
    options.reserved = 1;
    INVALID(btree_open_in_memory(&options, &db));
    options.reserved = 0;
    options.flags = BTREE_MUST_EXIST;
    INVALID(btree_open_in_memory(&options, &db));
    options.flags = BTREE_READ_ONLY;
    INVALID(btree_open_in_memory(&options, &db));
}

/* Every function that takes a Txn, with a handle that is not one. */
static void bad_txn(Txn *txn) {
    uint8_t *value;
    size_t len;
    uint64_t count;
    TxnIter *iter;
    INVALID(txn_get(txn, S("k"), &value, &len));
    CHECK(value == NULL && len == 0);
    INVALID(txn_put(txn, S("k"), S("v")));
    INVALID(txn_insert(txn, S("k"), S("v")));
    INVALID(txn_update(txn, S("k"), S("v")));
    INVALID(txn_del(txn, S("k")));
    INVALID(txn_del_range(txn, NULL, 0, NULL, 0, &count));
    INVALID(txn_contains(txn, S("k")));
    INVALID(txn_len(txn, &count));
    INVALID(txn_iter_new(txn, &iter));
    LAST_ERROR(BTREE_ERR_INVALID, "handle");
    CHECK(iter == NULL);
}

static void bad_multi(MultiTxn *mtxn) {
    Txn *txn;
    INVALID(mtxn_bucket(mtxn, "b", &txn));
    CHECK(txn == NULL);
    INVALID(mtxn_exec(mtxn, "b", nothing, NULL));
    INVALID(mtxn_del_bucket(mtxn, "b"));
}

static void *on_another_thread(void *txn) {
    bad_txn(txn);
    btree_last_error_clear();
    return NULL;
}

static int keys_and_places(Txn *txn, void *ctx) {
    uint8_t *value;
    size_t len;
    char key[5000];
    memset(key, 'k', sizeof key);
    (void)ctx;
    INVALID(txn_put(txn, NULL, 3, S("v")));
    INVALID(txn_put(txn, NULL, 0, S("v")));
    INVALID(txn_put(txn, S(""), S("v")));
    INVALID(txn_put(txn, S("k"), NULL, 3));
    RETURNS(0, txn_put(txn, S("empty"), NULL, 0));
    INVALID(txn_del(txn, NULL, 3));
    INVALID(txn_get(txn, S("k"), NULL, &len));
    INVALID(txn_get(txn, S("k"), &value, NULL));
    INVALID(txn_len(txn, NULL));
    INVALID(txn_iter_new(txn, NULL));
    RETURNS(BTREE_ERR_TOO_LARGE, txn_put(txn, (uint8_t *)key, sizeof key, S("v")));
    LAST_ERROR(BTREE_ERR_TOO_LARGE, "key of 5000 bytes");
    RETURNS(BTREE_ERR_TOO_LARGE, txn_get(txn, (uint8_t *)key, SIZE_MAX, &value, &len));
    RETURNS(BTREE_ERR_TOO_LARGE, txn_put(txn, S("k"), (uint8_t *)key, SIZE_MAX));
    RETURNS(BTREE_ERR_NOT_FOUND, txn_del(txn, S("k")));
    RETURNS(0, txn_contains(txn, S("empty")));
    return 0; /* Refused arguments leave the transaction unharmed. */
}

static int iterators(Txn *txn, void *ctx) {
    TxnIter *iter;
    const uint8_t *k, *v;
    size_t kl, vl;
    (void)ctx;
    INVALID(txn_iter_seek(NULL, S("k")));
    INVALID(txn_iter_next(NULL, &k, &kl, &v, &vl));
    INVALID(txn_iter_prev(NULL, &k, &kl, &v, &vl));
    INVALID(txn_iter_next_key(NULL, &k, &kl));
    INVALID(txn_iter_prev_key(NULL, &k, &kl));
    RETURNS(0, txn_iter_new(txn, &iter));
    INVALID(txn_iter_next_key(iter, NULL, &kl));
    INVALID(txn_iter_next_key(iter, &k, NULL));
    INVALID(txn_iter_prev_key(iter, NULL, &kl));
    INVALID(txn_iter_prev_key(iter, &k, NULL));
    INVALID(txn_iter_seek(iter, NULL, 3));
    INVALID(txn_iter_next(iter, NULL, &kl, &v, &vl));
    INVALID(txn_iter_next(iter, &k, NULL, &v, &vl));
    INVALID(txn_iter_prev(iter, &k, &kl, NULL, &vl));
    INVALID(txn_iter_prev(iter, &k, &kl, &v, NULL));
    RETURNS(0, txn_iter_next(iter, &k, &kl, &v, &vl));
    txn_iter_free(iter);
    return 0;
}

static int nested(Txn *txn, void *ctx) {
    pthread_t thread;
    INVALID(btree_exec(ctx, "b", nothing, NULL));
    INVALID(btree_exec_multi(ctx, nothing_multi, NULL));
    INVALID(btree_del_bucket(ctx, "b"));
    INVALID(btree_compact(ctx, 0, NULL));
    INVALID(btree_verify(ctx, NULL, NULL));
    RETURNS(0, btree_view(ctx, "b", nothing, NULL)); /* A view sees the state before. */
    CHECK(pthread_create(&thread, NULL, on_another_thread, txn) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    bad_multi((MultiTxn *)txn);
    LAST_ERROR(BTREE_ERR_INVALID, "Txn");
    stale = txn;
    return txn_put(txn, S("k"), S("v"));
}

static int inner(Txn *txn, void *ctx) {
    void **outer = ctx;
    bad_multi(outer[0]);
    LAST_ERROR(BTREE_ERR_INVALID, "mtxn_exec");
    INVALID(txn_put(outer[1], S("k"), S("v")));
    return txn_put(txn, S("inner"), S("v"));
}

static int multi(MultiTxn *mtxn, void *ctx) {
    void *outer[2];
    Txn *txn;
    INVALID(mtxn_bucket(mtxn, NULL, &txn));
    INVALID(mtxn_bucket(mtxn, "b", NULL));
    INVALID(mtxn_bucket(mtxn, "\xff", &txn));
    INVALID(mtxn_exec(mtxn, NULL, nothing, NULL));
    INVALID(mtxn_exec(mtxn, "b", NULL, NULL));
    INVALID(mtxn_del_bucket(mtxn, NULL));
    INVALID(txn_put((Txn *)mtxn, S("k"), S("v")));
    RETURNS(0, mtxn_bucket(mtxn, "b", &txn));
    INVALID(mtxn_bucket((MultiTxn *)txn, "b", &txn));
    RETURNS(0, mtxn_bucket(mtxn, "b", &txn));
    outer[0] = mtxn;
    outer[1] = txn;
    RETURNS(0, mtxn_exec(mtxn, "other", inner, outer));
    RETURNS(0, btree_view(ctx, "b", nothing, NULL));
    RETURNS(0, txn_put(txn, S("after"), S("v")));
    stale = txn;
    stale_multi = mtxn;
    return 0;
}

static int close_inside(Txn *txn, void *ctx) {
    btree_close(ctx);
    return txn_put(txn, S("closed"), S("inside"));
}

static int has_closed(Txn *txn, void *ctx) {
    (void)ctx;
    return txn_contains(txn, S("closed"));
}

int main(int argc, char **argv) {
    BTree *db;
    char path[1024];
    CHECK(argc == 2);
    PATH_OF(path, argv[1], "misuse.db");
    RETURNS(0, btree_open(path, &db));
    null_store();
    null_arguments(db, path);
    names(db);
    bad_options(path);
    CHECK(calls == 0);
    RETURNS(0, btree_exec(db, "b", keys_and_places, NULL));
    RETURNS(0, btree_view(db, "b", iterators, NULL));
    RETURNS(0, btree_exec(db, "b", nested, db));
    CHECK(calls == 1);
    bad_txn(NULL);
    bad_multi(NULL);
    bad_txn((Txn *)&path);
    bad_multi((MultiTxn *)&path);
    bad_txn(stale);
    RETURNS(0, btree_exec_multi(db, multi, db));
    bad_txn(stale);
    bad_multi(stale_multi);
    RETURNS(0, btree_exec(db, "b", close_inside, db));
    RETURNS(0, btree_open(path, &db));
    RETURNS(0, btree_view(db, "b", has_closed, NULL));
    btree_close(db);
    return 0;
}
