# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""YAML that Kubernetes would read otherwise, or not at all."""

from __future__ import annotations

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._operator.loader import load


@pytest.mark.parametrize("value", ["2026-01-01", "2026-99-99", "1:30", "1:30.5", "1e3", "0.1.2"])
def test_text_that_only_some_take_for_something_else(value: str) -> None:
    assert load(f"x: {value}\n") == [{"x": value}]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param("a: [1\nb: 2\n", "in line 2", id="a bracket that is not closed"),
        pytest.param("a:\n\tb: 1\n", "character '\\t' that cannot start any token in line 2", id="a tab"),
        pytest.param("a: 1\n b: 2\n", "mapping values are not allowed here in line 2", id="indented"),
        pytest.param("a: *x\n", "undefined alias 'x' in line 1", id="an unknown alias"),
        pytest.param("a: 1\nb: 2\na: 3\n", "the key a again in line 3", id="a key twice"),
        pytest.param("b: 1\n---\na: 1\n'a': 3\n", "the key a again in line 4", id="a key twice, in another document"),
        pytest.param("a:\n  <<: {b: 1}\n  <<: {b: 2}\n", "the key << again in line 3", id="a merge twice"),
        pytest.param("\na: !vault x\n", "tag '!vault' in line 2", id="a vault"),
        pytest.param("a: !!python/object/apply:os.system [id]\n", "os.system' in line 1", id="an object"),
        pytest.param("\n\na: !!timestamp x\n", "no value of its type in line 3", id="no date"),
        pytest.param("\na: !!bool x\n", "no value of its type in line 2", id="neither true nor false"),
        pytest.param("\na: 0x_\n", "no value of its type in line 2", id="no number"),
        pytest.param(f"\na: {'9' * 9000}\n", "no value of its type in line 2", id="a long number"),
        pytest.param("? [a]\n: 1\n", "unhashable key in line 1", id="a list as a key"),
        pytest.param("a: 1\nb: \x00\n", "a character that YAML does not allow in line 2", id="a null character"),
        pytest.param("&a [*a]: 1\n", "unhashable key", id="a key that holds itself"),
    ],
)
def test_broken_yaml(text: str, found: str) -> None:
    with pytest.raises(Refusal) as refused:
        load(text)
    assert str(refused.value).startswith("Expected the manifest to be YAML. Found ")
    assert found in refused.value.found
    assert "found found" not in str(refused.value).lower()
