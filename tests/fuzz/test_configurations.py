# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What holds for any configuration: what is not ours keeps its bytes and its meaning, and ours can be taken out again."""

from __future__ import annotations

import re
import time
import tomllib
import typing as t
from collections import Counter

import hypothesis
import pytest
from hypothesis import strategies

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine import toml_text
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.containerd.schemas import (
    DROP_IN as DROP_IN_MODE,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._engine import toml
from ansible_collections.confidential_containers.runtime.tests.fuzz.configurations import (
    SECRET,
    Configuration,
    configurations,
)
from ansible_collections.confidential_containers.runtime.tests.fuzz.node import DROP_IN, GLOB, MAIN, Node, values

QEMU = {
    "runtime_type": "io.containerd.kata-qemu.v2",
    "privileged_without_host_devices": True,
    "pod_annotations": ["io.katacontainers.*"],
    "options": {"ConfigPath": "/opt/x/configuration-qemu.toml"},
}
CLH = {"runtime_type": "io.containerd.kata-clh.v2"}
WANTED: dict[str, dict[str, t.Any]] = {"kata-qemu": QEMU, "kata-clh": CLH}

ENGINES = strategies.sampled_from([((1, 7, 24), "auto"), ((2, 1, 9), "auto"), ((2, 1, 9), "in_place")])


#: What a user may write between two lines of the file after us.
SINCE = "# since"


def check_a_life(
    seen: Counter[str], configuration: Configuration, engine: tuple[tuple[int, ...], str], data: strategies.DataObject
) -> None:
    """Install, install again, uninstall three times: as left, as if the file had been edited since, and edited since."""
    version, mode = engine
    if configuration.schema == 3 and version < (2, 0):
        version = (2, 1, 9)
    text = configuration.text
    seen["configurations"] += 1
    seen["ordinary"] += not configuration.odd
    node = Node(version, text, mode)
    try:
        node.run(WANTED)
    except Refusal as refusal:
        hypothesis.event(f"refused: {configuration.odd or 'ordinary'}")
        seen["refused"] += 1
        seen["ordinary, refused"] += not configuration.odd
        assert SECRET not in str(refusal)
        return
    hypothesis.event(f"installed: {node.target.mode}, schema {configuration.schema}")
    installed = dict(node.files)
    new = installed[MAIN] or ""

    assert_one_insertion(text, new, in_place=node.target.mode != DROP_IN_MODE)
    assert meaning(without_ours(new, node)) == meaning(pruned(values(text)))
    assert {name: node.handlers()[name] for name in WANTED} == WANTED
    assert new.startswith("\ufeff") == text.startswith("\ufeff")
    assert "\r" in text or "\r" not in new

    assert node.run(WANTED).edits == ()
    assert node.files == installed

    node.run({})
    assert node.files == {MAIN: text, DROP_IN: None}

    node.run(WANTED)
    assert node.files == installed
    try:
        node.run({}, forget=True)
    except Refusal as refusal:
        hypothesis.event(f"uninstalling an edited file refused: {configuration.odd or 'ordinary'}")
        seen["uninstall refused"] += 1
        assert SECRET not in str(refusal)
        return
    left = node.files[MAIN] or ""
    assert node.files[DROP_IN] is None
    assert meaning(values(left)) == meaning(values(text))
    assert users_lines(left) == users_lines(text)
    seen["edited since, other bytes"] += left != text

    node.run(WANTED)
    lines = [line for line, _fresh in toml_text.lines_of(new)]
    between = [number for number, (_line, fresh) in enumerate(toml_text.lines_of(new)) if fresh and number]
    number = data.draw(strategies.sampled_from(between or [len(lines)]))
    addition = data.draw(strategies.sampled_from([f"{SINCE}\n", f"{SINCE}\n\n", "\n", "  \n"]))
    edited = "".join([*lines[:number], addition if lines[number - 1].endswith("\n") else "", *lines[number:]])
    node.files[MAIN] = edited
    node.run({}, forget=True)
    left = node.files[MAIN] or ""
    assert meaning(values(left)) == meaning(values(text))
    assert [line for line in users_lines(left) if line != SINCE] == users_lines(text)
    if text.startswith("".join(lines[:number])) and new != text:
        assert left.count(SINCE) == edited.count(SINCE)  # above ours it is the user's


def examples() -> int:
    """Return how many examples this run takes."""
    return t.cast("hypothesis.settings", hypothesis.settings.default).max_examples


def lives(number: int) -> Counter[str]:
    """Check that many lives; return what was seen."""
    seen: Counter[str] = Counter()

    @hypothesis.settings(max_examples=number)
    @hypothesis.given(configuration=configurations(), engine=ENGINES, data=strategies.data())
    def check(configuration: Configuration, engine: tuple[tuple[int, ...], str], data: strategies.DataObject) -> None:
        check_a_life(seen, configuration, engine, data)

    started = time.monotonic()
    check()
    share = seen["ordinary, refused"] / seen["ordinary"]
    print(f"\n{dict(seen)}: {share:.2%} of the ordinary ones refused, {time.monotonic() - started:.0f}s")
    return seen


def test_a_life() -> None:
    seen = lives(examples())
    assert seen["ordinary, refused"] < seen["ordinary"] * 0.01
    assert seen["edited since, other bytes"] < seen["configurations"] * 0.01


def test_a_life_without_the_standard_library_s_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python 3.10: tomlkit alone fails at some tables out of order."""
    monkeypatch.setattr(toml, "HAS_TOMLLIB", False)
    seen = lives(examples() // 10)
    assert seen["ordinary, refused"] < seen["ordinary"] * 0.2


def assert_one_insertion(old: str, new: str, in_place: bool) -> None:
    """One piece of text was inserted, the rest has its bytes: at the end, or a line or an item of imports."""
    start = common_start(old, new)
    end = common_start(old[start:][::-1], new[start:][::-1])
    assert start + end == len(old)
    inserted = new[start : len(new) - end]
    if in_place:
        assert end == 0 or new.startswith(old)
    else:
        assert (inserted + inserted).count(GLOB) == (2 if inserted else 0)
        assert inserted.count("\n") <= 1


def common_start(one: str, two: str) -> int:
    differ = (number for number, (left, right) in enumerate(zip(one, two, strict=False)) if left != right)
    return next(differ, min(len(one), len(two)))


def without_ours(text: str, node: Node) -> dict[str, t.Any]:
    document = values(text)
    handlers = t.cast("dict[str, t.Any]", toml.lookup(document, node.target.table))
    for name in [*node.ours, *node.written]:
        handlers.pop(name, None)
    imports = document.get("imports")
    if isinstance(imports, list) and GLOB in imports:
        imports.remove(GLOB)
    return t.cast("dict[str, t.Any]", pruned(document))


def pruned(table: t.Any) -> t.Any:
    """Leave out empty tables, and an empty list of imports."""
    if not isinstance(table, dict):
        return table
    found = {key: pruned(value) for key, value in table.items()}
    return {key: value for key, value in found.items() if value != {} and (key, value) != ("imports", [])}


def meaning(value: t.Any) -> t.Any:
    """Return values so that equal ones compare equal, and only those: 1 is not 1.0 or true, and not a number is itself."""
    if isinstance(value, dict):
        return {key: meaning(item) for key, item in value.items()}
    return [meaning(item) for item in value] if isinstance(value, list) else f"{type(value).__name__} {value!r}"


def users_lines(text: str) -> list[str]:
    """Return a text's lines, apart from blank ones."""
    return [line.rstrip("\r") for line in text.removeprefix("\ufeff").split("\n") if line.strip()]


@hypothesis.given(configuration=configurations())
def test_the_schema_is_what_a_parser_says(configuration: Configuration) -> None:
    assert toml.parse(configuration.text, MAIN)["version"] == configuration.schema
    assert toml_text.schema_of(configuration.text) == configuration.schema


@strategies.composite
def damaged(draw: strategies.DrawFn) -> str:
    """Cut a piece out of a configuration, or put one in: some results are TOML still, some are not."""
    text = draw(configurations()).text
    start = draw(strategies.integers(0, len(text)))
    end = min(len(text), start + draw(strategies.sampled_from([0, 0, 1, 2, 10, 50])))
    pieces = ["", "", "\n", "\r", "'", '"', '"""', "'''", "[", "]", "{", "}", "#", "=", ",", ".", "\\", "\0", "\ufeff"]
    pieces += ["version = 2\n", "[plugins]\n", "imports = []\n", f"imports = '{SECRET}'\n", "[[plugins]]\n", "x = 1\n"]
    return text[:start] + draw(strategies.sampled_from(pieces)) + text[end:]


@hypothesis.given(text=damaged(), engine=ENGINES)
def test_whatever_the_text(text: str, engine: tuple[tuple[int, ...], str]) -> None:
    """It is refused without a word of its values, or edited with nothing else changed; never anything else."""
    schema = toml_text.schema_of(text)
    node = Node(engine[0], text, engine[1])
    try:
        before = values(text)
    except tomllib.TOMLDecodeError:
        before = None
    try:
        node.run(WANTED)
        installed = node.files[MAIN] or ""
        node.run({})
    except Refusal as refusal:
        hypothesis.event("refused" if before else "refused: no TOML")
        assert SECRET not in str(refusal)
        return
    assert node.files == {MAIN: text, DROP_IN: None}
    if not node.target.declared:  # that goes above everything
        installed = re.sub(r"version = \d\r?\n", "", installed, count=1)
    assert_one_insertion(text, installed, in_place=node.target.mode != DROP_IN_MODE)
    if before is not None:
        assert schema == before.get("version", int(bool(before)))
    hypothesis.event("installed" if before else "installed: no TOML to the standard library")
