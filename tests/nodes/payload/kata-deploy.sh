#!/usr/bin/env bash
# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# The installer of the sample payload: kata-deploy.sh install | cleanup | reset.
#
# Runs in the payload's root with the node's directories mounted at their own paths, as the contract of
# payload images says: /etc/containerd, /opt/confidential-containers, /usr/local/bin, and the D-Bus socket.
#   SHIMS   space-separated shims to install; all that the payload has when it is empty
#   DEBUG   "true": print the commands

set -o errexit -o nounset -o pipefail

artifacts=/opt/kata-artifacts/opt/confidential-containers
prefix=/opt/confidential-containers
defaults=share/defaults/kata-containers
config=/etc/containerd/config.toml
new=$config.kata-deploy-new
old=$config.kata-deploy-old
links=/usr/local/bin
begin='# BEGIN kata-deploy.sh'
end='# END kata-deploy.sh'

die() {
    echo "kata-deploy.sh: $*" >&2
    exit 1
}

shims() {
    if [[ -n "${SHIMS:-}" ]]; then
        tr -s ' ' '\n' <<<"$SHIMS"
    else
        find "$artifacts/$defaults" -name 'configuration-*.toml' -printf '%f\n' |
            sed 's/^configuration-//; s/\.toml$//' | sort
    fi
}

# The configuration without what an earlier install appended.
config_without_us() {
    if [[ -e "$config" ]]; then
        sed "/^$begin\$/,/^$end\$/d" "$config"
    else
        echo 'version = 2'
    fi
}

# Handlers for the configuration on stdin, in the schema that it is written in.
handlers() {
    local text cri shim
    text=$(cat)
    case $(sed -n 's/^[[:space:]]*version[[:space:]]*=[[:space:]]*\([0-9]*\).*/\1/p' <<<"$text" | head -n 1) in
        2) cri=io.containerd.grpc.v1.cri ;;
        3) cri=io.containerd.cri.v1.runtime ;;
        *) die "$config is of a schema that this installer does not know, expected version 2 or 3" ;;
    esac
    local runtimes="plugins.\"$cri\".containerd.runtimes"

    echo "$begin"
    # A table of runtimes without runc takes containerd's own runc away, and CRI with it.
    if ! grep -Eq '^[^#]*\.runtimes\."?runc"?\]' <<<"$text"; then
        printf '[%s.runc]\nruntime_type = "io.containerd.runc.v2"\n' "$runtimes"
    fi
    for shim in $(shims); do
        cat <<TABLE
[$runtimes.kata-$shim]
runtime_type = "io.containerd.kata-$shim.v2"
runtime_path = "$prefix/bin/containerd-shim-kata-v2"
privileged_without_host_devices = true
pod_annotations = ["io.katacontainers.*"]
[$runtimes.kata-$shim.options]
ConfigPath = "$prefix/$defaults/configuration-$shim.toml"
TABLE
    done
    echo "$end"
}

# Give containerd the new configuration, or the old one back if it does not start with that.
apply() {
    if [[ -e "$config" ]]; then
        cmp --silent "$new" "$config" && return
        chown --reference="$config" "$new"
        chmod --reference="$config" "$new"
        cp --archive "$config" "$old"
    fi
    mv "$new" "$config"
    if ! restart; then
        [[ ! -e "$old" ]] || mv "$old" "$config"
        restart || true
        die "containerd did not start with the new configuration, the old one is back"
    fi
}

# In a foreign root, systemctl may do nothing and call that success: only a new process proves a restart.
restart() {
    local before after
    before=$(systemctl show --property=MainPID containerd.service)
    systemctl restart containerd.service || return
    after=$(systemctl show --property=MainPID containerd.service)
    [[ "$after" != "$before" ]]
}

install() {
    local shim appended
    mkdir -p "$prefix" "$links" "$(dirname "$config")"
    cp --archive --remove-destination "$artifacts/." "$prefix/"
    chmod +x "$prefix"/bin/*
    for shim in $(shims); do
        [[ -e "$artifacts/$defaults/configuration-$shim.toml" ]] || die "this payload has no shim $shim"
        ln -sfn "$prefix/bin/containerd-shim-kata-v2" "$links/containerd-shim-kata-$shim-v2"
    done
    config_without_us >"$new"
    appended=$(handlers <"$new")
    echo "$appended" >>"$new"
    apply
}

cleanup() {
    config_without_us >"$new"
    apply
    find "$links" -lname "$prefix/bin/containerd-shim-kata-v2" -delete
    find "$prefix" -mindepth 1 -delete # not the directory: it may be a mount point
}

reset() {
    restart || die "containerd did not restart"
}

trap 'rm -f "$new" "$old"' EXIT
[[ "${DEBUG:-}" != true ]] || set -x
case "${1:-}" in
    install | cleanup | reset) "$1" ;;
    *) die "expected install, cleanup or reset" ;;
esac
