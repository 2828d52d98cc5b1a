# copse_component(<name> ROW <n> [NEEDS <component>...] [PKG_CONFIG <module>...])
#
# Defines copse::<name> when include/copse/<name> has headers. With an <name>/src.hpp it is a static
# library whose only source is a generated file that includes it; without one, an interface library.
# ROW is the height in the tree of folders (docs/architecture.md): tools/check/includes reads this
# table too. NEEDS lists the components below whose headers the folder may include. PKG_CONFIG modules
# are linked privately: no public header includes theirs.
set(copse_components "")
set(copse_pkg_config "")

function(copse_component name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "ROW" "NEEDS;PKG_CONFIG")
    if(arg_UNPARSED_ARGUMENTS)
        message(FATAL_ERROR "copse_component(${name}): ${arg_UNPARSED_ARGUMENTS}?")
    endif()
    set(folder ${PROJECT_SOURCE_DIR}/include/copse/${name})
    file(GLOB headers CONFIGURE_DEPENDS ${folder}/*.hpp)
    if(NOT headers)
        return()
    endif()

    set(target copse_${name})
    if(${folder}/src.hpp IN_LIST headers)
        set(source ${copse_generated_dir}/${name}.cpp)
        file(CONFIGURE OUTPUT ${source} CONTENT "#include <copse/${name}/src.hpp>\n")
        add_library(${target} STATIC ${source})
        target_link_libraries(${target} PRIVATE $<BUILD_INTERFACE:copse_warnings>)
        set(scope PUBLIC)
    else()
        add_library(${target} INTERFACE)
        set(scope INTERFACE)
    endif()
    add_library(copse::${name} ALIAS ${target})
    set_target_properties(${target} PROPERTIES EXPORT_NAME ${name})
    target_compile_features(${target} ${scope} cxx_std_20)
    target_include_directories(${target} ${scope}
        $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
        $<BUILD_INTERFACE:${copse_generated_dir}/include>
        $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)

    target_link_libraries(${target} ${scope} copse::asio)
    foreach(needed IN LISTS arg_NEEDS)
        if(TARGET copse_${needed})
            target_link_libraries(${target} ${scope} copse::${needed})
        endif()
    endforeach()

    if(arg_PKG_CONFIG AND scope STREQUAL "PUBLIC")
        foreach(module IN LISTS arg_PKG_CONFIG)
            string(MAKE_C_IDENTIFIER "copse_pc_${module}" prefix)
            pkg_check_modules(${prefix} REQUIRED IMPORTED_TARGET GLOBAL ${module})
            target_link_libraries(${target} PRIVATE PkgConfig::${prefix})
        endforeach()
        list(APPEND copse_pkg_config ${arg_PKG_CONFIG})
        list(REMOVE_DUPLICATES copse_pkg_config)
        set(copse_pkg_config ${copse_pkg_config} PARENT_SCOPE)
    endif()
    set(copse_components ${copse_components} ${name} PARENT_SCOPE)
endfunction()
