# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""One command of a payload: what it finds around itself, and when its work is done. What it does to the node, and whether that
stays, is for ``_installer.transaction``.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
import typing as t
from dataclasses import dataclass, field

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine import cri
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import Driver, Engine
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._installer import (
    contracts,
    record,
    rootfs,
    service,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._installer.kept import Kept
from ansible_collections.confidential_containers.runtime.plugins.module_utils._installer.volumes import (
    UNFIT,
    Bind,
    bind_options,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node.files import (
    make_directories,
    remove_file,
    remove_tree,
    require_room,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node.progress import Progress
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.layers import Limits

#: Commands whose work is judged by what they leave: a failure after it is only told. Real ones end with removing the directory
#: on which the artifacts are mounted, which no system lets them.
_JUDGED_BY_RESULT = ("uninstall", "cleanup")
#: Seconds that a command may still have to say something once the engine serves what it should.
_GRACE = 20.0
_PERIOD = 0.5
#: What a container runtime sets.
_DEFAULTS = ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root")
_KUBECONFIG = "/run/confidential-containers.kubeconfig"

# Answers the questions that installers of the contract ask, and says on stderr what it does not do.
_STUB = """\
#!/bin/sh
case "$*" in
*containerRuntimeVersion*) echo "containerd://{version}" ;;
*Ready*) echo True ;;
esac
echo "kubectl (stub of confidential_containers.runtime): nothing was done about: $*" >&2
"""


@dataclass(frozen=True)
class Order:
    """What is to be run: one ``command`` of the payload with ``digest``, and how.

    ``argv``, ``volumes``, ``mounts`` as the contract has them, no ``$(NAME)`` replaced; ``environment`` by name; ``kubectl``: none, stub, or the path of a
    kubeconfig on the node; ``finished``: a path on the node that appears when the work is done; ``handlers``: what the engine is to
    serve afterwards (none named: anything new); ``known``: all that the user said of the contract, for the commands to come.
    """

    command: str
    digest: str
    argv: t.Sequence[str]
    volumes: t.Sequence[t.Mapping[str, t.Any]]
    mounts: t.Sequence[t.Mapping[str, t.Any]]
    environment: t.Mapping[str, str] = field(default_factory=dict)
    kubectl: str = "none"
    finished: str = ""
    handlers: t.Sequence[str] = ()
    timeout: float = 600.0
    limits: t.Mapping[str, int] = field(default_factory=dict)
    known: t.Mapping[str, t.Any] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """What makes two runs of a command the same."""
        what = [self.digest, self.argv, self.volumes, self.mounts, dict(self.environment), self.kubectl, self.handlers]
        return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


@dataclass
class Outcome:
    """What a command did: to the engine, to files (path → added, changed, removed), and what it said."""

    changed: bool = True
    restarted: bool = False
    served: t.Sequence[str] = ()
    handlers: t.Sequence[str] = ()
    files: t.Mapping[str, str] = field(default_factory=dict)
    output: t.Sequence[str] = ()
    status: int = 0
    warning: str = ""


def prepared(root: str, kept: Kept, order: Order, engine: Engine, binds: t.Sequence[Bind]) -> service.Command:
    """Make the command's root file system in ``root``, and return what to start in it."""
    remove_tree(root)
    make_directories(root, mode=0o755)
    (image,) = kept.images()
    total = sum(layer.size or 0 for layer in image.layers)
    require_room(root, total, "the payload's root file system")
    progress, what = Progress(), f"unpacked for {order.command}"
    rootfs.unpack(kept, image, root, Limits(**order.limits), lambda done: progress.tell(what, done, total))
    for bind in binds:
        rootfs.make_mount_point(root, bind.target, os.path.isdir(bind.source))
    pairs = [pair.partition("=")[::2] for pair in (*_DEFAULTS, f"HOSTNAME={platform.node()}", *image.environment)]
    variables = {name: value for name, value in pairs if service.VARIABLE.fullmatch(name)}
    variables.update(order.environment)
    options = bind_options(binds)
    if order.kubectl == "stub":
        _stub(root, variables["PATH"].split(":"), binds, engine)
    elif order.kubectl != "none":
        rootfs.make_mount_point(root, _KUBECONFIG, directory=False)
        options += bind_options([Bind(order.kubectl, _KUBECONFIG, True, "File", "coco_installer_kubectl")])
        variables["KUBECONFIG"] = _KUBECONFIG
    for path in ("/etc/resolv.conf", "/etc/hosts"):
        if os.path.exists(path):
            rootfs.make_mount_point(root, path, directory=False)
            options += bind_options([Bind(os.path.realpath(path), path, True, "File", path)])
    fit = image.directory.startswith("/") and not UNFIT.search(image.directory)
    directory = image.directory if fit and os.path.isdir(rootfs.resolve(root, image.directory)) else "/"
    name = contracts.expanded(order.argv[0], order.environment)
    program = _program(root, name, variables["PATH"].split(":"), binds, kept.title)
    argv = [program.replace("$", "$$"), *order.argv[1:]]
    return service.Command(argv, directory, variables, root, options, known=list(order.environment))


def _program(root: str, name: str, places: t.Sequence[str], binds: t.Sequence[Bind], title: str) -> str:
    """Return the path of a command's program inside of the root."""
    candidates = [name] if name.startswith("/") else [f"{place}/{name}" for place in places]
    for path in candidates:
        if os.path.isfile(rootfs.resolve(root, path)) or os.path.isfile(_mounted(path, binds)):
            return path
    raise Refusal(
        f"the program {name} of the command in {title}",
        f"nothing at {' or '.join(candidates)}, there or in a volume",
        "If the payload has it elsewhere, write its path as the first word of the command (coco_install_cmd, …); if a volume brings it, "
        "mount that (coco_installer_volume_mounts).",
    )


def _mounted(path: str, binds: t.Iterable[Bind]) -> str:
    """Return where on the node a path is that a volume brings into the root, '' for none."""
    found = [bind for bind in binds if path.startswith(f"{bind.target}/")]
    bind = max(found, key=lambda bind: len(bind.target)) if found else None
    return bind.source + path[len(bind.target) :] if bind else ""


def _stub(root: str, places: t.Sequence[str], binds: t.Sequence[Bind], engine: Engine) -> None:
    """Put a kubectl that does nothing in the place of each one that the command would find."""
    # One that a volume brings is the node's: it is not for us to replace.
    paths = [path for path in (f"{place}/kubectl" for place in places) if not _mounted(path, binds)]
    present = [path for path in paths if os.path.lexists(rootfs.resolve(root, path))]
    for path in present or paths[:1]:
        # Where it is a link, what it leads to may be more than a kubectl.
        place = os.path.join(rootfs.resolve(root, os.path.dirname(path)), os.path.basename(path))
        remove_file(place)
        make_directories(os.path.dirname(place))
        with open(place, "x", encoding="utf-8") as stream:
            stream.write(_STUB.format(version=engine.version_text))
            os.fchmod(stream.fileno(), 0o755)


def run(driver: Driver, order: Order, command: service.Command, foreign: set[str]) -> Outcome:
    """Run the command until it has ended or done its work."""
    invocation = driver.start()
    marker = record.look(order.finished) if order.finished else None
    progress = Progress()
    since, began = time.time(), time.monotonic()
    started = service.start(command)
    served_since, served_by = 0.0, ""
    how = ""
    while not how:
        time.sleep(_PERIOD)
        found = service.look()
        now = time.monotonic()
        if not found.alive:
            how = "ended"
        elif _appeared(order.finished, marker) or service.is_idle():
            how = "idle"
        elif order.command == "install" and driver.start() != invocation and _installed(driver, order, foreign):
            if driver.start() != served_by:
                served_since, served_by = now, driver.start()
            how = "served" if now > served_since + _GRACE else ""
        if not how and now > began + order.timeout:
            how = "late"
        progress.tell(f"{order.command} of the payload at work for {now - began:.0f} s")
    progress.end()
    said = service.masked(service.output(started, since), order.environment)
    outcome = Outcome(output=said, status=found.status if how == "ended" else 0)
    service.remove()
    if how == "late":
        raise Refusal(
            f"{order.command} of the payload to end within {order.timeout:.0f} s (coco_installer_timeout)",
            f"that it was still at work; its last words: {_last(said)}",
            "Give it more time, or name in coco_installer_done what appears when its work is done.",
        )
    if how == "ended" and (found.status or found.result not in ("success", "")):
        failed = f"exit status {found.status}" if found.result in ("success", "exit-code") else found.result
        outcome.warning = f"{order.command} of the payload ended with {failed}; its last words: {_last(said)}"
        if order.command not in _JUDGED_BY_RESULT:
            raise Refusal(
                f"{order.command} of the payload to succeed ({' '.join(order.argv)})",
                f"{failed}; its last words: {_last(said)}",
                hint(said, order),
            )
    return outcome


def _appeared(path: str, before: record.Entry | None) -> bool:
    """Tell whether a marker is there that was not there before, as it is now: an earlier command may have left one."""
    now = record.look(path) if path else None
    return now is not None and now != before


def hint(said: t.Sequence[str], order: Order) -> str:
    if order.kubectl == "none" and any("kubectl" in line for line in said):
        return (
            "Its output names kubectl. If that is why, coco_installer_kubectl=stub answers for it, and the path of a kubeconfig lets "
            "it reach the cluster."
        )
    return "Its whole output is in the node's journal: journalctl -t confidential-containers-installer."


def _last(said: t.Sequence[str]) -> str:
    return " / ".join(line for line in said[-5:] if line.strip()) or "none"


def _installed(driver: Driver, order: Order, foreign: set[str]) -> bool:
    """Tell whether the engine serves what it should after an installation."""
    try:
        status = driver.status()
    except cri.CriError:
        return False
    new = set(status.handlers) - foreign
    return status.ready and (set(order.handlers) <= new if order.handlers else bool(new))
