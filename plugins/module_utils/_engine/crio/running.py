# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What the running CRI-O tells over HTTP, on the same socket as the CRI: its configuration, as it has checked it.

The CRI's Status has the handlers since 1.30 only. This has them in every version, and without those that CRI-O has left out.
"""

from __future__ import annotations

import contextlib
import http.client
import socket

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine import cri
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.crio.dump import Dump

_PATH = "/config"


class _Connection(http.client.HTTPConnection):
    """An HTTP connection over a Unix socket."""

    def __init__(self, address: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._address = address

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._address)


def configuration(address: str, timeout: float = 5.0) -> Dump:
    """Return the configuration that the running daemon has. Raises ``cri.CriError`` if it does not answer."""
    try:
        with contextlib.closing(_Connection(address, timeout)) as connection:
            connection.request("GET", _PATH)
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        raise cri.CriError(f"{address}: {error}") from error
    if answer.status != http.client.OK:
        raise cri.CriError(f"{address}: {_PATH} gave the status {answer.status}")
    return Dump(text)
