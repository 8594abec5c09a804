# grasp_add_module(NAME source… [OPTIONS flag…] [LIBRARIES item…])
# grasp_add_program(NAME source… [OPTIONS flag…] [LIBRARIES item…])
#
# Build a workload module NAME.so in GRASP_MODULE_DIRECTORY, or a program that embeds Grasp in
# CMAKE_RUNTIME_OUTPUT_DIRECTORY, with grasp-cc. They work in Grasp's own build and after
# find_package(grasp). OPTIONS are flags of the compiler (default: -O2 -Wall -Wextra), LIBRARIES are
# words of the linker's line (-lz, a path), and come last on it. The target is called NAME-module or NAME-program and is part of the
# default build. Flags of one source: set_source_files_properties(… PROPERTIES COMPILE_OPTIONS "…").
#
# The compiler is CMAKE_C_COMPILER; CMAKE_C_FLAGS are not used. Of the sanitizers of a build of Grasp's own
# only ThreadSanitizer goes into modules and programs too: without it, it would not see that they synchronise,
# and report races that there are not.

if(NOT DEFINED GRASP_MODULE_DIRECTORY)
    set(GRASP_MODULE_DIRECTORY ${CMAKE_BINARY_DIR}/modules)
endif()

# One object for each source, so that a change compiles one file; their names in `out`.
function(_grasp_objects out folder)
    set(objects)
    set(own)
    if(TARGET grasp-cc)
        set(own grasp-cc)
    endif()
    foreach(source IN LISTS ARGN)
        get_filename_component(path ${source} ABSOLUTE BASE_DIR ${CMAKE_CURRENT_SOURCE_DIR})
        string(MAKE_C_IDENTIFIER ${source} name)
        set(object ${folder}/${name}.o)
        get_source_file_property(extra ${path} COMPILE_OPTIONS)
        if(NOT extra)
            set(extra)
        endif()
        add_custom_command(OUTPUT ${object}
            COMMAND ${CMAKE_COMMAND} -E env GRASP_CC=${CMAKE_C_COMPILER}
                ${GRASP_CC} ${_GRASP_OPTIONS} ${extra} -I${CMAKE_CURRENT_SOURCE_DIR}
                -MD -MF ${object}.d -c ${path} -o ${object}
            DEPENDS ${path} ${own} DEPFILE ${object}.d
            COMMENT "grasp-cc ${source}" COMMAND_EXPAND_LISTS VERBATIM)
        list(APPEND objects ${object})
    endforeach()
    set(${out} ${objects} PARENT_SCOPE)
endfunction()

function(_grasp_link name target output folder link_flags)
    cmake_parse_arguments(arg "" "" "OPTIONS;LIBRARIES" ${ARGN})
    if(NOT arg_UNPARSED_ARGUMENTS)
        message(FATAL_ERROR "grasp: ${name} has no sources")
    endif()
    if(NOT arg_OPTIONS)
        set(arg_OPTIONS -O2 -Wall -Wextra)
    endif()
    if(GRASP_SANITIZE STREQUAL "thread")
        list(APPEND arg_OPTIONS -fsanitize=thread)
    endif()
    set(_GRASP_OPTIONS ${arg_OPTIONS})
    if(TARGET grasp-cc)
        set(GRASP_CC $<TARGET_FILE:grasp-cc>)
    endif()
    file(MAKE_DIRECTORY ${folder})
    get_filename_component(place ${output} DIRECTORY)
    file(MAKE_DIRECTORY ${place})
    _grasp_objects(objects ${folder} ${arg_UNPARSED_ARGUMENTS})
    set(own)
    if(TARGET grasp-cc)
        set(own grasp-cc grasp_module_object ${GRASP_MODULE_OBJECT})
    endif()
    add_custom_command(OUTPUT ${output}
        COMMAND ${CMAKE_COMMAND} -E env GRASP_CC=${CMAKE_C_COMPILER}
            ${GRASP_CC} ${arg_OPTIONS} ${link_flags} -o ${output} ${objects} ${arg_LIBRARIES}
        DEPENDS ${objects} ${own}
        COMMENT "grasp-cc -o ${name}" COMMAND_EXPAND_LISTS VERBATIM)
    add_custom_target(${target} ALL DEPENDS ${output})
    # The libraries have to be there; a change in them is no reason to link again.
    foreach(library IN ITEMS grasp grasp_server)
        if(TARGET ${library})
            add_dependencies(${target} ${library})
        endif()
    endforeach()
endfunction()

function(grasp_add_module name)
    _grasp_link(${name} ${name}-module ${GRASP_MODULE_DIRECTORY}/${name}.so
        ${CMAKE_CURRENT_BINARY_DIR}/${name}-module.dir "" ${ARGN})
endfunction()

function(grasp_add_program name)
    # A runtime built with a sanitizer wants the sanitizer's library loaded first.
    set(sanitizer)
    if(GRASP_SANITIZE)
        set(sanitizer -fsanitize=${GRASP_SANITIZE})
    endif()
    if(CMAKE_RUNTIME_OUTPUT_DIRECTORY)
        set(place ${CMAKE_RUNTIME_OUTPUT_DIRECTORY})
    else()
        set(place ${CMAKE_CURRENT_BINARY_DIR})
    endif()
    _grasp_link(${name} ${name}-program ${place}/${name}
        ${CMAKE_CURRENT_BINARY_DIR}/${name}-program.dir "${sanitizer}" ${ARGN})
endfunction()
