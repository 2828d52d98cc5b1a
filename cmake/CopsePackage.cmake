# Debian packages by CPack, of whatever the install rules install: component `runtime` is the package
# copse, component `dev` is libcopse-dev. tools/deb builds and checks them.
find_program(COPSE_DPKG dpkg)
mark_as_advanced(COPSE_DPKG)
if(NOT COPSE_DPKG)
    return()
endif()

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME copse)
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "")  # each package has its own
set(CPACK_PACKAGE_CONTACT "copse maintainers <maintainers@example.org>" CACHE STRING "Maintainer field of packages")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
    OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_ALL runtime dev)
set(CPACK_PRE_BUILD_SCRIPTS ${PROJECT_SOURCE_DIR}/cmake/CopsePackageFiles.cmake)

set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_NAME copse)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SECTION net)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_RUNTIME_DESCRIPTION
"send files and folders between machines, verified as they stream
A sender prints a ticket; whoever has it connects directly, over QUIC with
both sides authenticated, and receives a file or a folder. Every byte is
checked against its BLAKE3 hash before it is written. Transfers that were
interrupted go on where they were.")
set(CPACK_DEBIAN_DEV_PACKAGE_NAME libcopse-dev)
set(CPACK_DEBIAN_DEV_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEV_DESCRIPTION
"peer-to-peer transfer for C++20 coroutines - development files
A toolkit for programs that move data between machines: QUIC endpoints with
Ed25519 identities, verified streaming of blobs by their BLAKE3 hashes, and
stores that resume. Headers and static libraries, for CMake (find_package)
and pkg-config.")

# Static libraries name nothing that dpkg-shlibdeps could read: what they need are the packages that hold
# the headers and pkg-config files which this build found.
set(copse_deb_files ${COPSE_ASIO_INCLUDE_DIR}/asio/version.hpp
    ${COPSE_OUTCOME_INCLUDE_DIR}/boost/outcome/std_result.hpp)
foreach(module IN LISTS copse_pkg_config)
    pkg_get_variable(directory ${module} pcfiledir)
    list(APPEND copse_deb_files ${directory}/${module}.pc)
endforeach()
set(copse_deb_depends "")
foreach(file IN LISTS copse_deb_files)
    execute_process(COMMAND dpkg-query --search ${file} OUTPUT_VARIABLE owner ERROR_QUIET)
    if(owner MATCHES "^([a-z0-9.+-]+)(:[a-z0-9]+)?:")
        set(owner ${CMAKE_MATCH_1})
        execute_process(COMMAND dpkg-query --show --showformat "\${Version}\n" ${owner} OUTPUT_VARIABLE version)
        string(REGEX REPLACE "(-[^-\n]*)?\n.*" "" version "${version}")
        list(APPEND copse_deb_depends "${owner} (>= ${version})")
    endif()
endforeach()
list(REMOVE_DUPLICATES copse_deb_depends)
list(APPEND copse_deb_depends "pkgconf | pkg-config")
list(JOIN copse_deb_depends ", " CPACK_DEBIAN_DEV_PACKAGE_DEPENDS)

execute_process(COMMAND ${COPSE_DPKG} --print-architecture
                OUTPUT_VARIABLE CPACK_DEBIAN_PACKAGE_ARCHITECTURE OUTPUT_STRIP_TRAILING_WHITESPACE)
set(CPACK_COPSE_SOURCE_DIR ${PROJECT_SOURCE_DIR})
include(CPack)
