/* Values that are put and read piece by piece. */
#include "check.h"

#define INVALID(call) RETURNS(BTREE_ERR_INVALID, call)
#define PIECE ((size_t)256 << 10)
#define LARGE ((uint64_t)600001)

/* The bytes of the test's values, each by its place. */
static uint8_t byte_at(uint64_t at) {
    return (uint8_t)(at ^ at >> 7 ^ at >> 15);
}

/* What a callback brings, and what it does besides. */
struct bringing {
    uint64_t at, end;
    size_t most;    /* bytes of a piece at most; 0 for as many as there is room for */
    int fails_at;   /* the call that returns `code` */
    int code;
    int overruns;   /* says that it put one byte more than there was room for */
    int calls;
    int (*inside)(void *ctx);
    void *ctx;
};

static int bring(uint8_t *buf, size_t capacity, size_t *len, void *ctx) {
    struct bringing *from = ctx;
    size_t count = capacity, i;
    CHECK(buf != NULL && capacity > 0 && capacity <= PIECE && *len == 0);
    from->calls++;
    if (from->inside != NULL) {
        RETURNS(0, from->inside(from->ctx));
    }
    if (from->calls == from->fails_at) {
        *len = 1; /* It counts for nothing. */
        return from->code;
    }
    if (from->overruns) {
        *len = capacity + 1;
        return 0;
    }
    if (from->most != 0 && count > from->most) count = from->most;
    if (count > from->end - from->at) count = (size_t)(from->end - from->at);
    for (i = 0; i < count; i++) buf[i] = byte_at(from->at + i);
    from->at += count;
    *len = count;
    return 0;
}

static struct bringing all_of(uint64_t len) {
    struct bringing from = { 0, 0, 0, 0, 0, 0, 0, NULL, NULL };
    from.end = len;
    return from;
}

static TxnReader *reader_of(Txn *txn, const char *key) {
    TxnReader *reader;
    RETURNS(0, txn_reader_new(txn, S(key), &reader));
    CHECK(reader != NULL);
    return reader;
}

/* Reads what is left of a value by a buffer of this size: the bytes from a place on. */
static void reads(TxnReader *reader, uint64_t from, uint64_t wanted, size_t capacity) {
    uint64_t at = from;
    size_t len, i;
    uint8_t *buf = malloc(capacity);
    CHECK(buf != NULL);
    do {
        RETURNS(0, txn_reader_read(reader, buf, capacity, &len));
        for (i = 0; i < len; i++) CHECK(buf[i] == byte_at(at + i));
        at += len;
        CHECK(len == capacity || at == wanted); /* Less only at the end. */
    } while (len > 0);
    CHECK(at == wanted);
    free(buf);
}

static void has_value(Txn *txn, const char *key, uint64_t wanted, size_t capacity) {
    TxnReader *reader = reader_of(txn, key);
    uint64_t len;
    RETURNS(0, txn_reader_len(reader, &len));
    CHECK(len == wanted);
    reads(reader, 0, wanted, capacity);
    RETURNS(0, txn_reader_len(reader, &len));
    CHECK(len == wanted);
    txn_reader_free(reader);
}

/* Values of every kind: in a leaf, in pages, in many pieces. */
static const uint64_t LENGTHS[] = { 0, 1, 100, 5000, 256 << 10, (256 << 10) + 1, 600001 };
#define KINDS (sizeof LENGTHS / sizeof *LENGTHS)

static void key_of(char *key, size_t i) {
    snprintf(key, 16, "value%d", (int)i);
}

static int put_all(Txn *txn, void *ctx) {
    char key[16];
    size_t i;
    (void)ctx;
    for (i = 0; i < KINDS; i++) {
        struct bringing from = all_of(LENGTHS[i]);
        from.most = i % 2 ? 999 : 0;
        key_of(key, i);
        RETURNS(0, txn_put_from(txn, S(key), LENGTHS[i], bring, &from));
        CHECK(from.at == from.end);
    }
    return 0;
}

static int has_all(Txn *txn, void *ctx) {
    static const size_t CAPACITIES[] = { 3, 999, 262143, 262144, 1 << 20 };
    char key[16];
    size_t i, j;
    for (i = 0; i < KINDS; i++) {
        key_of(key, i);
        for (j = 0; j < 5; j++) {
            if (LENGTHS[i] / CAPACITIES[j] < 1000) has_value(txn, key, LENGTHS[i], CAPACITIES[j]);
        }
    }
    if (ctx != NULL) *(TxnReader **)ctx = reader_of(txn, "value6");
    return 0;
}

static int in_two_buckets(MultiTxn *mtxn, void *ctx) {
    Txn *txn;
    RETURNS(0, mtxn_bucket(mtxn, ctx, &txn));
    RETURNS(0, put_all(txn, NULL));
    return has_all(txn, NULL);
}

/* Each key has the value that it had. */
static void unchanged(Txn *txn) {
    has_value(txn, "value2", LENGTHS[2], 4096);
    RETURNS(BTREE_ERR_NOT_FOUND, txn_contains(txn, S("new")));
}

/* A callback that fails, ends too early, goes on or says too much: nothing is changed. */
static void refused(Txn *txn, const char *key, uint64_t len) {
    static const int CODES[] = { 42, -42, BTREE_ERR_NOT_FOUND, BTREE_ERR_IO, BTREE_ERR_CORRUPTION };
    struct bringing from;
    size_t i;
    for (i = 0; i < 5; i++) {
        from = all_of(len);
        from.most = PIECE;
        from.code = CODES[i];
        from.fails_at = len > PIECE ? 1 + (int)i % 4 : 1 + (int)i % 2; /* The last is its end. */
        btree_last_error_clear();
        RETURNS(CODES[i], txn_put_from(txn, S(key), len, bring, &from));
        CHECK(btree_last_error(NULL, NULL) == 0 && from.calls == from.fails_at);
        unchanged(txn);
    }
    from = all_of(len - 1);
    INVALID(txn_put_from(txn, S(key), len, bring, &from));
    LAST_ERROR(BTREE_ERR_INVALID, "ends before the length");
    from = all_of(len + 1);
    INVALID(txn_put_from(txn, S(key), len, bring, &from));
    LAST_ERROR(BTREE_ERR_INVALID, "goes on behind the length");
    from = all_of(len);
    from.overruns = 1;
    INVALID(txn_put_from(txn, S(key), len, bring, &from));
    LAST_ERROR(BTREE_ERR_INVALID, "more than it had room for");
    CHECK(from.calls == 1);
    unchanged(txn);
    from = all_of(0);
    from.overruns = 1; /* Of the byte that would be behind the end. */
    INVALID(txn_put_from(txn, S(key), 0, bring, &from));
    LAST_ERROR(BTREE_ERR_INVALID, "more than it had room for");
    unchanged(txn);
}

static int failing(Txn *txn, void *ctx) {
    struct bringing from = all_of(5);
    (void)ctx;
    refused(txn, "new", LARGE);
    refused(txn, "value2", LARGE);
    refused(txn, "new", 5);
    refused(txn, "value2", 5);
    RETURNS(0, txn_put_from(txn, S("after"), 5, bring, &from)); /* It may go on. */
    return 0;
}

static int failing_multi(MultiTxn *mtxn, void *ctx) {
    Txn *txn;
    RETURNS(0, mtxn_bucket(mtxn, "b", &txn));
    RETURNS(0, txn_put(txn, S("before"), S("v")));
    return failing(txn, ctx);
}

static int is_kept(Txn *txn, void *ctx) {
    (void)ctx;
    unchanged(txn);
    has_value(txn, "after", 5, 3);
    return 0;
}

/* Wrong arguments, before anything is asked of the callback. */
static int arguments(Txn *txn, void *ctx) {
    struct bringing from = all_of(5);
    TxnReader *reader = (TxnReader *)&from;
    uint8_t buf[8], long_key[5000];
    size_t len = 7;
    uint64_t whole = 7;
    (void)ctx;
    memset(long_key, 'k', sizeof long_key);
    INVALID(txn_put_from(txn, NULL, 3, 5, bring, &from));
    INVALID(txn_put_from(txn, S(""), 5, bring, &from));
    INVALID(txn_put_from(txn, S("k"), 5, NULL, &from));
    LAST_ERROR(BTREE_ERR_INVALID, "callback is NULL");
    INVALID(txn_put_from(NULL, S("k"), 5, bring, &from));
    INVALID(txn_put_from((Txn *)&from, S("k"), 5, bring, &from));
    RETURNS(BTREE_ERR_TOO_LARGE, txn_put_from(txn, long_key, 5000, 5, bring, &from));
    RETURNS(BTREE_ERR_TOO_LARGE, txn_put_from(txn, S("k"), UINT64_C(1) << 32, bring, &from));
    LAST_ERROR(BTREE_ERR_TOO_LARGE, "value of 4294967296 bytes, the limit is 4294967295");
    RETURNS(BTREE_ERR_TOO_LARGE, txn_put_from(txn, S("k"), UINT64_MAX, bring, &from));
    CHECK(from.calls == 0);
    INVALID(txn_reader_new(txn, NULL, 3, &reader));
    CHECK(reader == NULL);
    INVALID(txn_reader_new(txn, S(""), &reader));
    INVALID(txn_reader_new(txn, S("value2"), NULL));
    INVALID(txn_reader_new(NULL, S("value2"), &reader));
    RETURNS(BTREE_ERR_TOO_LARGE, txn_reader_new(txn, long_key, 5000, &reader));
    RETURNS(BTREE_ERR_NOT_FOUND, txn_reader_new(txn, S("absent"), &reader));
    CHECK(reader == NULL);
    INVALID(txn_reader_len(NULL, &whole));
    CHECK(whole == 0);
    INVALID(txn_reader_read(NULL, buf, sizeof buf, &len));
    CHECK(len == 0);
    reader = reader_of(txn, "value2");
    INVALID(txn_reader_len(reader, NULL));
    INVALID(txn_reader_read(reader, NULL, 1, &len));
    INVALID(txn_reader_read(reader, buf, sizeof buf, NULL));
    RETURNS(0, txn_reader_read(reader, NULL, 0, &len));
    CHECK(len == 0);
    reads(reader, 0, LENGTHS[2], 8); /* Nothing of it was read so far. */
    txn_reader_free(reader);
    txn_reader_free(NULL);
    return 0;
}

static int cannot_put(Txn *txn, void *ctx) {
    struct bringing from = all_of(5);
    (void)ctx;
    INVALID(txn_put_from(txn, S("k"), 5, bring, &from));
    LAST_ERROR(BTREE_ERR_INVALID, "a view cannot write");
    CHECK(from.calls == 0);
    return 0;
}

struct handles {
    BTree *db;
    MultiTxn *mtxn;
    Txn *txn, *other;
    BTreeTxn *begun;
    TxnReader *reader;
};

/* Inside the callback of a value, its transaction waits; a reader of it does not. */
static int waits(void *ctx) {
    struct handles *handles = ctx;
    struct bringing from = all_of(5);
    TxnReader *reader;
    Txn *txn;
    uint8_t buf[2];
    uint64_t count;
    size_t len;
    INVALID(txn_put(handles->txn, S("k"), S("v")));
    LAST_ERROR(BTREE_ERR_INVALID, "waits for the callback of txn_put_from");
    INVALID(txn_len(handles->txn, &count));
    INVALID(txn_put_from(handles->txn, S("k"), 5, bring, &from));
    INVALID(txn_reader_new(handles->txn, S("value2"), &reader));
    CHECK(from.calls == 0);
    if (handles->mtxn != NULL) {
        INVALID(txn_len(handles->other, &count));
        INVALID(mtxn_bucket(handles->mtxn, "b", &txn));
    }
    RETURNS(0, txn_reader_read(handles->reader, buf, sizeof buf, &len));
    CHECK(len == 2);
    INVALID(btree_del_bucket(handles->db, "b"));
    RETURNS(0, btree_view(handles->db, "b", cannot_put, NULL));
    return 0;
}

static int put_that_waits(Txn *txn, void *ctx) {
    struct handles *handles = ctx;
    struct bringing from = all_of(LARGE);
    uint64_t count;
    handles->txn = txn;
    handles->reader = reader_of(txn, "value6");
    from.inside = waits;
    from.ctx = handles;
    RETURNS(0, txn_put_from(txn, S("k"), LARGE, bring, &from));
    from = all_of(LARGE);
    from.inside = waits;
    from.ctx = handles;
    from.fails_at = 2;
    from.code = 9;
    RETURNS(9, txn_put_from(txn, S("k"), LARGE, bring, &from));
    RETURNS(0, txn_len(txn, &count)); /* It waits no more. */
    txn_reader_free(handles->reader);
    has_value(txn, "k", LARGE, 65536);
    return 6; /* Rolled back. */
}

static int multi_that_waits(MultiTxn *mtxn, void *ctx) {
    struct handles *handles = ctx;
    Txn *txn;
    handles->mtxn = mtxn;
    RETURNS(0, mtxn_bucket(mtxn, "b", &txn));
    RETURNS(0, mtxn_bucket(mtxn, "other", &handles->other));
    return put_that_waits(txn, handles);
}

/* A transaction that was begun does not wait: its callback may use it, but not commit it. */
static int uses(void *ctx) {
    struct handles *handles = ctx;
    struct bringing from = all_of(LARGE);
    INVALID(btree_txn_commit(handles->begun));
    LAST_ERROR(BTREE_ERR_INVALID, "under way");
    RETURNS(0, txn_put_from(handles->txn, S("inside"), LARGE, bring, &from));
    has_value(handles->txn, "value2", LENGTHS[2], 64);
    return 0;
}

static int aborts(void *ctx) {
    struct handles *handles = ctx;
    if (handles->begun != NULL) RETURNS(0, btree_txn_abort(handles->begun));
    handles->begun = NULL;
    INVALID(txn_put(handles->txn, S("k"), S("v")));
    return 0;
}

static BTreeTxn *begin(BTree *db, Txn **bucket) {
    BTreeTxn *txn;
    RETURNS(0, btree_begin(db, &txn));
    RETURNS(0, btree_txn_bucket(txn, "b", bucket));
    return txn;
}

static int put_now(Txn *txn, void *ctx) {
    return txn_put(txn, S(ctx), S("theirs"));
}

static int put_begun(Txn *txn, void *ctx) {
    struct bringing large = all_of(LARGE), small = all_of(5);
    (void)txn;
    INVALID(txn_put_from(ctx, S("k"), LARGE, bring, &large));
    LAST_ERROR(BTREE_ERR_INVALID, "write transaction");
    CHECK(large.calls == 0);
    RETURNS(0, txn_put_from(ctx, S("small"), 5, bring, &small));
    return 1;
}

static void begun(BTree *db) {
    struct handles handles = { NULL, NULL, NULL, NULL, NULL, NULL };
    struct bringing from = all_of(LARGE);
    TxnReader *reader;
    handles.begun = begin(db, &handles.txn);
    RETURNS(0, failing(handles.txn, NULL));
    RETURNS(0, arguments(handles.txn, NULL));
    RETURNS(1, btree_exec(db, "b", put_begun, handles.txn));
    from.inside = uses;
    from.ctx = &handles;
    RETURNS(0, txn_put_from(handles.txn, S("begun"), LARGE, bring, &from));
    has_value(handles.txn, "begun", LARGE, 4096);
    has_value(handles.txn, "inside", LARGE, 4096);
    RETURNS(0, btree_txn_commit(handles.begun));
    /* A reader tells what it began with, and may outlive the transaction. */
    handles.begun = begin(db, &handles.txn);
    has_value(handles.txn, "begun", LARGE, 4096);
    has_value(handles.txn, "inside", LARGE, 4096);
    has_value(handles.txn, "small", 5, 4096);
    reader = reader_of(handles.txn, "begun");
    RETURNS(0, txn_del(handles.txn, S("begun")));
    RETURNS(0, txn_del(handles.txn, S("inside")));
    RETURNS(0, btree_txn_commit(handles.begun));
    RETURNS(0, btree_exec(db, "b", put_now, "begun"));
    reads(reader, 0, LARGE, 100000);
    txn_reader_free(reader);
    /* What a reader was made of counts as read. */
    handles.begun = begin(db, &handles.txn);
    txn_reader_free(reader_of(handles.txn, "value2"));
    RETURNS(0, txn_put(handles.txn, S("mine"), S("v")));
    RETURNS(0, btree_exec(db, "b", put_now, "value2"));
    RETURNS(BTREE_ERR_CONFLICT, btree_txn_commit(handles.begun));
    /* Ended by its callback: the value goes nowhere. */
    handles.begun = begin(db, &handles.txn);
    from = all_of(LARGE);
    from.inside = aborts;
    from.ctx = &handles;
    RETURNS(0, txn_put_from(handles.txn, S("gone"), LARGE, bring, &from));
    INVALID(txn_put(handles.txn, S("k"), S("v")));
}

/* A reader is what brings a value. */
static int pump(uint8_t *buf, size_t capacity, size_t *len, void *ctx) {
    return txn_reader_read(ctx, buf, capacity, len);
}

static int put_pumped(Txn *txn, void *ctx) {
    RETURNS(0, txn_put_from(txn, S("pumped"), LARGE, pump, ctx));
    has_value(txn, "pumped", LARGE, 4096);
    return 0;
}

static int new_reader(Txn *txn, void *ctx) {
    *(TxnReader **)ctx = reader_of(txn, "value6");
    return 0;
}

/* The last byte of a large value is another one on the disk. */
static int meets_damage(Txn *txn, void *ctx) {
    TxnReader *reader = reader_of(txn, "value6");
    TxnIter *iter;
    const uint8_t *k, *v;
    uint8_t *buf = malloc(PIECE);
    size_t len, vl, given = 0;
    int code;
    CHECK(buf != NULL);
    /* Steps over keys do not look at values. */
    RETURNS(0, txn_iter_new(txn, &iter));
    while ((code = txn_iter_next_key(iter, &k, &len)) == BTREE_OK) given++;
    CHECK(code == BTREE_ERR_NOT_FOUND && given > KINDS);
    while ((code = txn_iter_prev_key(iter, &k, &len)) == BTREE_OK) given--;
    CHECK(code == BTREE_ERR_NOT_FOUND && given == 0);
    RETURNS(0, txn_iter_seek(iter, S("value6")));
    if (*(int *)ctx == 1) { /* A step over the entry does. */
        RETURNS(BTREE_ERR_CORRUPTION, txn_iter_next(iter, &k, &len, &v, &vl));
        CHECK(k == NULL && len == 0 && v == NULL && vl == 0);
        RETURNS(BTREE_ERR_CORRUPTION, txn_iter_next_key(iter, &k, &len));
    }
    txn_iter_free(iter);
    while ((code = txn_reader_read(reader, buf, 1000, &len)) == BTREE_OK) given += len;
    CHECK(code == BTREE_ERR_CORRUPTION && len == 0 && given > 0 && given < LARGE);
    LAST_ERROR(BTREE_ERR_CORRUPTION, "parent-holds-checksum");
    RETURNS(BTREE_ERR_CORRUPTION, txn_reader_read(reader, buf, 1, &len));
    RETURNS(BTREE_ERR_CORRUPTION, txn_contains(txn, S("value2")));
    txn_reader_free(reader);
    free(buf);
    *(int *)ctx += 1;
    return 0; /* A short read is never a success. */
}

static void damage(const char *path) {
    long size, at = -1, i;
    uint8_t *bytes;
    FILE *file = fopen(path, "r+b");
    CHECK(file != NULL && fseek(file, 0, SEEK_END) == 0 && (size = ftell(file)) > 0);
    CHECK((bytes = malloc((size_t)size)) != NULL);
    rewind(file);
    CHECK(fread(bytes, 1, (size_t)size, file) == (size_t)size);
    for (i = 0; i + 64 <= size; i++) {
        int j = 0;
        while (j < 64 && bytes[i + j] == byte_at(LARGE - 64 + (uint64_t)j)) j++;
        if (j == 64) {
            bytes[i + 63] ^= 1;
            at = i + 63;
            CHECK(fseek(file, at, SEEK_SET) == 0 && fputc(bytes[at], file) != EOF);
        }
    }
    CHECK(at > 0 && fclose(file) == 0);
    free(bytes);
}

int main(int argc, char **argv) {
    struct handles handles = { NULL, NULL, NULL, NULL, NULL, NULL };
    BTree *db;
    BTreeSnapshot *snapshot;
    TxnReader *reader, *kept;
    char path[1024];
    int was_there = 0;
    CHECK(argc == 2);
    PATH_OF(path, argv[1], "pieces.db");
    RETURNS(0, btree_open(path, &db));
    handles.db = db;
    RETURNS(0, btree_exec(db, "b", put_all, NULL));
    RETURNS(0, btree_exec(db, "b", has_all, NULL));
    RETURNS(0, btree_view(db, "b", has_all, &kept));
    RETURNS(0, btree_exec_multi(db, in_two_buckets, "b"));
    RETURNS(0, btree_exec(db, "b", failing, NULL));
    RETURNS(0, btree_exec_multi(db, failing_multi, NULL));
    RETURNS(0, btree_view(db, "b", is_kept, NULL));
    RETURNS(0, btree_exec(db, "b", arguments, NULL));
    RETURNS(0, btree_view(db, "b", cannot_put, NULL));
    RETURNS(6, btree_exec(db, "b", put_that_waits, &handles));
    RETURNS(6, btree_exec_multi(db, multi_that_waits, &handles));
    begun(db);
    RETURNS(0, btree_snapshot(db, &snapshot));
    RETURNS(0, btree_snapshot_view(snapshot, "b", new_reader, &reader));
    btree_snapshot_free(snapshot);
    RETURNS(0, btree_exec(db, "copy", put_pumped, reader));
    txn_reader_free(reader);
    RETURNS(0, btree_verify(db, NULL, NULL));
    btree_close(db);
    /* A reader keeps the store open, and its state, whatever was written since. */
    RETURNS(BTREE_ERR_BUSY, btree_verify_path(path, NULL, NULL));
    reads(kept, 0, LARGE, PIECE);
    txn_reader_free(kept);
    RETURNS(0, btree_verify_path(path, NULL, NULL));
    damage(path);
    RETURNS(0, btree_open(path, &db));
    RETURNS(BTREE_ERR_CORRUPTION, btree_view(db, "b", meets_damage, &was_there));
    CHECK(was_there == 1);
    RETURNS(BTREE_ERR_CORRUPTION, btree_view(db, "b", meets_damage, &was_there));
    CHECK(was_there == 2);
    btree_close(db);
    return 0;
}
