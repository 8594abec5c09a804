# Other ways to run the canaries: for each its name, the program's arguments, and its environment. Under qemu-user signals
# arrive at the ends of translated blocks, so that only single-stepped runs are stopped at every instruction; neoverse-n1 has
# no SVE. On a real arm64 machine the environment means nothing.
set(canary_variants n1 singlestep singlestep_n1)
set(canary_n1_environment QEMU_CPU=neoverse-n1)
set(canary_singlestep_environment QEMU_SINGLESTEP=1)
set(canary_singlestep_n1_environment QEMU_SINGLESTEP=1 QEMU_CPU=neoverse-n1)
# The other stress tests run so, too.
set(stress_variants n1 singlestep)
