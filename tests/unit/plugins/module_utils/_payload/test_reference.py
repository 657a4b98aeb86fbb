# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""References to payloads."""

from __future__ import annotations

import os
import typing as t

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.reference import (
    Reference,
    on_controller,
    parse,
)

DIGEST = "sha256:" + "a1" * 32


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("oci-archive:/a/b.tar", Reference("oci-archive", "/a/b.tar")),
        ("oci-archive:b.tar:v1", Reference("oci-archive", "b.tar", "v1")),
        ("docker-archive:/a b.tar", Reference("docker-archive", "/a b.tar")),
        ("docker-archive:~/a.tar:repo/x:v1", Reference("docker-archive", "~/a.tar", "repo/x:v1")),
        ("oci:/dir", Reference("oci", "/dir")),
        ("oci:/dir:v1", Reference("oci", "/dir", "v1")),
        ("docker-daemon:x/y:v1", Reference("docker-daemon", "x/y:v1")),
        ("dir:/x:y", Reference("dir", "/x:y")),
        ("tarball:/x.tar.xz", Reference("tarball", "/x.tar.xz")),
        ("docker://quay.io/x/y:v1", Reference("docker", "quay.io/x/y", "v1")),
        (f"docker://quay.io/x/y@{DIGEST}", Reference("docker", "quay.io/x/y", "", DIGEST)),
        (f"docker://h:5000/y:v1@{DIGEST}", Reference("docker", "h:5000/y", "v1", DIGEST)),
        ("docker://[::1]:5000/y:v1", Reference("docker", "[::1]:5000/y", "v1")),
        ("docker://localhost/y:v1", Reference("docker", "localhost/y", "v1")),
    ],
)
def test_parse_and_print(text: str, reference: Reference) -> None:
    assert parse(text) == reference
    assert str(reference) == text


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("quay.io/x/y", "docker://quay.io/x/y:latest"),
        ("x/y:v1", "docker://docker.io/x/y:v1"),
        ("alpine", "docker://docker.io/library/alpine:latest"),
        ("docker://alpine:3", "docker://docker.io/library/alpine:3"),
        (f"h:5000/y@{DIGEST}", f"docker://h:5000/y@{DIGEST}"),
    ],
)
def test_a_bare_reference_is_one_to_a_registry(text: str, whole: str) -> None:
    assert str(parse(text)) == whole


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("oci-archive:", "no path"),
        ("docker-archive::name", "no path"),
        ("docker:quay.io/x", "no //"),
        ("docker-daemon:", "no name"),
        ("quay.io/X/y", "'X'"),
        ("quay.io/x/y:a b", "'a b'"),
        ("quay.io/x/y@sha256:abc", "'sha256:abc'"),
        ("quay.io/x/y@", "''"),
        ("-h.io/x", "'-h.io'"),
        ("quay.io//y", "''"),
        ("oci-archiv:/x.tar", "'oci-archiv:'"),
    ],
)
def test_the_wrong_part_is_named(text: str, part: str) -> None:
    with pytest.raises(Refusal) as refused:
        parse(text)
    assert part in str(refused.value)
    assert repr(text) in str(refused.value)


@pytest.mark.parametrize(
    ("text", "offer"),
    [
        ("/srv/x.tar", "Write oci-archive:/srv/x.tar if skopeo or podman wrote it, or docker-archive:/srv/x.tar if docker save"),
        ("/srv/x.tar", "or tarball:/srv/x.tar if it is a release tarball."),
        ("x.tar", "Write oci-archive:x.tar if"),
        ("/srv/payload.oci.tar", "Write oci-archive:/srv/payload.oci.tar."),
        ("/srv/payload-oci.tar:v1", "Write oci-archive:/srv/payload-oci.tar:v1."),
        ("~/docker.tar", "Write docker-archive:~/docker.tar."),
        ("./kata-static-4.1.0-amd64.tar.zst", "Write tarball:./kata-static-4.1.0-amd64.tar.zst."),
        ("/srv/kata-static.tar", "Write tarball:/srv/kata-static.tar."),
        ("x/y.tar.xz", "Write tarball:x/y.tar.xz."),
        ("/oci.tar/x.tgz", "Write tarball:/oci.tar/x.tgz."),
        ("../payload/", "Write dir:../payload/ if it is an extracted payload, or oci:../payload/ if it has an OCI layout."),
        ("file:///srv/x.oci.tar", "'file:' as its transport in 'file:///srv/x.oci.tar'. Write oci-archive:/srv/x.oci.tar."),
        ("oci-archiv:/x.tar", "Write oci-archive:/x.tar."),
        ("docker-deamon:/x", "Write docker-daemon:/x."),
        ("https://quay.io/x/y:v1", "Write docker://quay.io/x/y:v1."),
        ("ftp://x/y.tar", "Write one of these transports before the path."),
    ],
)  # fmt: skip
def test_a_path_without_its_transport(text: str, offer: str) -> None:
    with pytest.raises(Refusal) as refused:
        parse(text)
    assert repr(text) in str(refused.value)
    assert offer in str(refused.value)


def test_a_list() -> None:
    reference = parse(["tarball:/a.tar", "tarball:~/b.tar"])
    assert reference == Reference("tarball", "/a.tar", others=("~/b.tar",))
    assert reference.paths == ["/a.tar", "~/b.tar"]
    assert str(reference) == "tarball:/a.tar, tarball:~/b.tar"
    assert parse(reference.texts) == reference
    assert on_controller(reference).paths == ["/a.tar", os.path.expanduser("~/b.tar")]
    for text in ("oci-archive:/a.tar:v1", f"docker://quay.io/x/y@{DIGEST}"):
        assert parse([text]) == parse(text)
        assert parse(text).texts == [text]


@pytest.mark.parametrize(
    ("payload", "part"),
    [
        ([], "Found nothing"),
        (["tarball:/a", ""], "Found nothing"),
        (["tarball:/a", "dir:/b"], "dir:/b in a list of 2"),
        (["quay.io/x/y", "tarball:/a"], "docker://quay.io/x/y:latest in a list of 2"),
        (["tarball:/a", "tarball:/a"], "the same one twice"),
        (["tarball:/a", 1], "Found ['tarball:/a', 1]"),
        ({"tarball": "/a"}, "Found {'tarball': '/a'}"),
        (5, "Found 5"),
        (None, "Found None"),
    ],
)
def test_no_list(payload: t.Any, part: str) -> None:
    with pytest.raises(Refusal) as refused:
        parse(payload)
    assert part in str(refused.value)


def test_nothing() -> None:
    with pytest.raises(Refusal, match="Found nothing"):
        parse("")


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


def test_what_is_pinned() -> None:
    assert str(parse("quay.io/x/y:v1").pinned(DIGEST)) == f"docker://quay.io/x/y@{DIGEST}"
