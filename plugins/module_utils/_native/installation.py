# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The artifacts of a payload below the prefix, present or absent: what the module payload_artifacts does.

The node's state is read once and compared with what is wanted; only a difference is written. A change opens a run, which
``_native.transaction`` commits together with the handlers.
"""

from __future__ import annotations

import contextlib
import os
import typing as t
from dataclasses import dataclass, field, replace

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal, as_refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._native import labels, transaction
from ansible_collections.confidential_containers.runtime.plugins.module_utils._native.artifacts import (
    ArtifactChanges,
    Comparison,
    sign,
    staying,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._native.swap import swap_in
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import files, process
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload import layouts
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.tree import Tree
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.begin import begin
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.commands import (
    refuse_installed,
    undone_by,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.journal import Journal, Stage, Swap
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.receipt import Receipt
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.staged import (
    Staged,
    find,
    working_directory,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.state import State

#: A function that warns the user.
Warn = t.Callable[[str], None]

_EXTRACT_FIRST = "Run payload_extract before payload_artifacts."
#: The sign of each decision in a diff.
_SIGNS = (("add", "+"), ("replace", "~"), ("remove", "-"), ("edited", "="))
#: Maps each number in the module's result to the decision that it counts.
_COUNTS = {"added": "add", "replaced": "replace", "removed": "remove", "kept": "keep"}


@dataclass(frozen=True)
class Wanted:
    """Which payload's artifacts shall be below ``prefix``, and what is to become of other files there.

    ``_native.artifacts.Comparison`` explains the latter. ``tree`` is for check mode: the artifacts of a payload that is not on
    the node yet.
    """

    digest: str
    prefix: str
    tree: Tree = field(default_factory=dict)
    keep_aside: bool = False
    keep_edited: bool = True
    verify: bool = False


def present(state: State, wanted: Wanted, check_mode: bool, warn: Warn) -> dict[str, t.Any]:
    """Bring the artifacts of a payload to the prefix. Return the result of the module payload_artifacts."""
    installation = _Installation(state, wanted, check_mode)
    changes = installation.changes()
    if check_mode or not (changes.any or installation.staged):
        return _result(wanted.prefix, changes, upgrade=installation.upgrade)
    with _put_back_on_error(state, warn):
        run = installation.install(changes, warn)
    return {**_result(wanted.prefix, changes, run, installation.upgrade), "changed": True}


def absent(state: State, check_mode: bool, warn: Warn) -> dict[str, t.Any]:
    """Remove all our artifacts. Return the result of the module payload_artifacts."""
    receipt = state.receipt()
    # In check mode the handlers are still there, because the task before did not really remove them.
    if receipt.handlers and not check_mode:
        raise Refusal(
            "no handler of ours in the engine's configuration",
            ", ".join(receipt.handlers),
            "Remove them first: runtime_handlers with an empty list.",
        )
    prefix = receipt.prefix or "/"
    changes = Comparison(prefix, {**receipt.left, **receipt.tree}, {}).changes()
    after = _without_artifacts(receipt, changes["edited"])
    changed = bool(receipt.tree or changes["remove"])
    if changed and not check_mode:
        journal = Journal(state)
        swap = Swap(prefix, remove=changes["remove"], give_back=list(receipt.kept))
        with _put_back_on_error(state, warn):
            begin(state, journal, artifacts=swap, receipt=after)
            transaction.finish(state, journal)
    return {**_result(prefix, changes), "edited": staying(after), "changed": changed}


def _without_artifacts(receipt: Receipt, edited: t.Sequence[str]) -> Receipt:
    known = {**receipt.left, **receipt.tree}
    return replace(
        receipt,
        tree={},
        # Where an edited file stays, the one that was kept aside cannot come back.
        kept=[path for path in receipt.kept if path in edited],
        left={path: known[path] for path in edited},
    )


class _Installation:
    """One comparison of the node with what is wanted: the tree that is there and the one that is to be."""

    def __init__(self, state: State, wanted: Wanted, check_mode: bool) -> None:
        self.state, self.wanted = state, wanted
        self.receipt = state.receipt()
        self._refuse_other_installation()
        # After an uninstallation, the receipt still knows the files that their admin has edited: they are still ours to keep.
        self.known = self.receipt if self.receipt.prefix == wanted.prefix else Receipt()
        self.old: Tree = {**self.known.left, **self.known.tree}
        self.staged = find(state, wanted.digest)
        self.new = self._new_tree(check_mode)

    def _refuse_other_installation(self) -> None:
        refuse_installed(self.receipt)
        if self.receipt.tree and self.receipt.prefix != self.wanted.prefix:
            raise Refusal(
                f"an installation below {self.wanted.prefix}, or none",
                self.receipt.prefix,
                "Uninstall that one first.",
            )

    def _new_tree(self, check_mode: bool) -> Tree:
        if self.staged:
            return self.staged.tree or {}
        if check_mode and self.wanted.tree:
            return self.wanted.tree
        if self.receipt.tree and self.receipt.payload.digest == self.wanted.digest:
            return self.receipt.tree
        raise Refusal(f"payload {self.wanted.digest} on the node", "neither staged nor installed", _EXTRACT_FIRST)

    @property
    def upgrade(self) -> str:
        """The line of a diff that says which payload replaces which; '' when it is the same one."""
        before, now = self.receipt.payload.digest, self.wanted.digest
        return f"payload {before} becomes {now}\n" if self.receipt.tree and before != now else ""

    def changes(self) -> ArtifactChanges:
        wanted = self.wanted
        how = (wanted.keep_aside, wanted.keep_edited, wanted.verify)
        return Comparison(wanted.prefix, self.old, self.new, *how).changes()

    def install(self, changes: ArtifactChanges, warn: Warn) -> str:
        """Open a run, swap the staged artifacts in, and note the receipt for the commit. Return the run."""
        prefix, staged = self.wanted.prefix, self.staged
        if not staged:
            raise Refusal(
                f"the artifacts of {self.wanted.digest} below {prefix} as they were installed",
                f"changes to {len(changes['add']) + len(changes['replace'])} of them",
                _EXTRACT_FIRST,
            )
        journal = Journal(self.state)
        swap = self._swap(changes, staged, journal.run[:16])
        begin(self.state, journal, artifacts=swap)
        if swap.staged != staged.staged:
            _copy(staged.staged, swap.staged)
        swap_in(swap)
        labels.restore(prefix, warn)
        journal.record(receipt=self._after(changes, staged))
        return journal.run

    def _swap(self, changes: ArtifactChanges, staged: Staged, name: str) -> Swap:
        directory = working_directory(self.wanted.prefix)
        return Swap(
            prefix=self.wanted.prefix,
            staged=os.path.join(directory, f"copy-{name}") if staged.keep else staged.staged,
            aside=os.path.join(directory, f"aside-{name}"),
            **{part: changes[part] for part in ("add", "replace", "remove")},
            editable={
                path: self.new[path] for path in changes["add"] + changes["replace"] if layouts.is_configuration(path)
            },
            directories=changes.directories,
            kept=changes.kept,
            give_back=sorted(set(self.known.kept) - set(self.new)),
        )

    def _after(self, changes: ArtifactChanges, staged: Staged) -> Receipt:
        """Return the receipt for the time after the commit."""
        prefix, edited = self.wanted.prefix, set(changes["edited"])
        return replace(
            self.receipt,
            payload=staged.payload,
            installer=undone_by("install", self.receipt.installer),
            prefix=prefix,
            tree={
                path: entry if path in edited else sign(os.path.join(prefix, path), entry)
                for path, entry in self.new.items()
            },
            left={path: self.old[path] for path in changes["edited"] if path not in self.new},
            directories=sorted({*self.receipt.directories, *changes.directories}),
            kept=sorted({*self.known.kept, *changes.kept} & set(self.new)),
        )


def _copy(staged: str, copy: str) -> None:
    """Copy a staged payload that is to stay staged: renames take the copy away, and users may edit it in its place."""
    done = process.run(["cp", "--archive", "--reflink=auto", "--", staged, copy], timeout=3600)
    if done.returncode != 0:
        files.remove_tree(copy)
        raise Refusal(
            f"a second copy of the payload beside {staged}, because of coco_keep_payload",
            done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit status {done.returncode} of cp",
            "Without coco_keep_payload none is made.",
        )


@contextlib.contextmanager
def _put_back_on_error(state: State, warn: Warn) -> t.Iterator[None]:
    """Put everything back if anything goes wrong before the commit."""
    try:
        yield
    except Exception as error:
        journal = Journal.find(state)
        if journal and journal.stage is not Stage.COMMITTED:
            _put_back(state, journal, error, warn)
        raise


def _put_back(state: State, journal: Journal, error: Exception, warn: Warn) -> None:
    """Roll back. If that fails, too, tell the user both errors."""
    try:
        for words in transaction.roll_back(state, journal):
            warn(words)
    except Exception as second:
        first = as_refusal(error, "the artifacts to be brought to their place")
        remedy = (
            f"Rolling back failed, too, and is tried again by the next run: {as_refusal(second, 'the node as before')}"
        )
        raise Refusal(first.expected, first.found, remedy) from second


def _result(prefix: str, changes: ArtifactChanges, run: str = "", upgrade: str = "") -> dict[str, t.Any]:
    return {
        "changed": bool(changes.any or upgrade),
        "run": run,
        "files": {word: len(changes[decision]) for word, decision in _COUNTS.items()},
        "edited": [os.path.join(prefix, path) for path in changes["edited"]],
        "diff": {"prepared": upgrade + _listed(prefix, changes)} if changes.any or upgrade else {},
    }


def _listed(prefix: str, changes: ArtifactChanges) -> str:
    lines = [f"{sign} {os.path.join(prefix, path)}\n" for decision, sign in _SIGNS for path in changes[decision]]
    return "".join([*lines, *(f"! {os.path.join(prefix, path)} is kept aside\n" for path in changes.kept)])
