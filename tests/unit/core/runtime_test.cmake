# How the programs of unit/core and stress are built. Whichever folder comes first makes the library.
find_library(CMOCKA_LIBRARY cmocka REQUIRED)
if(NOT TARGET grasp_test_cmocka)
    add_library(grasp_test_cmocka SHARED ${CMAKE_CURRENT_LIST_DIR}/cmocka_shim.c)
    target_compile_definitions(grasp_test_cmocka PRIVATE CMOCKA_PATH="${CMOCKA_LIBRARY}")
    target_link_libraries(grasp_test_cmocka PRIVATE ${CMAKE_DL_LIBS})
endif()

# grasp_add_runtime_test(NAME source…): the program test_NAME, whose cases need a runtime; also used by tests/stress.
function(grasp_add_runtime_test name)
    cmake_parse_arguments(arg "" "" "OPTIONS" ${ARGN})
    set(here ${PROJECT_SOURCE_DIR}/tests/unit/core)
    grasp_add_program(test_${name} ${arg_UNPARSED_ARGUMENTS} ${here}/harness.c
        OPTIONS ${arg_OPTIONS} -O2 -g -Wall -Wextra -D_GNU_SOURCE -I${here}
        LIBRARIES $<TARGET_FILE:grasp_test_cmocka> -Wl,-rpath,$<TARGET_FILE_DIR:grasp_test_cmocka>
            -pthread)
    add_dependencies(test_${name}-program grasp_test_cmocka)
endfunction()
