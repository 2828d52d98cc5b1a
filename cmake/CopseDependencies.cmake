# What copse needs from the system, found once. Nothing is downloaded.

set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)

find_path(COPSE_ASIO_INCLUDE_DIR asio/version.hpp REQUIRED)
find_path(COPSE_OUTCOME_INCLUDE_DIR boost/outcome/std_result.hpp REQUIRED)
mark_as_advanced(COPSE_ASIO_INCLUDE_DIR COPSE_OUTCOME_INCLUDE_DIR)

file(STRINGS ${COPSE_ASIO_INCLUDE_DIR}/asio/version.hpp copse_asio_version
     REGEX "^#define ASIO_VERSION [0-9]+")
string(REGEX MATCH "[0-9]+" copse_asio_version "${copse_asio_version}")
if(copse_asio_version LESS 102201)
    message(FATAL_ERROR "copse needs Asio 1.22.1 or newer; ${COPSE_ASIO_INCLUDE_DIR} has ${copse_asio_version}")
endif()

# Warnings for our own code, never for its users.
add_library(copse_warnings INTERFACE)
target_compile_options(copse_warnings INTERFACE
    -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wnon-virtual-dtor
    $<$<BOOL:${COPSE_WERROR}>:-Werror>)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # Asio's frame allocator is taken for a mismatch (g++ 12 and 14).
    target_compile_options(copse_warnings INTERFACE -Wno-mismatched-new-delete)
    if(CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
        # With optimisation g++ 12 sees overflows inside std::vector::insert and std::string that cannot
        # happen, and reads of the members that a std::variant does not hold. The sanitizers watch the
        # same places.
        target_compile_options(copse_warnings INTERFACE
            -Wno-stringop-overflow -Wno-stringop-overread -Wno-array-bounds -Wno-restrict
            -Wno-maybe-uninitialized)
    endif()
endif()

# copse/config.hpp records how Asio is used, so that core/asio.hpp can reject a mixture.
set(copse_generated_dir ${PROJECT_BINARY_DIR}/generated)
if(COPSE_ASIO STREQUAL "separate")
    set(COPSE_CONFIG_ASIO_HEADER_ONLY 0)
elseif(COPSE_ASIO STREQUAL "header-only")
    set(COPSE_CONFIG_ASIO_HEADER_ONLY 1)
else()
    message(FATAL_ERROR "COPSE_ASIO is '${COPSE_ASIO}': use separate or header-only")
endif()
configure_file(cmake/config.hpp.in ${copse_generated_dir}/include/copse/config.hpp @ONLY)

if(COPSE_CONFIG_ASIO_HEADER_ONLY)
    add_library(copse_asio INTERFACE)
    set(copse_asio_scope INTERFACE)
else()
    file(CONFIGURE OUTPUT ${copse_generated_dir}/asio.cpp CONTENT "#include <cstddef>\n#include <asio/impl/src.hpp>\n")
    add_library(copse_asio STATIC ${copse_generated_dir}/asio.cpp)
    set(copse_asio_scope PUBLIC)
    target_compile_definitions(copse_asio PUBLIC ASIO_SEPARATE_COMPILATION)
endif()
add_library(copse::asio ALIAS copse_asio)
set_target_properties(copse_asio PROPERTIES EXPORT_NAME asio)
target_compile_features(copse_asio ${copse_asio_scope} cxx_std_20)
target_compile_definitions(copse_asio ${copse_asio_scope} ASIO_STANDALONE)
# Asio looks for this before it has included any standard header, so that the first include row of a file
# would decide; two files of one program that decide differently corrupt the heap.
target_compile_definitions(copse_asio ${copse_asio_scope} ASIO_HAS_STD_ALIGNED_ALLOC=1)
if(copse_asio_version LESS 102400)
    # Asio before 1.24 looks for the coroutines TS when the compiler is clang.
    target_compile_definitions(copse_asio ${copse_asio_scope}
        $<$<CXX_COMPILER_ID:Clang>:ASIO_HAS_CO_AWAIT=1>
        $<$<CXX_COMPILER_ID:Clang>:ASIO_HAS_STD_COROUTINE=1>)
endif()
foreach(directory IN ITEMS ${COPSE_ASIO_INCLUDE_DIR} ${COPSE_OUTCOME_INCLUDE_DIR})
    # Naming a directory that the compiler searches anyway would only disturb its order.
    if(NOT directory IN_LIST CMAKE_CXX_IMPLICIT_INCLUDE_DIRECTORIES)
        target_include_directories(copse_asio SYSTEM ${copse_asio_scope} $<BUILD_INTERFACE:${directory}>)
    endif()
endforeach()
target_link_libraries(copse_asio ${copse_asio_scope} Threads::Threads)
