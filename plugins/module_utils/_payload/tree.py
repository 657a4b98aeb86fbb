# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The type of the tree of a payload's artifacts. Payloads, receipts and journals all have it.

It maps each path below the prefix to what is there:
``{"type": "file", "mode": int, "size": int, "digest": "sha256:…"}``, ``{"type": "link", "target": str}`` or
``{"type": "directory", "mode": int}``. A file may also have a ``capability`` (hexadecimal), and ``mtime_ns`` and ``inode``
once it is installed.
"""

from __future__ import annotations

import typing as t

TreeEntry = t.Dict[str, t.Any]
Tree = t.Dict[str, TreeEntry]
