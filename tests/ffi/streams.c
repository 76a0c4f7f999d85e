/* Where a program has closed its standard streams, the store does not lie where it prints. */
#include "check.h"
#include <fcntl.h>
#include <unistd.h>

static int put(Txn *txn, void *context) {
    (void)context;
    return txn_put(txn, S("k"), S("v"));
}

int main(int count, char **arguments) {
    char path[4096];
    BTree *tree;
    int stream;
    CHECK(count == 2);
    snprintf(path, sizeof path, "%s/streams.db", arguments[1]);
    /* What fails from here on can say so by its code only. */
    for (stream = 0; stream <= 2; stream++) close(stream);
    RETURNS(BTREE_OK, btree_open(path, &tree));
    for (stream = 0; stream <= 2; stream++) CHECK(fcntl(stream, F_GETFD) == -1);
    RETURNS(BTREE_OK, btree_exec(tree, "b", put, NULL));
    btree_close(tree);
    return 0;
}
