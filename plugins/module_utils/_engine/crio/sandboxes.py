# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The pod sandboxes of CRI-O, with their handlers.

In the list that the CRI gives, CRI-O leaves the handler empty. It stands in an annotation of the sandbox, which the verbose
status of a sandbox has. Of a sandbox without a container of its own (``drop_infra_ctr``) even that lacks it; the file from which
the sandbox was made still has it.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import typing as t
from dataclasses import replace

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine import cri

_ANNOTATION = "io.kubernetes.cri-o.RuntimeHandler"
_STORE = "/var/lib/containers/storage"


def all_of(address: str, root: str = "") -> list[cri.Sandbox]:
    """Return all sandboxes. We look for the handlers of those that are ready: only these keep a handler.

    ``root`` is the directory of CRI-O's store. Raises ``cri.CriError`` if CRI-O does not answer.
    """
    found = []
    for sandbox in cri.sandboxes(address):
        try:
            unknown = sandbox.ready and not sandbox.handler
            found.append(replace(sandbox, handler=_handler(address, sandbox.id, root)) if unknown else sandbox)
        except cri.CriError:
            if sandbox.id in {other.id for other in cri.sandboxes(address)}:
                raise
            # else it went while we asked
    return found


def _handler(address: str, sandbox: str, root: str) -> str:
    information = cri.sandbox_information(address, sandbox).get("info", "{}")
    with contextlib.suppress(ValueError):
        found = _annotation(json.loads(information), "runtimeSpec")
        if found:
            return found
    for path in glob.glob(
        os.path.join(glob.escape(root or _STORE), "*-containers", sandbox, "userdata", "config.json")
    ):
        with contextlib.suppress(OSError, ValueError), open(path, encoding="utf-8") as stream:
            return _annotation({"file": json.load(stream)}, "file")
    return ""


def _annotation(document: t.Any, key: str) -> str:
    """Return the handler in the annotations of a container's specification, '' for the default handler."""
    for part in (key, "annotations", _ANNOTATION):
        document = document.get(part) if isinstance(document, dict) else None
    return document if isinstance(document, str) else ""
