/* The twelve functions that programs written for the first C ABI use, by their exact types. */
#include "check.h"

static int (*const open_)(const char *, BTree **) = btree_open;
static void (*const close_)(BTree *) = btree_close;
static int (*const exec_)(BTree *, const char *, int (*)(Txn *, void *), void *) = btree_exec;
static int (*const view_)(BTree *, const char *, int (*)(Txn *, void *), void *) = btree_view;
static int (*const exec_multi_)(BTree *, int (*)(MultiTxn *, void *), void *) = btree_exec_multi;
static int (*const bucket_)(MultiTxn *, const char *, Txn **) = mtxn_bucket;
static int (*const get_)(Txn *, const uint8_t *, size_t, uint8_t **, size_t *) = txn_get;
static int (*const put_)(Txn *, const uint8_t *, size_t, const uint8_t *, size_t) = txn_put;
static int (*const del_)(Txn *, const uint8_t *, size_t) = txn_del;
static void (*const free_)(void *, size_t) = btree_free;
static int (*const last_error_)(const char **, size_t *) = btree_last_error;
static void (*const last_error_clear_)(void) = btree_last_error_clear;

enum { OWN_CODE = 42 };

static int put_two(Txn *txn, void *ctx) {
    ++*(int *)ctx;
    RETURNS(0, put_(txn, S("id:100"), S("Alice")));
    RETURNS(0, put_(txn, S("id:101"), S("")));
    return 0;
}

static int read_two(Txn *txn, void *ctx) {
    uint8_t *value = NULL;
    size_t len = 99;
    ++*(int *)ctx;
    RETURNS(0, get_(txn, S("id:100"), &value, &len));
    CHECK(len == 5 && memcmp(value, "Alice", 5) == 0);
    free_(value, len);
    RETURNS(0, get_(txn, S("id:101"), &value, &len));
    CHECK(len == 0 && value != NULL);
    free_(value, len);
    RETURNS(BTREE_ERR_NOT_FOUND, get_(txn, S("id:102"), &value, &len));
    CHECK(len == 0 && value == NULL);
    free_(value, len);
    return 0;
}

static int write_and_refuse(Txn *txn, void *ctx) {
    (void)ctx;
    RETURNS(0, put_(txn, S("id:100"), S("Mallory")));
    RETURNS(0, del_(txn, S("id:101")));
    return OWN_CODE;
}

static int refuse_negative(Txn *txn, void *ctx) {
    (void)ctx;
    RETURNS(0, del_(txn, S("id:101")));
    return -77;
}

static int pass_on_not_found(Txn *txn, void *ctx) {
    (void)ctx;
    RETURNS(0, put_(txn, S("lost"), S("x")));
    return del_(txn, S("missing"));
}

static int write_in_view(Txn *txn, void *ctx) {
    (void)ctx;
    RETURNS(BTREE_ERR_INVALID, put_(txn, S("k"), S("v")));
    LAST_ERROR(BTREE_ERR_INVALID, "a view cannot write");
    return del_(txn, S("id:100"));
}

static int two_buckets(MultiTxn *mtxn, void *ctx) {
    Txn *users = NULL, *stats = NULL, *again = NULL;
    uint8_t *value;
    size_t len;
    int round;
    RETURNS(0, bucket_(mtxn, "users", &users));
    RETURNS(0, bucket_(mtxn, "stats", &stats));
    for (round = 0; round < 200; round++) {
        char key[16];
        snprintf(key, sizeof key, "k%03d", round);
        RETURNS(0, put_(users, S(key), S("in users")));
        RETURNS(0, put_(stats, S(key), S("in stats")));
    }
    RETURNS(0, bucket_(mtxn, "users", &again));
    RETURNS(0, get_(again, S("k199"), &value, &len));
    CHECK(len == 8 && memcmp(value, "in users", 8) == 0);
    free_(value, len);
    RETURNS(0, del_(stats, S("k000")));
    RETURNS(BTREE_ERR_NOT_FOUND, del_(stats, S("k000")));
    RETURNS(BTREE_ERR_INVALID, bucket_(mtxn, "", &again));
    CHECK(again == NULL);
    return *(int *)ctx;
}

static int after_two_buckets(Txn *txn, void *ctx) {
    uint8_t *value;
    size_t len;
    RETURNS(*(int *)ctx, get_(txn, S("k000"), &value, &len));
    free_(value, len);
    RETURNS(0, get_(txn, S("k123"), &value, &len));
    free_(value, len);
    return 0;
}

static void multi(BTree *db) {
    int code = OWN_CODE, wanted = 0;
    RETURNS(OWN_CODE, exec_multi_(db, two_buckets, &code));
    RETURNS(BTREE_ERR_NOT_FOUND, view_(db, "stats", after_two_buckets, &wanted));
    code = 0;
    RETURNS(0, exec_multi_(db, two_buckets, &code));
    RETURNS(0, view_(db, "users", after_two_buckets, &wanted));
    wanted = BTREE_ERR_NOT_FOUND;
    RETURNS(0, view_(db, "stats", after_two_buckets, &wanted));
}

int main(int argc, char **argv) {
    BTree *db = NULL, *again = NULL;
    char path[1024];
    const char *text = NULL;
    size_t len = 99;
    int calls = 0;
    CHECK(argc == 2);
    PATH_OF(path, argv[1], "seed.db");
    CHECK(last_error_(&text, &len) == 0 && len == 0 && text[0] == 0);
    RETURNS(0, open_(path, &db));
    RETURNS(0, exec_(db, "users", put_two, &calls));
    RETURNS(0, view_(db, "users", read_two, &calls));
    RETURNS(OWN_CODE, exec_(db, "users", write_and_refuse, NULL));
    RETURNS(-77, exec_(db, "users", refuse_negative, NULL));
    RETURNS(0, view_(db, "users", read_two, &calls));
    last_error_clear_();
    RETURNS(OWN_CODE, exec_(db, "users", write_and_refuse, NULL));
    CHECK(last_error_(NULL, NULL) == 0); /* A callback's code is not an error of the library. */
    RETURNS(BTREE_ERR_NOT_FOUND, exec_(db, "users", pass_on_not_found, NULL));
    LAST_ERROR(BTREE_ERR_NOT_FOUND, "does not exist");
    RETURNS(BTREE_ERR_INVALID, view_(db, "users", write_in_view, NULL));
    RETURNS(BTREE_ERR_NOT_FOUND, view_(db, "nobody", read_two, &calls));
    multi(db);
    RETURNS(0, open_(path, &again));
    close_(db);
    RETURNS(0, view_(again, "users", read_two, &calls));
    close_(again);
    RETURNS(0, open_(path, &db)); /* What was written is there after the file was closed. */
    RETURNS(0, view_(db, "users", read_two, &calls));
    close_(db);
    close_(NULL);
    free_(NULL, 7);
    CHECK(calls == 5);
    return 0;
}
