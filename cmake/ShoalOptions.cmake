# How everything of ours is compiled.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)

option(SHOAL_ASAN "Build with AddressSanitizer and UndefinedBehaviorSanitizer" OFF)
option(SHOAL_TSAN "Build with ThreadSanitizer" OFF)
option(SHOAL_FUZZ "Build for libFuzzer, with AddressSanitizer and UndefinedBehaviorSanitizer (clang)" OFF)

find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
endif()

add_library(shoal_options INTERFACE)
target_compile_options(shoal_options INTERFACE -Wall -Wextra -Wpedantic -Wno-missing-field-initializers
  $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>)  # g++ 12 warns of std::string + std::string (GCC bug 105329)
if(SHOAL_ASAN)
  target_compile_options(shoal_options INTERFACE -fsanitize=address,undefined -fno-omit-frame-pointer
                                                 -fno-sanitize-recover=undefined)
  target_link_options(shoal_options INTERFACE -fsanitize=address,undefined)
elseif(SHOAL_FUZZ)
  target_compile_options(shoal_options INTERFACE -fsanitize=fuzzer-no-link,address,undefined -fno-omit-frame-pointer
                                                 -fno-sanitize-recover=undefined)
  target_link_options(shoal_options INTERFACE -fsanitize=address,undefined)
elseif(SHOAL_TSAN)
  target_compile_options(shoal_options INTERFACE -fsanitize=thread)
  target_link_options(shoal_options INTERFACE -fsanitize=thread)
endif()
