# Every library from outside, each as one imported target. Debian packages, and LibTorch from the PyPI wheel.
find_package(Threads REQUIRED)
find_package(spdlog REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(prometheus-cpp REQUIRED CONFIG)
find_package(doctest REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(ZLIB REQUIRED)
find_package(CLI11 REQUIRED)
find_package(tomlplusplus REQUIRED CONFIG)
find_package(tl-expected REQUIRED)
find_package(Boost REQUIRED)
find_package(Protobuf REQUIRED)
find_package(gRPC REQUIRED CONFIG)
find_package(PkgConfig REQUIRED)
pkg_check_modules(zmq REQUIRED IMPORTED_TARGET libzmq)
# Not Cap'n Proto's own CMake configuration: Debian's asks for a libatomic that x86-64 does not need.
pkg_check_modules(capnp REQUIRED IMPORTED_TARGET capnp)
find_program(CAPNP_COMPILER capnp REQUIRED)
find_package(CAF REQUIRED)

# LibTorch: SHOAL_TORCH_DIR is the wheel's `torch` folder (`make build` sets it to that of build/venv).
set(SHOAL_TORCH_DIR "${PROJECT_SOURCE_DIR}/build/venv/lib/python3.11/site-packages/torch" CACHE PATH
    "The torch folder of the PyPI wheel")
find_package(Torch REQUIRED MODULE)
