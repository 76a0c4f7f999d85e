/* A thread that ends inside of a call, by itself or by another, ends the process. */
#include "btree_store.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>

static BTree *db;

static int puts_one(Txn *txn, void *ctx) {
    (void)ctx;
    return txn_put(txn, (const uint8_t *)"k", 1, (const uint8_t *)"v", 1);
}

static int exits(Txn *txn, void *ctx) {
    int code = puts_one(txn, ctx);
    if (code != BTREE_OK) return code;
    pthread_exit(NULL);
}

static int is_cancelled(Txn *txn, void *ctx) {
    int code = puts_one(txn, ctx);
    if (code != BTREE_OK) return code;
    pthread_cancel(pthread_self());
    pthread_testcancel();
    return 7;
}

static void *ends_by(void *how) {
    if (strcmp(how, "exit") == 0) btree_exec(db, "b", exits, NULL);
    if (strcmp(how, "cancel") == 0) btree_exec(db, "b", is_cancelled, NULL);
    if (strcmp(how, "cancel outside") == 0) {
        /* The commit writes, which is where a thread is cancelled. */
        pthread_cancel(pthread_self());
        btree_exec(db, "b", puts_one, NULL);
    }
    return NULL;
}

int main(int argc, char **argv) {
    char path[4096];
    pthread_t thread;
    if (argc != 3) return 1;
    snprintf(path, sizeof path, "%s/leave.db", argv[1]);
    if (btree_open(path, &db) != BTREE_OK) return 2;
    if (pthread_create(&thread, NULL, ends_by, argv[2]) != 0) return 3;
    if (pthread_join(thread, NULL) != 0) return 4;
    btree_close(db);
    return 0;
}
