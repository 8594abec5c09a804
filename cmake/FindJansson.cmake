# Jansson::Jansson.
pkg_check_modules(JANSSON QUIET IMPORTED_TARGET jansson)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Jansson REQUIRED_VARS JANSSON_LINK_LIBRARIES VERSION_VAR JANSSON_VERSION)
if(Jansson_FOUND AND NOT TARGET Jansson::Jansson)
    add_library(Jansson::Jansson ALIAS PkgConfig::JANSSON)
endif()
