/*
 * property.h: what each part of what is linked into modules says of itself to the linker: nothing, since shadow stacks are
 * not kept and nobody tracks indirect branches of user space.
 */
#ifndef GRASP_ARCH_X86_64_MODULE_PROPERTY_H
#define GRASP_ARCH_X86_64_MODULE_PROPERTY_H
#endif
