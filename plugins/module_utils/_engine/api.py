# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The interface of container engines. The rest of this collection knows no more of them; only this package knows each one.

Engines differ along four axes: the *place* to write to, the *dialect* in which a handler is spelled, how a change takes
effect, and the *client* that answers what the CRI does not. A row of ``flavours.FLAVOURS`` has the first and the third, a
family's driver the other two.
"""

from __future__ import annotations

import contextlib
import enum
import typing as t
from dataclasses import asdict, dataclass, field

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.cri import Sandbox, Status
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal

Version = t.Tuple[int, ...]


@dataclass(frozen=True)
class Engine:
    """The container engine of a node, as it was found. Plain data: journal and receipt hold it.

    ``name`` is the name of its flavour, ``version`` is (major, minor, patch). Paths are as the engine itself uses them.
    """

    name: str
    version: tuple[int, int, int]
    unit: str
    binary: str
    config: str
    socket: str
    active: bool
    #: Where the engine keeps its data, if its command line says so. Else its configuration says it.
    root: str = ""
    #: The version of the distribution that brings the engine, as it writes it ("v1.35.3+k3s1"). '' if there is none.
    release: str = ""
    #: Whether the unit also runs a control plane of the cluster: then a restart takes that away for some seconds.
    server: bool = False
    #: The directory whose files the engine reads after its main file, if its command line names one (CRI-O).
    drop_ins: str = ""

    @property
    def version_text(self) -> str:
        return ".".join(map(str, self.version))

    def facts(self) -> dict[str, t.Any]:
        """Return plain data, for a module's result."""
        return {**asdict(self), "version": self.version_text}

    def identity(self) -> dict[str, t.Any]:
        """Return what a receipt remembers of the engine."""
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
    """What the user says about the engine (``coco_engine*``). It overrides what detection finds."""

    engine: str = "auto"
    config: str = ""
    unit: str = ""
    socket: str = ""


class Apply(enum.Enum):
    """How a change of the configuration takes effect."""

    #: We restart the engine's unit.
    RESTART = "restart"
    #: The distribution watches the directory, and restarts the engine itself (k0s). The rename of the file then starts the
    #: change, so the journal has to say before the rename that the change is being applied.
    WATCHED = "watched"


@dataclass(frozen=True)
class InPlace:
    """Handlers go into the admin's file."""

    mode: t.ClassVar[str] = "in_place"
    path: str


@dataclass(frozen=True)
class DropIn:
    """Handlers go into a file of our own.

    ``importer`` is the file whose imports must name ours. If it is '', the engine reads the directory without that.
    ``rendered``: the engine does not read our file, but this one, into which the distribution merges ours.
    """

    mode: t.ClassVar[str] = "drop_in"
    path: str
    importer: str = ""
    rendered: str = ""


@dataclass(frozen=True)
class Template:
    """Handlers go into a template. From it the distribution renders the file that the engine reads (``rendered``).

    ``base`` is the line with which a template includes the distribution's own template.
    """

    mode: t.ClassVar[str] = "template"
    path: str
    rendered: str
    base: str


Place = t.Union[InPlace, DropIn, Template]


@dataclass(frozen=True)
class Facts:
    """What decides about the place: the engine's version, its main file, the schema of that file, and ``coco_config_mode``.

    ``plain``: the file sets nothing for any plugin, and so means the same in every schema. ``text`` is the file's text.
    ``release`` is that of the distribution. ``templates`` are the paths of those templates that exist.
    """

    version: Version
    config: str
    schema: int
    mode: str = "auto"
    plain: bool = False
    text: str = field(default="", repr=False)
    release: str = ""
    templates: t.Collection[str] = ()


@dataclass(frozen=True)
class Flavour:
    """What we know of an engine before we see a node. ``family`` names the driver. ``units`` are in the order of the search."""

    name: str
    family: str
    units: tuple[str, ...]
    config: str
    socket: str
    place: t.Callable[[Facts], Place]
    #: The files that we may write to, given the path of the main file. ``place`` chooses among them.
    places: t.Callable[[str], list[str]]
    #: Two commands for an admin: ``dump`` shows what the engine makes of its configuration, ``client`` what the engine lacks.
    dump: str
    client: str
    #: The files that the distribution writes and we never do, given the path and the text of the main file.
    generated: t.Callable[[str, str], list[str]] = lambda config, text: []
    #: The admin's file with placeholders from which the distribution makes the main file. It takes the place of that.
    source: t.Callable[[str], str] = lambda config: config
    kubelet: str = "/var/lib/kubelet"
    apply: Apply = Apply.RESTART
    #: A distribution that brings a kubelet of its own, which uses this engine.
    embedded: bool = False
    #: The program that the distribution's units start, whatever their names.
    program: str = ""
    #: The words after that program with which it tells its version.
    release: tuple[str, ...] = ()
    #: The name of the directory, beside the main file, in which every file counts: a new file must not wait for its rename there.
    whole: str = ""
    #: The file that the engine logs to, below its ``root``. '' if it logs to the journal.
    log: str = ""
    #: What makes a restart a risk, beside what holds for every engine of the family.
    doubts: t.Callable[[Engine], t.Iterable[Refusal]] = lambda engine: ()
    #: What an admin has to know about our handlers on this engine.
    remarks: t.Callable[[Engine], list[str]] = lambda engine: []
    #: The command that restarts the engine, in place of ``systemctl restart``.
    restart: tuple[str, ...] = ()
    #: What has to surround a transaction.
    held: t.Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext


class Configuration(t.Protocol):
    """What an engine makes of its files, its defaults included."""

    @property
    def text(self) -> str:
        """The whole configuration, as the engine's family prints it. The planner of that family reads it. May hold secrets."""

    def served(self) -> list[str]:
        """The handlers that an engine with this configuration serves: none if its CRI is disabled."""

    def cri_enabled(self) -> bool:
        """Whether the CRI may run."""

    def runtime_types(self) -> dict[str, str]:
        """The runtime type of each handler, '' for a handler without one."""

    def paths(self) -> dict[str, list[str]]:
        """The absolute paths that stand in each handler's tables."""

    def lost(self, after: Configuration, ours: t.Collection[str], proxies: t.Collection[str]) -> list[str]:
        """What differs in ``after``, apart from our handlers and proxy plugins. Names only: values may be secret."""

    def complaints(self) -> set[str]:
        """The keys that the engine says it does not know."""


@dataclass(frozen=True)
class Access:
    """What the user gives for a registry: credentials, and the certificates (PEM) of the CA that signed the registry's."""

    username: str = ""
    password: str = ""
    ca: str = ""


class Registry(t.Protocol):
    """One image of a registry, as this node's engine would get it."""

    def resolve(self) -> str:
        """Return the digest that the image's name stands for now."""

    def pulled(self, architecture: str, pulling: t.Callable[[int], None]) -> contextlib.AbstractContextManager[str]:
        """Pull the image's blobs for an architecture. Yields a directory that has them below ``blobs``. Nothing of them stays.

        ``pulling`` is called with the number of bytes that have arrived.
        """


class Driver(t.Protocol):
    """One engine on its node. There is a class for each family."""

    engine: Engine

    def facts(self, mode: str) -> Facts:
        """What decides about the place of handlers. ``mode`` is ``coco_config_mode``."""

    def files(self) -> dict[str, bytes]:
        """The files that the engine reads, in the order in which it reads them: path → content."""

    def places(self) -> list[str]:
        """The files that this collection may write to, whether they exist or not."""

    def territory(self) -> list[str]:
        """The paths that hold the engine's configuration, links resolved and not.

        If the directory of the main file is the engine's own, it is the directory. Else, as it may be /etc itself, these are
        the main file, the copy that installers make of it, drop-ins and imported files.
        """

    def configured(self, config: str = "") -> Configuration:
        """What the engine makes of its files, or of a trial's file. Refuses files with which it would not start."""

    def status(self) -> Status:
        """What the CRI says of itself. Raises ``cri.CriError`` if it does not answer."""

    def no_answer(self, error: Exception) -> Refusal:
        """The refusal to touch this engine, because its CRI does not answer."""

    def served(self) -> list[str]:
        """The handlers that the engine serves: none if its CRI is disabled. Refuses a CRI that should answer and does not."""

    def start(self) -> str:
        """An identifier of the engine's present start, which no other start has."""

    def apply(self, handlers: t.Collection[str], timeout: float) -> list[str]:
        """Let the engine take its configuration. Wait up to ``timeout`` seconds for it to serve ``handlers``.

        Returns all handlers that it serves.
        """

    def serving(self, handlers: t.Collection[str], timeout: float) -> list[str]:
        """Wait up to ``timeout`` seconds for the CRI to answer, to be ready and to serve ``handlers``.

        Returns all handlers that it serves. Raises a refusal that says which of this did not happen.
        """

    def last_words(self, since: float) -> str:
        """What the engine has logged since a time (seconds since the epoch), for an error message."""

    def snapshotters(self) -> list[str]:
        """The snapshotters that work."""

    def pods(self) -> list[Sandbox]:
        """The pod sandboxes, stopped ones included."""

    def registry(self, image: str, access: Access) -> Registry:
        """One image of a registry (``HOST/REPOSITORY:TAG``, or with a digest), for this engine to pull."""

    def clean(self) -> None:
        """Remove all that a pull, even a killed one, has left in the engine's store."""
