/* Faults of a C program, made on purpose: what valgrind must find. */
#include "check.h"

static int leak(Txn *txn, void *ctx) {
    uint8_t *value;
    size_t len;
    const char *fault = ctx;
    RETURNS(0, txn_put(txn, S("k"), S("value")));
    if (strcmp(fault, "iterator") == 0) {
        TxnIter *iter;
        RETURNS(0, txn_iter_new(txn, &iter));
        return 0;
    }
    RETURNS(0, txn_get(txn, S("k"), &value, &len));
    if (strcmp(fault, "leak") == 0) {
        return 0;
    }
    btree_free(value, len);
    return value[0] == 'v' ? 0 : 1;
}

int main(int argc, char **argv) {
    BTree *db;
    CHECK(argc == 2);
    RETURNS(0, btree_open_in_memory(NULL, &db));
    (void)btree_exec(db, "b", leak, argv[1]);
    btree_close(db);
    return 0;
}
