# Builds for arm64 on a Debian machine of another architecture, by multiarch; test.sh --arch arm64 installs what it
# needs. What is built runs under qemu-user (CMAKE_CROSSCOMPILING_EMULATOR). On an arm64 machine none of this is
# needed: there the preset is release.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_ASM_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)

# Headers lie in /usr/include and /usr/include/aarch64-linux-gnu, libraries in /usr/lib/aarch64-linux-gnu.
set(CMAKE_FIND_ROOT_PATH /usr/aarch64-linux-gnu /)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(ENV{PKG_CONFIG_LIBDIR} /usr/lib/aarch64-linux-gnu/pkgconfig:/usr/share/pkgconfig)

find_program(GRASP_QEMU NAMES qemu-aarch64-static qemu-aarch64)
if(GRASP_QEMU)
    set(CMAKE_CROSSCOMPILING_EMULATOR ${GRASP_QEMU})
endif()
