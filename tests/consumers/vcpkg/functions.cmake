# Stand-ins for the functions of vcpkg that our portfile calls, in the release configuration only. Arguments
# that vcpkg's own do not have are errors.
cmake_minimum_required(VERSION 3.25)

function(run)
    execute_process(COMMAND ${ARGN} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

function(vcpkg_find_acquire_program variable)
    if(NOT variable STREQUAL "PKGCONFIG")
        message(FATAL_ERROR "vcpkg_find_acquire_program(${variable}) has no stand-in")
    endif()
    find_program(PKGCONFIG pkg-config REQUIRED)
    set(PKGCONFIG ${PKGCONFIG} PARENT_SCOPE)
endfunction()

function(vcpkg_cmake_configure)
    cmake_parse_arguments(PARSE_ARGV 0 arg "DISABLE_PARALLEL_CONFIGURE" "SOURCE_PATH" "OPTIONS;OPTIONS_DEBUG;OPTIONS_RELEASE")
    if(arg_UNPARSED_ARGUMENTS OR NOT arg_SOURCE_PATH)
        message(FATAL_ERROR "vcpkg_cmake_configure(${ARGN})")
    endif()
    run(${CMAKE_COMMAND} -S ${arg_SOURCE_PATH} -B ${CURRENT_BUILDTREES_DIR}/rel -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_FLAGS_RELEASE=-O0
        -DBUILD_SHARED_LIBS=OFF -DCMAKE_INSTALL_PREFIX=${CURRENT_PACKAGES_DIR}
        -DCMAKE_INSTALL_LIBDIR:STRING=lib -DCMAKE_POSITION_INDEPENDENT_CODE=ON ${arg_OPTIONS} ${arg_OPTIONS_RELEASE})
endfunction()

function(vcpkg_cmake_install)
    if(ARGN)
        message(FATAL_ERROR "vcpkg_cmake_install(${ARGN})")
    endif()
    run(${CMAKE_COMMAND} --build ${CURRENT_BUILDTREES_DIR}/rel --target install)
endfunction()

# vcpkg puts the files of find_package() into share/<port> and mends the prefix that they compute.
function(vcpkg_cmake_config_fixup)
    cmake_parse_arguments(PARSE_ARGV 0 arg "" "CONFIG_PATH;PACKAGE_NAME" "")
    if(arg_UNPARSED_ARGUMENTS)
        message(FATAL_ERROR "vcpkg_cmake_config_fixup(${ARGN})")
    endif()
    set(from ${CURRENT_PACKAGES_DIR}/${arg_CONFIG_PATH})
    set(to ${CURRENT_PACKAGES_DIR}/share/${PORT})
    file(GLOB files ${from}/*.cmake)
    if(NOT files)
        message(FATAL_ERROR "no package files in ${from}")
    endif()
    foreach(file IN LISTS files)
        file(READ ${file} text)
        # One level less below the prefix: share/copse instead of lib/cmake/copse.
        string(REPLACE "/../../../\" ABSOLUTE" "/../../\" ABSOLUTE" text "${text}")
        string(REPLACE "get_filename_component(_IMPORT_PREFIX \"\${_IMPORT_PREFIX}\" PATH)\nif(" "if(" text "${text}")
        cmake_path(GET file FILENAME name)
        file(WRITE ${to}/${name} "${text}")
    endforeach()
    file(REMOVE_RECURSE ${from})
endfunction()

function(vcpkg_fixup_pkgconfig)
    if(NOT EXISTS ${CURRENT_PACKAGES_DIR}/lib/pkgconfig/${PORT}.pc)
        message(FATAL_ERROR "no ${PORT}.pc")
    endif()
endfunction()

function(vcpkg_install_copyright)
    cmake_parse_arguments(PARSE_ARGV 0 arg "" "COMMENT" "FILE_LIST")
    if(arg_UNPARSED_ARGUMENTS OR NOT arg_FILE_LIST)
        message(FATAL_ERROR "vcpkg_install_copyright(${ARGN})")
    endif()
    file(COPY_FILE ${arg_FILE_LIST} ${CURRENT_PACKAGES_DIR}/share/${PORT}/copyright)
endfunction()

include(${CURRENT_PORT_DIR}/portfile.cmake)
