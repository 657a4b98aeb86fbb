# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""TOML as text, compared with what a parser says."""

from __future__ import annotations

import pytest
import tomlkit

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine import toml_text

# The node's scan has to agree with a TOML parser: the parser is the judge, the number is for the reader.
SCHEMAS = [
    pytest.param("", 0, id="empty"),
    pytest.param("# a\u2028comment\r\n\r\n", 0, id="only a comment"),
    pytest.param("version = 2\n", 2, id="plain"),
    pytest.param("version=3", 3, id="no spaces, no newline"),
    pytest.param("\tversion\t=\t2\t# since May\n", 2, id="tabs and a comment"),
    pytest.param("version = 2\r\nroot = '/x'\r\n", 2, id="CRLF"),
    pytest.param("# version = 3\nversion = 2\n", 2, id="in a comment"),
    pytest.param("root = 'version = 3'\nversion = 2\n", 2, id="in a string"),
    pytest.param('root = """\nversion = 3\n"""\nversion = 2\n', 2, id="in a multi-line string"),
    pytest.param("root = '''\nversion = 3\n'''\n", 1, id="only in a multi-line string"),
    pytest.param('root = """\n[plugins]\n"""\nversion = 2\n', 2, id="after a header in a multi-line string"),
    pytest.param("imports = [\n  'a',\n]\nversion = 2\n", 2, id="after a multi-line array"),
    pytest.param("x = [\n  ['a'],\n]\nversion = 2\n", 2, id="after an array of arrays"),
    pytest.param("[plugins]\nversion = 2\n", 1, id="after the first table"),
    pytest.param("[[stream]]\nversion = 2\n", 1, id="after an array of tables"),
    pytest.param("  [plugins]\n  version = 2\n", 1, id="after an indented table"),
    pytest.param("grpc.version = 3\nversion = 2\n", 2, id="below a dotted key"),
    pytest.param('"version" = 2\n', 2, id="quoted key"),
    pytest.param("'version' = 2\n", 2, id="literal key"),
    pytest.param("version = 0x2\n", 2, id="hexadecimal"),
    pytest.param("version = +2\n", 2, id="with a sign"),
    pytest.param("version = -2\n", -2, id="negative"),
    pytest.param("version = 0b1_1\n", 3, id="binary"),
    pytest.param("\ufeffversion = 2\n", 2, id="a byte order mark"),
    pytest.param("\ufeff[plugins]\nversion = 2\n", 1, id="a table after a byte order mark"),
    pytest.param("my_version = 3\n", 1, id="another key"),
    pytest.param("version_of_ours = 3\n", 1, id="a longer key"),
    pytest.param("# one\u2028version = 3\nversion = 2\n", 2, id="a line separator in a comment"),
]


@pytest.mark.parametrize(("text", "schema"), SCHEMAS)
def test_schema_is_what_a_parser_says(text: str, schema: int) -> None:
    document = tomlkit.parse(text.removeprefix("\ufeff")).unwrap()
    assert document.get("version", int(bool(document))) == schema, "the table itself is wrong"
    assert toml_text.schema_of(text) == schema


@pytest.mark.parametrize("version", ["02", "2nd", "0x", "2__0", "'2'", "2.0", ""])
def test_no_schema_at_all_is_no_error(version: str) -> None:
    assert toml_text.schema_of(f"version = {version}\n") == 1
