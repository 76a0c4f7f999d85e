/* What the C programs of tests/ffi.rs share: a check that ends the program, and short calls. */
#ifndef CHECK_H
#define CHECK_H

#include "btree_store.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                     \
    do {                                                                                     \
        if (!(condition)) {                                                                  \
            fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition);        \
            exit(1);                                                                         \
        }                                                                                    \
    } while (0)

/* A call returns this code; when it does not, the text of the thread's last error is shown. */
#define RETURNS(code, call)                                                                  \
    do {                                                                                     \
        int got_ = (call);                                                                   \
        if (got_ != (code)) {                                                                \
            const char *text_;                                                               \
            btree_last_error(&text_, NULL);                                                  \
            fprintf(stderr, "%s:%d: %s is %d, not %d (last error: %s)\n", __FILE__, __LINE__, \
                    #call, got_, (code), text_);                                             \
            exit(1);                                                                         \
        }                                                                                    \
    } while (0)

/* The bytes of a text, and their number: two arguments of a call. */
#define S(text) (const uint8_t *)(text), strlen(text)

/* The text of the last error contains this, and its code is that. */
#define LAST_ERROR(code, part)                                                               \
    do {                                                                                     \
        const char *text_;                                                                   \
        size_t len_;                                                                         \
        int got_ = btree_last_error(&text_, &len_);                                          \
        CHECK(len_ == strlen(text_));                                                        \
        if (got_ != (code) || strstr(text_, (part)) == NULL) {                               \
            fprintf(stderr, "%s:%d: last error %d: %s\n", __FILE__, __LINE__, got_, text_);  \
            exit(1);                                                                         \
        }                                                                                    \
    } while (0)

/* Joins a directory and a name. */
#define PATH_OF(path, directory, name) snprintf((path), sizeof(path), "%s/%s", (directory), (name))

#endif
