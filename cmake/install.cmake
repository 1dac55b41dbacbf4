# SPDX-License-Identifier: MIT
# What `cmake --install` lays down: library, headers, pkg-config file, CMake package, program, manual, completions, default model.
include(CMakePackageConfigHelpers)

install(TARGETS kquant_shared EXPORT kquant LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/kquant DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
install(FILES LICENSE README.md DESTINATION ${CMAKE_INSTALL_DOCDIR})

# The .pc file finds its prefix from where it lies, so that an installed tree may be moved.
file(RELATIVE_PATH KQ_PC_UP /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
configure_file(cmake/kquant.pc.in kquant.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/kquant.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

set(package ${CMAKE_INSTALL_LIBDIR}/cmake/kquant)
install(EXPORT kquant NAMESPACE kquant:: FILE kquantConfig.cmake DESTINATION ${package})
write_basic_package_version_file(kquantConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/kquantConfigVersion.cmake DESTINATION ${package})

if(TARGET kquant)
  install(TARGETS kquant RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  install(DIRECTORY models/ DESTINATION ${CMAKE_INSTALL_DATADIR}/kquant FILES_MATCHING PATTERN "*.gguf")
  # The program writes its own manual and completions, from the tables that it parses with.
  set(generated ${CMAKE_BINARY_DIR}/generated)
  file(MAKE_DIRECTORY ${generated})
  add_custom_command(OUTPUT ${generated}/kquant.1 ${generated}/kquant.bash ${generated}/_kquant ${generated}/kquant.fish
      COMMAND kquant help --man > ${generated}/kquant.1
      COMMAND kquant completion bash > ${generated}/kquant.bash
      COMMAND kquant completion zsh > ${generated}/_kquant
      COMMAND kquant completion fish > ${generated}/kquant.fish
      DEPENDS kquant)
  add_custom_target(manual ALL DEPENDS ${generated}/kquant.1)
  install(FILES ${generated}/kquant.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
  install(FILES ${generated}/kquant.bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME kquant)
  install(FILES ${generated}/_kquant DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
  install(FILES ${generated}/kquant.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
endif()
