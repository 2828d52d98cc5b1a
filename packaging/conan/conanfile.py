"""copse for Conan 2: `conan create packaging/conan --build=missing`, in a clone of the repository.

The libraries that copse uses are those of the distribution: `-c tools.system.package_manager:mode=install`
lets Conan install them (`:sudo=True` if you are not root); without it, Conan only checks that they are there.
"""
import os
import re

from conan import ConanFile
from conan.errors import ConanInvalidConfiguration
from conan.tools.build import check_min_cppstd
from conan.tools.cmake import CMake, CMakeToolchain, cmake_layout
from conan.tools.files import copy, load
from conan.tools.system.package_manager import Apt

required_conan_version = ">=2.0"


class CopseConan(ConanFile):
    name = "copse"
    description = "Peer-to-peer transfer, verified as it streams: a C++20 coroutine toolkit"
    license = "BSL-1.0"
    topics = ("quic", "blake3", "peer-to-peer", "coroutines", "asio")
    package_type = "static-library"
    settings = "os", "arch", "compiler", "build_type"
    options = {"fPIC": [True, False], "asio": ["separate", "header-only"]}
    default_options = {"fPIC": True, "asio": "separate"}

    @property
    def _tree(self):
        return os.path.join(self.recipe_folder, "..", "..")

    def set_version(self):
        if self.version:
            return
        project = load(self, os.path.join(self._tree, "CMakeLists.txt"))
        self.version = re.search(r"project\(copse VERSION ([0-9.]+)", project).group(1)

    def export_sources(self):
        for pattern in ("CMakeLists.txt", "LICENSE", "cmake/*", "include/*"):
            copy(self, pattern, src=self._tree, dst=self.export_sources_folder)

    def layout(self):
        cmake_layout(self)

    def validate(self):
        if self.settings.os != "Linux":
            raise ConanInvalidConfiguration("copse runs on Linux")
        check_min_cppstd(self, 20)

    def system_requirements(self):
        Apt(self).install([
            "pkg-config", "libasio-dev", "libboost-dev", "libngtcp2-dev", "libngtcp2-crypto-gnutls-dev",
            "libgnutls28-dev", "libsodium-dev"], check=True)

    def generate(self):
        toolchain = CMakeToolchain(self)
        toolchain.cache_variables["COPSE_ASIO"] = str(self.options.asio)
        toolchain.cache_variables["COPSE_BUILD_TESTS"] = False
        toolchain.cache_variables["COPSE_BUILD_EXAMPLES"] = False
        toolchain.generate()

    def build(self):
        cmake = CMake(self)
        cmake.configure()
        cmake.build()

    def package(self):
        copy(self, "LICENSE", src=self.source_folder, dst=os.path.join(self.package_folder, "licenses"))
        CMake(self).install(component="dev")

    def package_info(self):
        # The package brings its own files for find_package().
        self.cpp_info.set_property("cmake_find_mode", "none")
        self.cpp_info.builddirs = [os.path.join("lib", "cmake", "copse")]
        self.cpp_info.bindirs = []
