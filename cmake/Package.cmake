# The Debian package: cpack -G DEB in the build folder, or ./dev package.
set(CPACK_GENERATOR DEB TGZ)
set(CPACK_PACKAGE_NAME skystitch)
set(CPACK_PACKAGE_VENDOR "SkyStitch")
set(CPACK_PACKAGE_CONTACT "the SkyStitch authors <skystitch@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "reverse proxy that traces Flask and Django for SkyWalking")
set(CPACK_RESOURCE_FILE_LICENSE "${CMAKE_SOURCE_DIR}/LICENSE")
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION httpd)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_STRIP_FILES ON)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
# dpkg asks before it replaces what the operator has changed.
file(WRITE "${CMAKE_BINARY_DIR}/conffiles" "/etc/skystitch/skystitch.yaml\n")
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA "${CMAKE_BINARY_DIR}/conffiles")

install(FILES conf/skystitch.yaml DESTINATION /etc/skystitch)
install(FILES conf/skystitch-full.yaml README.md CHANGELOG.md docs/reference.md
        DESTINATION "${CMAKE_INSTALL_DOCDIR}")
include(CPack)
