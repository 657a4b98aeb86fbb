# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The part of a node's ``hosts.toml`` that is about the registry itself, without its mirrors.

ctr sends a password to every host in that file. So we make a copy without mirrors for it. The copy keeps the registry's own
scheme, CA and client certificates as they are written. We refuse a file that cannot be understood without a parser, because
it could hold a mirror.
"""

from __future__ import annotations

import os
import re

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine import toml_text
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import files

_FILE = "hosts.toml"
_TEXT = r"""(?:"([^"\\]*)"|'([^']*)')"""
_TABLE = re.compile(rf"\[\s*host\s*\.\s*{_TEXT}\s*(?:\.\s*\w+\s*)?\]\s*(?:#.*)?")
_SERVER = re.compile(rf"server\s*=\s*{_TEXT}\s*(?:#.*)?")
_KEY = re.compile(r"([A-Za-z_]+)\s*=")


def names(host: str) -> list[str]:
    """Return the names that a registry's directory may have, in the order in which containerd tries them."""
    name, colon, port = host.rpartition(":")
    return [*([f"{name}_{port}_"] if colon else []), host]


def directory_of(root: str, host: str) -> str:
    """Return the directory that containerd takes for a registry below a ``config_path``, '' if there is none."""
    paths = (os.path.join(root, name) for name in (*names(host), "_default"))
    return next((path for path in paths if os.path.isdir(path)), "")


def server(host: str) -> str:
    """Return the host that serves the registry of this name."""
    return "registry-1.docker.io" if host == "docker.io" else host


def is_own(url: str, host: str) -> bool:
    """Tell whether a URL belongs to the registry itself, not to a mirror."""
    scheme, separator, rest = url.rpartition("://")
    name = rest.partition("/")[0]
    standard = ":80" if separator and scheme == "http" else ":443"
    own = {host, server(host)}
    return name in own or (name.endswith(standard) and name[: -len(standard)] in own)


def copy(source: str, root: str, host: str) -> None:
    """Copy the node's directory of a registry to ``root``, without mirrors."""
    path = os.path.join(source, _FILE)
    if os.path.exists(path):
        with open(path, encoding="utf-8", errors="replace") as stream:
            write(root, host, without_mirrors(stream.read(), host, path))
    for target in (os.path.join(root, name) for name in names(host)):
        files.make_directories(target, mode=0o700)
        for name in set(os.listdir(source)) - {_FILE}:  # hosts.toml names them, or they are certificates without it
            os.symlink(os.path.join(source, name), os.path.join(target, name))


def write(root: str, host: str, text: str) -> None:
    """Write a registry's file below ``root``. Only root may read it: it may hold secrets."""
    for directory in (os.path.join(root, name) for name in names(host)):
        files.make_directories(directory, mode=0o700)
        files.write_atomically(os.path.join(directory, _FILE), text.encode(), mode=0o600)


def without_mirrors(text: str, host: str, path: str) -> str:
    """Return the lines of a ``hosts.toml`` that are about the registry itself."""
    parts: list[list[str]] = [[]]
    own = [True]
    for number, (line, fresh) in enumerate(toml_text.lines_of(text), 1):
        words = line.strip()
        if fresh and words.startswith("["):
            match = _TABLE.fullmatch(words)
            if not match:
                raise _strange(path, number)
            parts.append([])
            own.append(is_own(match[1] or match[2] or "", host))
        elif fresh and len(parts) == 1 and words and not words.startswith("#"):
            key, match = _KEY.match(words), _SERVER.fullmatch(words)
            if not key or key[1] == "host" or (key[1] == "server" and not match):
                raise _strange(path, number)
            if match:  # all keys before the first table are about that server
                own[0] = is_own(match[1] or match[2] or "", host)
        parts[-1].append(line)
    return "".join("".join(part) for part, kept in zip(parts, own) if kept)


def _strange(path: str, number: int) -> Refusal:
    return Refusal(
        f'in {path} a line server = "URL" and tables [host."URL"] only, so that mirrors can be told: they must not get a password',
        f"another way of writing in line {number}",
        "Write the file like that, or leave coco_registry_auth out.",
    )
