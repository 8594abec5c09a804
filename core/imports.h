/*
 * imports.h: what becomes of each function that a module imports.
 *
 * import_table.def names every function of libc and libm with its class (plain, pinning,
 * wrapped, wired, refused). A module's GOT gets the address of a stub; a stub checks the guard and
 * jumps to the function or to its wrapper. There is one stub for each target in the process, so
 * that function pointers compare equal wherever they were taken.
 *
 * Invariants
 *   M1  A stub's target is set before its address is handed out, and never changes.
 *   M2  One target has one plain stub and one pinning stub at most.
 * Lock: one short lock around the allocation of stubs, a leaf.
 */
#ifndef GRASP_IMPORTS_H
#define GRASP_IMPORTS_H

#include <stdbool.h>
#include <stddef.h>

enum gri_import_class {
    GRI_IMPORT_PLAIN, /* cannot block, calls nobody back */
    GRI_IMPORT_PIN,   /* calls back into the module: the goroutine stays on its thread meanwhile */
    GRI_IMPORT_WRAP,  /* a function of ours stands in */
    GRI_IMPORT_WIRED, /* belongs to the thread: the module's goroutines are threads of their own */
    GRI_IMPORT_REFUSED, /* the module is not loaded */
    GRI_IMPORT_OBJECT,  /* data: untouched */
    GRI_IMPORT_CLASSES
};

struct gri_import {
    const char *name;
    enum gri_import_class class;
    const char *reason;    /* WIRED and REFUSED: a clause for people */
    void (*wrapper)(void); /* WRAP */
};

/* The table's row, or NULL. From any thread; the first call sorts the table. */
const struct gri_import *gri_import_find(const char *name);
/* All rows, sorted by name. */
const struct gri_import *gri_import_table(size_t *count);

/* Whether a file name (of a DT_NEEDED or a version) is libc's own: libc, libm, ld.so and their
 * empty companions. */
bool gri_import_is_libc(const char *library);
/* Whether an address lies in libc, libm or ld.so. From any thread. */
bool gri_import_in_libc(const void *address);
/*
 * Whether `address` stands before libc's function of that name in the whole process, for the runtime as well: a
 * sanitizer, a preloaded allocator. Then our wrapper ends up in it, and the class is the name's.
 */
bool gri_import_interposes(const char *name, const void *address);
/* Whether it lies in libgrasp; after the first look-up of any name. Async-signal-safe. */
bool gri_import_in_runtime(const void *address);

/* The stub for a target; NULL: all are taken. */
void *gri_import_stub(void *target, bool pin);
/* The library's function that the stub at `address` stands for; NULL: no stub starts there. From any thread. */
void *gri_import_stub_function(const void *address);

/*
 * What dlsym is to give for function `name` found at `address`: a stub, or the address if it is
 * data, code of a module or the runtime. NULL and *reason: refused, or no stub is left.
 */
void *gri_import_redirect(const char *name, void *address, const char **reason);

#endif
