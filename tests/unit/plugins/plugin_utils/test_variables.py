# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Variables as an inventory, JSON and the command line give them become the same; what cannot be converted is refused in words."""

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils import _variables

#: For each kind a value as roles read it, and other ways in which the same is written.
SAME: dict[_variables.Kind, tuple[t.Any, list[t.Any]]] = {
    _variables.TEXT: ("17", ["17", 17]),
    _variables.PATH: ("/opt/x", ["/opt/x"]),
    _variables.FLAG: (False, [False, "false", "False", "no", "off", "0", 0]),
    _variables.NUMBER: (300, [300, "300", " 300 "]),
    _variables.NAMES: (["a", "b"], [["a", "b"], ("a", "b"), "a,b", "a, b", '["a", "b"]', "[a, b]", "['a', 'b']"]),
    _variables.COMMAND: (["/x", "a b"], [["/x", "a b"], "/x 'a b'", '["/x", "a b"]']),
    _variables.MAPPINGS: ([{"name": "a"}], [[{"name": "a"}], '[{"name": "a"}]', "[{name: a}]", ['{"name": "a"}']]),
    _variables.MAPPING: ({"a": "1"}, [{"a": "1"}, '{"a": "1"}', "{a: '1'}", "a=1"]),
    _variables.TABLES: ({"a": {"b": 1}}, [{"a": {"b": 1}}, '{"a": {"b": 1}}', {"a": '{"b": 1}'}]),
    _variables.PAYLOAD: (["tarball:/a,b", "c"], [["tarball:/a,b", "c"], '["tarball:/a,b", "c"]']),
    _variables.MANIFEST: ({"kind": "x"}, [{"kind": "x"}, '{"kind": "x"}']),
    _variables.HOSTS: ("a,!b", ["a,!b", ["a", "!b"], '["a", "!b"]']),
    _variables.BATCHES: ([1, "25%"], [[1, "25%"], '[1, "25%"]']),
}

#: For each kind what it is not.
OTHER: dict[_variables.Kind, list[t.Any]] = {
    _variables.TEXT: [["a"], {"a": 1}, True, 1.5],
    _variables.PATH: [["a"], {"a": 1}, False],
    _variables.FLAG: ["maybe", "", [True], {}, 2],
    _variables.NUMBER: ["soon", "", "1.5", 1.5, True, [1], "٣"],
    _variables.NAMES: [{"a": {}}, '{"a": {}}', 3, True, [["a"]], [{"a": 1}], [None], "[a"],
    _variables.COMMAND: [{"a": {}}, 3, "'/x", [["a"]]],
    _variables.MAPPINGS: [{"name": "a"}, "a", ["a"], 3, '{"name": "a"}'],
    _variables.MAPPING: [["a"], "a", 3, "[a]", "{a"],
    _variables.TABLES: [["a"], "kata-qemu", {"a": "b"}, {"a": ["b"]}, {"a": 3}],
    _variables.PAYLOAD: [{"a": 1}, 1.5, True, [["a"]], [{"a": 1}]],
    _variables.MANIFEST: [["a"], 1.5, "[a]"],
    _variables.HOSTS: [{"a": 1}, True, [["a"]]],
    _variables.BATCHES: ["two", "0", 0, -1, "0%", "1.5", True, [], "", [1, "x"], {"a": 1}, 1.5],
}

PLAIN = {name: variable for name, variable in _variables.KNOWN.items() if not variable.keys and not variable.choices}


@pytest.mark.parametrize("name", PLAIN)
def test_however_it_is_written_it_is_the_same(name: str) -> None:
    expected, ways = SAME[PLAIN[name].kind]
    for way in ways:
        result = _variables.convert(name, way)
        assert (result, type(result)) == (expected, type(expected)), way


@pytest.mark.parametrize("name", _variables.KNOWN)
def test_another_type_is_refused_in_words(name: str) -> None:
    variable = _variables.KNOWN[name]
    for value in OTHER[variable.kind]:
        with pytest.raises(Refusal) as refused:
            _variables.convert(name, value)
        text = str(refused.value)
        assert name in text
        assert len(text) < 400
        assert "Write " in text


@pytest.mark.parametrize("name", _variables.KNOWN)
def test_nothing_is_the_default(name: str) -> None:
    assert _variables.convert(name, None) == _variables.KNOWN[name].default
    default = _variables.KNOWN[name].default
    if default is not None:
        assert _variables.convert(name, default) == default


#: To whom a text is a text, however it begins.
TEXTS = (_variables.TEXT, _variables.PATH)


@pytest.mark.parametrize("name", [name for name, variable in _variables.KNOWN.items() if variable.kind not in TEXTS])
def test_json_text_is_what_it_stands_for(name: str) -> None:
    """What is given as JSON text is converted, or refused, as the value itself is."""

    def outcome(value: t.Any) -> t.Any:
        try:
            return _variables.convert(name, value)
        except Refusal:
            return Refusal

    values: list[t.Any] = [["a", "b"], {"a": {"b": "c"}}, [{"name": "x"}], {}, []]
    for value in values:
        assert outcome(json.dumps(value)) == outcome(value)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("coco_handlers", {"a": 1}, "Expected coco_handlers to be a list of texts. Found a mapping. Write a list"),
        ("coco_handlers", ["a", ["b"]], "Expected a list of texts in coco_handlers. Found a list in it."),
        (
            "coco_engine_timeout",
            "soon",
            "coco_engine_timeout to be a whole number. Found the text 'soon'. Write a number",
        ),
        ("coco_engine_timeout", "9", "coco_engine_timeout to be at least 10. Found the text '9'."),
        ("coco_verify", "maybe", "coco_verify to be true or false. Found the text 'maybe'. Write true or false."),
        ("coco_conflicts", "keep", "coco_conflicts to be one of refuse, keep_aside. Found the text 'keep'."),
        (
            "coco_handler_overrides",
            {"kata-qemu": "nydus"},
            "Expected kata-qemu in coco_handler_overrides to be a mapping.",
        ),
        ("coco_limits", {"byts": 1}, "the keys bytes, members, ratio in coco_limits. Found byts (did you mean bytes?)"),
        ("coco_limits", {"bytes": "many"}, "Expected coco_limits.bytes to be a whole number. Found the text 'many'."),
        ("coco_pre_install", {"cmd": ["x"]}, "Expected image in coco_pre_install. Found no such key."),
        ("coco_registry_auth", {"username": "u"}, "Expected password in coco_registry_auth. Found no such key."),
        ("coco_serial", "two", "numbers or percentages above 0 in coco_serial"),
        ("coco_serial", 0, "coco_serial"),
        ("coco_hosts", "", "a pattern of hosts"),
        ("coco_hosts", [], "a pattern of hosts"),
    ],
)
def test_what_is_said(name: str, value: t.Any, words: str) -> None:
    with pytest.raises(Refusal) as refused:
        _variables.convert(name, value)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("coco_registry_auth", "s3cret"),
        ("coco_registry_auth", "user:s3cret=="),  # a word with a sign in it, as a mapping is written
        ("coco_registry_auth", {"username": "u", "password": ["s3cret"]}),
        ("coco_registry_auth", {"username": "u", "password": True, "s": "s3cret"}),
        ("coco_environment_variables", "s3cret"),
        ("coco_environment_variables", ["s3cret"]),
        ("coco_pre_install", {"image": "x", "environmentVariables": "s3cret"}),
    ],
)
def test_no_secret_is_said(name: str, value: t.Any) -> None:
    with pytest.raises(Refusal) as refused:
        _variables.convert(name, value)
    assert "s3cret" not in str(refused.value)


def test_a_hook_can_be_switched_off() -> None:
    ways: list[t.Any] = [{}, "{}", ""]
    for value in ways:
        assert _variables.convert("coco_pre_install", value) == {}


def test_parts_of_mappings_are_converted_too() -> None:
    assert _variables.convert("coco_limits", '{"bytes": "5"}') == {"bytes": 5}
    hook = {"image": "x", "cmd": "/a b", "volumes": '[{"name": "v"}]', "volumeMounts": None}
    assert _variables.convert("coco_post_uninstall", hook) == {
        "image": "x",
        "cmd": ["/a", "b"],
        "volumes": [{"name": "v"}],
    }


@pytest.mark.parametrize("value", ["1", 1, [1], "[1]"])
def test_one_size_of_batches(value: t.Any) -> None:
    assert [int(size) for size in _variables.convert("coco_serial", value)] == [1]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["coco_paylod"], "Found coco_paylod (did you mean coco_payload?). Write the name that is meant"),
        (
            ["coco_drain", "coco_handler"],
            "Found coco_handler (did you mean coco_handlers?), coco_drain (a later version has it).",
        ),
        (["coco_zzz"], "Found coco_zzz. Write"),
    ],
)
def test_names(names: list[str], words: str) -> None:
    assert words in str(_variables.unknown([*names, "coco_payload"]))
    assert not _variables.unknown(["coco_payload"])


@pytest.mark.parametrize(
    ("own", "only", "skipped", "runs"),
    [
        ((), ("all",), (), True),
        ((), ("install",), (), False),
        ((), ("untagged",), (), True),
        ((), ("tagged",), (), False),
        (("mine",), ("mine",), (), True),  # import_playbook with tags
        (("mine",), ("tagged",), (), True),
        (("mine",), ("all",), ("mine",), False),
        ((), ("all",), ("untagged",), False),
        ((), ("all",), ("other",), True),
    ],
)
def test_tags(own: tuple[str, ...], only: tuple[str, ...], skipped: tuple[str, ...], runs: bool) -> None:
    assert _variables.chosen(own, only, skipped) is runs
