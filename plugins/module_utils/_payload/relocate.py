# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""A prefix other than the one that a payload was built for: links, configuration files and QEMU get to refer to the new one."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

#: The program of QEMU for one machine. The flavor is upstream's name for a build with a special purpose.
_QEMU = re.compile(r"bin/qemu-system-[a-z0-9_]+(?P<flavor>-[a-z0-9-]+)?")
#: Ending of the program that starts a QEMU in its new place.
_WRAPPER = "-installation-prefix"


@dataclass(frozen=True)
class Relocation:
    """The move from the prefix that a payload was built for to another one."""

    built_for: str
    prefix: str

    def link(self, target: str) -> str:
        """Return the target that an absolute link needs."""
        return self.prefix + target[len(self.built_for) :] if self._leads_in(target) else target

    def _leads_in(self, target: str) -> bool:
        return target == self.built_for or target.startswith(self.built_for + "/")

    def text(self, text: bytes) -> bytes:
        """Return a configuration file with paths below the new prefix, and with QEMU's wrapper in the place of QEMU."""
        end = rb"(?=[/\"'\s,\]]|$)"
        moved = re.sub(re.escape(self.built_for.encode()) + end, lambda _match: self.prefix.encode(), text)
        qemu = re.escape(self.prefix.encode()) + b"/" + _QEMU.pattern.encode() + rb"(?=[\"'])"
        return re.sub(qemu, lambda match: match.group() + _WRAPPER.encode(), moved)

    def wrappers(self, paths: t.Iterable[str]) -> dict[str, bytes]:
        """Return the programs to add, by path below the prefix.

        QEMU looks for its firmware below the prefix that it was built for, and the shim's configuration file has no key for
        another place. So a wrapper says it with ``-L``. Upstream's installer has such wrappers, too.
        """
        made = {}
        for path in paths:
            match = _QEMU.fullmatch(path)
            if match and not path.endswith(_WRAPPER):
                firmware = f"{self.prefix}/share/kata-qemu{match.group('flavor') or ''}/qemu/"
                made[path + _WRAPPER] = f'#!/bin/sh\nexec "{self.prefix}/{path}" "$@" -L "{firmware}"\n'.encode()
        return made
