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
  # Release builds keep assert(): a broken invariant must stop the process, not corrupt a request.
  target_compile_options(sky_compile INTERFACE $<$<CONFIG:Release>:-D_FORTIFY_SOURCE=2>)
endif()
string(REPLACE "-DNDEBUG" "" CMAKE_C_FLAGS_RELEASE "${CMAKE_C_FLAGS_RELEASE}")
