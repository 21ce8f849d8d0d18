# sky_add_unit_test(NAME folder.module SOURCES ... LINK ...): one cmocka program, run by ctest under that name.
pkg_check_modules(BROTLIDEC IMPORTED_TARGET libbrotlidec)
pkg_check_modules(CMOCKA IMPORTED_TARGET cmocka)
function(sky_add_unit_test)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "NAME" "SOURCES;LINK")
  string(REPLACE "." "_" target "test_${arg_NAME}")
  add_executable(${target} ${arg_SOURCES})
  target_link_libraries(${target} PRIVATE ${arg_LINK} sky_compile PkgConfig::CMOCKA)
  target_compile_definitions(${target} PRIVATE SKY_TESTS_DIR="${CMAKE_SOURCE_DIR}/tests")
  add_test(NAME ${arg_NAME} COMMAND ${target})
  set_tests_properties(${arg_NAME} PROPERTIES ENVIRONMENT
    "LSAN_OPTIONS=suppressions=${CMAKE_SOURCE_DIR}/tests/suppressions/lsan.supp:print_suppressions=0")
endfunction()
