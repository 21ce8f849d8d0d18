# sky_check_headers(TARGET): compiles each header of the target's folder alone, included twice.
function(sky_check_headers target)
  file(GLOB_RECURSE headers RELATIVE "${CMAKE_SOURCE_DIR}" CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/*.h")
  set(sources "")
  foreach(header IN LISTS headers)
    string(MAKE_C_IDENTIFIER "${header}" name)
    set(source "${CMAKE_CURRENT_BINARY_DIR}/header_check/${name}.c")
    file(CONFIGURE OUTPUT "${source}" CONTENT
      "#include \"${header}\"\n#include \"${header}\"\nextern int sky_header_check_${name};\nint sky_header_check_${name};\n")
    list(APPEND sources "${source}")
  endforeach()
  add_library(${target}_headers OBJECT ${sources})
  target_link_libraries(${target}_headers PRIVATE ${target})
endfunction()
