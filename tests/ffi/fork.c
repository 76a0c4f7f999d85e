/* The child of a fork is another process: the store that its parent has open is not its own. */
#define _GNU_SOURCE
#include "check.h"
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* A failure of a sync is told once to all who share an open file. */
static int syncs;

int fsync(int fd) {
    syncs++;
    return (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd) {
    syncs++;
    return (int)syscall(SYS_fdatasync, fd);
}

static int put(Txn *txn, void *context) {
    return txn_put(txn, S((const char *)context), S("v"));
}

static int get(Txn *txn, void *context) {
    uint8_t *value;
    size_t len;
    int code = txn_get(txn, S((const char *)context), &value, &len);
    if (code == BTREE_OK) btree_free(value, len);
    return code;
}

int main(int count, char **arguments) {
    char path[4096];
    BTree *tree, *own;
    int status;
    CHECK(count == 2);
    snprintf(path, sizeof path, "%s/fork.db", arguments[1]);
    RETURNS(BTREE_OK, btree_open(path, &tree));
    RETURNS(BTREE_OK, btree_exec(tree, "b", put, "before"));
    CHECK(syncs > 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        syncs = 0;
        RETURNS(BTREE_BUSY, btree_open(path, &own));
        /* What it took from its parent by mistake writes nothing, and keeps the parent's lock. */
        RETURNS(BTREE_ERR_IO, btree_exec(tree, "b", put, "by mistake"));
        btree_close(tree);
        CHECK(syncs == 0);
        RETURNS(BTREE_BUSY, btree_open(path, &own));
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    /* The parent's table is as it was. */
    RETURNS(BTREE_OK, btree_open(path, &own));
    RETURNS(BTREE_OK, btree_exec(own, "b", put, "after"));
    btree_close(own);
    RETURNS(BTREE_OK, btree_exec(tree, "b", put, "last"));
    btree_close(tree);
    RETURNS(BTREE_OK, btree_open(path, &tree));
    RETURNS(BTREE_NOT_FOUND, btree_view(tree, "b", get, "by mistake"));
    RETURNS(BTREE_OK, btree_view(tree, "b", get, "last"));
    btree_close(tree);
    return 0;
}
