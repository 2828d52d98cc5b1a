"""check_manifest.py VCPKG_JSON CMAKELISTS: the manifest has the shape that vcpkg documents, and our version."""
import json
import re
import sys

manifest = json.load(open(sys.argv[1]))
project = re.search(r"project\(copse VERSION ([0-9.]+)", open(sys.argv[2]).read()).group(1)
IDENTIFIER = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def require(good, why):
    if not good:
        sys.exit(f"vcpkg.json: {why}")


allowed = {"name", "version", "port-version", "description", "homepage", "license", "supports", "dependencies"}
require(set(manifest) <= allowed, f"unknown fields {set(manifest) - allowed}")
require(manifest["name"] == "copse", "name")
require(manifest["version"] == project, f"version {manifest['version']}, but the project has {project}")
require(isinstance(manifest["description"], str), "description")
require(manifest["license"] == "BSL-1.0", "license")
names = []
for entry in manifest["dependencies"]:
    entry = {"name": entry} if isinstance(entry, str) else entry
    require(set(entry) <= {"name", "host", "features", "default-features", "platform", "version>="}, f"dependency {entry}")
    require(IDENTIFIER.fullmatch(entry["name"]), f"name {entry['name']}")
    require(all(IDENTIFIER.fullmatch(f) for f in entry.get("features", [])), f"features of {entry['name']}")
    names.append(entry["name"])
require(names == sorted(set(names)), "dependencies are not sorted, as `vcpkg format-manifest` writes them")
for needed in ("asio", "boost-outcome", "libgnutls", "libsodium", "ngtcp2"):
    require(needed in names, f"{needed} is missing")
