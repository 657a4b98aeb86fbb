# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The variables of roles and playbooks: one table (KNOWN), and how their values are checked and converted.

``-e NAME=VALUE`` makes every value a text. In an inventory, YAML decides what a value is. A template may see either. So roles
read converted values only (``roles/common/vars``). ``check_variables`` comes first, and refuses what cannot be converted.
"""

from __future__ import annotations

import difflib
import re
import shlex
import typing as t
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import yaml
from ansible.module_utils.common.validation import check_type_dict
from ansible.module_utils.parsing.convert_bool import boolean

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine import flavours
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal


class _Wrong(Exception):
    """A value, or a part of it, is not of its kind.

    ``where`` names the part; ``element``: the part is an element of a list. ``expected`` is what it should be, if not the kind.
    """

    def __init__(self, value: t.Any, expected: str = "", where: str = "", element: bool = False) -> None:
        super().__init__()
        self.value = value
        self.expected = expected
        self.where = where
        self.element = element


@dataclass(frozen=True)
class Kind:
    """The kind of a value: its name in ``words``, its ``spec`` in argument specs (type, elements), and how to ``convert`` to it.

    ``write`` is an example of a value.
    """

    words: str
    spec: tuple[str, str | None]
    convert: t.Callable[[t.Any], t.Any]
    write: str


@dataclass(frozen=True)
class Variable:
    """One variable, or one key of a mapping (``keys``). ``default`` counts if it is not given."""

    kind: Kind
    default: t.Any = None
    choices: tuple[str, ...] = ()
    least: int | None = None
    #: Its value is never shown.
    secret: bool = False
    required: bool = False
    keys: Mapping[str, Variable] = field(default_factory=dict)
    #: The mapping may be empty, although some of its keys are required.
    may_be_empty: bool = False
    #: An example of a value, if the example of the kind would mislead.
    write: str = ""


def _structure(text: str) -> t.Any:
    """Return the list or mapping that a text holds as JSON or one-line YAML. Other texts are returned as they are."""
    if text.strip()[:1] in ("[", "{"):
        try:
            return yaml.safe_load(text)
        except yaml.YAMLError:
            raise _Wrong(text) from None
    return text


def _text(value: t.Any) -> str:
    if type(value).__name__ in ("AnsibleVaultEncryptedUnicode", "EncryptedString"):
        return str(value)  # decrypted
    # YAML has turned 1.10 into 1.1, and no into a boolean. Only the user knows what was written.
    if isinstance(value, (bool, float)) or not isinstance(value, (str, int)):
        raise _Wrong(value)
    return value if isinstance(value, str) else str(value)


def _flag(value: t.Any) -> bool:
    try:
        return bool(boolean(value))
    except TypeError:
        raise _Wrong(value) from None


def _number(value: t.Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, str) and re.fullmatch(r"\s*-?[0-9]+\s*", value, re.ASCII):
        return int(value)
    raise _Wrong(value)


def _list(
    split: t.Callable[[str], Iterable[str]], item: t.Callable[[t.Any], t.Any]
) -> t.Callable[[t.Any], list[t.Any]]:
    def convert(value: t.Any) -> list[t.Any]:
        if isinstance(value, str):
            value = _structure(value)
        if isinstance(value, str):
            try:
                value = [part for part in split(value) if part]
            except ValueError:  # a quote is not closed
                raise _Wrong(value) from None
        if not isinstance(value, (list, tuple)):
            raise _Wrong(value)
        try:
            return [item(part) for part in value]
        except _Wrong as wrong:
            raise _Wrong(wrong.value, element=True) from None

    return convert


def _mapping(value: t.Any) -> dict[str, t.Any]:
    if isinstance(value, str):
        value = _structure(value)
    if isinstance(value, str):
        try:
            value = check_type_dict(value) if value.strip() else {}
        except (TypeError, ValueError):
            raise _Wrong(value) from None
    if not isinstance(value, Mapping):
        raise _Wrong(value)
    return {key if isinstance(key, str) else str(key): _plain(part) for key, part in value.items()}


def _mappings(value: t.Any) -> dict[str, dict[str, t.Any]]:
    """Return a mapping of mappings."""
    tables = {}
    for name, table in _mapping(value).items():
        try:
            tables[name] = _mapping(table)
        except _Wrong as wrong:
            raise _Wrong(wrong.value, "a mapping", f"{name} in ") from None
    return tables


def _text_or_list(value: t.Any) -> str | list[str]:
    if isinstance(value, str):
        value = _structure(value)
    return _list(lambda text: [text], _text)(value) if isinstance(value, (list, tuple)) else _text(value)


def _manifest(value: t.Any) -> str | dict[str, t.Any]:
    if isinstance(value, str):
        value = _structure(value)
    return _mapping(value) if isinstance(value, Mapping) else _text(value)


def _pattern(value: t.Any) -> str:
    pattern = ",".join(filter(None, _list(lambda text: [text], _text)(value)))
    if not pattern:
        raise _Wrong(value)
    return pattern


def _batch(value: t.Any) -> str | int:
    if isinstance(value, bool) or not re.fullmatch(r"[1-9][0-9]*%?", str(value), re.ASCII):
        raise _Wrong(value)
    return value if isinstance(value, int) else str(value)


def _batches(value: t.Any) -> list[str | int]:
    batches = _list(_by_comma, _batch)([value] if isinstance(value, int) else value)
    if not batches:
        raise _Wrong(value)
    return batches


def _by_comma(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


def _plain(value: t.Any) -> t.Any:
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, (list, tuple)) else value


TEXT = Kind("text", ("str", None), _text, "a text in quotes")
PATH = Kind("a path", ("path", None), _text, "a path in quotes")
FLAG = Kind("true or false", ("bool", None), _flag, "true or false")
NUMBER = Kind("a whole number", ("int", None), _number, "a number, for example 300")
NAMES = Kind("a list of texts", ("list", "str"), _list(_by_comma, _text), "a list, for example [kata-qemu, kata-clh]")
COMMAND = Kind(
    "a program and its arguments",
    ("list", "str"),
    _list(shlex.split, _text),
    "a list, for example [/opt/install.sh, install]",
)
MAPPINGS = Kind(
    "a list of mappings", ("list", "dict"), _list(lambda text: [text], _mapping), "a list, for example [{name: x}]"
)
MAPPING = Kind("a mapping", ("dict", None), _mapping, "a mapping, for example {name: value}")
TABLES = Kind("a mapping of mappings", ("dict", None), _mappings, "mappings by name, for example {name: {key: value}}")
PAYLOAD = Kind("text, or a list of texts", ("raw", None), _text_or_list, "for example oci-archive:/path/of/the/archive")
MANIFEST = Kind("a path, or a mapping", ("raw", None), _manifest, "the path of the manifest in quotes")
HOSTS = Kind("a pattern of hosts", ("str", None), _pattern, "the name of a group")
BATCHES = Kind(
    "numbers or percentages above 0",
    ("list", "str"),
    _batches,
    """for example -e '{"coco_serial": [1, "25%", "100%"]}'""",
)

_HOOK = Variable(
    MAPPING,
    keys={
        "image": Variable(TEXT, required=True),
        "cmd": Variable(COMMAND),
        "environmentVariables": Variable(MAPPINGS, secret=True),
        "volumes": Variable(MAPPINGS),
        "volumeMounts": Variable(MAPPINGS),
    },
    may_be_empty=True,
    write="for example {image: REFERENCE}; an empty one, {}, switches off what a manifest sets",
)

#: Every variable that the roles and playbooks of this version read.
KNOWN: Mapping[str, Variable] = {
    "coco_ccruntime": Variable(MANIFEST),
    "coco_cleanup_cmd": Variable(COMMAND),
    "coco_config_mode": Variable(TEXT, "auto", ("auto", "drop_in", "in_place")),
    "coco_conflicts": Variable(TEXT, "refuse", ("refuse", "keep_aside")),
    "coco_debug": Variable(FLAG),
    "coco_edited_config": Variable(TEXT, "keep", ("keep", "replace")),
    "coco_enable_cri": Variable(FLAG, False),
    "coco_engine": Variable(TEXT, "auto", flavours.CHOICES),
    "coco_engine_config": Variable(PATH),
    "coco_engine_socket": Variable(PATH),
    # A run is rolled back if the engine needs longer: too short a limit would undo every run.
    "coco_engine_timeout": Variable(NUMBER, 120, least=10),
    "coco_engine_unit": Variable(TEXT),
    "coco_environment_variables": Variable(
        MAPPINGS, secret=True, write="a list, for example [{name: NAME, value: VALUE}]"
    ),
    "coco_handler_overrides": Variable(
        TABLES, write="mappings by handler, for example {kata-qemu: {snapshotter: nydus}}"
    ),
    "coco_handlers": Variable(NAMES),
    "coco_hosts": Variable(HOSTS, "coco_nodes"),
    "coco_ignore_running_pods": Variable(FLAG, False),
    "coco_install_cmd": Variable(COMMAND),
    "coco_installer": Variable(TEXT, "native", ("native", "payload")),
    "coco_installer_done": Variable(PATH),
    "coco_installer_kubectl": Variable(TEXT),
    "coco_installer_timeout": Variable(NUMBER, 600, least=1),
    "coco_installer_volume_mounts": Variable(MAPPINGS, write="a list, for example [{name: NAME, mountPath: PATH}]"),
    "coco_installer_volumes": Variable(MAPPINGS, write="a list, for example [{name: NAME, hostPath: {path: PATH}}]"),
    "coco_keep_payload": Variable(FLAG, False),
    "coco_limits": Variable(
        MAPPING,
        keys=dict.fromkeys(("bytes", "members", "ratio"), Variable(NUMBER)),
        write="for example {bytes: 34359738368}",
    ),
    "coco_node_name": Variable(TEXT),
    "coco_payload": Variable(PAYLOAD),
    "coco_payload_digest": Variable(TEXT),
    "coco_payload_on": Variable(TEXT, choices=("controller", "node")),
    "coco_post_uninstall": _HOOK,
    "coco_pre_install": _HOOK,
    "coco_prefix": Variable(PATH),
    "coco_proxy_plugins": Variable(
        TABLES, {}, write="mappings by name, for example {nydus: {type: snapshot, address: PATH}}"
    ),
    "coco_registry_auth": Variable(
        MAPPING,
        secret=True,
        keys={"username": Variable(TEXT, required=True), "password": Variable(TEXT, required=True, secret=True)},
        may_be_empty=True,
        write="for example {username: NAME, password: PASSWORD}",
    ),
    "coco_registry_ca": Variable(TEXT),
    "coco_serial": Variable(BATCHES, [1, "25%", "100%"]),
    "coco_status_file": Variable(PATH),
    "coco_uninstall_cmd": Variable(COMMAND),
    "coco_verify": Variable(FLAG, False),
}

#: Variables that a later version will bring. The error says so, and does not call them misspelled.
LATER = (
    "coco_adopt",
    "coco_default_runtime_class",
    "coco_drain",
    "coco_drain_timeout",
    "coco_handler_defaults",
    "coco_host_check",
    "coco_install_done_label",
    "coco_kata_config",
    "coco_kube_context",
    "coco_kubeconfig",
    "coco_node_labels",
    "coco_probe_pod",
    "coco_probe_sandbox",
    "coco_ready_timeout",
    "coco_runtime_classes",
    "coco_snapshotters",
    "coco_startup_taints",
    "coco_uninstall_done_label",
)

#: Variables that a play reads before it sees the inventory: they work only with -e.
OF_PLAYS = ("coco_hosts", "coco_serial")


def convert(name: str, value: t.Any) -> t.Any:
    """Return a variable's value as roles read it: for null, the default or None. Refuses a value that cannot be converted."""
    variable = KNOWN[name]
    return variable.default if value is None else _converted(name, variable, value)


def _converted(name: str, variable: Variable, value: t.Any) -> t.Any:
    write = f"Write {variable.write or variable.kind.write}."
    try:
        result = variable.kind.convert(value)
    except _Wrong as wrong:
        expected, found = wrong.expected or variable.kind.words, described(wrong.value, variable.secret)
        if wrong.element:
            raise Refusal(f"{expected} in {name}", f"{found} in it", write) from None
        raise Refusal(f"{wrong.where}{name} to be {expected}", found, write) from None
    if variable.choices and result not in variable.choices:
        raise Refusal(f"{name} to be one of {', '.join(variable.choices)}", described(value), "Write one of these.")
    if variable.least is not None and result < variable.least:
        raise Refusal(
            f"{name} to be at least {variable.least}", described(value), "Write a larger number, or leave it out."
        )
    return _keys(name, variable, result, write) if variable.keys else result


def _keys(name: str, variable: Variable, found: Mapping[str, t.Any], write: str) -> dict[str, t.Any]:
    """Return a mapping with converted values."""
    if variable.may_be_empty and not found:
        return {}
    given = {key: value for key, value in found.items() if value is not None}
    unknown = [key for key in given if key not in variable.keys]
    if unknown:
        # The "key" can be a secret itself, if the user did not write it as a mapping.
        others = "others" if variable.secret else _with_guesses(unknown, variable.keys)
        raise Refusal(f"the keys {', '.join(variable.keys)} in {name}", others, write)
    missing = [key for key, part in variable.keys.items() if part.required and key not in given]
    if missing:
        raise Refusal(f"{' and '.join(missing)} in {name}", "no such key", write)
    return {key: _converted(f"{name}.{key}", variable.keys[key], value) for key, value in given.items()}


def described(value: t.Any, secret: bool = False) -> str:
    """Describe a value for a message. Short values are shown as they are, unless they are secret."""
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "a list"
    kind = "true or false" if isinstance(value, bool) else "a number" if isinstance(value, (int, float)) else "text"
    shown = str(value)
    return kind if secret or len(shown) > 60 else f"the {'text' if kind == 'text' else 'value'} {shown!r}"


def unknown(names: Iterable[str]) -> Refusal | None:
    """Return the refusal of variables that this version does not read, None if there are none."""
    wrong = sorted(set(names) - set(KNOWN))
    if not wrong:
        return None
    later = [name for name in wrong if name in LATER]
    return Refusal(
        "variables that this version reads",
        _with_guesses(
            [name for name in wrong if name not in LATER], KNOWN, [f"{name} (a later version has it)" for name in later]
        ),
        f"Write the name that is meant, or take {'it' if len(wrong) == 1 else 'them'} out; the README has a table of all.",
    )


def _with_guesses(names: Iterable[str], known: Iterable[str], others: Iterable[str] = ()) -> str:
    """Return wrong names, each with the known name that the user may have meant."""
    words = []
    for name in names:
        meant = difflib.get_close_matches(name, list(known), 1, 0.75)
        words.append(f"{name} (did you mean {meant[0]}?)" if meant else name)
    return ", ".join([*words, *others])


def chosen(tags: Iterable[str], only: Iterable[str], skipped: Iterable[str]) -> bool:
    """Tell, as Ansible decides it, whether a task with these tags runs under ``--tags`` and ``--skip-tags``."""
    own, only, skipped = set(tags), set(only), set(skipped)
    marks = own | ({"tagged", "all"} if own else {"untagged", "all"})
    return bool(marks & only) and not marks & skipped
