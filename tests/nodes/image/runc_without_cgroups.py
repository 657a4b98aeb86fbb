# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""runc for machines that hand no cgroup controllers to their containers.

containerd 2 always asks runc for cgroup settings, and runc refuses to start a container where it
cannot write them. This takes the request out of the bundle, then becomes runc.
"""

from __future__ import annotations

import json
import os
import sys

if "create" in sys.argv:
    bundle = sys.argv[sys.argv.index("--bundle") + 1] if "--bundle" in sys.argv else "."
    path = os.path.join(bundle, "config.json")
    with open(path, encoding="utf-8") as file:
        spec = json.load(file)
    for key in ("cgroupsPath", "resources"):
        spec.get("linux", {}).pop(key, None)
    with open(path, "w", encoding="utf-8") as file:
        json.dump(spec, file)

os.execvp("runc", ["runc", *sys.argv[1:]])
