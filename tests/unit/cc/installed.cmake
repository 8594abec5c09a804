# Installs libgrasp and grasp-cc into a prefix, moves the prefix, and builds a module and a program there by
# find_package(grasp), with nothing of the build tree in reach.
function(run)
    execute_process(COMMAND ${ARGN} RESULT_VARIABLE code OUTPUT_VARIABLE out ERROR_VARIABLE out)
    if(NOT code EQUAL 0)
        message(FATAL_ERROR "${ARGN}\nended with ${code}:\n${out}")
    endif()
endfunction()

file(REMOVE_RECURSE ${WORK})
foreach(part core tools)
    run(${CMAKE_COMMAND} -DCMAKE_INSTALL_PREFIX=${WORK}/first -P ${BUILD}/${part}/cmake_install.cmake)
endforeach()
file(RENAME ${WORK}/first ${WORK}/moved)
run(${CMAKE_COMMAND} -G ${GENERATOR} -S ${PROJECT} -B ${WORK}/build -DCMAKE_C_COMPILER=${CC}
    -DCMAKE_PREFIX_PATH=${WORK}/moved -DPROGRAM_FLAGS=${PROGRAM_FLAGS})
run(${CMAKE_COMMAND} --build ${WORK}/build)
run(${WORK}/build/answer)
if(NOT EXISTS ${WORK}/build/modules/greeting.so)
    message(FATAL_ERROR "the module is not where GraspModule.cmake says")
endif()
file(STRINGS ${WORK}/moved/${LIBDIR}/pkgconfig/grasp.pc lines REGEX "^grasp_cc=")
if(NOT lines STREQUAL "grasp_cc=\${prefix}/${BINDIR}/grasp-cc")
    message(FATAL_ERROR "grasp.pc does not name grasp-cc: ${lines}")
endif()

# grasp.pc names what is there, and gdb's script lies where gdb looks for that of the library that was installed.
set(ENV{PKG_CONFIG_PATH} ${WORK}/moved/${LIBDIR}/pkgconfig)
set(variables prefix includedir libdir)
set(files ${BINDIR}/grasp-cc grasp/server.h libgrasp.so)
foreach(variable below IN ZIP_LISTS variables files)
    execute_process(COMMAND pkg-config --variable=${variable} grasp
        OUTPUT_VARIABLE path OUTPUT_STRIP_TRAILING_WHITESPACE)
    if(NOT path OR NOT EXISTS ${path}/${below})
        message(FATAL_ERROR "grasp.pc: ${variable} is \"${path}\", where ${below} is not")
    endif()
endforeach()
if(NOT EXISTS ${WORK}/moved/share/gdb/auto-load${WORK}/first/${LIBDIR}/libgrasp.so.1-gdb.py)
    message(FATAL_ERROR "gdb's script is not where gdb looks")
endif()

# The same for a prefix that is given from the working directory, and for one below DESTDIR.
run(${CMAKE_COMMAND} -E chdir ${WORK}
    ${CMAKE_COMMAND} -DCMAKE_INSTALL_PREFIX=near -P ${BUILD}/tools/cmake_install.cmake)
run(${CMAKE_COMMAND} -E env DESTDIR=${WORK}/root
    ${CMAKE_COMMAND} -DCMAKE_INSTALL_PREFIX=/usr -P ${BUILD}/tools/cmake_install.cmake)
foreach(script near/share/gdb/auto-load${WORK}/near/${LIBDIR} root/usr/share/gdb/auto-load/usr/${LIBDIR})
    if(NOT EXISTS ${WORK}/${script}/libgrasp.so.1-gdb.py)
        message(FATAL_ERROR "gdb's script is not in ${script}")
    endif()
endforeach()
file(REMOVE_RECURSE ${WORK})
