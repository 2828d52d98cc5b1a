# Every fuzz target once more as an ordinary test over its corpus and its old crashes, with any compiler.
file(GLOB copse_fuzz_files CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*/*_fuzz.cpp)
foreach(file IN LISTS copse_fuzz_files)
    cmake_path(GET file STEM name)
    string(REGEX REPLACE "_fuzz$" "" name ${name})
    cmake_path(GET file PARENT_PATH folder)
    cmake_path(GET folder FILENAME folder)
    set(target copse_replay_${folder}_${name})
    add_executable(${target} ${file} ${CMAKE_CURRENT_LIST_DIR}/replay.cpp)
    target_link_libraries(${target} PRIVATE copse::${folder} copse::sim copse_warnings)
    add_test(NAME replay_${folder}_${name}
             COMMAND ${target} ${CMAKE_CURRENT_LIST_DIR}/corpus/${folder}_${name}
                     ${CMAKE_CURRENT_LIST_DIR}/crashes/${folder}_${name})
    set_tests_properties(replay_${folder}_${name} PROPERTIES LABELS unit TIMEOUT 300)
endforeach()
