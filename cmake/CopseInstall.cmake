# Install rules: component `dev` has headers, libraries, and the packages for find_package(copse) and
# pkg-config; component `runtime` the program with what belongs to it.
include(CMakePackageConfigHelpers)
set(CMAKE_INSTALL_DEFAULT_COMPONENT_NAME runtime)

set(copse_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/copse)
set(copse_installed copse_asio copse_all)
foreach(component IN LISTS copse_components)
    list(APPEND copse_installed copse_${component})
endforeach()

install(TARGETS ${copse_installed} EXPORT copse-targets
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT dev
        INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(DIRECTORY include/copse ${copse_generated_dir}/include/copse
        DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT dev
        FILES_MATCHING PATTERN "*.hpp" PATTERN "*.ipp")
install(EXPORT copse-targets NAMESPACE copse:: DESTINATION ${copse_package_dir} COMPONENT dev)

configure_package_config_file(cmake/copse-config.cmake.in
    ${PROJECT_BINARY_DIR}/copse-config.cmake INSTALL_DESTINATION ${copse_package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/copse-config-version.cmake
    COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/copse-config.cmake ${PROJECT_BINARY_DIR}/copse-config-version.cmake
        DESTINATION ${copse_package_dir} COMPONENT dev)

# copse.pc finds its prefix from its own place, so that an installed tree can be moved.
file(RELATIVE_PATH copse_pc_prefix /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
set(copse_pc_prefix "\${pcfiledir}/${copse_pc_prefix}")
string(REGEX REPLACE "/$" "" copse_pc_prefix "${copse_pc_prefix}")
# A linker reads archives from left to right: users before what they use.
set(copse_pc_libs "")
foreach(target IN LISTS copse_installed)
    get_target_property(type ${target} TYPE)
    if(type STREQUAL "STATIC_LIBRARY" AND NOT target STREQUAL "copse_asio")
        list(PREPEND copse_pc_libs -l${target})
    endif()
endforeach()
if(NOT COPSE_CONFIG_ASIO_HEADER_ONLY)
    list(APPEND copse_pc_libs -lcopse_asio)
endif()
list(APPEND copse_pc_libs -pthread)
list(JOIN copse_pc_libs " " copse_pc_libs)
get_target_property(copse_pc_cflags copse_asio INTERFACE_COMPILE_DEFINITIONS)
# Which compiler will read the file is not known here; what helps clang does not hurt others.
list(TRANSFORM copse_pc_cflags REPLACE "^\\$<\\$<CXX_COMPILER_ID:Clang>:(.*)>$" "\\1")
list(TRANSFORM copse_pc_cflags PREPEND -D)
list(APPEND copse_pc_cflags -pthread)
list(JOIN copse_pc_cflags " " copse_pc_cflags)
list(JOIN copse_pkg_config ", " copse_pc_requires)
configure_file(cmake/copse.pc.in ${PROJECT_BINARY_DIR}/copse.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/copse.pc
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT dev)
