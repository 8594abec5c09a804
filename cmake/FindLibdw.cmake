# Libdw::Libdw (elfutils): unwinding and debug information.
pkg_check_modules(LIBDW QUIET IMPORTED_TARGET libdw)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Libdw REQUIRED_VARS LIBDW_LINK_LIBRARIES VERSION_VAR LIBDW_VERSION)
if(Libdw_FOUND AND NOT TARGET Libdw::Libdw)
    add_library(Libdw::Libdw ALIAS PkgConfig::LIBDW)
endif()
