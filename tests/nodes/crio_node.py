# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts a stand-in for CRI-O in the place of a node's containerd. A reset of the node takes it away again."""

from __future__ import annotations

import golang
import nodes
from host import HERE, cache_dir, fingerprint

UNIT = "crio.service"
SOCKET = "/run/crio/crio.sock"
PROGRAM = "/usr/local/bin/crio"
DIRECTORY = "/etc/crio/crio.conf.d"
_SOURCE = HERE / "crio"
_FILES = {
    f"/etc/systemd/system/{UNIT}": "crio.service",
    f"{DIRECTORY}/10-crio.conf": "10-crio.conf",
    f"{DIRECTORY}/30-kata.conf.bak": "30-kata.conf.bak",
}


def put_on(name: str) -> None:
    """Have the stand-in run on a node, and containerd stopped."""
    out = cache_dir("programs", f"crio-{fingerprint(*sorted(_SOURCE.glob('*.go')), _SOURCE / 'go.mod')}")
    golang.build(_SOURCE, out, {"crio": "."})
    for path, content in {**_FILES, PROGRAM: str(out / "crio")}.items():
        # A program that runs cannot be written to.
        script = f"mkdir -p $(dirname {path}) && rm -f {path} && cat > {path} && chmod {'0755' if path == PROGRAM else '0644'} {path}"
        nodes.execute(name, "sh", "-c", script, stdin=(_SOURCE / content).read_bytes())
    nodes.execute(
        name, "sh", "-ec", f"systemctl stop containerd; systemctl daemon-reload; systemctl enable --now --quiet {UNIT}"
    )


def take_off(name: str) -> None:
    """Stop the stand-in, and forget its pods."""
    nodes.execute(name, "sh", "-c", f"systemctl disable --now --quiet {UNIT}; rm -rf /run/crio")
