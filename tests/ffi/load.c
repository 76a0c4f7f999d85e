/* Entries that a callback shows, loaded behind each other. */
#include "check.h"

#define INVALID(call) RETURNS(BTREE_ERR_INVALID, call)
#define MANY 5000

/* A callback that fails or is wrong at one entry. */
enum fault { NONE, FAILS, SAME_KEY, LOWER_KEY, EMPTY_KEY, LONG_KEY, NO_KEY, NO_BYTES, NO_VALUE, LONG_VALUE };

struct showing {
    int at, end;
    enum fault fault;
    int fault_at;
    int code;
    int calls;
    int (*inside)(void *ctx);
    void *ctx;
    char key[16];
    uint8_t value[600];
};

static struct showing entries(int from, int to) {
    struct showing showing;
    memset(&showing, 0, sizeof showing);
    showing.at = from;
    showing.end = to;
    return showing;
}

/* The entry of a number. */
static size_t fill(struct showing *from, int number) {
    snprintf(from->key, sizeof from->key, "key%06d", number);
    memset(from->value, 'a' + number % 26, sizeof from->value);
    return (size_t)(number % 600);
}

static int show(const uint8_t **key, size_t *klen, const uint8_t **val, size_t *vlen, void *ctx) {
    static uint8_t long_key[5000];
    struct showing *from = ctx;
    CHECK(*key == NULL && *klen == 0 && *val == NULL && *vlen == 0);
    from->calls++;
    if (from->inside != NULL) {
        RETURNS(0, from->inside(from->ctx));
    }
    if (from->at == from->end) return 0;
    *vlen = fill(from, from->at);
    *val = *vlen == 0 ? NULL : from->value;
    *key = (const uint8_t *)from->key;
    *klen = strlen(from->key);
    if (from->at++ != from->fault_at) return 0;
    switch (from->fault) {
    case NONE: break;
    case FAILS: return from->code;
    case SAME_KEY: fill(from, from->at - 2); break;
    case LOWER_KEY: from->key[0] = 'a'; break;
    case EMPTY_KEY: *klen = 0; break;
    case LONG_KEY: *key = long_key; *klen = sizeof long_key; break;
    case NO_KEY: *key = NULL; *klen = 0; *vlen = 1; *val = from->value; break;
    case NO_BYTES: *key = NULL; break;
    case NO_VALUE: *val = NULL; *vlen = 1; break;
    case LONG_VALUE: *vlen = SIZE_MAX; break;
    }
    return 0;
}

static void loads(Txn *txn, int from, int to) {
    struct showing showing = entries(from, to);
    uint64_t count = 7;
    RETURNS(0, txn_bulk_load(txn, show, &showing, &count));
    CHECK(count == (uint64_t)(to - from) && showing.calls == to - from + 1);
}

/* The bucket holds the entries from 0 on, and no others. */
static void holds(Txn *txn, int end) {
    struct showing wanted = entries(0, 0);
    TxnIter *iter;
    const uint8_t *k, *v;
    size_t kl, vl;
    uint64_t count;
    int i;
    RETURNS(0, txn_len(txn, &count));
    CHECK(count == (uint64_t)end);
    RETURNS(0, txn_iter_new(txn, &iter));
    for (i = 0; i < end; i++) {
        size_t len = fill(&wanted, i);
        RETURNS(0, txn_iter_next(iter, &k, &kl, &v, &vl));
        CHECK(kl == strlen(wanted.key) && memcmp(k, wanted.key, kl) == 0);
        CHECK(vl == len && memcmp(v, wanted.value, vl) == 0);
    }
    RETURNS(BTREE_ERR_NOT_FOUND, txn_iter_next(iter, &k, &kl, &v, &vl));
    txn_iter_free(iter);
}

/* Into an empty bucket, behind what that holds, and nothing at all. */
static int load_all(Txn *txn, void *ctx) {
    struct showing showing = entries(MANY, MANY + 10);
    (void)ctx;
    loads(txn, 0, MANY);
    holds(txn, MANY);
    RETURNS(0, txn_bulk_load(txn, show, &showing, NULL));
    loads(txn, 0, 0);
    holds(txn, MANY + 10);
    return 0;
}

static int load_more(Txn *txn, void *ctx) {
    int *end = ctx;
    loads(txn, *end, *end + 100);
    *end += 100;
    holds(txn, *end);
    return 0;
}

static int load_more_multi(MultiTxn *mtxn, void *ctx) {
    Txn *txn;
    RETURNS(0, mtxn_bucket(mtxn, "b", &txn));
    return load_more(txn, ctx);
}

static int holds_all(Txn *txn, void *ctx) {
    holds(txn, *(int *)ctx);
    return 0;
}

/* What is wrong at some entry changes nothing, and keeps nothing of those before. */
static void refuses(Txn *txn, int end, enum fault fault, int wanted, const char *text) {
    static const int PLACES[] = { 1, 50, 699 };
    size_t i;
    for (i = 0; i < 3; i++) {
        struct showing showing = entries(end, end + 700);
        uint64_t count = 7;
        showing.fault = fault;
        showing.fault_at = end + PLACES[i];
        showing.code = wanted;
        btree_last_error_clear();
        RETURNS(wanted, txn_bulk_load(txn, show, &showing, &count));
        CHECK(count == 0 && showing.calls == PLACES[i] + 1);
        if (text == NULL) {
            CHECK(btree_last_error(NULL, NULL) == 0);
        } else {
            LAST_ERROR(wanted, text);
        }
        RETURNS(0, txn_len(txn, &count));
        CHECK(count == (uint64_t)end);
    }
}

static int faults(Txn *txn, void *ctx) {
    struct showing below = entries(0, 10);
    int end = *(int *)ctx;
    refuses(txn, end, FAILS, 42, NULL);
    refuses(txn, end, FAILS, -42, NULL);
    refuses(txn, end, FAILS, BTREE_ERR_NOT_FOUND, NULL);
    refuses(txn, end, FAILS, BTREE_ERR_IO, NULL);
    refuses(txn, end, FAILS, BTREE_ERR_CORRUPTION, NULL);
    refuses(txn, end, SAME_KEY, BTREE_ERR_DUPLICATE, "exists");
    refuses(txn, end, LOWER_KEY, BTREE_ERR_INVALID, "ascend");
    refuses(txn, end, EMPTY_KEY, BTREE_ERR_INVALID, "at least one byte");
    refuses(txn, end, LONG_KEY, BTREE_ERR_TOO_LARGE, "key of 5000 bytes");
    refuses(txn, end, NO_KEY, BTREE_ERR_INVALID, "value without a key");
    refuses(txn, end, NO_BYTES, BTREE_ERR_INVALID, "NULL");
    refuses(txn, end, NO_VALUE, BTREE_ERR_INVALID, "NULL");
    refuses(txn, end, LONG_VALUE, BTREE_ERR_TOO_LARGE, "bytes, the limit is");
    RETURNS(BTREE_ERR_INVALID, txn_bulk_load(txn, show, &below, NULL));
    holds(txn, end);
    return load_more(txn, ctx); /* It may go on. */
}

static int faults_multi(MultiTxn *mtxn, void *ctx) {
    Txn *txn;
    RETURNS(0, mtxn_bucket(mtxn, "b", &txn));
    return faults(txn, ctx);
}

static int arguments(Txn *txn, void *ctx) {
    struct showing showing = entries(0, 10);
    uint64_t count = 7;
    INVALID(txn_bulk_load(txn, NULL, &showing, &count));
    LAST_ERROR(BTREE_ERR_INVALID, "callback is NULL");
    CHECK(count == 0);
    INVALID(txn_bulk_load(NULL, show, &showing, &count));
    INVALID(txn_bulk_load((Txn *)&showing, show, &showing, NULL));
    if (ctx != NULL) { /* A view. */
        INVALID(txn_bulk_load(txn, show, &showing, &count));
        LAST_ERROR(BTREE_ERR_INVALID, "a view cannot write");
    }
    CHECK(showing.calls == 0);
    return 0;
}

struct handles {
    MultiTxn *mtxn;
    Txn *txn, *other;
    BTreeTxn *begun;
};

/* Inside the callback, the transaction waits. */
static int waits(void *ctx) {
    struct handles *handles = ctx;
    struct showing showing = entries(0, 10);
    Txn *txn;
    INVALID(txn_put(handles->txn, S("k"), S("v")));
    LAST_ERROR(BTREE_ERR_INVALID, "waits for the callback of txn_bulk_load");
    INVALID(txn_bulk_load(handles->txn, show, &showing, NULL));
    if (handles->mtxn != NULL) {
        INVALID(txn_put(handles->other, S("k"), S("v")));
        INVALID(mtxn_bucket(handles->mtxn, "b", &txn));
    }
    return 0;
}

static int load_that_waits(Txn *txn, void *ctx) {
    struct handles *handles = ctx;
    struct showing showing = entries(900000, 900003);
    handles->txn = txn;
    showing.inside = waits;
    showing.ctx = handles;
    RETURNS(0, txn_bulk_load(txn, show, &showing, NULL));
    CHECK(showing.calls == 4);
    RETURNS(0, txn_put(txn, S("z"), S("v"))); /* It waits no more. */
    return 6; /* Rolled back. */
}

static int multi_that_waits(MultiTxn *mtxn, void *ctx) {
    struct handles *handles = ctx;
    Txn *txn;
    handles->mtxn = mtxn;
    RETURNS(0, mtxn_bucket(mtxn, "b", &txn));
    RETURNS(0, mtxn_bucket(mtxn, "other", &handles->other));
    return load_that_waits(txn, handles);
}

/* The entries of another bucket. */
static int from_iter(const uint8_t **key, size_t *klen, const uint8_t **val, size_t *vlen,
                     void *ctx) {
    int code = txn_iter_next(ctx, key, klen, val, vlen);
    return code == BTREE_ERR_NOT_FOUND ? 0 : code;
}

static int copy_bucket(MultiTxn *mtxn, void *ctx) {
    Txn *from, *to;
    TxnIter *iter;
    uint64_t count;
    RETURNS(0, mtxn_bucket(mtxn, "b", &from));
    RETURNS(0, mtxn_bucket(mtxn, "copy", &to));
    RETURNS(0, txn_iter_new(from, &iter));
    RETURNS(0, txn_bulk_load(to, from_iter, iter, &count));
    txn_iter_free(iter);
    CHECK(count == (uint64_t)*(int *)ctx);
    holds(to, *(int *)ctx);
    return 0;
}

/* A transaction that was begun does not wait; but what it loads into must not change. */
static int uses(void *ctx) {
    struct handles *handles = ctx;
    INVALID(btree_txn_commit(handles->begun));
    LAST_ERROR(BTREE_ERR_INVALID, "under way");
    RETURNS(0, txn_put(handles->other, S("k"), S("v")));
    return txn_contains(handles->txn, S("key000000"));
}

static int changes(void *ctx) {
    struct handles *handles = ctx;
    return txn_put(handles->txn, S("key000000"), S("v"));
}

static int aborts(void *ctx) {
    struct handles *handles = ctx;
    if (handles->begun != NULL) RETURNS(0, btree_txn_abort(handles->begun));
    handles->begun = NULL;
    return 0;
}

static struct handles begin(BTree *db) {
    struct handles handles;
    handles.mtxn = NULL;
    RETURNS(0, btree_begin(db, &handles.begun));
    RETURNS(0, btree_txn_bucket(handles.begun, "b", &handles.txn));
    RETURNS(0, btree_txn_bucket(handles.begun, "other", &handles.other));
    return handles;
}

static int put_behind(Txn *txn, void *ctx) {
    (void)ctx;
    RETURNS(0, txn_put(txn, S("key999999"), S("theirs")));
    return 0;
}

static int del_behind(Txn *txn, void *ctx) {
    (void)ctx;
    return txn_del(txn, S("key999999"));
}

static void begun(BTree *db, int *end) {
    struct handles handles = begin(db);
    struct showing showing;
    RETURNS(0, arguments(handles.txn, NULL));
    RETURNS(0, faults(handles.txn, end));
    showing = entries(*end, *end + 10);
    showing.inside = uses;
    showing.ctx = &handles;
    RETURNS(0, txn_bulk_load(handles.txn, show, &showing, NULL));
    *end += 10;
    RETURNS(0, btree_txn_commit(handles.begun));
    RETURNS(0, btree_view(db, "b", holds_all, end));
    handles = begin(db);
    showing = entries(*end, *end + 10);
    showing.inside = changes;
    showing.ctx = &handles;
    INVALID(txn_bulk_load(handles.txn, show, &showing, NULL));
    LAST_ERROR(BTREE_ERR_INVALID, "changed while entries were loaded");
    RETURNS(0, btree_txn_abort(handles.begun));
    handles = begin(db);
    showing = entries(*end, *end + 10);
    showing.inside = aborts;
    showing.ctx = &handles;
    RETURNS(0, txn_bulk_load(handles.txn, show, &showing, NULL));
    INVALID(txn_put(handles.txn, S("k"), S("v")));
    /* Somebody else puts a key behind the first one that was loaded. */
    handles = begin(db);
    showing = entries(*end, *end + 10);
    RETURNS(0, txn_bulk_load(handles.txn, show, &showing, NULL));
    RETURNS(0, btree_exec(db, "b", put_behind, NULL));
    RETURNS(BTREE_ERR_CONFLICT, btree_txn_commit(handles.begun));
    RETURNS(0, btree_exec(db, "b", del_behind, NULL));
    RETURNS(0, btree_view(db, "b", holds_all, end));
}

int main(int argc, char **argv) {
    struct handles handles = { NULL, NULL, NULL, NULL };
    BTreeOptions options = BTREE_OPTIONS_INIT;
    BTree *db;
    char path[1024];
    int end = MANY + 10;
    CHECK(argc == 2);
    PATH_OF(path, argv[1], "load.db");
    options.page_size = 1024;
    RETURNS(0, btree_open_with(path, &options, &db));
    RETURNS(0, btree_exec(db, "b", arguments, NULL));
    RETURNS(0, btree_exec(db, "b", load_all, NULL));
    RETURNS(0, btree_view(db, "b", holds_all, &end));
    RETURNS(0, btree_view(db, "b", arguments, &end));
    RETURNS(0, btree_exec(db, "b", load_more, &end));
    RETURNS(0, btree_exec_multi(db, load_more_multi, &end));
    RETURNS(0, btree_exec(db, "b", faults, &end));
    RETURNS(0, btree_exec_multi(db, faults_multi, &end));
    RETURNS(6, btree_exec(db, "b", load_that_waits, &handles));
    RETURNS(6, btree_exec_multi(db, multi_that_waits, &handles));
    RETURNS(0, btree_exec_multi(db, copy_bucket, &end));
    begun(db, &end);
    RETURNS(0, btree_verify(db, NULL, NULL));
    btree_close(db);
    RETURNS(0, btree_verify_path(path, NULL, NULL));
    return 0;
}
