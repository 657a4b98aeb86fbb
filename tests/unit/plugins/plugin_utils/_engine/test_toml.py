# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Edits of files that humans wrote: what is added can be taken out again, and not one other byte changes."""

from __future__ import annotations

import tomllib
import typing as t

import hypothesis
import pytest
from hypothesis import strategies

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._engine import toml

PATH = "/etc/containerd/config.toml"
RUNTIMES = ("plugins", "io.containerd.grpc.v1.cri", "containerd", "runtimes")
QEMU, CLH = (*RUNTIMES, "kata-qemu"), (*RUNTIMES, "kata-clh")
TABLES: dict[tuple[str, ...], dict[str, t.Any]] = {
    CLH: {"runtime_type": "io.containerd.kata-clh.v2"},
    QEMU: {
        "runtime_type": "io.containerd.kata-qemu.v2",
        "runtime_path": "/opt/x/bin/containerd-shim-kata-v2",
        "privileged_without_host_devices": True,
        "pod_annotations": ["io.katacontainers.*"],
        "options": {"ConfigPath": "/opt/x/configuration-qemu.toml"},
    },
}
GLOB = "/etc/containerd/conf.d/*confidential-containers.toml"

CRI = '[plugins."io.containerd.grpc.v1.cri"]\n'

# Files in which there is room for us.
HUMAN = {
    "empty": "",
    "a newline": "\n",
    "blank lines": "\n\n\n",
    "spaces": "  \n\t\n",
    "a comment": "# nothing here\n",
    "a comment, no newline": "# nothing here",
    "version": "version = 2\n",
    "version, no newline": "version = 2",
    "version, blank lines": "version = 2\n\n\n",
    "version, a comment": "version = 2 # the second\n\n# EOF\n",
    "blank lines first": "\n\n  version = 2\n",
    "first key indented": "    version = 2\n    root = '/x'\n",
    "no spaces": "version=2\nroot='/x'\n[grpc]\nuid=0\n",
    "many spaces": "version   =   2   \nroot\t=\t'/x'\t\n",
    "CRLF": 'version = 2\r\n\r\n[plugins]\r\n  [plugins."io.containerd.grpc.v1.cri"]\r\n    x = 1\r\n',
    "CRLF, no newline": "version = 2\r\nroot = '/x'",
    "mixed newlines": "version = 2\r\nroot = '/x'\n[grpc]\r\nuid = 0\n",
    "version last": "root = '/x'\nversion = 2\n",
    "version quoted": "'version' = 2\n",
    "no version": "root = '/x'\n\n[grpc]\nuid = 0\n",
    "only a table": CRI + "x = 1\n",
    "table, no newline": CRI + "x = 1",
    "an empty table last": "version = 2\n" + CRI,
    "an empty table last, no newline": "version = 2\n" + CRI.strip(),
    "comment last": CRI + "x = 1\n  # the end\n",
    "comment last, no newline": CRI + "x = 1\n  # the end",
    "trailing spaces": CRI + "x = 1   \n   \n",
    "tabs": 'version = 2\n[plugins]\n\t[plugins."io.containerd.grpc.v1.cri"]\n\t\tx = 1\n\t\t[plugins."io.containerd.grpc.v1.cri".cni]\n',
    "single-quoted header": "version = 2\n[plugins.'io.containerd.grpc.v1.cri']\nx = 1\n",
    "spaces in a header": '[ plugins . "io.containerd.grpc.v1.cri" ] # ours\nx = 1\n',
    "runtimes": CRI.replace("]", ".containerd.runtimes]") + CRI.replace("]", ".containerd.runtimes.runc]") + "runtime_type = 'x'\n",
    "the user's handler": CRI.replace("]", ".containerd.runtimes.'my.own']") + "runtime_type = 'x'\noptions = { a = 1 }\n",
    "a similar handler": CRI.replace("]", ".containerd.runtimes.kata-qemu-mine]") + "runtime_type = 'x'\n",
    "below another plugin": '[plugins."io.containerd.other".containerd.runtimes.kata-qemu]\nx = 1\n',
    "inline table elsewhere": "version = 2\ngrpc = { uid = 0 }\n" + CRI + "cni = { bin_dir = '/x' }\n",
    "dotted keys": "version = 2\ngrpc.uid = 0\n" + CRI + "cni.bin_dir = '/x'\n",
    "dotted runtimes": "version = 2\n" + CRI + "containerd.runtimes.runc.runtime_type = 'x'\n",
    "dotted keys at the top": "plugins.'io.containerd.grpc.v1.cri'.containerd.x = 1\n",
    "array of tables": "version = 2\n[[stream]]\nx = 1\n[[stream]]\nx = 2\n",
    "array of tables last": CRI + "x = 1\n\n[[stream]]\nx = 1",
    "multi-line array": "version = 2\n" + CRI + "x = [\n  'a',   # one\n\n  'b'\n]\n",
    "array of arrays": CRI + "x = [\n  ['a'],\n  [ 'b' ],\n]\n",
    "imports": "version = 2\nimports = ['/etc/containerd/conf.d/*.toml']\n",
    "imports, double quotes": 'imports = ["/etc/a.toml", "/etc/b.toml"]\nversion = 2\n',
    "imports, empty": "version = 2\nimports = []\n",
    "imports, empty, a comment": "version = 2\nimports = []  # nothing yet\n",
    "imports, empty, a space": "version = 2\nimports = [ ]\n",
    "imports, spaces": "version = 2\nimports = [ '/etc/a.toml' , '/etc/b.toml' ]   # two\n",
    "imports, trailing comma": "imports = ['/etc/a.toml',]\n",
    "imports, multi-line": "version = 2\nimports = [\n  '/etc/a.toml',\n  '/etc/b.toml',\n]\n[grpc]\nuid = 0\n",
    "imports, multi-line, no comma": "version = 2\nimports = [\n  '/etc/a.toml',\n  '/etc/b.toml'\n]\n",
    "imports, multi-line, comments": "imports = [ # all\n\t'/etc/a.toml', # the first\n\t# '/etc/x.toml',\n]\nversion = 2\n",
    "imports, multi-line, empty": "version = 2\nimports = [\n]\n",
    "imports, multi-line, CRLF": "version = 2\r\nimports = [\r\n  '/etc/a.toml',\r\n]\r\n",
    "imports, indented": "version = 2\n   imports = ['/etc/a.toml']\n",
    "imports, no newline": "version = 2\nimports = ['/etc/a.toml']",
    "imports, quoted key": "version = 2\n'imports' = ['/etc/a.toml']\n",
    "imports of another table": "version = 2\n[x]\nimports = ['/etc/a.toml']\n",
    "unicode": "# Übergrößenträger 🦆\nversion = 2\n[grpc]\n'ключ' = 'значение'\n",
    "odd separators": "# a\u2028b \x85 c\nversion = 2\nx = 'a\u2029b'\n",
    "a string like a header": "version = 2\nx = '''\n[plugins]\n[a.b]\nversion = 3\n'''\n[grpc]\nuid = 0\n",
    "a string like our header": f"version = 2\nx = '''\n{CRI.strip()[:-1]}.containerd.runtimes.kata-qemu]\na = 1\n'''\n[grpc]\nuid = 0\n",
    "a string like our mark": f"version = 2\nx = '''\n\n{toml.MARK}\n'''\n[grpc]\nuid = 0\n",
    "a string like our import": f'version = 2\nx = """\nimports = ["{GLOB}"]\n"""\n[grpc]\nuid = 0\n',
    "a comment like our mark": f"version = 2\n\n{toml.MARK}\n[grpc]\nuid = 0\n",
    "a comment like our header": f"version = 2\n# {CRI.strip()[:-1]}.containerd.runtimes.kata-qemu]\n# x = 1\n",
    "a commented import": f'version = 2\n# imports = ["{GLOB}"]\n',
    "a bracket in a header": "[plugins.'io.containerd.grpc.v1.cri'.registry.configs.'[::1]:5000']\nx = 1\n",
}  # fmt: skip

human = pytest.mark.parametrize("text", HUMAN.values(), ids=HUMAN)


def with_tables(text: str, tables: t.Mapping[tuple[str, ...], t.Mapping[str, t.Any]]) -> dict[str, t.Any]:
    document = tomllib.loads(text)
    for header, values in tables.items():
        table = document
        for part in header[:-1]:
            table = table.setdefault(part, {})
        table[header[-1]] = values
    return document


@human
def test_added_tables_are_all_that_changes_and_can_be_removed(text: str) -> None:
    added = toml.add_tables(text, TABLES, PATH)
    assert tomllib.loads(added) == with_tables(text, TABLES)
    assert added.startswith(text)
    assert added.endswith("\n")
    added_lines = added[len(text) :]
    assert added_lines.count("\n") == added_lines.count("\r\n") or "\r\n" not in text
    assert "\r" in text or "\r" not in added
    assert toml.remove_tables(added, list(TABLES), PATH) == text


@human
def test_one_of_two_tables_can_be_removed(text: str) -> None:
    both = toml.add_tables(text, TABLES, PATH)
    one = toml.add_tables(text, {CLH: TABLES[CLH]}, PATH)
    assert tomllib.loads(toml.remove_tables(both, [QEMU], PATH)) == tomllib.loads(one)


@human
def test_removing_what_is_not_there_changes_nothing(text: str) -> None:
    assert toml.add_tables(text, {}, PATH) == text
    assert toml.remove_item(text, "imports", GLOB, PATH) == text
    assert toml.remove_tables(text, [], PATH) == text
    if toml.MARK not in text:
        assert toml.remove_tables(text, [QEMU, CLH], PATH) == text


@human
def test_an_added_import_is_all_that_changes_and_can_be_removed(text: str) -> None:
    document = tomllib.loads(text)
    added = toml.add_item(text, "imports", GLOB, PATH)
    assert tomllib.loads(added) == {**document, "imports": [*document.get("imports", []), GLOB]}
    assert toml.add_item(added, "imports", GLOB, PATH) == added
    assert toml.remove_item(added, "imports", GLOB, PATH) == text


@human
def test_an_import_and_tables(text: str) -> None:
    added = toml.add_item(toml.add_tables(text, TABLES, PATH), "imports", GLOB, PATH)
    assert toml.remove_item(toml.remove_tables(added, list(TABLES), PATH), "imports", GLOB, PATH) == text


def test_how_it_looks() -> None:
    text = toml.add_item(toml.add_tables("version = 2\n\n[grpc]\nuid = 0\n", TABLES, PATH), "imports", GLOB, PATH)
    assert (
        text
        == f"""\
version = 2
imports = ["/etc/containerd/conf.d/*confidential-containers.toml"]

[grpc]
uid = 0

{toml.MARK}
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.kata-clh]
runtime_type = "io.containerd.kata-clh.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.kata-qemu]
runtime_type = "io.containerd.kata-qemu.v2"
runtime_path = "/opt/x/bin/containerd-shim-kata-v2"
privileged_without_host_devices = true
pod_annotations = ["io.katacontainers.*"]
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.kata-qemu.options]
ConfigPath = "/opt/x/configuration-qemu.toml"
"""
    )


@human
def test_a_byte_order_mark_stays_at_the_start(text: str) -> None:
    added = toml.add_item(toml.add_tables("\ufeff" + text, TABLES, PATH), "imports", GLOB, PATH)
    assert added == "\ufeff" + toml.add_item(toml.add_tables(text, TABLES, PATH), "imports", GLOB, PATH)
    assert toml.parse(added, PATH) == toml.parse(added[1:], PATH)
    assert toml.remove_item(toml.remove_tables(added, list(TABLES), PATH), "imports", GLOB, PATH) == "\ufeff" + text


# What tomlkit fails at, or would move if it wrote the file; containerd reads them all.
ORDERS = {
    "options before the plugin": CRI.replace("]", ".containerd.runtimes.runc.options]") + CRI.replace("]", ".containerd]"),
    "a plugin in three pieces": CRI.replace("]", ".containerd.runtimes.runc]") + CRI + "[grpc]\n" + CRI.replace("]", ".cni]"),
    "plugins in the middle": f"[plugins]\n{CRI}.containerd.runtimes.runc]\n{CRI}[timeouts]\n{CRI}.registry]\n".replace(
        "]\n.", "."
    ),
    "an array of tables in between": "[plugins]\n[plugins.x.a]\n[grpc]\n[plugins.x]\ny.z = 1\n[[l]]\n[plugins.x.b]\n",
}  # fmt: skip


@pytest.mark.parametrize("text", ORDERS.values(), ids=ORDERS)
def test_tables_in_any_order(text: str) -> None:
    added = toml.add_item(toml.add_tables(text, TABLES, PATH), "imports", GLOB, PATH)
    assert tomllib.loads(added) == {**with_tables(text, TABLES), "imports": [GLOB]}
    assert toml.remove_item(toml.remove_tables(added, list(TABLES), PATH), "imports", GLOB, PATH) == text


@pytest.mark.parametrize("text", ORDERS.values(), ids=ORDERS)
def test_tables_in_any_order_without_the_standard_library_s_parser(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Python 3.10 they are edited as well, or refused with the way out."""
    monkeypatch.setattr(toml, "HAS_TOMLLIB", False)
    try:
        added = toml.add_tables(text, TABLES, PATH)
    except Refusal as refusal:
        assert "Python 3.11" in str(refusal)
    else:
        assert tomllib.loads(added) == with_tables(text, TABLES)


@pytest.mark.parametrize("value", ["nan", "[nan, -nan]", "{ a = inf, b = nan }"])
def test_nan_is_nan(value: str) -> None:
    text = f"x = {value}\n"
    added = toml.add_item(toml.add_tables(text, TABLES, PATH), "imports", GLOB, PATH)
    assert toml.remove_item(toml.remove_tables(added, list(TABLES), PATH), "imports", GLOB, PATH) == text


@pytest.mark.parametrize(
    ("one", "two"), [(1, True), (0, False), (1, 1.0), ([1], [True]), ({"a": 1}, {"a": 1.0}), ([1], [1, 2])]
)
def test_what_python_calls_equal_is_not_the_same(one: t.Any, two: t.Any) -> None:
    assert toml.same(one, one)
    for left, right in ((one, two), (two, one)):
        assert not toml.same(left, right)


def test_a_file_of_the_user_s_that_begins_with_our_mark() -> None:
    text = f"{toml.MARK}\n# what is left of it\nversion = 2\n"
    assert toml.remove_tables(toml.add_tables(text, TABLES, PATH), list(TABLES), PATH) == text


@pytest.mark.parametrize(
    ("array", "added"),
    [
        ("[\n  'a',\n  'b',\n]", "[\n  'a',\n  'b',\n  'X',\n]"),
        ("[\n\t'a',\n\t'b'\n]", "[\n\t'a',\n\t'b',\n\t'X'\n]"),
        ("[\n  'a', # first\n]", "[\n  'a', # first\n  'X',\n]"),
        ("[\n  'a' # first\n]", "[\n  'a', 'X' # first\n]"),
        ("[\n  'a']", "[\n  'a',\n  'X']"),
        ("[\r\n  'a',\r\n]", "[\r\n  'a',\r\n  'X',\r\n]"),
        ("[\r\n  'a'\r\n]", "[\r\n  'a',\r\n  'X'\r\n]"),
        ("['a',\n 'b',\n]", "['a',\n 'b',\n 'X',\n]"),
        ("[\n  'a', 'b',\n]", "[\n  'a', 'b', 'X',\n]"),
        ("[\n  'a',\n  # 'c',\n]", "[\n  'a',\n  'X',\n  # 'c',\n]"),
        ("[\n]", "['X'\n]"),
        ("['a']", "['a', 'X']"),
        ("['a', ]", "['a', 'X', ]"),
    ],
)
def test_an_import_in_an_array_of_several_lines_gets_its_own(array: str, added: str) -> None:
    text = f"version = 2\nimports = {array}\n[grpc]\n"
    assert toml.add_item(text, "imports", "X", PATH) == f"version = 2\nimports = {added}\n[grpc]\n"
    assert toml.remove_item(toml.add_item(text, "imports", "X", PATH), "imports", "X", PATH) == text


# What a user may do to a file after us.

BASE = "version = 2\n\n[grpc]\nuid = 0\n"


@pytest.mark.parametrize(
    "appended",
    [
        pytest.param("\n# mine\n", id="a comment"),
        pytest.param("\n[metrics]\naddress = 'x'\n", id="a table"),
        pytest.param("[metrics]\naddress = 'x'\n", id="a table without a blank line"),
        pytest.param("\n# about metrics\n\n[metrics]\naddress = 'x'\n", id="a table and a comment"),
        pytest.param("\n[[stream]]\nx = 1\n", id="an array of tables"),
        pytest.param("\n[plugins.'io.containerd.grpc.v1.cri'.registry.configs.'[::1]:5000']\nx = 1\n", id="a bracket in a header"),
        pytest.param("\n[plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.mine]\nx = 1\n", id="a handler"),
        pytest.param("\n[plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.kata-qemu-2]\nx = 1\n", id="a similar handler"),
        pytest.param("\n[metrics]\naddress = '''\n[a]\n'''\n", id="a table with a string like a header"),
        pytest.param("\n[metrics]\naddress = [\n  [ 'x' ],\n]\n", id="a table with an array of arrays"),
    ],
)  # fmt: skip
def test_what_is_appended_after_us_stays(appended: str) -> None:
    edited = toml.add_tables(BASE, TABLES, PATH) + appended
    removed = toml.remove_tables(edited, list(TABLES), PATH)
    assert removed in {BASE + appended, BASE + appended.removeprefix("\n"), BASE + "\n" + appended}


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("appended", ["\n# mine\n", "\n[metrics]\naddress = 'x'\n", "\n", "\n\n# mine\n"])
def test_what_is_appended_to_a_file_without_a_last_newline_begins_a_line(appended: str, newline: str) -> None:
    """The newline above us was ours; theirs takes its place."""
    base, appended = BASE.rstrip("\n").replace("\n", newline), appended.replace("\n", newline)
    assert toml.remove_tables(toml.add_tables(base, TABLES, PATH) + appended, list(TABLES), PATH) == base + appended
    after = toml.add_tables(base, TABLES, PATH) + appended.lstrip("\r\n")
    assert toml.remove_tables(after, list(TABLES), PATH).startswith(base)
    # A line of blanks does not become the end of the line above.
    after = toml.add_tables(f"{base}{newline}# end", TABLES, PATH) + f"  {newline}"
    assert toml.remove_tables(after, list(TABLES), PATH) == f"{base}{newline}# end{newline}  {newline}"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("uid = 0", "uid = 7", id="above us"),
        pytest.param("io.containerd.kata-qemu.v2", "mine", id="in ours"),
        pytest.param("pod_annotations = [", "pod_annotations = [\n  # mine\n  'x',\n", id="an array of ours"),
        pytest.param("runtime_path", "# why?\nruntime_path", id="a comment in ours"),
        pytest.param("ConfigPath = ", "Comment = '''\n[grpc]\n'''\nConfigPath = ", id="a string like a header in ours"),
        pytest.param("ConfigPath = ", "Lists = [\n['a'],\n]\nConfigPath = ", id="an array of arrays in ours"),
        pytest.param(toml.MARK + "\n", "", id="the mark, removed"),
        pytest.param(
            '[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.kata-qemu]',
            "  [ plugins . 'io.containerd.grpc.v1.cri' . containerd . runtimes . \"kata-qemu\" ] # moved",
            id="our header",
        ),
    ],
)
def test_edits_above_us_stay_and_edits_in_ours_go(old: str, new: str) -> None:
    added = toml.add_tables(BASE, TABLES, PATH)
    assert old in added
    removed = toml.remove_tables(added.replace(old, new), list(TABLES), PATH)
    assert removed.rstrip("\n") == BASE.replace("uid = 0", new if old == "uid = 0" else "uid = 0").rstrip("\n")


@pytest.mark.parametrize(
    ("imports", "left"),
    [
        pytest.param(f"imports = ['{GLOB}', '/etc/a.toml']\n", "imports = ['/etc/a.toml']\n", id="first"),
        pytest.param(f'imports = ["{GLOB}", "/etc/a.toml"]\n', 'imports = ["/etc/a.toml"]\n', id="first, double quotes"),
        pytest.param(f'imports = ["/etc/a.toml", "{GLOB}"]\n', 'imports = ["/etc/a.toml"]\n', id="last, double quotes"),
        pytest.param(f'imports = ["/a", "{GLOB}", "/b"]\n', 'imports = ["/a", "/b"]\n', id="in the middle"),
        pytest.param(f"imports = [ '{GLOB}', ]\n", "imports = [ ]\n", id="alone, with a comma"),
        pytest.param(f"imports = [\n  '{GLOB}',\n  '/a',\n]\n", "imports = [\n  '/a',\n]\n", id="a line of its own"),
        pytest.param(f"imports = [ # '{GLOB}'\n  '{GLOB}', # ours\n]\n", f"imports = [ # '{GLOB}'\n  # ours\n]\n", id="a comment like it"),
        pytest.param(f"imports = [\n'/a' # x\n, '{GLOB}']\n", "imports = [\n'/a' # x\n]\n", id="the comma in the next line"),
    ],
)  # fmt: skip
def test_an_import_that_the_user_moved_goes_and_nothing_else(imports: str, left: str) -> None:
    rest = ORDERS["an array of tables in between"]
    assert toml.remove_item(imports + rest, "imports", GLOB, PATH) == left + rest


def test_the_same_line_in_a_table_of_the_user_s_stays() -> None:
    text = f'version = 2\n[mine]\nimports = ["{GLOB}"]\n'
    assert toml.remove_item(toml.add_item(text, "imports", GLOB, PATH), "imports", GLOB, PATH) == text


def test_an_import_that_cannot_be_taken_out_safely_is_refused() -> None:
    with pytest.raises(Refusal, match="imports"):
        toml.remove_item(f'imports = ["\\u002f{GLOB[1:]}"]\n', "imports", GLOB, PATH)


# What is refused, in the user's words.


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("plugins = {}\n", id="inline plugins"),
        pytest.param("plugins = { 'io.containerd.grpc.v1.cri' = { x = 1 } }\n", id="inline plugin"),
        pytest.param("[plugins]\n'io.containerd.grpc.v1.cri' = { x = 1 }\n", id="inline below a header"),
        pytest.param(CRI + "containerd = { runtimes = { runc = { runtime_type = 'x' } } }\n", id="inline runtimes"),
        pytest.param("plugins = 1\n", id="a number"),
        pytest.param(CRI + "containerd = 'x'\n", id="a string"),
        pytest.param("[[plugins]]\nx = 1\n", id="an array of tables"),
        pytest.param(CRI.replace("]", ".containerd.runtimes.kata-qemu]") + "x = 1\n", id="that table already"),
        pytest.param(CRI.replace("]", ".containerd.runtimes]") + "kata-qemu = { x = 1 }\n", id="that table already, inline"),
    ],
)  # fmt: skip
def test_no_room_for_a_table(text: str) -> None:
    with pytest.raises(Refusal, match="have room for") as refused:
        toml.add_tables(text, TABLES, PATH)
    assert PATH in str(refused.value)


@pytest.mark.parametrize("text", ["imports = 'x'\n", "imports = { a = 1 }\n", "imports = 1\n", "[imports]\nx = 1\n"])
def test_no_room_for_an_import(text: str) -> None:
    with pytest.raises(Refusal, match="Write it at the top of the file: imports = "):
        toml.add_item(text, "imports", GLOB, PATH)
    assert toml.remove_item(text, "imports", GLOB, PATH) == text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("version = 2\npassword = hunter2\n", "line 2", id="no value"),
        pytest.param("a = 1\na = 2\n", PATH, id="a key twice"),
        pytest.param("[a]\nx = 1\n[a]\ny = 1\n", PATH, id="a table twice"),
        pytest.param("password = 'hunter2\n", "at its end", id="an open string"),
        pytest.param("password = [\n'hunter2'\n", PATH, id="an open array"),
        pytest.param("version = 2\n\ufeffversion = 3\n", "line 2", id="a byte order mark in the middle"),
        pytest.param("\ufeff\ufeffversion = 2\n", "line 1", id="two byte order marks"),
        pytest.param("a = " + "[" * 9999 + "]" * 9999 + "\n", PATH, id="very deep"),
        pytest.param("a = 1\rb = 2\r", PATH, id="CR alone"),
        pytest.param("a = 1\0\n", PATH, id="NUL"),
    ],
)
def test_no_toml(text: str, says: str) -> None:
    with pytest.raises(Refusal, match=says) as refused:
        toml.parse(text, PATH)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({"a.b": 1, "a b": 2, "ü": 3, 'q"': 4, "": 5}, id="odd keys"),
        pytest.param({"options": {"a.b": {"c d": 1}}}, id="odd tables"),
        pytest.param({"s": 'quotes " and \\ and \n and \t'}, id="odd strings"),
        pytest.param({"l": ["a", "b"], "e": [], "n": [1, 2]}, id="lists"),
        pytest.param({"l": [{"a": 1}]}, id="tables in a list"),
        pytest.param({"i": -1, "f": 1.5, "b": False}, id="numbers"),
        pytest.param({"options": {}}, id="an empty table"),
    ],
)
def test_any_value_that_toml_has(values: dict[str, t.Any]) -> None:
    added = toml.add_tables(BASE, {QEMU: values}, PATH)
    assert tomllib.loads(added) == with_tables(BASE, {QEMU: values})
    assert toml.remove_tables(added, [QEMU], PATH) == BASE


@pytest.mark.parametrize(
    "value", [None, [None], {"a": None}, object()], ids=["null", "in a list", "in a table", "object"]
)
def test_a_value_that_toml_does_not_have_is_refused(value: t.Any) -> None:
    with pytest.raises(Refusal):
        toml.add_tables(BASE, {QEMU: {"x": value}}, PATH)


# Small things.


@pytest.mark.parametrize(
    ("path", "found"),
    [((), {"a": {"b": {"c": 1}}, "d": 2}), (("a",), {"b": {"c": 1}}), (("a", "b"), {"c": 1}), (("a", "b", "c"), {}), (("d",), {}), (("x", "y"), {})],
)  # fmt: skip
def test_lookup(path: tuple[str, ...], found: dict[str, t.Any]) -> None:
    assert toml.lookup({"a": {"b": {"c": 1}}, "d": 2}, path) == found


# Any file made of such lines.

LINES = strategies.sampled_from(
    [
        "",
        "",
        "   ",
        "# comment",
        "  # [comment]",
        "a = 1",
        "  b = 'x'   # why",
        "c = [",
        "  'x', # [x]",
        "]",
        "[t]",
        "  [t.u]  # table",
        "[ t . 'v w' ]",
        "[[list]]",
        "version = 2",
        "imports = []",
        "imports = [ '/etc/a.toml', ]",
        "imports = [",
        "'/etc/b.toml'",
        "s = '''",
        "'''",
        'm = """a',
        '"""',
        '[plugins."io.containerd.grpc.v1.cri"]',
        "[plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.runc]",
        "[plugins]",
    ]
)
TEXTS = strategies.builds(
    lambda lines, newline, last: newline.join(lines) + (newline if last else ""),
    strategies.lists(LINES, max_size=12),
    strategies.sampled_from(["\n", "\r\n"]),
    strategies.booleans(),
)


@hypothesis.settings(
    max_examples=300, derandomize=True, database=None, deadline=None, suppress_health_check=list(hypothesis.HealthCheck)
)
@hypothesis.given(text=TEXTS)
def test_any_file(text: str) -> None:
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        hypothesis.reject()
    try:
        added = toml.add_item(toml.add_tables(text, TABLES, PATH), "imports", GLOB, PATH)
    except Refusal:
        return
    assert toml.remove_item(toml.remove_tables(added, list(TABLES), PATH), "imports", GLOB, PATH) == text
