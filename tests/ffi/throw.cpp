// The header serves C++, and an exception that leaves a callback ends the process.
#include "btree_store.h"
#include <cstdio>
#include <cstring>
#include <stdexcept>

static int throws(Txn *, void *ctx) {
    if (ctx != nullptr) {
        throw std::runtime_error("out of a callback");
    }
    return 7;
}

int main(int argc, char **argv) {
    BTreeOptions options = BTREE_OPTIONS_INIT;
    BTree *db = nullptr;
    if (btree_open_in_memory(&options, &db) != BTREE_OK) return 1;
    if (btree_exec(db, "b", throws, nullptr) != 7) return 2;
    if (argc == 2 && std::strcmp(argv[1], "throw") == 0) {
        try {
            btree_exec(db, "b", throws, db);
        } catch (const std::exception &) {
            return 3; // It must not come back through the library.
        }
        return 4;
    }
    btree_close(db);
    return 0;
}
