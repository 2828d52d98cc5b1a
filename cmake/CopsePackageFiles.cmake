# Run by CPack between installing a component and packing it: what Debian's policy asks of the files.
# The directories of all components are below CPACK_TEMPORARY_DIRECTORY.

set(days Sun Mon Tue Wed Thu Fri Sat)
set(months Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec)

foreach(component IN ITEMS runtime dev)
    string(TOUPPER ${component} upper)
    set(package ${CPACK_DEBIAN_${upper}_PACKAGE_NAME})
    set(usr ${CPACK_TEMPORARY_DIRECTORY}/${component}/usr)
    if(NOT EXISTS ${usr})
        message(FATAL_ERROR "nothing was installed for the package ${package}: ${usr} is missing")
    endif()
    set(doc ${usr}/share/doc/${package})
    file(MAKE_DIRECTORY ${doc})

    file(READ ${CPACK_COPSE_SOURCE_DIR}/LICENSE license)
    string(STRIP "${license}" license)
    string(REGEX REPLACE "\n\n" "\n.\n" license "${license}")
    string(REGEX REPLACE "\n" "\n " license "${license}")
    file(CONFIGURE OUTPUT ${doc}/copyright @ONLY CONTENT
"Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: copse

Files: *
Copyright: 2026 the copse contributors
License: BSL-1.0

License: BSL-1.0
 @license@
")

    # The changelog in Debian's format: the items of CHANGELOG.md below the headings that they have there.
    file(STRINGS ${CPACK_COPSE_SOURCE_DIR}/CHANGELOG.md lines)
    set(changes "")
    foreach(line IN LISTS lines)
        if(line MATCHES "^### (.*)")
            string(APPEND changes "\n  [ ${CMAKE_MATCH_1} ]\n")
        elseif(line MATCHES "^- (.*)")
            string(APPEND changes "  * ${CMAKE_MATCH_1}\n")
        elseif(line MATCHES "^  ([^ ].*)")
            string(APPEND changes "    ${CMAKE_MATCH_1}\n")
        endif()
    endforeach()
    string(TIMESTAMP day "%w" UTC)
    string(TIMESTAMP month "%m" UTC)
    list(GET days ${day} day)
    math(EXPR month "${month} - 1")
    list(GET months ${month} month)
    string(TIMESTAMP date "${day}, %d ${month} %Y %H:%M:%S +0000" UTC)
    file(WRITE ${doc}/changelog "${changes}")
    execute_process(COMMAND fmt --tagged-paragraph --width=79 ${doc}/changelog
                    OUTPUT_VARIABLE changes COMMAND_ERROR_IS_FATAL ANY)
    file(WRITE ${doc}/changelog
         "copse (${CPACK_PACKAGE_VERSION}) unstable; urgency=medium\n${changes}\n -- ${CPACK_PACKAGE_CONTACT}  ${date}\n")
    file(CHMOD ${doc}/copyright ${doc}/changelog PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ WORLD_READ)

    file(GLOB pages ${usr}/share/man/man*/*)
    list(FILTER pages EXCLUDE REGEX "\\.gz$")
    execute_process(COMMAND gzip -9nf ${doc}/changelog ${pages} COMMAND_ERROR_IS_FATAL ANY)
    file(GLOB_RECURSE archives ${usr}/lib/*.a)
    if(archives)
        execute_process(COMMAND strip --strip-unneeded --remove-section=.comment
                        --remove-section=.note --enable-deterministic-archives ${archives} COMMAND_ERROR_IS_FATAL ANY)
    endif()
endforeach()
