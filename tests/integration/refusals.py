# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs that have to fail, with words that help."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.confidential_containers.runtime.tests.integration.harness import Node, Run, aliases

#: By name: variables that make a run fail, and what the message says.
Wrong = dict[str, tuple[dict[str, t.Any], list[str]]]


def refused(run: Run, *texts: str) -> None:
    """Check that a run failed with these texts, in the user's words."""
    assert run.status != 0, run.output
    assert "Traceback" not in run.output
    for text in texts:
        assert text in run.output, run.output


def refuse_all(node: Node, right: t.Mapping[str, t.Any], wrong: Wrong) -> Run:
    """Check each of these with one start: each is another host to Ansible, and the same node.

    Variables come in addition to right ones, or instead of them; None: it is not set.
    """
    names = {name: re.sub(r"\W+", "-", name) for name in wrong}
    hosts = {}
    for name, (variables, _texts) in wrong.items():
        given = {**right, **variables}
        hosts[names[name]] = {key: value for key, value in given.items() if value is not None}
    # A connection carries no more than ten sessions.
    run = node.play("install", "--forks=8", inventory=aliases(node, hosts), coco_serial="100%")
    for name, (_variables, texts) in wrong.items():
        host = names[name]
        assert run.recap(host, "failed") == 1, f"{name}: {run.output}"
        refused(Run(run.status, run.of(host)), *texts)
    return run
