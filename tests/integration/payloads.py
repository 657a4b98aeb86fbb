# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The sample payload in other shapes: those of other eras, and changed ones."""

from __future__ import annotations

import io
import os
import tarfile
import typing as t
from pathlib import Path

from ansible_collections.confidential_containers.runtime.tests.unit.archives import extract

#: The prefix of the design document's layout, which the sample payload was built for; and Kata's, of all other eras.
BUILT_FOR = "opt/confidential-containers"
KATA = "opt/kata"


def unpacked(payload: t.Mapping[str, str], directory: Path) -> tuple[Path, Path]:
    """Unpack a sample payload; return its root, as ``dir:`` takes it, and where in it the artifacts are."""
    artifacts = directory / "opt/kata-artifacts" / BUILT_FOR
    artifacts.mkdir(parents=True)
    extract(Path(payload["oci_archive"]), artifacts)
    return directory, artifacts


def rebuild_for_kata(root: Path) -> Path:
    """Make an unpacked payload one that was built for Kata's prefix; return where the artifacts are now."""
    artifacts = root / "opt/kata-artifacts" / KATA
    (root / "opt/kata-artifacts" / BUILT_FOR).rename(artifacts)
    for path in artifacts.rglob("*"):
        if path.is_symlink() and os.readlink(path).startswith(f"/{BUILT_FOR}/"):
            target = os.readlink(path).replace(BUILT_FOR, KATA)
            path.unlink()
            path.symlink_to(target)
        elif path.match("configuration*.toml") and not path.is_symlink():
            path.write_text(path.read_text().replace(BUILT_FOR, KATA))
    return artifacts


def packed(artifacts: Path, *parts: str, name: str) -> bytes:
    """Return a tar archive of parts of the artifacts (none: of all), which are called ``name`` in it."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for part in parts or (".",):
            archive.add(artifacts / part, os.path.join(name, part) if part != "." else name)
    return stream.getvalue()
