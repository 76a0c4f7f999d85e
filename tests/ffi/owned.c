/* Transactions that are begun and ended by calls. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"
#include <pthread.h>

#define INVALID(call) RETURNS(BTREE_ERR_INVALID, call)
#define CONFLICT(call) RETURNS(BTREE_ERR_CONFLICT, call)

static BTreeTxn *begin(BTree *db) {
    BTreeTxn *txn;
    RETURNS(0, btree_begin(db, &txn));
    CHECK(txn != NULL);
    return txn;
}

static Txn *bucket_of(BTreeTxn *txn, const char *name) {
    Txn *bucket;
    RETURNS(0, btree_txn_bucket(txn, name, &bucket));
    return bucket;
}

static int has_value(Txn *txn, const char *key, const char *wanted) {
    uint8_t *value;
    size_t len;
    int is_same;
    RETURNS(0, txn_get(txn, S(key), &value, &len));
    is_same = len == strlen(wanted) && memcmp(value, wanted, len) == 0;
    btree_free(value, len);
    return is_same;
}

/* "a" to "f", each with the value "old". */
static void fill(BTree *db) {
    BTreeTxn *txn = begin(db);
    Txn *b = bucket_of(txn, "b");
    char key[2] = "a";
    for (; key[0] <= 'f'; key[0]++) {
        RETURNS(0, txn_put(b, S(key), S("old")));
    }
    RETURNS(0, btree_txn_commit(txn));
}

/* Somebody else puts one entry. */
static void put_now(BTree *db, const char *key) {
    BTreeTxn *txn = begin(db);
    RETURNS(0, txn_put(bucket_of(txn, "b"), S(key), S("theirs")));
    RETURNS(0, btree_txn_commit(txn));
}

static void entries(BTree *db) {
    BTreeTxn *txn = begin(db);
    Txn *b = bucket_of(txn, "b"), *big = bucket_of(txn, "big");
    uint8_t *value, *read;
    size_t len;
    uint64_t count;
    CHECK(bucket_of(txn, "b") == b && big != b);
    RETURNS(BTREE_ERR_DUPLICATE, txn_insert(b, S("a"), S("x")));
    RETURNS(0, txn_insert(b, S("new"), S("x")));
    RETURNS(0, txn_update(b, S("new"), S("y")));
    RETURNS(BTREE_ERR_NOT_FOUND, txn_update(b, S("absent"), S("y")));
    CHECK(has_value(b, "new", "y") && has_value(b, "a", "old"));
    RETURNS(0, txn_contains(b, S("f")));
    RETURNS(BTREE_ERR_NOT_FOUND, txn_contains(b, S("absent")));
    RETURNS(0, txn_del_range(b, S("b"), S("d"), &count));
    CHECK(count == 2);
    RETURNS(0, txn_del(b, S("d")));
    RETURNS(BTREE_ERR_NOT_FOUND, txn_del(b, S("d")));
    RETURNS(0, txn_len(b, &count));
    CHECK(count == 4);
    CHECK((value = malloc(700000)) != NULL);
    memset(value, 7, 700000);
    RETURNS(0, txn_put(big, S("k"), value, 700000));
    RETURNS(0, txn_put(big, S("empty"), NULL, 0));
    RETURNS(0, txn_get(big, S("k"), &read, &len));
    CHECK(len == 700000 && memcmp(read, value, len) == 0);
    btree_free(read, len);
    free(value);
    RETURNS(0, btree_txn_commit(txn));
    txn = begin(db);
    CHECK(has_value(bucket_of(txn, "b"), "new", "y"));
    RETURNS(0, txn_contains(bucket_of(txn, "big"), S("empty")));
    RETURNS(0, txn_del(bucket_of(txn, "b"), S("new")));
    RETURNS(0, btree_txn_abort(txn)); /* Nothing of it has happened. */
    txn = begin(db);
    CHECK(has_value(bucket_of(txn, "b"), "new", "y"));
    RETURNS(0, btree_txn_commit(txn));
}

static void conflicts(BTree *db) {
    BTreeTxn *one = begin(db), *other = begin(db), *apart = begin(db), *reader = begin(db);
    RETURNS(0, txn_put(bucket_of(one, "b"), S("k"), S("one")));
    RETURNS(0, txn_put(bucket_of(other, "b"), S("k"), S("other")));
    RETURNS(0, txn_put(bucket_of(apart, "b"), S("l"), S("apart")));
    RETURNS(BTREE_ERR_NOT_FOUND, txn_contains(bucket_of(reader, "b"), S("k")));
    RETURNS(0, btree_txn_commit(one));
    CONFLICT(btree_txn_commit(other));
    LAST_ERROR(BTREE_ERR_CONFLICT, "changed since");
    INVALID(btree_txn_commit(other)); /* It has ended. */
    RETURNS(0, btree_txn_commit(apart));
    RETURNS(0, btree_txn_commit(reader)); /* It wrote nothing. */
}

struct names {
    char text[64];
    BTreeTxn *end;
};

static int note_name(const char *name, size_t len, void *ctx) {
    struct names *names = ctx;
    CHECK(name[len] == 0 && strlen(names->text) + len + 2 < sizeof names->text);
    strcat(strcat(names->text, name), " ");
    if (names->end != NULL) {
        RETURNS(0, btree_txn_abort(names->end));
        return 5;
    }
    return 0;
}

static void buckets(BTree *db) {
    BTreeTxn *txn = begin(db);
    Txn *made;
    struct names names = { "", NULL };
    uint64_t count;
    RETURNS(BTREE_ERR_NOT_FOUND, btree_txn_contains_bucket(txn, "made"));
    RETURNS(0, btree_txn_create_bucket(txn, "made"));
    RETURNS(BTREE_ERR_DUPLICATE, btree_txn_create_bucket(txn, "made"));
    RETURNS(0, btree_txn_contains_bucket(txn, "made"));
    RETURNS(0, btree_txn_del_bucket(txn, "big"));
    RETURNS(BTREE_ERR_NOT_FOUND, btree_txn_del_bucket(txn, "big"));
    RETURNS(0, btree_txn_buckets(txn, note_name, &names));
    CHECK(strcmp(names.text, "b made ") == 0);
    made = bucket_of(txn, "made");
    RETURNS(0, txn_put(made, S("k"), S("v")));
    RETURNS(0, btree_txn_del_bucket(txn, "made"));
    RETURNS(0, txn_len(made, &count)); /* The handle lives as long as the transaction. */
    CHECK(count == 0);
    RETURNS(0, txn_put(made, S("again"), S("v")));
    RETURNS(0, btree_txn_commit(txn));
    txn = begin(db);
    names.text[0] = 0;
    names.end = txn;
    RETURNS(5, btree_txn_buckets(txn, note_name, &names));
    CHECK(strcmp(names.text, "b ") == 0);
    INVALID(btree_txn_abort(txn));
}

/* Steps as the text says: n is next, p is previous, of a key alone N and P; other letters seek.
 * Returns the last key. */
static char walk(TxnIter *iter, const char *steps) {
    const uint8_t *k, *v;
    size_t kl, vl;
    char last = '-';
    for (; *steps; steps++) {
        int code = BTREE_OK;
        if (*steps == 'n' || *steps == 'p') {
            code = (*steps == 'n' ? txn_iter_next : txn_iter_prev)(iter, &k, &kl, &v, &vl);
            last = code == BTREE_OK ? (char)k[0] : '-';
            CHECK(code == BTREE_OK || code == BTREE_ERR_NOT_FOUND);
        } else if (*steps == 'N' || *steps == 'P') {
            code = (*steps == 'N' ? txn_iter_next_key : txn_iter_prev_key)(iter, &k, &kl);
            last = code == BTREE_OK ? (char)k[0] : '-';
            CHECK(code == BTREE_OK || code == BTREE_ERR_NOT_FOUND);
        } else {
            char key[2] = { *steps, 0 };
            RETURNS(0, txn_iter_seek(iter, S(key)));
        }
    }
    return last;
}

/* Whether a transaction that walks so, and writes, commits when `key` was put meanwhile. */
static int commits(BTree *db, const char *steps, char wanted, const char *key) {
    BTreeTxn *txn;
    TxnIter *iter;
    int code;
    RETURNS(0, btree_del_bucket(db, "b"));
    fill(db);
    txn = begin(db);
    RETURNS(0, txn_iter_new(bucket_of(txn, "b"), &iter));
    RETURNS(0, txn_put(bucket_of(txn, "b"), S("zz"), S("own"))); /* It is not seen. */
    CHECK(walk(iter, steps) == wanted);
    txn_iter_free(iter);
    put_now(db, key);
    code = btree_txn_commit(txn);
    CHECK(code == BTREE_OK || code == BTREE_ERR_CONFLICT);
    return code == BTREE_OK;
}

static void iterators(BTree *db) {
    CHECK(commits(db, "", '-', "a"));
    CHECK(!commits(db, "nn", 'b', "a+"));
    CHECK(!commits(db, "nn", 'b', "0"));
    CHECK(commits(db, "nn", 'b', "b+"));
    CHECK(!commits(db, "pp", 'e', "f+"));
    CHECK(!commits(db, "pp", 'e', "e+"));
    CHECK(commits(db, "pp", 'e', "d+"));
    CHECK(!commits(db, "nnnnnnn", '-', "z"));
    CHECK(!commits(db, "nnnnnnnn", '-', "f"));
    CHECK(!commits(db, "ppppppp", '-', "0"));
    CHECK(commits(db, "gn", '-', "f+"));
    CHECK(!commits(db, "gn", '-', "h"));
    CHECK(!commits(db, "cn", 'c', "c"));
    CHECK(commits(db, "cn", 'c', "c+"));
    CHECK(commits(db, "cn", 'c', "b+"));
    CHECK(!commits(db, "cnp", 'c', "c"));
    CHECK(!commits(db, "cnpp", 'b', "b+"));
    CHECK(commits(db, "cnpp", 'b', "a+"));
    CHECK(!commits(db, "gnp", 'f', "g"));
    CHECK(commits(db, "cnfn", 'f', "d"));
    CHECK(!commits(db, "cnfn", 'f', "c"));
    /* A value that was not read counts as read. */
    CHECK(!commits(db, "NN", 'b', "b"));
    CHECK(!commits(db, "NN", 'b', "a+"));
    CHECK(commits(db, "NN", 'b', "b+"));
    CHECK(!commits(db, "PP", 'e', "e"));
    CHECK(!commits(db, "PP", 'e', "f+"));
    CHECK(commits(db, "PP", 'e', "d+"));
    CHECK(!commits(db, "cNnP", 'd', "d"));
    CHECK(commits(db, "cNnP", 'd', "d+"));
}

/* Every function that takes a BTreeTxn, with a handle that is none. */
static void bad_owned(BTreeTxn *txn) {
    Txn *b;
    INVALID(btree_txn_commit(txn));
    INVALID(btree_txn_abort(txn));
    INVALID(btree_txn_bucket(txn, "b", &b));
    CHECK(b == NULL);
    INVALID(btree_txn_create_bucket(txn, "b"));
    INVALID(btree_txn_contains_bucket(txn, "b"));
    INVALID(btree_txn_del_bucket(txn, "b"));
    INVALID(btree_txn_buckets(txn, note_name, NULL));
    LAST_ERROR(BTREE_ERR_INVALID, "handle");
}

static int nested(Txn *txn, void *ctx) {
    BTreeTxn *own = begin(ctx), *empty = begin(ctx);
    RETURNS(0, txn_put(bucket_of(own, "b"), S("k"), S("v")));
    bad_owned((BTreeTxn *)txn);
    INVALID(btree_txn_commit(own));
    LAST_ERROR(BTREE_ERR_INVALID, "write transaction");
    bad_owned(own);
    RETURNS(0, btree_txn_commit(empty)); /* There is nothing to wait for. */
    return 0;
}

static void misuse(BTree *db) {
    BTreeTxn *txn = NULL;
    Txn *b;
    TxnIter *iter;
    uint8_t *value;
    const uint8_t *k, *v;
    size_t len, kl, vl;
    uint64_t count;
    int number = 0;
    char name[5000];
    INVALID(btree_begin(NULL, &txn));
    INVALID(btree_begin(db, NULL));
    bad_owned(NULL);
    bad_owned((BTreeTxn *)&number);
    RETURNS(0, btree_exec(db, "b", nested, db));
    txn = begin(db);
    INVALID(btree_txn_bucket(txn, NULL, &b));
    INVALID(btree_txn_bucket(txn, "b", NULL));
    INVALID(btree_txn_bucket(txn, "", &b));
    INVALID(btree_txn_bucket(txn, "\xff", &b));
    INVALID(btree_txn_create_bucket(txn, NULL));
    INVALID(btree_txn_contains_bucket(txn, NULL));
    INVALID(btree_txn_del_bucket(txn, NULL));
    INVALID(btree_txn_buckets(txn, NULL, NULL));
    memset(name, 'n', sizeof name);
    name[sizeof name - 1] = 0;
    RETURNS(BTREE_ERR_TOO_LARGE, btree_txn_bucket(txn, name, &b));
    b = bucket_of(txn, "b");
    bad_owned((BTreeTxn *)b);
    INVALID(txn_put((Txn *)txn, S("k"), S("v")));
    INVALID(txn_put(b, S(""), S("v")));
    INVALID(txn_put(b, NULL, 3, S("v")));
    INVALID(txn_get(b, S("k"), NULL, &len));
    RETURNS(0, txn_iter_new(b, &iter));
    RETURNS(0, txn_iter_next(iter, &k, &kl, &v, &vl));
    RETURNS(0, btree_txn_commit(txn));
    /* All of it has ended. */
    bad_owned(txn);
    INVALID(txn_get(b, S("a"), &value, &len));
    CHECK(value == NULL && len == 0);
    INVALID(txn_put(b, S("k"), S("v")));
    INVALID(txn_insert(b, S("k"), S("v")));
    INVALID(txn_update(b, S("k"), S("v")));
    INVALID(txn_del(b, S("k")));
    INVALID(txn_del_range(b, NULL, 0, NULL, 0, &count));
    INVALID(txn_contains(b, S("k")));
    INVALID(txn_len(b, &count));
    INVALID(txn_iter_next(iter, &k, &kl, &v, &vl));
    CHECK(k == NULL && kl == 0 && v == NULL && vl == 0);
    INVALID(txn_iter_prev(iter, &k, &kl, &v, &vl));
    INVALID(txn_iter_next_key(iter, &k, &kl));
    INVALID(txn_iter_prev_key(iter, &k, &kl));
    INVALID(txn_iter_seek(iter, S("k")));
    txn_iter_free(iter);
    INVALID(txn_iter_new(b, &iter));
    CHECK(iter == NULL);
}

static void *go_on(void *ctx) {
    Txn *b = bucket_of(ctx, "b");
    RETURNS(0, txn_put(b, S("thread"), S("v")));
    RETURNS(0, btree_txn_commit(ctx));
    return b;
}

/* Begun here, ended there. */
static void other_thread(BTree *db) {
    BTreeTxn *txn = begin(db);
    Txn *b = bucket_of(txn, "b");
    void *same;
    pthread_t thread;
    RETURNS(0, txn_put(b, S("here"), S("v")));
    CHECK(pthread_create(&thread, NULL, go_on, txn) == 0);
    CHECK(pthread_join(thread, &same) == 0);
    CHECK(same == b);
    bad_owned(txn);
    txn = begin(db);
    b = bucket_of(txn, "b");
    CHECK(has_value(b, "here", "v") && has_value(b, "thread", "v"));
    RETURNS(0, btree_txn_abort(txn));
}

static int holds_late(Txn *txn, void *ctx) {
    (void)ctx;
    CHECK(has_value(txn, "late", "v") && has_value(txn, "later", "v"));
    RETURNS(BTREE_ERR_NOT_FOUND, txn_contains(txn, S("never")));
    return 0;
}

/* A handle for reading. */
static void begins_none(BTree *db) {
    BTreeTxn *txn = (BTreeTxn *)db;
    INVALID(btree_begin(db, &txn));
    LAST_ERROR(BTREE_ERR_INVALID, "opened for reading only");
    CHECK(txn == NULL);
}

/* Transactions are still open when the handle ends: the store stays open. */
static void close_before(BTree *db, const char *path) {
    BTree *writer;
    BTreeTxn *kept = begin(db), *dropped = begin(db);
    BTreeOptions options = BTREE_OPTIONS_INIT;
    RETURNS(0, txn_put(bucket_of(kept, "b"), S("late"), S("v")));
    RETURNS(0, txn_put(bucket_of(dropped, "b"), S("never"), S("v")));
    btree_close(db);
    RETURNS(BTREE_ERR_BUSY, btree_verify_path(path, NULL, NULL));
    RETURNS(0, txn_put(bucket_of(kept, "b"), S("later"), S("v")));
    RETURNS(0, btree_txn_abort(dropped));
    RETURNS(0, btree_txn_commit(kept));
    RETURNS(0, btree_verify_path(path, NULL, NULL)); /* Now it is closed, and sound. */
    options.flags = BTREE_READ_ONLY;
    RETURNS(0, btree_open_with(path, &options, &db));
    begins_none(db);
    RETURNS(0, btree_view(db, "b", holds_late, NULL));
    btree_close(db);
    /* The handle counts, though another one of the store writes. */
    RETURNS(0, btree_open(path, &writer));
    RETURNS(0, btree_open_with(path, &options, &db));
    begins_none(db);
    RETURNS(0, btree_txn_abort(begin(writer)));
    btree_close(db);
    btree_close(writer);
}

int main(int argc, char **argv) {
    BTree *db;
    char path[1024];
    CHECK(argc == 2);
    PATH_OF(path, argv[1], "owned.db");
    RETURNS(0, btree_open(path, &db));
    fill(db);
    entries(db);
    conflicts(db);
    buckets(db);
    iterators(db);
    misuse(db);
    other_thread(db);
    close_before(db, path);
    return 0;
}
