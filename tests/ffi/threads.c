/* One handle, several threads: commits beside reads, and an error for each thread. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"
#include <pthread.h>

enum { WRITERS = 3, READERS = 2, ROUNDS = 25 };

static BTree *db;

struct round {
    int writer, number;
};

static int write_round(Txn *txn, void *ctx) {
    const struct round *round = ctx;
    char key[32];
    snprintf(key, sizeof key, "%d-%03d-a", round->writer, round->number);
    RETURNS(0, txn_put(txn, S(key), S("x")));
    snprintf(key, sizeof key, "%d-%03d-b", round->writer, round->number);
    return txn_put(txn, S(key), S("x"));
}

static int fail_own(Txn *txn, void *ctx) {
    char key[64];
    (void)ctx;
    (void)txn;
    snprintf(key, sizeof key, "no such key");
    return txn_del(txn, S(key));
}

static void *writer(void *ctx) {
    struct round round;
    const char *text;
    round.writer = *(int *)ctx;
    CHECK(btree_last_error(&text, NULL) == 0);
    for (round.number = 0; round.number < ROUNDS; round.number++) {
        RETURNS(0, btree_exec(db, "b", write_round, &round));
        if (round.number == ROUNDS / 2) {
            RETURNS(BTREE_ERR_NOT_FOUND, btree_exec(db, "b", fail_own, NULL));
        }
    }
    CHECK(btree_last_error(&text, NULL) == BTREE_ERR_NOT_FOUND);
    return NULL;
}

/* Entries come in pairs, and their number never falls. */
static int read_pairs(Txn *txn, void *ctx) {
    uint64_t *seen = ctx, entries, count = 0;
    TxnIter *iter;
    const uint8_t *k, *v;
    size_t kl, vl;
    RETURNS(0, txn_len(txn, &entries));
    CHECK(entries >= *seen && entries % 2 == 0);
    *seen = entries;
    RETURNS(0, txn_iter_new(txn, &iter));
    while (txn_iter_next(iter, &k, &kl, &v, &vl) == BTREE_OK) {
        count++;
    }
    txn_iter_free(iter);
    CHECK(count == entries);
    return 0;
}

static void *reader(void *ctx) {
    uint64_t seen = 0;
    int round;
    (void)ctx;
    for (round = 0; round < ROUNDS * 4; round++) {
        int code = btree_view(db, "b", read_pairs, &seen);
        CHECK(code == BTREE_OK || (code == BTREE_ERR_NOT_FOUND && seen == 0));
    }
    return NULL;
}

int main(int argc, char **argv) {
    pthread_t threads[WRITERS + READERS];
    int numbers[WRITERS + READERS], i;
    uint64_t seen = 0;
    char path[1024];
    CHECK(argc == 2);
    PATH_OF(path, argv[1], "threads.db");
    RETURNS(0, btree_open(path, &db));
    RETURNS(BTREE_ERR_INVALID, btree_open(NULL, NULL));
    for (i = 0; i < WRITERS + READERS; i++) {
        numbers[i] = i;
        CHECK(pthread_create(&threads[i], NULL, i < WRITERS ? writer : reader, &numbers[i]) == 0);
    }
    for (i = 0; i < WRITERS + READERS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    RETURNS(0, btree_view(db, "b", read_pairs, &seen));
    CHECK(seen == WRITERS * ROUNDS * 2);
    LAST_ERROR(BTREE_ERR_INVALID, "NULL");
    btree_close(db);
    return 0;
}
