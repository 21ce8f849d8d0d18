# sky_embed_texts(TARGET DIRECTORY): each text file there becomes an array of its lines, ended by
# NULL, in a generated source of the target: tls.md in proxy/config/reference is
# `const char *const sky_reference_tls[]`. Arrays of lines, since C promises no longer literals than
# 4095 bytes.
function(sky_embed_texts target directory)
  file(GLOB texts CONFIGURE_DEPENDS "${directory}/*")
  get_filename_component(group "${directory}" NAME)
  set(source "${CMAKE_CURRENT_BINARY_DIR}/${group}_texts.c")
  set(code "/* Made by cmake/EmbedText.cmake from the texts beside it. */\n")
  foreach(text IN LISTS texts)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${text}")
    get_filename_component(name "${text}" NAME_WE)
    file(READ "${text}" content)
    string(REPLACE "\\" "\\\\" content "${content}")
    string(REPLACE "\"" "\\\"" content "${content}")
    string(REPLACE "\n" "\\n\",\n    \"" content "${content}")
    string(APPEND code "extern const char *const sky_${group}_${name}[];\n"
                       "const char *const sky_${group}_${name}[] = {\n    \"${content}\", 0};\n")
  endforeach()
  file(CONFIGURE OUTPUT "${source}" CONTENT "${code}" @ONLY)
  target_sources(${target} PRIVATE "${source}")
endfunction()
