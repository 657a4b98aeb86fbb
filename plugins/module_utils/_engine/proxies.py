# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The proxies with which an engine was started: who pulls in its place needs them, too."""

from __future__ import annotations

import re

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import Engine
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import systemd

_PROXY = re.compile(r"(?i)(https?|no|all)_proxy")


def proxies(engine: Engine) -> dict[str, str]:
    """Return the proxy variables of the daemon."""
    try:
        with open(
            f"/proc/{systemd.show(engine.unit, 'MainPID')}/environ", encoding="utf-8", errors="replace"
        ) as stream:
            pairs = [pair.partition("=") for pair in stream.read().split("\0")]
    except OSError:
        return {}
    return {name: value for name, _equals, value in pairs if _PROXY.fullmatch(name)}
