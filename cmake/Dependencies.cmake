find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(CURL 7.88 REQUIRED)
pkg_check_modules(H2O REQUIRED IMPORTED_TARGET libh2o-evloop)
pkg_check_modules(OPENSSL REQUIRED IMPORTED_TARGET openssl)
pkg_check_modules(PROTOBUF_C REQUIRED IMPORTED_TARGET libprotobuf-c)
pkg_check_modules(YAML REQUIRED IMPORTED_TARGET yaml-0.1)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
find_program(PROTOC_C protoc-c REQUIRED)

# The .pc of libh2o-evloop names no definition; without this one h2o.h asks for libuv.
add_library(sky_h2o INTERFACE)
target_compile_definitions(sky_h2o INTERFACE H2O_USE_LIBUV=0 H2O_USE_EPOLL=1)
target_link_libraries(sky_h2o INTERFACE PkgConfig::H2O PkgConfig::OPENSSL Threads::Threads)
