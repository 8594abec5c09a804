/*
 * cc.h: included by grasp-cc in front of every source that it compiles.
 *
 * It leaves the note in the object file by which grasp-cc and the module loader know that the
 * object's functions have entry checks. It includes no header of the C library: a source may still
 * define _GNU_SOURCE and its like before its own first include. errno is made the goroutine's by
 * the errno.h in the folder libc beside this file, which grasp-cc puts in front of the system's.
 *
 * The note is a variable and not assembly, because a variable's name is also found in the objects
 * of clang's link-time optimisation, which have no sections.
 */
#ifndef GRASP_BUILTIN_CC_H
#define GRASP_BUILTIN_CC_H

#define GRASP 1

#ifndef __ASSEMBLER__
#pragma GCC system_header

struct gr_object_note_layout {
    unsigned int name_bytes, abi_bytes, type;
    char name[8];
    unsigned int abi;
};
static const struct gr_object_note_layout gr_object_note
    __attribute__((used, section(".note.grasp"), aligned(4))) = {6, 4, 1, "Grasp", 1};

#endif
#endif
