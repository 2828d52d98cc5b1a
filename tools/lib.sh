# Shared by the tools in this folder; sourced, not run.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# missing_packages GROUP...: prints the packages of those groups that are not installed.
missing_packages() {
    local group package alternative found candidates
    while read -r group package; do
        case "$group" in ''|'#'*) continue ;; esac
        case " $* " in *" $group "*) ;; *) continue ;; esac
        found=''
        IFS='|' read -ra candidates <<<"$package"
        for alternative in "${candidates[@]}"; do
            if dpkg -s "$alternative" 2>/dev/null | grep -q '^Status: install ok installed'; then
                found=1
                break
            fi
        done
        [ -n "$found" ] && continue
        # Of several names, the first that this release of the distribution has.
        found=${candidates[0]}
        if [ ${#candidates[@]} -gt 1 ]; then
            for alternative in "${candidates[@]}"; do
                if apt-cache show "$alternative" >/dev/null 2>&1; then
                    found=$alternative
                    break
                fi
            done
        fi
        printf '%s\n' "$found"
    done <"$root/tools/packages"
}

# require_packages GROUP...: installs what is missing. Without root it says what to run and exits with 2.
require_packages() {
    local missing
    if ! command -v dpkg >/dev/null; then
        echo "not a Debian system: what copse needs is listed in tools/packages" >&2
        return 0
    fi
    if [ "$(id -u)" = 0 ] && ! apt-cache show cmake >/dev/null 2>&1; then
        missing=$(missing_packages "$@" | xargs)
        [ -z "$missing" ] || apt-get update -q >/dev/null
    fi
    missing=$(missing_packages "$@" | xargs)
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" != 0 ]; then
        echo "Packages are missing. As root:" >&2
        echo "    apt-get install --no-install-recommends $missing" >&2
        exit 2
    fi
    echo "apt-get install --no-install-recommends $missing"
    # The lists may be stale: refresh them once before giving up.
    apt_install "$missing" || { apt-get update -q >/dev/null && apt_install "$missing"; }
}

apt_install() {
    local log status=0
    log=$(mktemp)
    # Word splitting of the list is meant.
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $1 </dev/null >"$log" 2>&1 || status=1
    [ $status = 0 ] || tail -n 5 "$log" >&2
    rm -f "$log"
    return $status
}

# configure PRESET [ARG...]: quiet unless it fails.
configure() {
    (cd "$root" && cmake --preset "$@")
}
