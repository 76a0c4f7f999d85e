/* The functions beyond the first twelve. */
#include "check.h"

static int fill(Txn *txn, void *ctx) {
    int i;
    for (i = 0; i < *(int *)ctx; i++) {
        char key[16], value[600];
        snprintf(key, sizeof key, "key%05d", i);
        memset(value, 'a' + i % 26, sizeof value);
        RETURNS(0, txn_put(txn, S(key), (const uint8_t *)value, (size_t)(i % 600)));
    }
    return 0;
}

/* put, insert, update, del, contains, len, del_range. */
static int change_entries(Txn *txn, void *ctx) {
    uint64_t count = 0;
    (void)ctx;
    RETURNS(BTREE_ERR_DUPLICATE, txn_insert(txn, S("key00001"), S("x")));
    LAST_ERROR(BTREE_ERR_DUPLICATE, "exists");
    RETURNS(0, txn_insert(txn, S("new"), S("x")));
    RETURNS(0, txn_update(txn, S("new"), S("y")));
    RETURNS(BTREE_ERR_NOT_FOUND, txn_update(txn, S("absent"), S("y")));
    RETURNS(0, txn_contains(txn, S("new")));
    RETURNS(BTREE_ERR_NOT_FOUND, txn_contains(txn, S("absent")));
    RETURNS(0, txn_len(txn, &count));
    CHECK(count == 1001);
    RETURNS(0, txn_del(txn, S("new")));
    RETURNS(0, txn_del_range(txn, S("key00010"), S("key00020"), &count));
    CHECK(count == 10);
    RETURNS(0, txn_del_range(txn, S("key00020"), S("key00010"), &count));
    CHECK(count == 0);
    RETURNS(0, txn_del_range(txn, NULL, 0, S("key00005"), NULL));
    RETURNS(0, txn_del_range(txn, S("key00990"), NULL, 0, &count));
    CHECK(count == 10);
    RETURNS(0, txn_del_range(txn, S("x"), S(""), &count));
    CHECK(count == 0); /* Nothing lies below an empty end. */
    RETURNS(0, txn_len(txn, &count));
    CHECK(count == 975);
    return 0;
}

static int read_only_ops(Txn *txn, void *ctx) {
    uint64_t count = 0;
    (void)ctx;
    RETURNS(0, txn_contains(txn, S("key00020")));
    RETURNS(0, txn_len(txn, &count));
    CHECK(count == 975);
    RETURNS(BTREE_ERR_INVALID, txn_insert(txn, S("k"), S("v")));
    RETURNS(BTREE_ERR_INVALID, txn_update(txn, S("k"), S("v")));
    RETURNS(BTREE_ERR_INVALID, txn_del_range(txn, NULL, 0, NULL, 0, &count));
    LAST_ERROR(BTREE_ERR_INVALID, "a view cannot write");
    return 0;
}

/* The number in a key of `fill`. */
static int number_of(const uint8_t *key, size_t klen) {
    char text[16] = "";
    CHECK(klen == 8);
    memcpy(text, key, klen);
    return atoi(text + 3);
}

static int is_key(const uint8_t *key, size_t klen, const char *wanted) {
    return klen == strlen(wanted) && memcmp(key, wanted, klen) == 0;
}

/* Steps over keys and over entries move the same position. */
static void keys_alone(TxnIter *iter) {
    const uint8_t *k, *v;
    size_t kl, vl;
    int count = 0, code;
    RETURNS(0, txn_iter_seek(iter, S("key00012")));
    RETURNS(0, txn_iter_next_key(iter, &k, &kl));
    CHECK(is_key(k, kl, "key00020"));
    RETURNS(0, txn_iter_next(iter, &k, &kl, &v, &vl));
    CHECK(is_key(k, kl, "key00021") && vl == 21 && v[20] == 'a' + 21);
    RETURNS(0, txn_iter_prev_key(iter, &k, &kl));
    CHECK(is_key(k, kl, "key00021"));
    RETURNS(0, txn_iter_prev_key(iter, &k, &kl));
    CHECK(is_key(k, kl, "key00020"));
    RETURNS(0, txn_iter_prev(iter, &k, &kl, &v, &vl));
    CHECK(is_key(k, kl, "key00009") && vl == 9 && v[8] == 'a' + 9);
    RETURNS(0, txn_iter_seek(iter, NULL, 0));
    btree_last_error_clear();
    while ((code = txn_iter_next_key(iter, &k, &kl)) == BTREE_OK) {
        CHECK(number_of(k, kl) >= 5);
        count++;
    }
    CHECK(code == BTREE_ERR_NOT_FOUND && count == 975 && k == NULL && kl == 0);
    while ((code = txn_iter_prev_key(iter, &k, &kl)) == BTREE_OK) count--;
    CHECK(code == BTREE_ERR_NOT_FOUND && count == 0 && k == NULL && kl == 0);
    CHECK(btree_last_error(NULL, NULL) == 0);
}

/* Forwards, backwards, seek; ctx takes an iterator that outlives the callback. */
static int iterate(Txn *txn, void *ctx) {
    TxnIter *iter = NULL;
    const uint8_t *k, *v;
    size_t kl, vl;
    int count = 0, code;
    RETURNS(0, txn_iter_new(txn, &iter));
    while ((code = txn_iter_next(iter, &k, &kl, &v, &vl)) == BTREE_OK) {
        int i = number_of(k, kl);
        CHECK(vl == (size_t)(i % 600));
        CHECK(vl == 0 || v[vl - 1] == 'a' + i % 26);
        count++;
    }
    CHECK(code == BTREE_ERR_NOT_FOUND && count == 975);
    CHECK(k == NULL && kl == 0 && v == NULL && vl == 0);
    RETURNS(0, txn_iter_prev(iter, &k, &kl, &v, &vl));
    CHECK(is_key(k, kl, "key00989"));
    RETURNS(0, txn_iter_prev(iter, &k, &kl, &v, &vl));
    RETURNS(0, txn_iter_next(iter, &k, &kl, &v, &vl));
    CHECK(is_key(k, kl, "key00988"));
    RETURNS(0, txn_iter_seek(iter, S("key00012")));
    RETURNS(0, txn_iter_next(iter, &k, &kl, &v, &vl));
    CHECK(is_key(k, kl, "key00020"));
    keys_alone(iter);
    RETURNS(0, txn_iter_seek(iter, NULL, 0));
    RETURNS(BTREE_ERR_NOT_FOUND, txn_iter_prev(iter, &k, &kl, &v, &vl));
    RETURNS(0, txn_iter_next(iter, &k, &kl, &v, &vl));
    CHECK(is_key(k, kl, "key00005"));
    *(TxnIter **)ctx = iter;
    return 0;
}

/* An iterator does not see what its own transaction writes after it was made. */
static int write_under_iterator(Txn *txn, void *ctx) {
    TxnIter *iter;
    const uint8_t *k, *v;
    size_t kl, vl;
    int count = 0;
    (void)ctx;
    RETURNS(0, txn_iter_new(txn, &iter));
    while (txn_iter_next(iter, &k, &kl, &v, &vl) == BTREE_OK) {
        RETURNS(0, txn_del(txn, k, kl));
        count++;
    }
    txn_iter_free(iter);
    CHECK(count == 975);
    return 5; /* Rolled back. */
}

struct names {
    char text[256];
    int left;
};

static int collect(const char *name, size_t len, void *ctx) {
    struct names *names = ctx;
    CHECK(strlen(name) == len);
    strcat(names->text, name);
    strcat(names->text, ",");
    return --names->left == 0 ? 9 : 0;
}

static int inner_fails(Txn *txn, void *ctx) {
    (void)ctx;
    RETURNS(0, txn_put(txn, S("undone"), S("x")));
    return 3;
}

static int inner(Txn *txn, void *ctx) {
    (void)ctx;
    return txn_put(txn, S("kept"), S("x"));
}

/* Handles and parts that fail take turns; a part takes back its own changes only. */
static int take_turns(MultiTxn *mtxn, void *ctx) {
    Txn *entries, *one;
    int i;
    RETURNS(0, mtxn_bucket(mtxn, "entries", &entries));
    RETURNS(0, mtxn_bucket(mtxn, "one", &one));
    for (i = 100; i < 200; i++) {
        char key[16];
        snprintf(key, sizeof key, "key%05d", i);
        RETURNS(0, txn_update(entries, S(key), S("new")));
        RETURNS(0, txn_put(one, S(key), S("x")));
        if (i % 10 == 0) {
            RETURNS(3, mtxn_exec(mtxn, "entries", inner_fails, NULL));
            RETURNS(3, mtxn_exec(mtxn, "one", inner_fails, NULL));
            RETURNS(0, txn_del(entries, S(key)));
        }
    }
    return *(int *)ctx;
}

static int count_entries(Txn *txn, void *ctx) {
    uint64_t count;
    RETURNS(0, txn_len(txn, &count));
    CHECK(count == *(uint64_t *)ctx);
    RETURNS(BTREE_ERR_NOT_FOUND, txn_contains(txn, S("undone")));
    return 0;
}

static int several(MultiTxn *mtxn, void *ctx) {
    Txn *one, *two;
    TxnIter *iter;
    const uint8_t *k, *v;
    size_t kl, vl;
    uint64_t count;
    RETURNS(0, mtxn_bucket(mtxn, "one", &one));
    RETURNS(0, txn_insert(one, S("before"), S("x")));
    RETURNS(3, mtxn_exec(mtxn, "one", inner_fails, NULL));
    RETURNS(0, mtxn_exec(mtxn, "one", inner, NULL));
    RETURNS(0, txn_contains(one, S("kept")));
    RETURNS(0, txn_contains(one, S("before")));
    RETURNS(BTREE_ERR_NOT_FOUND, txn_contains(one, S("undone")));
    RETURNS(0, txn_iter_new(one, &iter));
    RETURNS(0, txn_iter_next(iter, &k, &kl, &v, &vl));
    CHECK(is_key(k, kl, "before"));
    txn_iter_free(iter);
    RETURNS(0, mtxn_bucket(mtxn, "two", &two));
    RETURNS(0, txn_put(two, S("k"), S("v")));
    RETURNS(0, mtxn_del_bucket(mtxn, "two"));
    RETURNS(BTREE_ERR_INVALID, txn_put(two, S("k"), S("v")));
    RETURNS(BTREE_ERR_NOT_FOUND, mtxn_del_bucket(mtxn, "two"));
    RETURNS(0, mtxn_bucket(mtxn, "two", &two));
    RETURNS(0, txn_len(two, &count));
    CHECK(count == 0);
    return *(int *)ctx;
}

static void buckets(BTree *db) {
    struct names names = {"", 0};
    int code = 7;
    uint64_t count = 975;
    RETURNS(7, btree_exec_multi(db, take_turns, &code));
    RETURNS(0, btree_view(db, "entries", count_entries, &count));
    code = 0;
    RETURNS(0, btree_exec_multi(db, take_turns, &code));
    count = 965;
    RETURNS(0, btree_view(db, "entries", count_entries, &count));
    count = 100;
    RETURNS(0, btree_view(db, "one", count_entries, &count));
    RETURNS(0, btree_verify(db, NULL, NULL));
    RETURNS(0, btree_del_bucket(db, "one"));
    RETURNS(0, btree_exec_multi(db, several, &code));
    RETURNS(0, btree_buckets(db, collect, &names));
    CHECK(strcmp(names.text, "entries,one,two,") == 0);
    names.text[0] = 0;
    names.left = 2;
    RETURNS(9, btree_buckets(db, collect, &names));
    CHECK(strcmp(names.text, "entries,one,") == 0);
    RETURNS(0, btree_del_bucket(db, "one"));
    RETURNS(BTREE_ERR_NOT_FOUND, btree_del_bucket(db, "one"));
}

static int count_pending(Txn *txn, void *ctx) {
    uint64_t made = 0, given_up = 0;
    BTreeStats stats;
    RETURNS(0, txn_put(txn, S("k"), S("v")));
    RETURNS(0, btree_pending_pages(ctx, &made, &given_up));
    CHECK(made > 0);
    RETURNS(BTREE_ERR_INVALID, btree_stats(ctx, &stats));
    RETURNS(BTREE_ERR_INVALID, btree_commit(ctx));
    RETURNS(BTREE_ERR_INVALID, btree_sync(ctx));
    return 1;
}

static int free_snapshot(Txn *txn, void *ctx) {
    uint64_t count = 965;
    btree_snapshot_free(ctx);
    RETURNS(0, count_entries(txn, &count));
    RETURNS(BTREE_ERR_INVALID, txn_put(txn, S("k"), S("v")));
    return 6;
}

/* One that is returned, and one that outlives what it shows. */
static BTreeSnapshot *snapshots(BTree *db) {
    BTreeSnapshot *first = NULL, *second = NULL;
    uint64_t seq = 0, now = 1, count = 965;
    BTreeStats stats, before;
    RETURNS(0, btree_stats(db, &before));
    RETURNS(0, btree_snapshot(db, &first));
    RETURNS(0, btree_snapshot(db, &second));
    RETURNS(0, btree_current_seq(db, &now));
    RETURNS(0, btree_snapshot_seq(first, &seq));
    CHECK(seq == now);
    RETURNS(0, btree_del_bucket(db, "entries"));
    RETURNS(0, btree_stats(db, &stats));
    CHECK(stats.pinned_states == before.pinned_states + 1 && stats.oldest_seq <= seq);
    CHECK(before.seq == seq && stats.seq == seq + 1);
    RETURNS(BTREE_ERR_NOT_FOUND, btree_view(db, "entries", count_entries, &count));
    RETURNS(0, btree_snapshot_view(first, "entries", count_entries, &count));
    RETURNS(BTREE_ERR_NOT_FOUND, btree_snapshot_view(first, "one", count_entries, &count));
    RETURNS(6, btree_snapshot_view(first, "entries", free_snapshot, first));
    RETURNS(BTREE_ERR_INVALID, btree_snapshot(NULL, &first));
    CHECK(first == NULL);
    RETURNS(BTREE_ERR_INVALID, btree_snapshot(db, NULL));
    RETURNS(BTREE_ERR_INVALID, btree_snapshot_view(NULL, "entries", count_entries, &count));
    RETURNS(BTREE_ERR_INVALID, btree_snapshot_view(second, NULL, count_entries, &count));
    RETURNS(BTREE_ERR_INVALID, btree_snapshot_view(second, "entries", NULL, &count));
    RETURNS(BTREE_ERR_INVALID, btree_snapshot_buckets(NULL, collect, NULL));
    RETURNS(BTREE_ERR_INVALID, btree_snapshot_seq(NULL, &seq));
    btree_snapshot_free(NULL);
    return second;
}

/* A sound store has nothing to tell. */
static int unexpected(const char *text, size_t len, void *ctx) {
    (void)ctx;
    fprintf(stderr, "%.*s\n", (int)len, text);
    return 1;
}

static void figures(BTree *db) {
    BTreeStats stats;
    BTreeCompactStats done;
    uint64_t seq = 0, made = 1, given_up = 1;
    RETURNS(0, btree_current_seq(db, &seq));
    CHECK(seq > 0);
    RETURNS(1, btree_exec(db, "entries", count_pending, db));
    RETURNS(0, btree_pending_pages(db, &made, &given_up));
    CHECK(made == 0 && given_up == 0);
    RETURNS(0, btree_stats(db, &stats));
    CHECK(stats.page_size == 512 && stats.page_count > 100 && stats.seq == seq);
    /* An iterator outlives its view. */
    CHECK(stats.pinned_states == 1 && stats.oldest_seq < seq);
    CHECK(stats.buckets == 2);
    CHECK(stats.cached_pages * 512 <= 65536);
    RETURNS(0, btree_compact(db, 0, &done));
    RETURNS(0, btree_compact(db, 1 << 20, NULL));
    RETURNS(0, btree_commit(db));
    RETURNS(0, btree_sync(db));
    RETURNS(0, btree_verify(db, unexpected, NULL));
    RETURNS(0, btree_verify(db, NULL, NULL));
}

static void open_options(const char *directory) {
    BTreeOptions options = BTREE_OPTIONS_INIT;
    BTreeStats stats;
    BTree *db = NULL;
    BTree *again = NULL;
    char path[1024];
    int count = 10;
    PATH_OF(path, directory, "options.db");
    options.flags = BTREE_MUST_EXIST;
    RETURNS(BTREE_ERR_IO, btree_open_with(path, &options, &db));
    LAST_ERROR(BTREE_ERR_IO, "open");
    CHECK(db == NULL);
    options.flags = BTREE_CREATE_NEW;
    options.barriers = BTREE_BARRIERS_TWO;
    RETURNS(0, btree_open_with(path, &options, &db));
    RETURNS(BTREE_ERR_DUPLICATE, btree_open_with(path, &options, &again));
    CHECK(again == NULL);
    RETURNS(0, btree_stats(db, &stats));
    CHECK(stats.page_size == 4096);
    RETURNS(0, btree_exec(db, "b", fill, &count));
    btree_close(db);
    RETURNS(0, btree_verify_path(path, unexpected, NULL));
    options.flags = BTREE_READ_ONLY | BTREE_MUST_EXIST;
    options.barriers = BTREE_BARRIERS_ONE;
    RETURNS(0, btree_open_with(path, &options, &db));
    RETURNS(BTREE_ERR_INVALID, btree_exec(db, "b", fill, &count));
    LAST_ERROR(BTREE_ERR_INVALID, "reading only");
    btree_close(db);
    RETURNS(0, btree_open_with(path, NULL, &db));
    btree_close(db);
    RETURNS(0, btree_open_in_memory(NULL, &db));
    RETURNS(0, btree_exec(db, "b", fill, &count));
    btree_close(db);
    options.flags = 0;
    options.page_size = 1024;
    RETURNS(0, btree_open_in_memory(&options, &db));
    RETURNS(0, btree_stats(db, &stats));
    CHECK(stats.page_size == 1024);
    btree_close(db);
}

/* Commits that are durable when a sync asks for it, or when the store is closed. */
static void deferred(const char *directory) {
    BTreeOptions options = BTREE_OPTIONS_INIT;
    BTree *db = NULL;
    uint64_t seq = 1;
    char path[1024];
    int count = 10;
    PATH_OF(path, directory, "deferred.db");
    options.flags = BTREE_DEFERRED;
    RETURNS(0, btree_open_with(path, &options, &db));
    RETURNS(0, btree_exec(db, "b", fill, &count));
    RETURNS(0, btree_current_seq(db, &seq));
    CHECK(seq == 0);
    RETURNS(0, btree_sync(db));
    RETURNS(0, btree_current_seq(db, &seq));
    CHECK(seq == 1);
    RETURNS(0, btree_exec(db, "c", fill, &count));
    btree_close(db);
    RETURNS(0, btree_open(path, &db));
    RETURNS(0, btree_current_seq(db, &seq));
    CHECK(seq == 2);
    btree_close(db);
}

/* Copies of the store and of a snapshot, which are stores of their own. */
static void backups(BTree *db, const char *directory) {
    BTree *copy = NULL;
    BTreeSnapshot *snapshot = NULL;
    uint64_t entries = 965;
    char path[1024], kept[1024], missing[1024];
    PATH_OF(path, directory, "copy.db");
    PATH_OF(kept, directory, "kept.db");
    PATH_OF(missing, directory, "missing/copy.db");
    RETURNS(0, btree_snapshot(db, &snapshot));
    RETURNS(0, btree_backup(db, path));
    RETURNS(BTREE_ERR_DUPLICATE, btree_backup(db, path));
    RETURNS(BTREE_ERR_IO, btree_backup(db, missing));
    RETURNS(BTREE_ERR_INVALID, btree_backup(db, NULL));
    RETURNS(BTREE_ERR_INVALID, btree_backup(NULL, path));
    RETURNS(0, btree_verify_path(path, unexpected, NULL));
    RETURNS(0, btree_open(path, &copy));
    RETURNS(0, btree_view(copy, "entries", count_entries, &entries));
    RETURNS(0, btree_del_bucket(copy, "entries"));
    btree_close(copy);
    RETURNS(0, btree_snapshot_backup(snapshot, kept));
    RETURNS(BTREE_ERR_DUPLICATE, btree_snapshot_backup(snapshot, path));
    RETURNS(BTREE_ERR_INVALID, btree_snapshot_backup(snapshot, NULL));
    RETURNS(BTREE_ERR_INVALID, btree_snapshot_backup(NULL, path));
    btree_snapshot_free(snapshot);
    RETURNS(0, btree_open(kept, &copy));
    RETURNS(0, btree_view(copy, "entries", count_entries, &entries));
    btree_close(copy);
}

int main(int argc, char **argv) {
    BTreeOptions options = BTREE_OPTIONS_INIT;
    BTree *db = NULL;
    BTreeSnapshot *snapshot;
    TxnIter *iter = NULL;
    struct names names = {"", 0};
    const uint8_t *k, *v;
    size_t kl, vl;
    uint64_t entries = 965;
    char path[1024];
    int count = 1000;
    CHECK(argc == 2);
    PATH_OF(path, argv[1], "extra.db");
    options.page_size = 512;
    options.cache_bytes = 65536;
    RETURNS(0, btree_open_with(path, &options, &db));
    RETURNS(0, btree_exec(db, "entries", fill, &count));
    RETURNS(0, btree_exec(db, "entries", change_entries, NULL));
    RETURNS(0, btree_view(db, "entries", read_only_ops, NULL));
    RETURNS(5, btree_exec(db, "entries", write_under_iterator, NULL));
    RETURNS(0, btree_view(db, "entries", iterate, &iter));
    buckets(db);
    figures(db);
    open_options(argv[1]);
    deferred(argv[1]);
    backups(db, argv[1]);
    snapshot = snapshots(db);
    btree_close(db);
    RETURNS(0, btree_snapshot_view(snapshot, "entries", count_entries, &entries));
    RETURNS(0, btree_snapshot_buckets(snapshot, collect, &names));
    CHECK(strcmp(names.text, "entries,two,") == 0);
    btree_snapshot_free(snapshot);
    /* The iterator outlived its transaction, its bucket and the handle. */
    RETURNS(0, txn_iter_next(iter, &k, &kl, &v, &vl));
    CHECK(is_key(k, kl, "key00006"));
    txn_iter_free(iter);
    txn_iter_free(NULL);
    CHECK(strcmp(btree_version(), BTREE_STORE_VERSION) == 0);
    CHECK(btree_version_number() == BTREE_STORE_VERSION_NUMBER);
    return 0;
}
