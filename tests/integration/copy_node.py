# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run on a node: what NVIDIA's toolkit does to containerd's configuration, as far as it concerns others. It writes a drop-in with
the whole CRI section out of a dump and a handler of its own, has the main file import it, and restarts the engine.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

MAIN, COPY = Path("/etc/containerd/config.toml"), Path("/etc/containerd/conf.d/99-nvidia.toml")


def main() -> None:
    dump = subprocess.run(["containerd", "config", "dump"], capture_output=True, text=True, check=True).stdout
    kept, keep = [], False
    for line in dump.splitlines():
        header = re.match(r"""\s*\[+(plugins\.)?["']?([\w.]+)""", line)
        if header:
            keep = bool(header[1]) and "cri" in header[2]
        if keep:
            kept.append(line)
    version, plugin = (3, "io.containerd.cri.v1.runtime") if "cri.v1" in dump else (2, "io.containerd.grpc.v1.cri")
    own = f'\n[plugins."{plugin}".containerd.runtimes.nvidia]\n  runtime_type = "io.containerd.runc.v2"\n'
    COPY.parent.mkdir(exist_ok=True)
    COPY.write_text(f"version = {version}\n\n" + "\n".join(kept).rstrip() + "\n" + own, encoding="utf-8")
    main_file = MAIN.read_text(encoding="utf-8")
    imports = re.search(r"(?m)^imports = \[(.*)\]", main_file)
    known = [imports[1]] if imports and imports[1] else []
    line = f"imports = [{', '.join([*known, repr(str(COPY))])}]"
    MAIN.write_text(
        main_file.replace(imports[0], line) if imports else f"{line}\n{main_file}",
        encoding="utf-8",
    )
    subprocess.run(["systemctl", "restart", "containerd"], check=True)


main()
