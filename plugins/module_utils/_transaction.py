# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The transaction on a node's engine: validate → journal → write → one restart → probe → commit, or roll back.

Also what ends an interrupted one: ``recover``. Artifacts of the same run are part of it: they are pruned when the handlers
are committed, and put back when they are rolled back.
"""

from __future__ import annotations

import os
import time
import typing as t
from dataclasses import dataclass, field

from ansible_collections.confidential_containers.runtime.plugins.module_utils import (
    _artifacts,
    _cri,
    _files,
    _links,
    _payloads,
    _probe,
    _unit,
    _validate,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._change import Change, decoded, encoded
from ansible_collections.confidential_containers.runtime.plugins.module_utils._containerd import Engine
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._journal import Journal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._state import State

_WRITTEN = "the engine's configuration to be written"


@dataclass
class Outcome:
    """What a transaction did, or would do."""

    changed: bool = False
    restarted: bool = False
    served: t.Sequence[str] = ()
    links: t.Mapping[str, str | None] = field(default_factory=dict)


def begin(state: State, journal: Journal, **parts: t.Any) -> None:
    """Open a run: from here on it is undone or finished, whatever happens, at the latest when the node boots."""
    if Journal.find(state) is None:
        _unit.enable(state.journal)
    journal.record(**parts)


def check(
    state: State, engine: Engine, change: Change, parts: t.Mapping[str, t.Any], ignore_pods: bool, dry: bool
) -> tuple[Outcome, list[str]]:
    """Decide what ``change`` would do, or refuse it; nothing is written. ``parts`` are those of the run's journal.

    Also returns the handlers that the engine's files have now.
    """
    receipt = state.receipt()
    before = set(_probe.served(engine))
    owned = set(receipt.get("handlers", {}))
    links = _links.changes(receipt, change)
    _validate.refuse_names(change)
    _validate.refuse_stale_files(change)
    if before:  # without a CRI there is nobody to ask, and no pod; one that is not served any more can still have pods
        _validate.refuse_pods(engine, owned - set(change.handlers), ignore_pods)
    _validate.refuse_snapshotters(engine, change)
    if not dry:
        _validate.refuse_missing_artifacts(change, parts.get("artifacts"))
    present, serve = _validate.validate(
        engine, change, owned | set(change.handlers), {*receipt.get("proxy_plugins", {}), *change.proxies}
    )

    # What the engine serves beside its tables (1.x knows deprecated ways) is no reason to restart it.
    gone = owned - set(change.handlers)
    restart = bool(change.files) or not set(serve) <= before or bool(gone & before)
    artifacts = bool(parts.get("artifacts"))
    known = set(receipt.get("proxy_plugins", {}))
    changed = restart or bool(links) or artifacts or owned != set(change.handlers) or known != set(change.proxies)
    return Outcome(changed, restart, serve, links), present


def carry_out(
    state: State, journal: Journal, engine: Engine, change: Change, timeout: float, ignore_pods: bool
) -> Outcome:
    """Bring the engine to exactly ``change``. Returns with the engine serving it, or raises with the node as before."""
    began = time.time()
    written = False
    try:
        outcome, present = check(state, engine, change, journal.parts, ignore_pods, dry=False)
        if not outcome.changed:
            journal.close()
            return outcome
        receipt = _receipt(state.receipt(), journal, engine, change)
        journal.record(config=_undo(engine, change, outcome, present, timeout), receipt=receipt)
        written = True
        _write(change, outcome, journal.parts["config"]["directories"])
        if outcome.restarted:
            journal.record(config={**journal.parts["config"], "restarting": True})
            outcome.served = _probe.restart(engine, outcome.served, timeout)
            _validate.refuse_left(engine, change, set(state.receipt().get("handlers", {})), outcome.served)
    except (Refusal, OSError) as error:
        words = _probe.last_words(engine, began) if written else ""
        expected, found, remedy = (
            (error.expected, error.found, error.remedy) if isinstance(error, Refusal) else (_WRITTEN, str(error), "")
        )
        try:
            roll_back(state, journal)
            if written:
                remedy = "The node was rolled back, and its engine serves what it served before."
        except (Refusal, OSError) as second:
            remedy = f"Rolling back failed, too, and is tried again by the next run: {second}"
        raise Refusal(expected, found, f"{remedy} The engine said:\n{words}" if words else remedy) from error
    finish(state, journal)
    return outcome


def recover(state: State) -> str:
    """End a run that was interrupted: finish it when it was committed, else roll it back. Returns what was done, or ''."""
    journal = Journal.find(state)
    if journal is None:
        return ""
    if "installer" in journal.parts:
        # Every module comes through here, and few need it: loading takes a node longer than all else in an unchanged run.
        from ansible_collections.confidential_containers.runtime.plugins.module_utils import _installer

        (_installer.finish if journal.parts["committed"] else _installer.roll_back)(state, journal)
    else:
        (finish if journal.parts["committed"] else roll_back)(state, journal)
    return "finished" if journal.parts["committed"] else "rolled back"


def finish(state: State, journal: Journal) -> None:
    """Commit: from here on the run is finished, not undone, whatever happens. May be repeated."""
    journal.record(committed=True)
    receipt = journal.parts["receipt"]
    old = state.receipt()
    directories = set(old.get("directories", [])) | set(receipt.get("directories", []))
    needed = _needed_directories(receipt)
    state.write_receipt({**receipt, "directories": sorted(directories & needed)})
    artifacts = journal.parts.get("artifacts")
    if artifacts:
        _artifacts.prune(artifacts["prefix"], artifacts)
        _payloads.forget(state)
    _files.remove_empty_directories(directories - needed)
    if artifacts:
        _artifacts.give_back(artifacts["prefix"], artifacts["give_back"])
    journal.close()


def roll_back(state: State, journal: Journal) -> None:
    """Put the bytes of before back, restart the engine if it may have seen others, put the artifacts back."""
    config = journal.parts.get("config")
    if config:
        for path, content in config["files"].items():
            before = decoded(content)
            _files.remove_file(_files.temporary(os.path.realpath(path)))
            if before is None:
                _files.remove_file(path)
            elif not _files.has_content(path, before):
                _files.write_atomically(path, before)
        for path, target in config["links"].items():
            _files.remove_file(_files.temporary(path))
            _files.set_link(path, target)
        _files.remove_empty_directories(config["directories"])
        engine = Engine.from_plain(config["engine"])
        new = set(journal.parts["receipt"]["handlers"]) - set(config["served"])
        if config["restarting"] or _has_loaded(engine, new):
            _probe.restart(engine, config["served"], max(config["timeout"], _probe.PATIENCE))
    artifacts = journal.parts.get("artifacts")
    if artifacts:
        _artifacts.put_back(artifacts["prefix"], artifacts)
        _payloads.forget(state)
    journal.close()


def tidy(state: State) -> None:
    """Remove what a run had beside its journal, once that is closed; also after a process that was killed in between."""
    if Journal.find(state):
        return
    _unit.disable(state.journal)
    _files.remove_tree(_validate.TRIAL)
    state.remove_if_empty()


def _has_loaded(engine: Engine, handlers: set[str]) -> bool:
    """Tell whether an engine serves any of these handlers, or does not serve at all: after a reboot it may."""
    try:
        return bool(handlers & set(_cri.status(engine.socket).handlers))
    except _cri.CriError:
        return True


def _undo(
    engine: Engine, change: Change, outcome: Outcome, present: t.Sequence[str], timeout: float
) -> dict[str, t.Any]:
    links = outcome.links
    files: dict[str, str | None] = {}
    for file in change.files:
        files[file.path] = None
        if os.path.exists(file.path):
            with open(file.path, "rb") as stream:
                files[file.path] = encoded(stream.read())
    directories = [
        directory
        for path in [file.path for file in change.files if file.content is not None] + [p for p in links if links[p]]
        for directory in _files.missing_directories(os.path.dirname(path))
    ]
    return {
        "files": files,
        "links": {path: os.readlink(path) if os.path.islink(path) else None for path in links},
        "directories": sorted(set(directories)),
        "engine": engine.plain(),
        "served": list(present),
        "restarting": False,
        "timeout": timeout,
    }


def _receipt(receipt: t.Mapping[str, t.Any], journal: Journal, engine: Engine, change: Change) -> dict[str, t.Any]:
    """Return the receipt as it is once this run is committed."""
    # Without a handler nothing of ours is in any file, whoever took it out.
    edits = dict(receipt.get("edits", {})) if change.handlers else {}
    for file in change.files:
        edits.pop(file.path, None)
        if change.handlers and file.content != file.before:
            edits[file.path] = {
                "before": encoded(file.before),
                "after": "" if file.content is None else _files.sha256(file.content),
                "builtin": dict(file.builtin),
                "disabled": list(file.disabled),
            }
    # What payload_artifacts of the same run has prepared, else what is there.
    base = {**receipt, **journal.parts.get("receipt", {})}
    directories = set(base.get("directories", []))
    for path in [*edits, *change.links]:
        directories.update(_files.missing_directories(os.path.dirname(path)))
    return {
        **base,
        "directories": sorted(directories),
        "edits": edits,
        "links": dict(change.links),
        "handlers": {name: dict(table) for name, table in change.handlers.items()},
        "proxy_plugins": {name: dict(table) for name, table in change.proxies.items()},
        "engine": engine.identity(),
    }


def _needed_directories(receipt: t.Mapping[str, t.Any]) -> set[str]:
    """Return the directories in which the receipt has something: those that stay."""
    prefix = receipt.get("prefix", "")
    needed = set()
    for path in [
        *(os.path.join(prefix, path) for path in {**receipt.get("tree", {}), **receipt.get("left", {})}),
        *receipt.get("edits", {}),
        *receipt.get("links", {}),
    ]:
        while path not in needed:
            needed.add(path)
            path = os.path.dirname(path)
    return needed


def _write(change: Change, outcome: Outcome, directories: t.Sequence[str]) -> None:
    for directory in directories:
        _files.make_directories(directory)
    for path, target in outcome.links.items():
        _files.set_link(path, target)
    for file in change.files:
        if file.content is None:
            _files.remove_file(file.path)
            _files.fsync_directory(os.path.dirname(file.path))
        else:
            _files.write_atomically(file.path, file.content)
