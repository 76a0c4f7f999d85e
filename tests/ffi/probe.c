/* Says what tests/ffi.rs asks for: `layout`, or the code and the text of `open PATH`,
 * or those of `verify PATH` behind the violations. */
#include "check.h"
#include <stddef.h>

#define FIELD(type, name) printf(#type "." #name " %zu\n", offsetof(type, name))
#define SIZE(type) printf(#type " %zu\n", sizeof(type))

static int layout(void) {
    SIZE(BTreeOptions);
    FIELD(BTreeOptions, size);
    FIELD(BTreeOptions, cache_bytes);
    FIELD(BTreeOptions, page_size);
    FIELD(BTreeOptions, barriers);
    FIELD(BTreeOptions, flags);
    FIELD(BTreeOptions, reserved);
    SIZE(BTreeCompactStats);
    FIELD(BTreeCompactStats, moved_pages);
    FIELD(BTreeCompactStats, remaining_candidates);
    SIZE(BTreeStats);
    FIELD(BTreeStats, page_size);
    FIELD(BTreeStats, page_count);
    FIELD(BTreeStats, free_pages);
    FIELD(BTreeStats, pending_pages);
    FIELD(BTreeStats, cached_pages);
    FIELD(BTreeStats, pages_read);
    FIELD(BTreeStats, buckets);
    FIELD(BTreeStats, seq);
    FIELD(BTreeStats, pinned_states);
    FIELD(BTreeStats, oldest_seq);
    return 0;
}

static int scan(Txn *txn, void *ctx) {
    TxnIter *iter;
    const uint8_t *k, *v;
    size_t kl, vl;
    (void)ctx;
    RETURNS(0, txn_iter_new(txn, &iter));
    while (txn_iter_next(iter, &k, &kl, &v, &vl) == BTREE_OK) {
    }
    txn_iter_free(iter);
    return 0; /* The error that ended the scan is forgotten here, and the view returns it. */
}

static int print_line(const char *text, size_t len, void *ctx) {
    CHECK(strlen(text) == len);
    ++*(int *)ctx;
    printf("- %s\n", text);
    return 0;
}

static int stop(const char *text, size_t len, void *ctx) {
    (void)text;
    (void)len;
    (void)ctx;
    return 12;
}

static int verify(const char *path) {
    int told = 0, code = btree_verify_path(path, print_line, &told);
    if (told > 0) {
        RETURNS(12, btree_verify_path(path, stop, NULL));
        RETURNS(code, btree_verify_path(path, NULL, NULL));
    }
    return code;
}

static int open_and_scan(const char *path) {
    BTree *db = NULL;
    int code = btree_open(path, &db);
    if (code == BTREE_OK) {
        code = btree_view(db, "b", scan, NULL);
    }
    btree_close(db);
    return code;
}

int main(int argc, char **argv) {
    const char *text;
    int code;
    if (argc == 2 && strcmp(argv[1], "layout") == 0) {
        return layout();
    }
    CHECK(argc == 3);
    code = strcmp(argv[1], "verify") == 0 ? verify(argv[2]) : open_and_scan(argv[2]);
    btree_last_error(&text, NULL);
    printf("%d %s\n", code, text);
    return 0;
}
