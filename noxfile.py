# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What runs in environments of its own, beside those of tests/venv. The Makefile is the way in:

make unit-cores   units: the unit tests, with each version of ansible-core on each Python that it supports
make build        build-import-check: would Galaxy import the collection?
make lint         extra-checks, which needs no environment
"""

from __future__ import annotations

from pathlib import Path

import antsibull_nox
import nox

nox.options.reuse_existing_virtualenvs = True
antsibull_nox.load_antsibull_nox_toml()

#: By version of ansible-core: the versions of Python that it supports and that the tests are written for.
CORES = {
    "2.17": ["3.11", "3.12"],
    "2.18": ["3.11", "3.12", "3.13"],
    "2.19": ["3.11", "3.12", "3.13"],
    "2.20": ["3.12", "3.13"],
    "2.21": ["3.12", "3.13"],
}


def pinned(*names: str) -> list[str]:
    """Return packages with the versions that tests/requirements.txt gives them."""
    lines = Path("tests/requirements.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.partition(" ")[0] in names]


@nox.session(default=False)
@nox.parametrize(("python", "core"), [(python, core) for core, pythons in CORES.items() for python in pythons])
def units(session: nox.Session, core: str) -> None:
    """Run the unit tests; what follows "--" goes to pytest."""
    session.install(f"ansible-core == {core}.*", "-r", "meta/ee-requirements.txt", "-r", "tests/nodes/requirements.txt")
    session.install(*pinned("hypothesis", "pytest", "pytest-xdist", "zstandard"))
    session.run("pytest", *session.posargs)
