# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""CcRuntime manifests: what they may hold, which role variables they stand for, and the environment that the operator makes of them.

The schema is one table. It knows the fields of every version of the CRD, because manifests outlive operators.
"""

from __future__ import annotations

import difflib
import textwrap
import typing as t
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import yaml

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._installer import contracts

KIND = "CcRuntime"
API_VERSION = "confidentialcontainers.org/v1beta1"

#: Characters of a manifest, both as it is written and with its aliases written out.
LIMIT = 1 << 20
#: Fields of a mapping that "<<" may add up to. No mapping of a manifest has so many.
_MERGED = 1000

#: The class of the operator's default, without a shim of its own: other classes are called kata-<shim>.
_DEFAULT_CLASS = "kata"
_PREFIX = "kata-"

#: Snapshotters that are built into containerd; others are proxy plugins.
_BUILT_IN = ("blockfile", "btrfs", "devmapper", "erofs", "native", "overlayfs", "zfs")

_NAMES: t.Mapping[type, str] = {
    str: "text",
    bool: "true or false",
    int: "a whole number",
    list: "a list",
    dict: "a mapping",
}
_REMEDIES: t.Mapping[type, str] = {
    str: "Put it in quotes.",
    bool: "Write true or false, without quotes.",
    int: "Write a number, without quotes.",
    list: "Write it as a list, one element in a line that begins with a dash.",
    dict: "Write its fields below it, each in a line of its own.",
}


@dataclass(frozen=True)
class _Field:
    """What the CRD allows in a place.

    ``kind`` is a key of _NAMES, or ``object`` for anything. ``fields`` are those of a mapping; ``item`` is for the elements of a list, or for the values of a
    mapping with any keys.
    """

    kind: type
    fields: t.Mapping[str, _Field] = field(default_factory=dict)
    item: _Field | None = None
    choices: tuple[str, ...] = ()
    required: bool = False
    nullable: bool = False
    #: Why nothing becomes of it: a note.
    unused: str = ""
    #: What to do instead of what only Kubernetes can do: a value that is none of ``choices``, or any.
    instead: str = ""


def _text(*choices: str, required: bool = False, unused: str = "") -> _Field:
    return _Field(str, choices=choices, required=required, unused=unused)


def _list(item: _Field, unused: str = "") -> _Field:
    return _Field(list, item=item, unused=unused)


def _mapping(
    beyond: t.Mapping[str, _Field] | None = None, *, required: bool = False, unused: str = "", **fields: _Field
) -> _Field:
    return _Field(dict, fields={**fields, **(beyond or {})}, required=required, unused=unused)


def _beyond(instead: str, *names: str) -> dict[str, _Field]:
    """Return fields that only Kubernetes can act on."""
    return dict.fromkeys(names, _Field(object, instead=instead))


_FLAG = _Field(bool)
_ANYTHING = _Field(object)
_LABELS = _Field(dict, item=_text())

_VALUE = "Give the variable a value, which may come from a vault."
_ENVIRONMENT = _list(
    _mapping(
        name=_text(required=True),
        value=_text(),
        valueFrom=_mapping(
            _beyond(_VALUE, "configMapKeyRef", "fileKeyRef", "resourceFieldRef", "secretKeyRef"),
            fieldRef=_mapping(
                required=True,
                apiVersion=_text(),
                fieldPath=_Field(str, choices=("spec.nodeName",), required=True, instead=_VALUE),
            ),
        ),
    )
)

_VOLUMES = _list(
    _mapping(
        _beyond(
            "Put what it holds into a directory of the node, and name that with hostPath.",
            *("awsElasticBlockStore", "azureDisk", "azureFile", "cephfs", "cinder", "configMap", "csi", "downwardAPI"),
            *("ephemeral", "fc", "flexVolume", "flocker", "gcePersistentDisk", "gitRepo", "glusterfs", "image"),
            *("iscsi", "nfs", "persistentVolumeClaim", "photonPersistentDisk", "portworxVolume", "projected"),
            *("quobyte", "rbd", "scaleIO", "secret", "storageos", "vsphereVolume"),
        ),
        name=_text(required=True),
        hostPath=_mapping(
            path=_text(required=True),
            type=_text(
                *("", "DirectoryOrCreate", "Directory", "FileOrCreate", "File", "Socket", "CharDevice", "BlockDevice")
            ),
        ),
        emptyDir=_mapping(medium=_text(), sizeLimit=_ANYTHING),
    )
)

_MOUNTS = _list(
    _mapping(
        _beyond("Write the path out in subPath.", "subPathExpr"),
        mountPath=_text(required=True),
        name=_text(required=True),
        readOnly=_FLAG,
        recursiveReadOnly=_text(unused="a mount that is read-only is so as a whole"),
        subPath=_text(),
        mountPropagation=_text("None", "HostToContainer", "Bidirectional"),
    )
)

_CLASSES = _list(_mapping(name=_text(required=True), snapshotter=_text(), pulltype=_text()))


_HOOK = _mapping(
    image=_text(),
    cmd=_list(_text()),
    environmentVariables=_ENVIRONMENT,
    volumes=_VOLUMES,
    volumeMounts=_MOUNTS,
)


_NOBODY = "nothing reads it, the operator neither"
_SECRET = _mapping(
    name=_text(),
    unused="a secret of the cluster is not to be had here, so give its credentials in coco_registry_auth",
)

_CONFIG = _mapping(
    required=True,
    payloadImage=_text(required=True),
    installType=_text("bundle", "osnative", required=True, unused="a payload is always an image"),
    installCmd=_list(_text()),
    uninstallCmd=_list(_text()),
    cleanupCmd=_list(_text()),
    installerVolumes=_VOLUMES,
    installerVolumeMounts=_MOUNTS,
    environmentVariables=_ENVIRONMENT,
    runtimeClasses=_CLASSES,
    runtimeClassNames=_list(_text()),
    defaultRuntimeClassName=_text(),
    debug=_FLAG,
    installDoneLabel=_LABELS,
    uninstallDoneLabel=_LABELS,
    preInstall=_HOOK,
    postUninstall=_HOOK,
    imagePullPolicy=_text(unused="a payload is pulled when a node lacks it"),
    imagePullSecret=_SECRET,
    ImagePullSecret=_SECRET,
    runtimeImage=_text(unused=_NOBODY),
    guestKernelImage=_text(unused=_NOBODY),
    guestInitrdImage=_text(unused=_NOBODY),
    osNativeRepo=_text(unused=_NOBODY),
)

_MANIFEST = _mapping(
    apiVersion=_text(API_VERSION, required=True),
    kind=_text(KIND, required=True),
    metadata=_ANYTHING,
    status=_ANYTHING,
    spec=_mapping(
        required=True,
        runtimeName=_text("kata", "enclave-cc", required=True),
        ccNodeSelector=_Field(
            dict,
            nullable=True,
            fields={
                "matchLabels": _LABELS,
                "matchExpressions": _list(
                    _mapping(key=_text(required=True), operator=_text(required=True), values=_list(_text())),
                    unused="the operator acts on matchLabels only",
                ),
            },
        ),
        ccTolerations=_list(
            _mapping(key=_text(), operator=_text(), value=_text(), effect=_text(), tolerationSeconds=_Field(int)),
            unused="no pod has to be scheduled",
        ),
        config=_CONFIG,
    ),
)

#: Fields of spec.config that role variables take as they are.
_VARIABLES: t.Mapping[str, str] = {
    "payloadImage": "coco_payload",
    "installCmd": "coco_install_cmd",
    "uninstallCmd": "coco_uninstall_cmd",
    "cleanupCmd": "coco_cleanup_cmd",
    "installerVolumes": "coco_installer_volumes",
    "installerVolumeMounts": "coco_installer_volume_mounts",
    "environmentVariables": "coco_environment_variables",
    "debug": "coco_debug",
    "installDoneLabel": "coco_install_done_label",
    "uninstallDoneLabel": "coco_uninstall_done_label",
}
_HOOKS: t.Mapping[str, str] = {"preInstall": "coco_pre_install", "postUninstall": "coco_post_uninstall"}


@dataclass(frozen=True)
class Manifest:
    """What a CcRuntime manifest says.

    ``variables`` has the role variables that the manifest sets, ``runtime_classes`` a name, snapshotter and pulltype each ('' where there is none), and
    ``notes`` sentences about what nothing becomes of.
    """

    variables: dict[str, t.Any]
    runtime_classes: list[dict[str, str]]
    default_runtime_class: str
    runtime_name: str
    node_selector: dict[str, str]
    notes: list[str]


def parse(source: str | Mapping[str, t.Any]) -> Manifest:
    """Parse a stream of YAML with one CcRuntime in it, or a mapping that is one, and check it against the CRD."""
    document = _only(_load(source) if isinstance(source, str) else [source])
    try:
        if _weight(document, {}) > LIMIT:
            raise _too_large("more, or one that holds itself")
        document = _plain(document)
    except RecursionError:
        raise _too_large("lists or mappings within each other without end") from None
    notes: list[str] = []
    _check(document, _MANIFEST, "", notes)
    return _converted(document["spec"], notes)


#: Role variables that have the structure of a part of the manifest.
_OF_VARIABLES: t.Mapping[str, _Field] = {
    "coco_environment_variables": _ENVIRONMENT,
    "coco_installer_volume_mounts": _MOUNTS,
    "coco_installer_volumes": _VOLUMES,
    "coco_post_uninstall": _HOOK,
    "coco_pre_install": _HOOK,
}


def check_variable(name: str, value: t.Any) -> None:
    """Refuse the value of a role variable that the CRD would refuse in a manifest."""
    if name in _OF_VARIABLES:
        _check(value, _OF_VARIABLES[name], name, [])


# The environment of an installer


def environment(
    runtime_classes: Sequence[str | Mapping[str, str]],
    node_name: str,
    *,
    default_runtime_class: str = "",
    debug: bool = False,
    environment_variables: Sequence[Mapping[str, t.Any]] = (),
    create_runtime_classes: bool = True,
) -> dict[str, str]:
    """Return the environment that the operator gives to installCmd, uninstallCmd and cleanupCmd.

    What ``environment_variables`` sets, in the CRD's structure, wins. The operator always has RuntimeClasses created, which an installer needs ``kubectl`` for.
    """
    _check(runtime_classes, _list(_ANYTHING), "runtime_classes", [])
    classes = [{"name": entry} if isinstance(entry, str) else entry for entry in runtime_classes]
    _check(classes, _CLASSES, "runtime_classes", [])
    # The class "kata" stands for the default shim: no payload has one of that name, and an installer would look for it.
    shims = {
        entry["name"].removeprefix(_PREFIX): entry for entry in classes if entry["name"] not in ("", _DEFAULT_CLASS)
    }
    default = default_runtime_class.startswith(_PREFIX)
    injected = {
        "DEBUG": _flag(debug),
        "DEFAULT_SHIM": default_runtime_class.removeprefix(_PREFIX) if default else "",
        "CREATE_DEFAULT_RUNTIMECLASS": _flag(default and create_runtime_classes),
        "CREATE_RUNTIMECLASSES": _flag(create_runtime_classes),
        "SHIMS": " ".join(shims),
        "SNAPSHOTTER_HANDLER_MAPPING": _pairs(shims, "snapshotter"),
        "PULL_TYPE_MAPPING": _pairs(shims, "pulltype"),
    }
    return resolved(environment_variables, node_name, {"NODE_NAME": node_name, **injected})


def resolved(
    environment_variables: Iterable[Mapping[str, t.Any]], node_name: str, before: Mapping[str, str]
) -> dict[str, str]:
    """Return the environment of a container with these variables, in the CRD's structure, behind those of ``before``."""
    _check(environment_variables, _ENVIRONMENT, "coco_environment_variables", [])
    result = dict(before)
    for variable in environment_variables:
        result[variable["name"]] = (
            node_name if variable.get("valueFrom") else contracts.expanded(variable.get("value", ""), result)
        )
    return result


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _pairs(shims: Mapping[str, Mapping[str, str]], key: str) -> str:
    return ",".join(f"{shim}:{entry[key]}" for shim, entry in shims.items() if entry.get(key))


# From YAML to a document


class _Loader(yaml.SafeLoader):
    """YAML as Kubernetes reads it: 2026-01-01 and 1:30 are text. No key may be there twice, and no merge may blow up."""

    def compose_mapping_node(self, anchor: t.Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        names = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in names:
                    raise yaml.MarkedYAMLError(
                        problem=f"the key {_short(key.value)} again", problem_mark=key.start_mark
                    )
                names.add(key.value)
                if key.tag == "tag:yaml.org,2002:merge" and not isinstance(value, yaml.MappingNode):
                    raise yaml.MarkedYAMLError(
                        problem="a merge of something else than one mapping", problem_mark=key.start_mark
                    )
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> t.Any:
        if not isinstance(node, yaml.ScalarNode):
            return super().construct_object(node, deep)
        if ":" in node.value and node.tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float"):
            node.tag = "tag:yaml.org,2002:str"
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError) as error:
            raise yaml.MarkedYAMLError(problem="no value of its type", problem_mark=node.start_mark) from error

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        written = len(node.value)
        super().flatten_mapping(node)
        if len(node.value) > max(written, _MERGED):
            raise yaml.MarkedYAMLError(problem="a mapping of too many fields", problem_mark=node.start_mark)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _load(text: str) -> list[t.Any]:
    """Return the documents of a YAML stream."""
    if len(text) > LIMIT:
        raise _too_large(f"{len(text)} characters")
    try:
        return list(yaml.load_all(text, Loader=_Loader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        found = (error.problem or "a mistake").removeprefix("found ") + (f" in line {mark.line + 1}" if mark else "")
    except yaml.reader.ReaderError as error:
        found = f"a character that YAML does not allow in line {text.count(chr(10), 0, error.position) + 1}"
    except RecursionError:
        found = "lists or mappings within each other without end"
    raise Refusal(
        "the manifest to be YAML",
        found,
        "Mend that place of the manifest, or print it again: kubectl get ccruntime -o yaml.",
    )


def _only(documents: Iterable[t.Any]) -> t.Any:
    """Return the one CcRuntime among documents; the output of "kubectl get" has a list around it."""
    found: list[t.Any] = []
    for document in documents:
        items = document.get("items") if isinstance(document, Mapping) else None
        found += items if isinstance(items, list) and _kind(document).endswith("List") else [document]
    wanted = [document for document in found if _kind(document) == KIND]
    if len(wanted) == 1:
        return wanted[0]
    if wanted:
        names = [_short(_name(document)) for document in wanted]
        raise Refusal(
            f"one {KIND} in the manifest",
            f"{len(wanted)}: {', '.join(names[:5])}{' …' if len(names) > 5 else ''}",
            "Keep the one that is meant for these nodes; another group of nodes may have the other one.",
        )
    others = sorted({_short(_kind(document)) or _described(document) for document in found if document is not None})
    raise Refusal(
        f"one {KIND} in the manifest",
        f"none, but {', '.join(others[:5])}{' …' if len(others) > 5 else ''}" if others else "nothing",
        "The operator's samples are kustomizations: render them first, with kubectl kustomize DIRECTORY."
        if "Kustomization" in others
        else f"Give a manifest with kind: {KIND}, as kubectl get -o yaml prints it.",
    )


def _kind(document: t.Any) -> str:
    kind = document.get("kind") if isinstance(document, Mapping) else None
    return kind if isinstance(kind, str) else ""


def _name(document: Mapping[str, t.Any]) -> str:
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    return name if isinstance(name, str) else "one without a name"


def _weight(value: t.Any, known: dict[int, tuple[int, t.Any]]) -> int:
    """Return how many characters a value has about, with its aliases written out: a few of them can stand for billions.

    What holds itself weighs too much.
    """
    if isinstance(value, str):
        return len(value) + 1
    if not isinstance(value, (Mapping, list, tuple)):
        return 1
    if id(value) not in known:
        # The value is kept, so that none that is made on the way gets its id.
        known[id(value)] = (LIMIT, value)
        parts = [part for pair in value.items() for part in pair] if isinstance(value, Mapping) else value
        known[id(value)] = (1 + sum(_weight(part, known) for part in parts), value)
    return known[id(value)][0]


def _too_large(found: str) -> Refusal:
    return Refusal(
        f"a manifest of at most {LIMIT} characters, its aliases written out",
        found,
        f"Keep the {KIND} only.",
    )


# Checking a document


def _check(value: t.Any, expected: _Field, path: str, notes: list[str]) -> None:
    """Check a value of a document, or refuse it; ``path`` is its place."""
    if expected.instead and not expected.choices:
        raise Refusal("what a node can do without Kubernetes", path, expected.instead)
    if value is None and expected.nullable:
        return
    if not _is(value, expected.kind):
        raise Refusal(
            f"{path or 'the manifest'} to be {_NAMES[expected.kind]}",
            _described(value),
            "Leave it out, or give it a value." if value is None else _REMEDIES[expected.kind],
        )
    if expected.choices and value not in expected.choices:
        choices = " or ".join(choice or '""' for choice in expected.choices)
        remedy = expected.instead or "Write it like that" + ("." if expected.required else ", or leave it out.")
        raise Refusal(f"{path} to be {choices}", f'"{_short(value)}"', remedy)
    if expected.unused and value:
        notes.append(f"{path} is not used: {expected.unused}.")
    if expected.fields:
        _check_fields(value, expected, path, notes)
    elif expected.kind is dict and expected.item:
        for key, part in value.items():
            _check(key, _text(), f"a key of {path}", notes)
            _check(part, expected.item, f"{path}.{_short(key)}", notes)
    elif expected.item:
        for number, part in enumerate(value):
            _check(part, expected.item, f"{path}[{number}]", notes)


def _check_fields(value: Mapping[Hashable, t.Any], expected: _Field, path: str, notes: list[str]) -> None:
    for name, part in value.items():
        place = _below(path, _short(str(name)))
        if not isinstance(name, str) or name not in expected.fields:
            raise Refusal(f"{path or 'the manifest'} to have fields of the CRD", place, _advice(str(name), expected))
        _check(part, expected.fields[name], place, notes)
    for name, part in expected.fields.items():
        if part.required and name not in value:
            raise Refusal(f"{_below(path, name)} in the manifest", "nothing", "The CRD demands it: add it.")
    if "hostPath" in value and "emptyDir" in value:
        raise Refusal(f"{path} to have one source", "hostPath and emptyDir", "Keep the one that is meant.")
    if value.get("value") and "valueFrom" in value:
        raise Refusal(f"{path} to have one source", "value and valueFrom", "Keep the one that is meant.")


def _advice(name: str, expected: _Field) -> str:
    """Return what to do about an unknown field."""
    places = [place or "the top of the manifest" for place in _places(_MANIFEST, name, "")]
    if places:
        return f"It belongs in {' or '.join(places[:3])}: move it there."
    allowed = _allowed(expected)
    close = difflib.get_close_matches(name.lower(), [known.lower() for known in allowed], 1)
    meant = [known for known in allowed if known.lower() in close]
    return f"Write {meant[0]}." if meant else f"Remove it, or write one of {', '.join(allowed)}."


def _allowed(within: _Field) -> list[str]:
    return [name for name, part in within.fields.items() if part.choices or not part.instead]


def _places(within: _Field, name: str, path: str) -> list[str]:
    """Return where in the schema a field of that name is."""
    found = [path] if name in _allowed(within) else []
    for known, part in within.fields.items():
        found += _places(part, name, _below(path, known))
    return found + (_places(within.item, name, f"{path}[]") if within.item else [])


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _is(value: t.Any, kind: type) -> bool:
    if kind is dict:
        return isinstance(value, Mapping)
    if kind is list:
        return isinstance(value, (list, tuple))
    return isinstance(value, kind) and not (kind is int and isinstance(value, bool))


def _described(value: t.Any) -> str:
    """Return what a value is, without what it says: it may be a secret."""
    if value is None:
        return "nothing"
    if isinstance(value, float):
        return "a number"
    return next((name for kind, name in _NAMES.items() if _is(value, kind)), f"a {type(value).__name__}")


def _short(text: str) -> str:
    return textwrap.shorten(text, 80, placeholder="…") if len(text) > 80 else text


# From a document to variables


def _converted(spec: Mapping[str, t.Any], notes: list[str]) -> Manifest:
    """Return what a checked manifest says.

    For the operator an empty list, mapping or text is the same as none, so it sets nothing here, either.
    """
    config = spec["config"]
    variables = {
        variable: config[name] for name, variable in _VARIABLES.items() if config.get(name) or config.get(name) is False
    }
    for name, variable in _HOOKS.items():
        hook = config.get(name, {})
        if hook.get("image"):
            variables[variable] = hook
            if hook.get("cmd"):
                notes.append(
                    f"spec.config.{name}.cmd is run, while the operator runs its own script in the image: take it out to have "
                    "that."
                )
        elif hook:
            notes.append(f"spec.config.{name} is not used: without an image, the operator does not run it.")
    classes = _classes(config)
    default = config.get("defaultRuntimeClassName", "")
    if any(entry["name"] == _DEFAULT_CLASS for entry in classes):
        default = default or next((entry["name"] for entry in classes if entry["name"] == f"{_PREFIX}qemu"), "")
        notes.append(
            f"The class {_DEFAULT_CLASS} is another name of the default class, {default or 'which the manifest does not name'},"
            " and no handler of its own."
        )
    handlers = [entry for entry in classes if entry["name"] != _DEFAULT_CLASS]
    if handlers:
        variables["coco_handlers"] = [entry["name"] for entry in handlers]
    snapshotters = {entry["name"]: entry["snapshotter"] for entry in handlers if entry["snapshotter"]}
    if snapshotters:
        variables["coco_handler_overrides"] = {name: {"snapshotter": value} for name, value in snapshotters.items()}
    notes.extend(
        f"The snapshotter {snapshotter} is not part of containerd: if the engine does not know it, register it with coco_proxy_plugins."
        for snapshotter in sorted(set(snapshotters.values()) - set(_BUILT_IN))
    )
    selector = spec.get("ccNodeSelector") or {}
    return Manifest(
        variables=variables,
        runtime_classes=classes,
        default_runtime_class=default,
        runtime_name=spec["runtimeName"],
        node_selector=dict(selector.get("matchLabels", {})),
        notes=notes,
    )


def _classes(config: Mapping[str, t.Any]) -> list[dict[str, str]]:
    """Return each class once. Older manifests have names only, and one of the operator's had a name without a character."""
    entries = [*config.get("runtimeClasses", ()), *({"name": name} for name in config.get("runtimeClassNames", ()))]
    classes: dict[str, dict[str, str]] = {}
    for entry in entries:
        values = {key: entry.get(key, "") for key in ("name", "snapshotter", "pulltype")}
        if values["name"]:
            classes.setdefault(values["name"], values)
    return list(classes.values())


def _plain(value: t.Any) -> t.Any:
    """Return a copy made of dict and list."""
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, (list, tuple)) else value
