# Flags of every target of ours, by way of one interface target.
add_library(sky_compile INTERFACE)
target_compile_features(sky_compile INTERFACE c_std_11)
# _GNU_SOURCE: h2o.h uses struct addrinfo, which strict C11 hides.
target_compile_definitions(sky_compile INTERFACE _GNU_SOURCE SKY_VERSION="${PROJECT_VERSION}")
target_compile_options(sky_compile INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wformat=2
  -Wpointer-arith -Wcast-qual -Wvla -Werror -fno-common -fstack-protector-strong)
target_include_directories(sky_compile INTERFACE "${CMAKE_SOURCE_DIR}" "${CMAKE_BINARY_DIR}")

if(SKY_SANITIZER)
  target_compile_options(sky_compile INTERFACE
    -fsanitize=${SKY_SANITIZER} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(sky_compile INTERFACE -fsanitize=${SKY_SANITIZER})
else()
  target_compile_options(sky_compile INTERFACE $<$<CONFIG:Release>:-D_FORTIFY_SOURCE=2>)
endif()
if(SKY_FUZZ)
  # Coverage of our own code is what steers libFuzzer; the fuzzers themselves link its main.
  target_compile_options(sky_compile INTERFACE -fsanitize=fuzzer-no-link)
  target_link_options(sky_compile INTERFACE -fsanitize=fuzzer-no-link)
endif()
# Every build keeps assert(): a broken invariant must stop the process, not corrupt a request, and the
# fuzzers judge by it.
foreach(config RELEASE RELWITHDEBINFO)
  string(REPLACE "-DNDEBUG" "" CMAKE_C_FLAGS_${config} "${CMAKE_C_FLAGS_${config}}")
endforeach()
