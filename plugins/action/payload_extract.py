# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The controller's half of payload_extract: find out which payload is meant, and send it to nodes that lack it.

The node's half is ``module_utils/_extraction``. It is asked first, and gets an archive only if it needs one.
"""

from __future__ import annotations

import json
import os
import typing as t
from dataclasses import replace

from ansible import constants

from ansible_collections.confidential_containers.runtime.plugins.module_utils import _arguments
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import progress
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload import layers, tarball
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.archive import Image, select
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.reference import (
    DAEMON,
    REGISTRY,
    Reference,
    on_controller,
    parse,
)
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._action import RuntimeAction
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._engine import looked, toml
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._engine.api import Found, Wanted
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._engine.handlers import (
    proxy_tables,
    refuse_early,
)
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._engine.planners import planner_of
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._once import once
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._payload import transfer
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._payload.foresee import foresee

#: The temporary directory of this run of ansible-playbook. All its processes share it.
_RUN_TMP: str = t.cast(t.Any, constants).DEFAULT_LOCAL_TMP

Result = dict[str, t.Any]
#: The arguments for the node's half.
Told = t.Mapping[str, t.Any]


class ActionModule(RuntimeAction):
    """See the module's documentation."""

    def act(self, task_vars: dict[str, t.Any]) -> Result:
        del task_vars  # RuntimeAction has kept them, and node() takes them
        self._options = self.options(_arguments.PAYLOAD_EXTRACT)
        self._serve = self._options["serve"]
        # The arguments as the user wrote them: the node must expand a ~ in its own paths.
        told = {name: value for name, value in self._task.args.items() if name != "serve"}
        reference = parse(self._options["payload"])
        if reference.transport == REGISTRY:
            return self._registry(reference, told)
        if reference.transport == DAEMON:
            return self._daemon(reference, told)
        if self._options["payload_on"] == "node":
            return self._looked_for(told)
        reference = on_controller(reference)
        return self._sent(reference, {**told, "payload": reference.texts})

    def _ask(self, told: Told, **more: t.Any) -> Result:
        """Run the node's half."""
        return self.node("payload_extract", self._task_vars, **{**told, **more})

    def _extract(self, told: Told, **more: t.Any) -> Result:
        """Run the node's half, and show its progress."""
        return self.watched(lambda: self._ask(told, **more), f"cat {progress.PATH}", progress.parse)

    def _registry(self, reference: Reference, told: Told) -> Result:
        """Let the node pull an image. A tag is resolved once, so that all nodes get the same image."""
        if self._options["payload_on"] == "controller":
            raise Refusal(
                "coco_payload_on=node for a payload in a registry, which the node's own engine pulls",
                "controller",
                "Leave it out. For nodes that do not reach the registry, save the image to a file: "
                "skopeo copy docker://… oci-archive:FILE.",
            )
        told = {**told, "registry_ca": _certificates(self._options["registry_ca"])}
        digest = reference.digest or once(
            _RUN_TMP, str(reference), lambda: str(self._ask(told, payload=str(reference))["digest"])
        )
        return self._looked_for({**told, "payload": str(replace(reference, digest=digest))})

    def _looked_for(self, told: Told) -> Result:
        """Let the node extract a payload that it can reach by itself, unless it is there already."""
        if not self._serve:
            return self._extract(told)
        found = self._ask(told, look=True)
        if found["found"] != "absent":
            return found
        self._refuse_early()
        result = self._extract(told, require_engine=False)  # the engine was looked at just now
        return {**result, "recovered": found["recovered"] or result["recovered"]}

    def _refuse_early(self) -> None:
        """Refuse before a payload is sent or read what its handlers would be refused for later. Only the first call looks."""
        serve, self._serve = self._serve, {}
        if not serve:
            return
        toml.require()
        engine = {name: self._task.args[name] for name in _arguments.ENGINE_OPTIONS if self._task.args.get(name)}
        found = self.node("engine_config", self._task_vars, state="read", **engine)
        wanted = Wanted(
            proxies=proxy_tables(serve.get("proxy_plugins") or {}),
            mode=self._options["config_mode"],
            keep_aside=serve.get("conflicts") == "keep_aside",
            enable_cri=self._options["enable_cri"],
        )
        planner, overrides = planner_of(found["engine"]["name"]), serve.get("overrides") or {}
        refuse_early(planner, Found.read(found), wanted, self._options["handlers"], overrides)
        looked.remember(self.host, engine, found)

    def _daemon(self, reference: Reference, told: Told) -> Result:
        """Save an image of the controller's Docker engine once, for all nodes that lack it."""
        if self._options["payload_on"] == "node":
            raise Refusal(
                "coco_payload_on=controller for an image of a Docker engine, which is looked for there",
                "node",
                "Leave it out, or save the image on the node and name it docker-archive:FILE.",
            )
        # Docker's library takes longer to load than everything else here.
        from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._payload import docker

        daemon = docker.Daemon(self.show)
        known: dict[str, t.Any] = json.loads(
            once(_RUN_TMP, str(reference), lambda: json.dumps(daemon.image(reference.path)))
        )
        identity = docker.identity(known)
        # The digest that the user expects may be one that only the archive tells. So it is checked with the archive.
        found = self._ask(told, identities=[identity], digest="")
        if found["found"] != "absent" and self._options["digest"] in ("", found["digest"], identity["digest"]):
            return found
        self._refuse_early()

        def save() -> str:
            path = os.path.join(_RUN_TMP, f"{identity['digest'][7:]}.tar")
            daemon.save(reference.path, path, known["Size"])
            return path

        path = once(_RUN_TMP, f"{reference} {identity['digest']}", save)
        return self._sent(Reference("docker-archive", path), {**told, "payload": str(reference)})

    def _sent(self, reference: Reference, told: Told) -> Result:
        """Ask the node for the payload that the controller has, and send it when it is not there."""
        digest, whole = "", self._options["whole"]
        if reference.transport in ("tarball", "dir"):
            digest = once(_RUN_TMP, f"{reference} {whole}", lambda: transfer.digests_of(reference, whole))
        with tarball.open_source(reference, digest=digest, whole=whole) as source:
            images = source.images()
            told = {**told, "identities": [_identity(image) for image in images]}
            found = self._ask(told)
            if found["found"] != "absent":
                return found
            self._refuse_early()
            identity = select(told["identities"], found["architecture"], self._options["digest"])
            image = next(image for image in images if image.digest == identity["digest"])
            if not self._task.check_mode:
                return self._transferred(source, image, found["zstd"], told)
            return {**found, **({"changed": True} if whole else foresee(source, image, self._options, found))}

    def _transferred(self, source: tarball.Source, image: Image, zstd: bool, told: Told) -> Result:
        """Send an image to a directory on the node, and let the node extract it there."""
        limits = layers.limits_of(self._options["limits"])
        with self._directory() as directory:
            with transfer.files_to_send(source, image, zstd, limits, _RUN_TMP) as (files, plain):
                directory.take(files)
            return self._extract(told, archive=directory.payload, plain=plain)

    def _directory(self) -> transfer.Directory:
        shell = self._connection._shell
        if shell.tmpdir is None:
            self._make_tmp_path()
        parent = os.path.dirname(str(shell.tmpdir).rstrip("/"))
        return transfer.Directory(parent, shell, self._run, self._send)

    def _run(self, command: str) -> dict[str, t.Any]:
        """Run a command as the user who connects, because that user sends the files, too."""
        return t.cast("dict[str, t.Any]", self._low_level_execute_command(command, sudoable=False))

    def _send(self, path: str, target: str) -> None:
        total = os.path.getsize(path)

        def sent(size: str) -> tuple[str, int, int] | None:
            return ("sent", int(size), total) if size.strip().isdigit() else None

        command = f"stat -c %s {self._connection._shell.quote(target)}"
        self.watched(lambda: self._transfer_file(path, target), command, sent)


def _identity(image: Image) -> dict[str, t.Any]:
    return {**image.identity(), "size": sum(layer.size or 0 for layer in image.layers)}


def _certificates(given: str) -> str:
    """Return the text of coco_registry_ca, which may be the path of a file on the controller."""
    if not given or "-----BEGIN" in given:
        return given
    try:
        with open(os.path.expanduser(given), encoding="utf-8") as stream:
            return stream.read()
    except (OSError, UnicodeDecodeError) as error:
        raise Refusal(
            "certificates in coco_registry_ca, or the path of a file with them on the controller",
            str(error),
            "Write the path of a PEM file that you can read, or its text.",
        ) from error
