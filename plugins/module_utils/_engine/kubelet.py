# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What the kubelet of this node was told: which engine it uses, and where it keeps the volumes of pods."""

from __future__ import annotations

import contextlib
import os
import re

#: Tells a kubelet, or k3s, which engine to use.
OPTION = "--container-runtime-endpoint"
_FILE = "--config"
_DIRECTORY = "--root-dir"
#: The field of a KubeletConfiguration, since Kubernetes 1.27.
_FIELD = re.compile(r"""^containerRuntimeEndpoint:\s*["']?([^"'\s#]+)""", re.MULTILINE)


def socket(proc: str = "/proc") -> str:
    """Return the path of the CRI socket that a running kubelet was told to use. '' if there is no kubelet, or it was not told."""
    words = _command_line(proc)
    return _path(_option(words, OPTION) or _configured(_option(words, _FILE)))


def directory(proc: str = "/proc") -> str:
    """Return the directory that a running kubelet was told to use. '' if there is no kubelet, or it was not told."""
    return _option(_command_line(proc), _DIRECTORY)


def _command_line(proc: str) -> list[str]:
    """Return the command line of the kubelet, [] if none runs as a process of its own."""
    for pid in filter(str.isdigit, sorted(os.listdir(proc))):
        with contextlib.suppress(OSError), open(f"{proc}/{pid}/cmdline", "rb") as stream:
            words = [os.fsdecode(word) for word in stream.read().split(b"\0")[:-1]]
            if words and os.path.basename(words[0]) == "kubelet":
                return words
    return []


def _option(words: list[str], name: str) -> str:
    """Return the value of an option. The last of the same counts."""
    values = [
        word[len(name) + 1 :] if word.startswith(f"{name}=") else following
        for word, following in zip(words, [*words[1:], ""])
        if word == name or word.startswith(f"{name}=")
    ]
    return values[-1] if values else ""


def _configured(path: str) -> str:
    with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as stream:
        match = _FIELD.search(stream.read())
        return match.group(1) if match else ""
    return ""


def _path(endpoint: str) -> str:
    """Return the path in an endpoint (``unix:///run/x.sock``, or the path alone), links resolved."""
    path = re.sub(r"^unix://", "", endpoint)
    return os.path.realpath(path) if path.startswith("/") else ""
