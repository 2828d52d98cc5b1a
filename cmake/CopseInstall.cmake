# Install rules: the headers, the libraries and a package for find_package(copse).
include(CMakePackageConfigHelpers)

set(copse_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/copse)
set(copse_installed copse_asio copse_all)
foreach(component IN LISTS copse_components)
    list(APPEND copse_installed copse_${component})
endforeach()

install(TARGETS ${copse_installed} EXPORT copse-targets
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
        INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(DIRECTORY include/copse ${copse_generated_dir}/include/copse
        DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
        FILES_MATCHING PATTERN "*.hpp" PATTERN "*.ipp")
install(EXPORT copse-targets NAMESPACE copse:: DESTINATION ${copse_package_dir})

configure_package_config_file(cmake/copse-config.cmake.in
    ${PROJECT_BINARY_DIR}/copse-config.cmake INSTALL_DESTINATION ${copse_package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/copse-config-version.cmake
    COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/copse-config.cmake ${PROJECT_BINARY_DIR}/copse-config-version.cmake
        DESTINATION ${copse_package_dir})
