# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The controller's half of payload_extract: find out which payload an archive holds, and send it to nodes that lack it."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import typing as t
from dataclasses import replace

from ansible import constants
from ansible.errors import AnsibleConnectionFailure
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.validation import check_type_dict, check_type_list
from ansible.module_utils.parsing.convert_bool import boolean

from ansible_collections.confidential_containers.runtime.plugins.module_utils import _module
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._module import LIMITS
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import progress
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload import (
    extract,
    layers,
    layouts,
    tarball,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload import shims as shims_module
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.archive import (
    Archive,
    Image,
    select,
)
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
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._payload import decompress, leftovers

#: The temporary directory of this run of ansible-playbook, which all its processes share.
_RUN_TMP: str = t.cast(t.Any, constants).DEFAULT_LOCAL_TMP

_LIST = {"type": "list", "elements": "str", "default": []}
#: The options that decide what becomes of a payload, as the node's half has them.
_DECIDING = ArgumentSpecValidator(
    {"handlers": _LIST, "own_handlers": _LIST, "candidates": _LIST, "limits": LIMITS, "prefix": {"type": "path"}}
)


class ActionModule(RuntimeAction):
    """See the module's documentation."""

    def act(self, task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        options = {name: value for name, value in self._task.args.items() if value is not None}
        self._serve: dict[str, t.Any] = check_type_dict(options.pop("serve", {}))
        reference = parse(options.get("payload", ""))
        if reference.transport == REGISTRY:
            return self._registry(reference, options, task_vars)
        if reference.transport == DAEMON:
            return self._daemon(reference, options, task_vars)
        if options.get("payload_on", "controller") == "node":
            return self._looked_for(task_vars, options)
        reference = on_controller(reference)
        return self._sent(reference, {**options, "payload": reference.texts}, task_vars)

    def _registry(
        self, reference: Reference, options: dict[str, t.Any], task_vars: dict[str, t.Any]
    ) -> dict[str, t.Any]:
        if options.pop("payload_on", "node") == "controller":
            raise Refusal(
                "coco_payload_on=node for a payload in a registry, which the node's own engine pulls",
                "controller",
                "Leave it out. For nodes that do not reach the registry, save the image to a file: "
                "skopeo copy docker://… oci-archive:FILE.",
            )
        certificates = str(options.get("registry_ca", ""))
        if certificates and "-----BEGIN" not in certificates:
            options["registry_ca"] = _read(certificates)

        def resolve() -> str:
            return str(self.node("payload_extract", task_vars, **{**options, "payload": str(reference)})["digest"])

        digest = reference.digest or once(_RUN_TMP, str(reference), resolve)
        return self._looked_for(task_vars, {**options, "payload": str(replace(reference, digest=digest))})

    def _looked_for(self, task_vars: dict[str, t.Any], options: dict[str, t.Any]) -> dict[str, t.Any]:
        """Let the node extract what it can reach by itself, unless that is there already."""
        if self._serve:
            found = self.node("payload_extract", task_vars, **options, look=True)
            if found["found"] != "absent":
                return found
            self._refuse_early(options, task_vars)
            options = {**options, "require_engine": False}  # it was looked at just now
            result = self._extract(task_vars, options)
            return {**result, "recovered": found["recovered"] or result["recovered"]}
        return self._extract(task_vars, options)

    def _refuse_early(self, options: dict[str, t.Any], task_vars: dict[str, t.Any]) -> None:
        """Refuse what needs no payload to be refused, before one is sent or read."""
        if not self._serve:
            return
        toml.require()
        engine = {key: options[key] for key in _module.ENGINE_OPTIONS if options.get(key)}
        found = self.node("engine_config", task_vars, state="read", **engine)
        wanted = Wanted(
            proxies=proxy_tables(self._serve.get("proxy_plugins") or {}),
            mode=str(options.get("config_mode", "auto")),
            keep_aside=self._serve.get("conflicts") == "keep_aside",
            enable_cri=boolean(options.get("enable_cri", False)),
        )
        overrides = self._serve.get("overrides") or {}
        names = check_type_list(options.get("handlers") or [])
        refuse_early(planner_of(found["engine"]["name"]), Found.read(found), wanted, names, overrides)
        looked.remember(self.host, engine, found)

    def _extract(self, task_vars: dict[str, t.Any], options: dict[str, t.Any]) -> dict[str, t.Any]:
        """Let the node work, and show how far it is."""
        return self.watched(
            lambda: self.node("payload_extract", task_vars, **options), f"cat {progress.PATH}", progress.parse
        )

    def _daemon(self, reference: Reference, options: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        """Save an image of the controller's Docker engine once, for all nodes that lack it."""
        if options.get("payload_on", "controller") == "node":
            raise Refusal(
                "coco_payload_on=controller for an image of a Docker engine, which is looked for there",
                "node",
                "Leave it out, or save the image on the node and name it docker-archive:FILE.",
            )
        # Its library takes longer to load than all else here.
        from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._payload import docker

        daemon = docker.Daemon(self.show)
        known: dict[str, t.Any] = json.loads(
            once(_RUN_TMP, str(reference), lambda: json.dumps(daemon.image(reference.path)))
        )
        identity = docker.identity(known)
        # A digest that is asked for may be one that only the archive tells: it is checked with that.
        found = self.node("payload_extract", task_vars, **{**options, "identities": [identity], "digest": ""})
        if found["found"] != "absent" and options.get("digest", "") in ("", found["digest"], identity["digest"]):
            return found

        self._refuse_early(options, task_vars)
        self._serve = {}

        def save() -> str:
            path = os.path.join(_RUN_TMP, f"{identity['digest'][7:]}.tar")
            daemon.save(reference.path, path, known["Size"])
            return path

        path = once(_RUN_TMP, f"{reference} {identity['digest']}", save)
        return self._sent(Reference("docker-archive", path), {**options, "payload": str(reference)}, task_vars)

    def _sent(self, reference: Reference, options: dict[str, t.Any], task_vars: dict[str, t.Any]) -> dict[str, t.Any]:
        """Let the node look for what the controller has, and send it when it is not there."""
        digest, whole = "", boolean(options.get("whole", False))
        if reference.transport in ("tarball", "dir"):
            digest = once(_RUN_TMP, f"{reference} {whole}", lambda: _digest_of(reference, whole))
        with tarball.open_source(reference, digest=digest, whole=whole) as source:
            images = source.images()
            sizes = [sum(layer.size or 0 for layer in image.layers) for image in images]
            options["identities"] = [
                {**image.identity(), "size": size} for image, size in zip(images, sizes, strict=True)
            ]
            found = self.node("payload_extract", task_vars, **options)
            if found["found"] != "absent":
                return found
            self._refuse_early(options, task_vars)
            identity = select(options["identities"], found["architecture"], str(options.get("digest", "")))
            image = next(image for image in images if image.digest == identity["digest"])
            if self._task.check_mode:
                return {**found, **({"changed": True} if whole else _foresee(source, image, options, found))}
            directory = self._directory()
            target = self._connection._shell.join_path(directory, "payload")
            try:
                limits = layers.limits_of(_decided(options)["limits"])
                with _files_to_send(source, image, found["zstd"], limits) as (files, options["plain"]):
                    self._require_room(directory, sum(map(os.path.getsize, files.values())))
                    for parent in sorted({os.path.dirname(name) for name in files} - {""}):
                        self._tell_node(f"mkdir -p {self._quoted(target, parent)}")
                    for name, path in files.items():
                        self._send(path, f"{target}/{name}" if name else target)
                return self._extract(task_vars, {**options, "archive": target})
            finally:
                with contextlib.suppress(AnsibleConnectionFailure, Refusal):
                    self._tell_node(f"rm -rf {self._quoted(directory)}")

    def _directory(self) -> str:
        """Make a directory for a payload on the node, where Ansible has its own, and remove what killed runs have left there."""
        if self._connection._shell.tmpdir is None:
            self._make_tmp_path()
        parent = os.path.dirname(str(self._connection._shell.tmpdir).rstrip("/"))
        old = f"-maxdepth 1 -name '{leftovers.START}*' -user \"$(id -u)\" -mmin +1440"
        listed = self._tell_node(
            f"cd {self._quoted(parent)} && {{ find . {old} -exec rm -rf {{}} +; ls; }} 2>/dev/null"
        )
        made = self._connection._shell.join_path(parent, leftovers.name())
        left = " ".join(self._quoted(parent, name) for name in leftovers.abandoned(listed.split()))
        # What is somebody else's stays.
        self._tell_node(f"rm -rf {left} 2>/dev/null; mkdir -m 700 {self._quoted(made)}")
        return str(made)

    def _require_room(self, directory: str, least: int) -> None:
        told = self._tell_node(f"stat -f -c '%a %S' {self._quoted(directory)}").splitlines()[-1].split()
        free = int(told[0]) * int(told[1])
        if free < least:
            raise Refusal(
                f"room for the payload in {directory} on the node: {least >> 20} MiB",
                f"{free >> 20} MiB",
                "Make room there, name another directory in ansible_remote_tmp, or bring the payload to the node (coco_payload_on).",
            )

    def _tell_node(self, command: str) -> str:
        """Run a command as the user who connects, who is also the one that sends files, and return what it prints."""
        done = self._low_level_execute_command(command, sudoable=False)
        if done["rc"] != 0:
            raise Refusal(
                "a directory for the payload on the node (ansible_remote_tmp)",
                str(done["stderr"]).strip(),
                "See to that on the node, or name another directory in ansible_remote_tmp.",
            )
        return str(done["stdout"])

    def _quoted(self, *parts: str) -> str:
        return str(self._connection._shell.quote(self._connection._shell.join_path(*parts)))

    def _send(self, path: str, target: str) -> None:
        total = os.path.getsize(path)

        def sent(size: str) -> tuple[str, int, int] | None:
            return ("sent", int(size), total) if size.strip().isdigit() else None

        command = f"stat -c %s {self._connection._shell.quote(target)}"
        self.watched(lambda: self._transfer_file(path, target), command, sent)


def _read(path: str) -> str:
    try:
        with open(os.path.expanduser(path), encoding="utf-8") as stream:
            return stream.read()
    except (OSError, UnicodeDecodeError) as error:
        raise Refusal(
            "certificates in coco_registry_ca, or the path of a file with them on the controller",
            str(error),
            "Write the path of a PEM file that you can read, or its text.",
        ) from error


def _digest_of(reference: Reference, whole: bool) -> str:
    with tarball.open_source(reference, whole=whole) as source:
        return " ".join(layer.digest for layer in source.images()[0].layers)


@contextlib.contextmanager
def _files_to_send(
    source: tarball.Source, image: Image, zstd: bool, limits: layers.Limits
) -> t.Iterator[tuple[dict[str, str], dict[str, str]]]:
    """Yield the files of the controller that a node needs, by their path below the payload's ('': they are one file); and
    for layers that it gets decompressed, because it does not read ``zstd``, their digests then."""
    directory = os.path.isdir(source.path)
    with tempfile.TemporaryDirectory(dir=_RUN_TMP) as made:
        converted = {} if zstd else decompress.layers(source, image, made, limits)
        plain = {digest: new for digest, (_path, new) in converted.items()}
        files = {
            "" if isinstance(source, tarball.Tarball) else layer.member: converted[layer.digest][0]
            for layer in image.layers
            if layer.digest in converted
        }
        if isinstance(source, Archive) and (directory or converted):
            # Only what this image needs: others may be for other platforms.
            for name in source.documents(image) + [layer.member for layer in image.layers]:
                if name not in files:
                    files[name] = os.path.join(source.path, name) if directory else source.copy(name, made)
        elif isinstance(source, tarball.Tarballs):
            files = {**source.files(), **files}
        elif directory and not converted:
            files[""] = os.path.join(made, "payload")
            with open(files[""], "wb") as packed:
                packed.writelines(t.cast(tarball.Tarball, source).packed())
        yield files or {"": source.path}, plain


def _decided(options: dict[str, t.Any]) -> dict[str, t.Any]:
    """Return the options that decide what becomes of a payload. The node has accepted them: they are only converted here."""
    known = {name: value for name, value in options.items() if name in _DECIDING.argument_spec}
    return t.cast("dict[str, t.Any]", _DECIDING.validate(known).validated_parameters)


def _foresee(
    source: tarball.Source, image: Image, options: dict[str, t.Any], found: dict[str, t.Any]
) -> dict[str, t.Any]:
    """Return what the node would find in a payload that it does not have: read here, nothing is sent."""
    deciding = _decided(options)
    asked, own, candidates = (deciding[name] for name in ("handlers", "own_handlers", "candidates"))
    node = (found["architecture"], found["capabilities"])
    how = extract.How(
        prefix=deciding["prefix"],
        architecture=found["architecture"],
        limits=layers.limits_of(deciding["limits"]),
        choose=lambda shims: shims_module.shims_to_unpack(shims, asked, *node, own, candidates),
    )
    unpacked = extract.unpack(source, image, None, how)
    layout = t.cast(layouts.Layout, unpacked.layout)
    prefix = deciding["prefix"] or layout.prefix
    offered = shims_module.offered(unpacked.tree, layout, prefix, unpacked.components)
    choice = shims_module.choose(offered, asked, *node, own, candidates)
    return {
        "changed": True,
        "layout": layout.name,
        "prefix": prefix,
        "handlers": [handler.table() for handler in choice.handlers],
        "excluded": dict(choice.excluded),
        "tree": unpacked.tree,
    }
