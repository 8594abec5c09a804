# Warnings, sanitizers and the architecture folder, in one place.
add_library(grasp_options INTERFACE)
target_compile_options(grasp_options INTERFACE
    $<$<COMPILE_LANGUAGE:C>:-Wall -Wextra -Wvla -Wshadow -Wstrict-prototypes -Wmissing-prototypes
    -Wpointer-arith -Wno-unused-parameter -fno-strict-aliasing -fno-omit-frame-pointer>)
target_compile_definitions(grasp_options INTERFACE _GNU_SOURCE)
if(GRASP_WERROR)
    target_compile_options(grasp_options INTERFACE -Werror)
endif()
if(GRASP_SANITIZE)
    # A report ends the program: one that is only printed would let its test pass.
    target_compile_options(grasp_options INTERFACE
        -fsanitize=${GRASP_SANITIZE} -fno-sanitize-recover=all -g)
    target_link_options(grasp_options INTERFACE -fsanitize=${GRASP_SANITIZE})
endif()

if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|amd64|AMD64)$")
    set(GRASP_ARCH x86_64)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64)$")
    set(GRASP_ARCH arm64)
endif()
if(NOT IS_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR}/arch/${GRASP_ARCH} OR NOT GRASP_ARCH)
    message(FATAL_ERROR "Grasp has no arch/ folder for ${CMAKE_SYSTEM_PROCESSOR}")
endif()
