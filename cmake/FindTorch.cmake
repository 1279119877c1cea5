# LibTorch out of the PyPI wheel: only libtorch_cpu and libc10 are linked; libtorch_cuda is loaded at run time where
# there is a GPU. Gives Torch::cpu. The wheel's include folder carries an old, partial google/protobuf and must come
# after the system's: -idirafter.
set(SHOAL_TORCH_VERSION 2.11.0)
if(EXISTS ${SHOAL_TORCH_DIR}/version.py)
  file(STRINGS ${SHOAL_TORCH_DIR}/version.py Torch_VERSION_LINE REGEX "^__version__")
  string(REGEX MATCH "[0-9]+\\.[0-9]+\\.[0-9]+" Torch_VERSION "${Torch_VERSION_LINE}")
endif()
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Torch REQUIRED_VARS SHOAL_TORCH_DIR Torch_VERSION VERSION_VAR Torch_VERSION
  REASON_FAILURE_MESSAGE "no PyTorch wheel in SHOAL_TORCH_DIR=${SHOAL_TORCH_DIR}: run `make setup`")
if(NOT Torch_VERSION VERSION_EQUAL SHOAL_TORCH_VERSION)
  message(FATAL_ERROR "torch ${Torch_VERSION} is in ${SHOAL_TORCH_DIR}, but ${SHOAL_TORCH_VERSION} is pinned")
endif()
if(NOT TARGET Torch::cpu)
  add_library(Torch::cpu INTERFACE IMPORTED)
  target_compile_options(Torch::cpu INTERFACE "SHELL:-idirafter ${SHOAL_TORCH_DIR}/include")
  target_link_libraries(Torch::cpu INTERFACE ${SHOAL_TORCH_DIR}/lib/libtorch_cpu.so ${SHOAL_TORCH_DIR}/lib/libc10.so)
  # DT_RPATH, not DT_RUNPATH: libcudart and libcupti are found by libtorch_cpu's own relative path.
  target_link_options(Torch::cpu INTERFACE -Wl,-rpath,${SHOAL_TORCH_DIR}/lib)
endif()
