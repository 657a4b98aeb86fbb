# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the artifacts are in an image."""

from __future__ import annotations

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload import layouts


@pytest.mark.parametrize(
    ("path", "root", "relative"),
    [
        ("a/b", "a/b", ""),
        ("a/b/c", "a/b", "c"),
        ("a/b/c/d", "a/b", "c/d"),
        ("a/bc", "a/b", None),
        ("a", "a/b", None),
        ("x/a/b", "a/b", None),
        ("/opt/x/y", "/opt/x", "y"),
        ("", "a", None),
    ],
)
def test_inside(path: str, root: str, relative: str | None) -> None:
    assert layouts.inside(path, root) == relative


CC, KATA, ENCLAVE = "confidential-containers", "kata", "enclave-cc"


@pytest.mark.parametrize(
    ("path", "layout", "relative"),
    [
        ("opt/kata-artifacts/opt/confidential-containers", CC, ""),
        ("opt/kata-artifacts/opt/confidential-containers/bin/x", CC, "bin/x"),
        ("opt/kata-artifacts/opt/kata", KATA, ""),
        ("opt/kata-artifacts/opt/kata/bin/x", KATA, "bin/x"),
        ("opt/enclave-cc-artifacts", ENCLAVE, ""),
        ("opt/enclave-cc-artifacts/config.json", ENCLAVE, "config.json"),
        ("opt/kata-artifacts/opt/enclave-cc-artifacts/config.json", None, None),
        ("opt/kata-artifacts/opt/kata-containers/bin/x", None, None),
        ("opt/kata-artifacts/scripts/kata-deploy.sh", None, None),
        ("opt/kata-artifacts", None, None),
        ("opt/confidential-containers/bin/x", None, None),
        ("/opt/kata-artifacts/opt/kata/bin/x", None, None),
        ("etc/passwd", None, None),
        (".", None, None),
    ],
)
def test_locate(path: str, layout: str | None, relative: str | None) -> None:
    found = layouts.locate(path, [layouts.ARTIFACTS])
    assert (found and (found[0].name, found[1])) == ((layout, relative) if layout else None)


@pytest.mark.parametrize("layout", layouts.LAYOUTS, ids=lambda layout: layout.name)
def test_a_layout_is_found_by_its_name_and_has_the_prefix_of_its_root(layout: layouts.Layout) -> None:
    assert layouts.by_name(layout.name) is layout
    assert layout.anchored or "/" + layout.root == layout.prefix
    kata = {"share/defaults/kata-containers", "share/defaults/kata-containers/runtime-rs"}
    assert layout.anchored or set(layout.configurations) == kata
    placed = {*layout.files.values(), *layout.systems.values()}
    assert {*layout.links.values(), *(layout.configurations.values() if layout.files else ())} <= placed


@pytest.mark.parametrize(
    ("layout", "path", "place"),
    [
        (KATA, "bin/x", "bin/x"),
        (KATA, "", ""),
        (ENCLAVE, "", ""),
        (ENCLAVE, "containerd-shim-rune-v2", "bin/containerd-shim-rune-v2"),
        (ENCLAVE, "scripts/enclave-cc-deploy.sh", None),
    ],
)
def test_place(layout: str, path: str, place: str | None) -> None:
    assert layouts.by_name(layout).place(path) == place


@pytest.mark.parametrize("path", ["opt/kata/bin/x", "opt/kata-artifacts/opt/kata/bin/x"])
def test_a_tarball_has_artifacts_at_its_top_or_where_images_have_them(path: str) -> None:
    located = layouts.locate(path, [layouts.ARTIFACTS, ""])
    assert located and (located[0].name, located[1]) == (KATA, "bin/x")


@pytest.mark.parametrize(
    "prefix", ["/opt/kata", "/opt/x/", "/srv/kata/4.1", "/usr/local/kata", "/var/lib/kata", "/kata", "/opt/a_b@1~x+y=z"]
)
def test_prefix(prefix: str) -> None:
    layouts.check_prefix(prefix)


@pytest.mark.parametrize(
    ("prefix", "why"),
    [
        ("opt/kata", "relative"),
        ("", "relative"),
        ("/", "shared"),
        ("//", "shared"),
        ("/opt", "shared"),
        ("/opt/", "shared"),
        ("/usr/local", "shared"),
        ("/var/lib", "shared"),
        ("/usr/bin", "system"),
        ("/usr", "system"),
        ("/etc/kata", "system"),
        ("/tmp/kata", "system"),
        ("/opt/../etc/kata", "system"),
        ("/var/lib/confidential-containers/x", "system"),
        ("/var/log/kata", "system"),
        *((f"/opt/a{character}b", "in it") for character in "\"'`$\\ \n\t\0*?[]{}()<>|&;!#%^,:\udcff"),
    ],
)
def test_no_prefix(prefix: str, why: str) -> None:
    with pytest.raises(Refusal, match=why):
        layouts.check_prefix(prefix)
