# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Another prefix than the one that a payload was built for: what refers to the old one is made to refer to the new one."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

#: A QEMU for one machine, and what upstream calls a build for a special purpose.
_QEMU = re.compile(r"bin/qemu-system-[a-z0-9_]+(?P<flavor>-[a-z0-9-]+)?")
#: Ending of the program that starts a QEMU which was moved.
_WRAPPER = "-installation-prefix"


@dataclass(frozen=True)
class Relocation:
    """From the prefix that a payload was built for to another one."""

    built_for: str
    prefix: str

    def link(self, target: str) -> str:
        """Return where an absolute link has to lead."""
        return self.prefix + target[len(self.built_for) :] if self._leads_in(target) else target

    def _leads_in(self, target: str) -> bool:
        return target == self.built_for or target.startswith(self.built_for + "/")

    def text(self, text: bytes) -> bytes:
        """Return a configuration file whose paths lead below the new prefix, and to QEMU by way of its wrapper."""
        end = rb"(?=[/\"'\s,\]]|$)"
        moved = re.sub(re.escape(self.built_for.encode()) + end, lambda _match: self.prefix.encode(), text)
        qemu = re.escape(self.prefix.encode()) + b"/" + _QEMU.pattern.encode() + rb"(?=[\"'])"
        return re.sub(qemu, lambda match: match.group() + _WRAPPER.encode(), moved)

    def wrappers(self, paths: t.Iterable[str]) -> dict[str, bytes]:
        """Return the programs to add, by path below the prefix.

        QEMU looks for its firmware where it was built for; that its configuration file cannot say where it is instead, is
        why upstream's installer has such wrappers, too.
        """
        made = {}
        for path in paths:
            match = _QEMU.fullmatch(path)
            if match and not path.endswith(_WRAPPER):
                firmware = f"{self.prefix}/share/kata-qemu{match.group('flavor') or ''}/qemu/"
                made[path + _WRAPPER] = f'#!/bin/sh\nexec "{self.prefix}/{path}" "$@" -L "{firmware}"\n'.encode()
        return made
