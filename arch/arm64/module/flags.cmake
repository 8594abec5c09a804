# For the C among what is linked into modules: as property.h says it of the assembly.
set(GRASP_MODULE_PARTS_FLAGS -mbranch-protection=standard)
