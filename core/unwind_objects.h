/*
 * unwind_objects.h: the ELF objects of this process, as libdwfl must see them.
 *
 * The dynamic linker's list is compared with what was reported before, by its counters of additions
 * and removals. Additions are reported to the Dwfl that is there (0.05 ms each); after a removal
 * everything is built anew, since addresses may mean something else now.
 *
 * An object's file may be gone or replaced by another build while its old text still runs: the
 * usual state of a module that somebody works on. A file is used only if its program headers and
 * build id are those in memory; else an image is taken from memory, which has the unwind data and
 * no names. Rejected: dwfl_linux_proc_report, which trusts the paths in /proc/self/maps.
 *
 * Invariants
 *   I1  Each object in the list was reported once, or could not be.
 *   I2  Live memory is read through /proc/self/mem only, so that an object that has just been
 *       closed gives an error instead of a fault, and only inside segments of reported objects that are
 *       not writable.
 *
 * Locks: none; the inspector's lock (unwind.c) is held by every caller.
 */
#ifndef GRASP_UNWIND_OBJECTS_H
#define GRASP_UNWIND_OBJECTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <elfutils/libdwfl.h>

/*
 * Brings the Dwfl up to date. *renewed: it is a new one, nothing that came from the old one may be
 * used; `forget` is called before the old one goes. NULL: no memory.
 */
Dwfl *gri_objects_update(void (*forget)(Dwfl *old), bool *renewed);
/* Drops everything, after a call of `forget` if there is something; the next update begins anew. */
void gri_objects_forget(void (*forget)(Dwfl *old));
/* Reads from a segment that is mapped without write permission. False: not such an address. */
bool gri_objects_read(uint64_t address, void *to, size_t bytes);
size_t gri_objects_bytes(void);

#endif
