# Shared by the consumers; sourced, not run. Each is `NAME/run BUILD`, BUILD a build directory of copse.
# COPSE_PREFIX names an installed tree; without it the consumer installs BUILD for itself.

set -euo pipefail
copse=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
here=$(cd "$(dirname "$0")" && pwd)
build=$(realpath -m -- "$1")
work=$build/../consumers/$(basename "$here")
mkdir -p "$work"
work=$(cd "$work" && pwd)
rm -rf "${work:?}"/*
cd "$work"

# Several consumers compile the same files: a compiler cache, where there is one, does it once.
cached=''
if command -v ccache >/dev/null; then
    cached=ccache
    export CMAKE_CXX_COMPILER_LAUNCHER=ccache CCACHE_BASEDIR=$copse CCACHE_NOHASHDIR=1
fi
export CMAKE_GENERATOR=Ninja CMAKE_BUILD_PARALLEL_LEVEL=${COPSE_JOBS:-2}

# installed: sets `prefix` to the installed tree.
installed() {
    prefix=${COPSE_PREFIX:-$work/prefix}
    [ -n "${COPSE_PREFIX:-}" ] || cmake --install "$build" --component dev --prefix "$prefix" >/dev/null
}

# use_pkg_config: pkg-config looks there first.
use_pkg_config() {
    PKG_CONFIG_PATH=$(dirname "$(find "$prefix"/lib* -name copse.pc -print -quit)")
    export PKG_CONFIG_PATH
}
