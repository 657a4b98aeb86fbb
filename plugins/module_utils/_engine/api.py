# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What the rest of this collection knows of container engines. Which one a node has, only this package knows.

Engines differ along four axes: the *place* to write to, the *dialect* in which a handler is spelled, how a change takes
effect, and the *client* by which the engine is asked beside the CRI. A row of ``flavours.FLAVOURS`` has the first and the
third, a family's driver the other two.
"""

from __future__ import annotations

import contextlib
import enum
import os
import typing as t
from dataclasses import asdict, dataclass

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.cri import Sandbox, Status
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal

Version = t.Tuple[int, ...]


@dataclass(frozen=True)
class Engine:
    """The container engine of a node, as it was found: plain data, which stands in journal and receipt.

    ``name`` is that of its flavour, ``version`` (major, minor, patch); paths are as the engine itself uses them.
    """

    name: str
    version: tuple[int, int, int]
    unit: str
    binary: str
    config: str
    socket: str
    active: bool
    #: Where it keeps its data, if its command line says so; else its configuration does.
    root: str = ""

    @property
    def version_text(self) -> str:
        return ".".join(map(str, self.version))

    def facts(self) -> dict[str, t.Any]:
        """Return plain data, for a module's result."""
        return {**asdict(self), "version": self.version_text}

    def identity(self) -> dict[str, t.Any]:
        """Return what a receipt remembers of it."""
        return {key: self.facts()[key] for key in ("name", "version", "unit", "config")}

    def plain(self) -> dict[str, t.Any]:
        """Return what :meth:`from_plain` takes."""
        return {**asdict(self), "version": list(self.version)}

    @classmethod
    def from_plain(cls, plain: t.Mapping[str, t.Any]) -> Engine:
        """Return the engine that a document of ours describes."""
        return cls(**{**plain, "version": tuple(plain["version"])})


@dataclass(frozen=True)
class Overrides:
    """What the user knows better than detection: ``coco_engine*``."""

    engine: str = "auto"
    config: str = ""
    unit: str = ""
    socket: str = ""


class Apply(enum.Enum):
    """How a change of the configuration takes effect."""

    #: We restart the engine's unit.
    RESTART = "restart"
    #: The distribution watches the directory, and restarts the engine itself (k0s). The change then begins with the rename of
    #: the file: that it is applied is noted in the journal before.
    WATCHED = "watched"


@dataclass(frozen=True)
class InPlace:
    """Handlers go into a file of the admin's."""

    mode: t.ClassVar[str] = "in_place"
    path: str

    @property
    def waiting(self) -> str:
        """The directory in which a new file may wait for its rename."""
        return os.path.dirname(self.path)


@dataclass(frozen=True)
class DropIn:
    """Handlers go into a file of our own. ``importer`` is the file whose imports must name it; '': the engine reads the directory."""

    mode: t.ClassVar[str] = "drop_in"
    path: str
    importer: str = ""

    @property
    def waiting(self) -> str:
        """The directory in which a new file may wait for its rename. In one that is read as it is, whatever its name, a file is
        configuration (CRI-O) or an event (k0s)."""
        directory = os.path.dirname(self.path)
        return directory if self.importer else os.path.dirname(directory)


@dataclass(frozen=True)
class Template:
    """Handlers go into a template, from which the distribution renders the file that the engine reads (``rendered``).

    ``base`` is the line by which a template takes in the distribution's own.
    """

    mode: t.ClassVar[str] = "template"
    path: str
    rendered: str
    base: str

    @property
    def waiting(self) -> str:
        """The directory in which a new file may wait for its rename."""
        return os.path.dirname(self.path)


Place = t.Union[InPlace, DropIn, Template]


@dataclass(frozen=True)
class Facts:
    """What decides about the place: the engine's version, its main file with that file's schema, and ``coco_config_mode``.

    ``plain``: the file sets nothing for any plugin, so that it means the same in every schema.
    """

    version: Version
    config: str
    schema: int
    mode: str = "auto"
    plain: bool = False


@dataclass(frozen=True)
class Flavour:
    """What is known of an engine before a node is seen. ``family`` names the driver, ``units`` are in the order of looking."""

    name: str
    family: str
    units: tuple[str, ...]
    config: str
    socket: str
    place: t.Callable[[Facts], Place]
    #: The commands by which an admin sees what the engine makes of its configuration, and what it lacks.
    dump: str
    client: str
    kubelet: str = "/var/lib/kubelet"
    apply: Apply = Apply.RESTART


class Configuration(t.Protocol):
    """What an engine makes of its files, its defaults included."""

    @property
    def text(self) -> str:
        """All of it, as the engine's family prints it: the planner of that family understands it. May hold secrets."""

    def served(self) -> list[str]:
        """The handlers that an engine with this configuration serves; none where its CRI is disabled."""

    def cri_enabled(self) -> bool:
        """Whether the CRI may run."""

    def runtime_types(self) -> dict[str, str]:
        """The runtime type of each handler, '' where it has none."""

    def paths(self) -> dict[str, list[str]]:
        """The absolute paths that stand in each handler's tables."""

    def lost(self, after: Configuration, ours: t.Collection[str], proxies: t.Collection[str]) -> list[str]:
        """What differs in ``after`` outside of handlers and proxy plugins that are ours. No values: they may be secret."""

    def complaints(self) -> set[str]:
        """The keys that the engine says it does not know."""


@dataclass(frozen=True)
class Access:
    """What the user gives for a registry: credentials, and the certificates (PEM) of the CA that signed its own."""

    username: str = ""
    password: str = ""
    ca: str = ""


class Registry(t.Protocol):
    """One image of a registry, as this node's engine would get it."""

    def resolve(self) -> str:
        """Return the digest that the image's name stands for now."""

    def pulled(self, architecture: str, pulling: t.Callable[[int], None]) -> contextlib.AbstractContextManager[str]:
        """Have the image's blobs for an architecture on the node, in the directory that this yields, below ``blobs``. Nothing of
        them stays.

        ``pulling`` is called with the number of bytes that have arrived.
        """


class Driver(t.Protocol):
    """One engine on its node. There is a class for each family."""

    engine: Engine

    def facts(self, mode: str) -> Facts:
        """What decides about the place of handlers, with this ``coco_config_mode``."""

    def files(self) -> dict[str, bytes]:
        """The files that the engine reads, in its order."""

    def places(self) -> list[str]:
        """The files that this collection writes to, whether they are there or not."""

    def territory(self) -> list[str]:
        """What the engine is configured by, where it is looked for and where that leads to: the directory, if it is the engine's own. Of
        another one, which may be /etc itself, the file, the copy that installers make of it, drop-ins and imported files."""

    def configured(self, config: str = "") -> Configuration:
        """What the engine makes of its files, or of the file of a trial. Refuses what it would not start with."""

    def status(self) -> Status:
        """What the CRI says of itself. Raises ``cri.CriError`` where it does not answer."""

    def no_answer(self, error: Exception) -> Refusal:
        """The refusal to touch this engine, because its CRI does not answer."""

    def served(self) -> list[str]:
        """The handlers that the engine serves; none where its CRI is disabled. Refuses one that should answer and does not."""

    def start(self) -> str:
        """What tells this start of the engine from every other."""

    def apply(self, handlers: t.Collection[str], timeout: float) -> list[str]:
        """Have the engine take its configuration, and wait until it serves ``handlers``. Returns all that it serves."""

    def serving(self, handlers: t.Collection[str], timeout: float) -> list[str]:
        """Wait until the CRI answers, is ready and serves ``handlers``. Returns all that it serves; raises a refusal that says what
        is not so."""

    def last_words(self, since: float) -> str:
        """What the engine has logged since a time (seconds since the epoch), for an error message."""

    def snapshotters(self) -> list[str]:
        """The snapshotters that work."""

    def pods(self) -> list[Sandbox]:
        """The pod sandboxes, those that have stopped included."""

    def registry(self, image: str, access: Access) -> Registry:
        """One image (``HOST/REPOSITORY:TAG`` or with a digest) of a registry, to be pulled by this engine."""

    def clean(self) -> None:
        """Remove all that a pull, even one that was killed, has left in the engine's store."""
