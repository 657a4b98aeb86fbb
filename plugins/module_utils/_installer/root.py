# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The root file system of one command of a payload: the image's own, and what is added for the command.

Added are mount points and the node's resolv.conf and hosts. If the user wants it, a stub replaces kubectl, or a kubeconfig is added.
"""

from __future__ import annotations

import os
import platform
import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import Engine
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._installer import (
    contracts,
    rootfs,
    service,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._installer.command import Command
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

#: The variables that a container runtime sets.
_DEFAULTS = ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root")
_KUBECONFIG = "/run/confidential-containers.kubeconfig"

# It answers what the known installers ask, and says on stderr that nothing else was done.
_STUB = """\
#!/bin/sh
case "$*" in
*containerRuntimeVersion*) echo "{version}" ;;
*microk8s*cluster*) echo "{labelled}" ;;
*Ready*) echo True ;;
esac
echo "kubectl (stub of confidential_containers.runtime): nothing was done about: $*" >&2
"""


def prepared(root: str, kept: Kept, command: Command, engine: Engine, binds: t.Sequence[Bind]) -> service.Program:
    """Make the command's root file system in ``root``, and return the program to start in it."""
    remove_tree(root)
    make_directories(root, mode=0o755)
    (image,) = kept.images()
    total = sum(layer.size or 0 for layer in image.layers)
    require_room(root, total, "the payload's root file system")
    progress, what = Progress(), f"unpacked for {command.name}"
    rootfs.unpack(kept, image, root, Limits(**command.limits), lambda done: progress.tell(what, done, total))
    for bind in binds:
        rootfs.make_mount_point(root, bind.target, os.path.isdir(bind.source))
    pairs = [pair.partition("=")[::2] for pair in (*_DEFAULTS, f"HOSTNAME={platform.node()}", *image.environment)]
    variables = {name: value for name, value in pairs if service.VARIABLE.fullmatch(name)}
    variables.update(command.environment)
    options = bind_options(binds)
    if command.kubectl == "stub":
        _stub(root, variables["PATH"].split(":"), binds, engine)
    elif command.kubectl != "none":
        rootfs.make_mount_point(root, _KUBECONFIG, directory=False)
        options += bind_options([Bind(command.kubectl, _KUBECONFIG, True, "File", "coco_installer_kubectl")])
        variables["KUBECONFIG"] = _KUBECONFIG
    for path in ("/etc/resolv.conf", "/etc/hosts"):
        if os.path.exists(path):
            rootfs.make_mount_point(root, path, directory=False)
            options += bind_options([Bind(os.path.realpath(path), path, True, "File", path)])
    fit = image.directory.startswith("/") and not UNFIT.search(image.directory)
    directory = image.directory if fit and os.path.isdir(rootfs.resolve(root, image.directory)) else "/"
    name = contracts.expanded(command.argv[0], command.environment)
    program = _program(root, name, variables["PATH"].split(":"), binds, kept.title)
    argv = [program.replace("$", "$$"), *command.argv[1:]]
    return service.Program(argv, directory, variables, root, options, known=list(command.environment))


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
    """Return the node's path for a path in the root that a volume brings; '' when no volume brings it."""
    found = [bind for bind in binds if path.startswith(f"{bind.target}/")]
    bind = max(found, key=lambda bind: len(bind.target)) if found else None
    return bind.source + path[len(bind.target) :] if bind else ""


def _stub(root: str, places: t.Sequence[str], binds: t.Sequence[Bind], engine: Engine) -> None:
    """Replace each kubectl that the command would find by one that does nothing."""
    # A kubectl that a volume brings is the node's own: it must not be replaced.
    paths = [path for path in (f"{place}/kubectl" for place in places) if not _mounted(path, binds)]
    told = contracts.surroundings(engine)
    present = [path for path in paths if os.path.lexists(rootfs.resolve(root, path))]
    for path in present or paths[:1]:
        # If it is a link, replace the link and not its target, which may be more than a kubectl.
        place = os.path.join(rootfs.resolve(root, os.path.dirname(path)), os.path.basename(path))
        remove_file(place)
        make_directories(os.path.dirname(place))
        with open(place, "x", encoding="utf-8") as stream:
            stream.write(_STUB.format(version=told.version.format(version=engine.version_text), labelled=told.labelled))
            os.fchmod(stream.fileno(), 0o755)
