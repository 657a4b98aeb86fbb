# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The transaction on a node's engine: validate → journal → write → one restart → probe → commit, or roll back.

The artifacts of the same run are part of it. When the handlers are committed, old artifacts are removed; when they are rolled
back, the old artifacts are put back. ``_handover`` ends a transaction that was interrupted.
"""

from __future__ import annotations

import contextlib
import os
import time
import typing as t
from dataclasses import dataclass, field, replace

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine import pods, startable
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import Apply, Driver, Engine
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.change import Change, encoded
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.flavours import FLAVOURS, waiting
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal, as_refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._native import checks
from ansible_collections.confidential_containers.runtime.plugins.module_utils._native.links import changes
from ansible_collections.confidential_containers.runtime.plugins.module_utils._native.swap import (
    give_back,
    prune,
    put_back,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._native.undo import remember, take_back
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import files
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run import staged
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.journal import (
    Journal,
    Swap,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.receipt import (
    Edit,
    EngineIdentity,
    Receipt,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.state import State

_WRITTEN = "the engine's configuration to be written"
_BACK = "the node to be as before again"


@dataclass
class ChangeOutcome:
    """What a transaction did, or would do."""

    changed: bool = False
    restarted: bool = False
    served: t.Sequence[str] = ()
    links: t.Mapping[str, str | None] = field(default_factory=dict)


def check(
    state: State, driver: Driver, change: Change, journal: Journal | None, ignore_pods: bool, dry: bool
) -> tuple[ChangeOutcome, list[str]]:
    """Decide what ``change`` would do, or refuse it. Nothing is written. ``journal`` is the run's, once it is open.

    Also returns the handlers that the engine's files have now.
    """
    receipt = state.receipt()
    artifacts = journal.artifacts if journal else None
    before = set(driver.served())
    owned = set(receipt.handlers)
    links = changes(receipt, change)
    checks.refuse_names(change)
    checks.refuse_stale_files(change)
    # Without a CRI there are no pods, and nobody to ask. Handlers that are no longer served can still have pods.
    if before:
        pods.refuse(driver, owned - set(change.handlers), ignore_pods)
    checks.refuse_snapshotters(driver, change)
    if not dry:
        checks.refuse_missing_artifacts(change, artifacts)
        startable.refuse(change.handlers, change.links, _planned(journal, receipt).prefix)
    present, serve = checks.validate(
        driver, change, owned | set(change.handlers), {*receipt.proxy_plugins, *change.proxies}
    )

    # The engine can serve handlers that no table names (1.x knows deprecated ways). Those are no reason to restart it.
    gone = owned - set(change.handlers)
    restart = bool(change.files) or not set(serve) <= before or bool(gone & before)
    known = set(receipt.proxy_plugins)
    changed = restart or bool(links or artifacts) or owned != set(change.handlers) or known != set(change.proxies)
    return ChangeOutcome(changed, restart, serve, links), present


def carry_out(
    state: State, journal: Journal, driver: Driver, change: Change, timeout: float, ignore_pods: bool
) -> ChangeOutcome:
    """Make the engine serve exactly ``change``. Returns when it does, or raises when the node is as before."""
    with FLAVOURS[driver.engine.name].held():
        return _carry_out(state, journal, driver, change, timeout, ignore_pods)


def _carry_out(
    state: State, journal: Journal, driver: Driver, change: Change, timeout: float, ignore_pods: bool
) -> ChangeOutcome:
    began = time.time()
    written = False
    try:
        outcome, present = check(state, driver, change, journal, ignore_pods, dry=False)
        if not outcome.changed:
            journal.close()
            return outcome
        receipt = _receipt(state.receipt(), journal, driver.engine, change)
        config = remember(driver, change, outcome.links, present, timeout)
        # The distribution restarts a watched engine as soon as the files are renamed.
        watched = FLAVOURS[driver.engine.name].apply is Apply.WATCHED
        journal.record(config=replace(config, restarting=watched and outcome.restarted), receipt=receipt)
        written = True
        _write(driver.engine, change, outcome, config.directories)
        if outcome.restarted:
            journal.record(config=replace(config, restarting=True))
            outcome.served = driver.apply(outcome.served, timeout)
            checks.refuse_left(driver.engine, change, set(state.receipt().handlers), outcome.served)
        journal.record(committed=True)
    except Exception as error:
        # This includes errors that nobody has foreseen: a bug of ours must leave no engine down and no journal open.
        raise _undone(state, journal, driver, error, began, written) from error
    try:
        finish(state, journal)
    except Exception as error:
        first = as_refusal(error, "what the node no longer needs to be removed")
        remedy = "The engine serves what was asked for; the next run finishes what is left."
        raise Refusal(first.expected, first.found, remedy) from error
    return outcome


def _undone(state: State, journal: Journal, driver: Driver, error: Exception, began: float, written: bool) -> Refusal:
    """Roll back, and return what to tell the user. If that fails, too, raise it."""
    words = driver.last_words(began) if written else ""
    if journal.committed:
        # The commit may have reached the disk. With this note, whoever takes over after a kill goes on rolling back.
        with contextlib.suppress(OSError, Refusal):
            journal.record(committed=False)
    first, said = as_refusal(error, _WRITTEN), f" The engine said:\n{words}" if words else ""
    try:
        kept = roll_back(state, journal)
    except Exception as second:
        remedy = (
            "Rolling back failed, too, and is tried again by the next run, which keeps what you mend by hand until then: "
            f"{as_refusal(second, _BACK)}"
        )
        raise Refusal(first.expected, first.found, remedy + said) from second
    serves = "what it is configured with now" if kept else "what it served before"
    back = f"The node was rolled back, and its engine serves {serves}." if written else first.remedy
    return Refusal(first.expected, first.found, " ".join([back, *kept]) + said)


def finish(state: State, journal: Journal) -> None:
    """Commit. From here on, whatever happens, the run is finished and not undone. May be repeated."""
    if not journal.committed:
        journal.record(committed=True)
    receipt = journal.receipt or state.receipt()
    directories = {*state.receipt().directories, *receipt.directories}
    needed = _needed_directories(receipt)
    state.write_receipt(replace(receipt, directories=sorted(directories & needed)))
    artifacts = journal.artifacts
    if artifacts:
        prune(artifacts)
        staged.forget(state)
    files.remove_empty_directories(directories - needed)
    if artifacts:
        give_back(artifacts.prefix, artifacts.give_back)
    files.sync([*(directories - needed), *_places(state, artifacts)])
    journal.close()


def roll_back(state: State, journal: Journal) -> list[str]:
    """Put back what the run has written, make the engine serve that, and put the artifacts back. May be repeated.

    Returns what the user has to know: what somebody else has changed meanwhile, which stays.
    """
    config, artifacts = journal.config, journal.artifacts
    told = take_back(journal, config) if config else []
    if artifacts:
        edited = put_back(artifacts)
        _remember_edited(state, artifacts, edited)
        told += [f"{os.path.join(artifacts.prefix, path)}: edited since it was installed, and kept." for path in edited]
        staged.forget(state)
    written = [*config.files, *config.links, *config.directories] if config else []
    files.sync([*written, *_places(state, artifacts)])
    journal.close()
    return told


def _places(state: State, artifacts: Swap | None) -> list[str]:
    """Return the directories in which artifacts and payloads come and go. Each can be a file system of its own."""
    if not artifacts:
        return []
    return [state.directory, *filter(None, (artifacts.prefix, artifacts.staged, artifacts.aside))]


def _remember_edited(state: State, artifacts: Swap, edited: t.Sequence[str]) -> None:
    """Note the files that the run had added and an admin has edited, so that the next run knows them as ours."""
    added = {path: artifacts.editable[path] for path in edited if path in artifacts.add}
    if not added:
        return
    receipt = state.receipt()
    # Paths are relative to the prefix: below another prefix, they would be other files.
    known = receipt if receipt.prefix == artifacts.prefix else Receipt()
    directories = {path for path in artifacts.directories if os.path.isdir(path)}
    state.write_receipt(
        replace(
            receipt,
            prefix=artifacts.prefix,
            left={**known.left, **added},
            kept=sorted({*known.kept, *(set(added) & set(artifacts.kept))}),
            directories=sorted(directories.union(receipt.directories)),
        )
    )


def _planned(journal: Journal | None, receipt: Receipt) -> Receipt:
    """Return the receipt that payload_artifacts has prepared in the same run, else the present one."""
    planned = journal.receipt if journal else None
    # A journal of the version before does not have the time of the first installation.
    return replace(planned, installed_at=receipt.installed_at) if planned else receipt


def _receipt(receipt: Receipt, journal: Journal, engine: Engine, change: Change) -> Receipt:
    """Return the receipt for the time after the commit."""
    # Without handlers, nothing of ours is in any file any more, whoever took it out.
    edits = dict(receipt.edits) if change.handlers else {}
    for file in change.files:
        edits.pop(file.path, None)
        if change.handlers and file.content != file.before:
            after = "" if file.content is None else files.sha256(file.content)
            edits[file.path] = Edit(encoded(file.before), after, file.builtin, file.disabled)
    base = _planned(journal, receipt)
    directories = set(base.directories)
    for path in [*edits, *change.links]:
        directories.update(files.missing_directories(os.path.dirname(path)))
    return replace(
        base,
        directories=sorted(directories),
        edits=edits,
        links=change.links,
        handlers=change.handlers,
        proxy_plugins=change.proxies,
        engine=EngineIdentity(**engine.identity()),
    )


def _needed_directories(receipt: Receipt) -> set[str]:
    """Return the directories that must stay, because the receipt has something in them."""
    needed = set()
    for path in [
        *(os.path.join(receipt.prefix, path) for path in {**receipt.tree, **receipt.left}),
        *receipt.edits,
        *receipt.links,
    ]:
        while path not in needed:
            needed.add(path)
            path = os.path.dirname(path)
    return needed


def _write(engine: Engine, change: Change, outcome: ChangeOutcome, directories: t.Sequence[str]) -> None:
    for directory in directories:
        files.make_directories(directory)
    for path, target in outcome.links.items():
        files.set_link(path, target)
    for file in change.files:
        if file.content is None:
            files.remove_file(file.path)
            files.fsync_directory(os.path.dirname(file.path))
        else:
            files.write_atomically(file.path, file.content, waiting=waiting(engine, file.path))
