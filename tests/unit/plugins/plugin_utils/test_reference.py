# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""References to payloads."""

from __future__ import annotations

import os

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._reference import (
    Reference,
    on_controller,
    parse_reference,
)


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("oci-archive:/a/b.tar", Reference("oci-archive", "/a/b.tar", "")),
        ("oci-archive:b.tar:v1", Reference("oci-archive", "b.tar", "v1")),
        ("docker-archive:/a b.tar", Reference("docker-archive", "/a b.tar", "")),
        ("docker-archive:~/a.tar:repo/x:v1", Reference("docker-archive", "~/a.tar", "repo/x:v1")),
    ],
)
def test_parse_and_print(text: str, reference: Reference) -> None:
    assert parse_reference(text) == reference
    assert str(reference) == text


@pytest.mark.parametrize(
    "text",
    [
        "docker://quay.io/x/y@sha256:abc",
        "quay.io/x/y:latest",
        "quay.io/x/y@sha256:abc",
        "alpine",
        "oci:/dir:ref",
        "docker-daemon:x:latest",
        "dir:/x",
        "tarball:/x.tar.xz",
        "oci-archive",
        "/a/path.tar",
        "",
    ],
)
def test_what_this_version_does_not_read_is_quoted_with_the_way_out(text: str) -> None:
    with pytest.raises(Refusal, match="oci-archive:FILE") as refused:
        parse_reference(text)
    assert repr(text) in str(refused.value)


@pytest.mark.parametrize("text", ["oci-archive:", "docker-archive::name"])
def test_no_path(text: str) -> None:
    with pytest.raises(Refusal, match=r"Write .*:/path/of/the/archive"):
        parse_reference(text)


@pytest.mark.parametrize(
    ("path", "resolved"),
    [
        ("/a/b.tar", "/a/b.tar"),
        ("b.tar", f"{os.getcwd()}/b.tar"),
        ("~/b.tar", os.path.expanduser("~/b.tar")),
    ],
)
def test_on_controller(path: str, resolved: str) -> None:
    assert on_controller(Reference("oci-archive", path, "v1")) == Reference("oci-archive", resolved, "v1")
