# Llhttp::Llhttp, strict on every distribution.
#
# Debian 13 has libllhttp-dev. Debian 12 has the sources alone, in node-llhttp; they are compiled here
# with LLHTTP_STRICT_MODE=1, without which 8.x lets requests be smuggled.
pkg_check_modules(LLHTTP QUIET IMPORTED_TARGET libllhttp)
include(FindPackageHandleStandardArgs)
if(LLHTTP_FOUND)
    set(LLHTTP_PLACE ${LLHTTP_LINK_LIBRARIES})
else()
    find_path(LLHTTP_SOURCE_DIR llhttp.c PATHS /usr/share/llhttp)
    find_path(LLHTTP_INCLUDE_DIR llhttp.h PATHS /usr/share/include/llhttp)
    if(LLHTTP_SOURCE_DIR AND LLHTTP_INCLUDE_DIR)
        set(LLHTTP_PLACE ${LLHTTP_SOURCE_DIR})
    endif()
endif()
find_package_handle_standard_args(Llhttp REQUIRED_VARS LLHTTP_PLACE)
if(Llhttp_FOUND AND NOT TARGET Llhttp::Llhttp)
    if(TARGET PkgConfig::LLHTTP)
        add_library(Llhttp::Llhttp ALIAS PkgConfig::LLHTTP)
    else()
        add_library(grasp_llhttp STATIC
            ${LLHTTP_SOURCE_DIR}/api.c ${LLHTTP_SOURCE_DIR}/http.c ${LLHTTP_SOURCE_DIR}/llhttp.c)
        target_include_directories(grasp_llhttp SYSTEM PUBLIC ${LLHTTP_INCLUDE_DIR})
        target_compile_definitions(grasp_llhttp PRIVATE LLHTTP_STRICT_MODE=1)
        target_compile_options(grasp_llhttp PRIVATE -w -fvisibility=hidden)
        add_library(Llhttp::Llhttp ALIAS grasp_llhttp)
    endif()
endif()
