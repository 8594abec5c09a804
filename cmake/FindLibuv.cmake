# Libuv::Libuv.
pkg_check_modules(LIBUV QUIET IMPORTED_TARGET libuv)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Libuv REQUIRED_VARS LIBUV_LINK_LIBRARIES VERSION_VAR LIBUV_VERSION)
if(Libuv_FOUND AND NOT TARGET Libuv::Libuv)
    add_library(Libuv::Libuv ALIAS PkgConfig::LIBUV)
endif()
