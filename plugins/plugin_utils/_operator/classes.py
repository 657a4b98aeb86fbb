# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""RuntimeClasses as the operator has them: a class stands for the handler of the same name."""

from __future__ import annotations

import typing as t
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._operator import crd
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._operator.check import check
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._operator.schema import anything, list_of

#: The name of the operator's default class. It has no shim of its own; the other classes are called kata-<shim>.
DEFAULT = "kata"
_PREFIX = "kata-"


@dataclass(frozen=True)
class RuntimeClass:
    """A class, with its snapshotter and how its images are pulled; '' where it does not say."""

    name: str
    snapshotter: str = ""
    pulltype: str = ""

    @classmethod
    def of(cls, entry: str | Mapping[str, str]) -> RuntimeClass:
        """Return the class for an entry, which is a mapping with its fields, or only its name."""
        if isinstance(entry, str):
            return cls(entry)
        return cls(*(entry.get(key, "") for key in ("name", "snapshotter", "pulltype")))

    @property
    def of_kata(self) -> bool:
        """Whether it is called kata-<shim>."""
        return self.name.startswith(_PREFIX)

    @property
    def shim(self) -> str:
        """The name that a payload's installer has for it."""
        return self.name.removeprefix(_PREFIX)


def checked(entries: Sequence[str | Mapping[str, str]]) -> list[RuntimeClass]:
    """Return the classes that a user wrote, or refuse an entry that is none."""
    place = "runtime_classes"
    check(entries, list_of(anything()), place)
    check([{"name": entry} if isinstance(entry, str) else entry for entry in entries], crd.CLASSES, place)
    return [RuntimeClass.of(entry) for entry in entries]


def of_config(config: Mapping[str, t.Any]) -> list[RuntimeClass]:
    """Return each class of a manifest once. Older manifests have only names, and one of the operator's had an empty name."""
    classes: dict[str, RuntimeClass] = {}
    for entry in (*config.get("runtimeClasses", ()), *config.get("runtimeClassNames", ())):
        one = RuntimeClass.of(entry)
        if one.name:
            classes.setdefault(one.name, one)
    return list(classes.values())


def default_of(named: str, classes: Iterable[RuntimeClass]) -> str:
    """Return the name of the default class: the one that a manifest names, or the one that "kata" meant in older manifests."""
    names = {one.name for one in classes}
    old = f"{_PREFIX}qemu"
    return named or (old if {DEFAULT, old} <= names else "")
