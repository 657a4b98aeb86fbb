# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The transaction on a node's engine: validate → journal → write → one restart → probe → commit, or roll back.

Also what ends an interrupted one: ``recover``. Artifacts of the same run are part of it: they are pruned when the handlers
are committed, and put back when they are rolled back.
"""

from __future__ import annotations

import base64
import contextlib
import os
import time
import typing as t
from dataclasses import dataclass, field

from ansible_collections.confidential_containers.runtime.plugins.module_utils import (
    _artifacts,
    _containerd,
    _cri,
    _dump,
    _files,
    _payloads,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._containerd import Engine
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._journal import Journal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._state import State, is_installed

#: Where a new configuration is tried before it is written. Not below a directory that any engine imports from.
TRIAL = "/run/confidential-containers.trial"
#: The glob that a trial's main file imports, in the place of the drop-in's real one.
TRIAL_GLOB = TRIAL + "/*confidential-containers.toml"

#: Where a daemon finds other shims; a link of ours must not come before one of them.
_SHIM_DIRECTORIES = ("/usr/local/sbin", "/usr/sbin", "/usr/bin", "/opt/containerd/bin")
_WRITTEN = "the engine's configuration to be written"


@dataclass(frozen=True)
class FileChange:
    """A configuration file as it shall be: ``content`` None removes it. ``expected`` is the digest it had when read.

    ``before`` is what the file is to be again when nothing of ours is in it; None: it was not there. ``builtin`` are
    handlers of the engine's own that were written out beside ours.
    """

    path: str
    expected: str
    content: bytes | None
    before: bytes | None
    builtin: t.Mapping[str, t.Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Change:
    """All that one run does to an engine; made by the controller, which can parse TOML."""

    files: t.Sequence[FileChange] = ()
    #: File name → content, for a dry run of the engine: ``config.toml`` and, with a drop-in, that.
    trial: t.Mapping[str, bytes] = field(default_factory=dict)
    #: Our handlers as they shall be: name → table.
    handlers: t.Mapping[str, t.Mapping[str, t.Any]] = field(default_factory=dict)
    #: Links to shims, for engines that look in their PATH: path → target.
    links: t.Mapping[str, str] = field(default_factory=dict)


@dataclass
class Outcome:
    """What a transaction did, or would do."""

    changed: bool = False
    restarted: bool = False
    served: t.Sequence[str] = ()
    links: t.Mapping[str, str | None] = field(default_factory=dict)


def carry_out(
    state: State,
    engine: Engine,
    change: Change,
    run: str,
    timeout: float,
    ignore_pods: bool,
    dry: bool,
) -> Outcome:
    """Bring the engine to exactly ``change``. Returns with the engine serving it, or raises with the node as before."""
    receipt = state.receipt()
    journal = Journal.find(state) or Journal(state)
    if run and run != journal.run and not dry:
        raise Refusal(
            f"the artifacts of this run ({run})",
            "those of another run, which began meanwhile",
            "Let only one run at a time work on a node, and start again.",
        )
    ours = set(receipt.get("handlers", {})) | set(change.handlers)
    before = _running(engine)
    links = _link_changes(receipt, change)

    _refuse_stale_files(change)
    _refuse_pods(engine, set(receipt.get("handlers", {})) - set(change.handlers), ignore_pods)
    if not dry:
        _refuse_missing_artifacts(change, journal.parts.get("artifacts"))
    present, serve = _validate(engine, change, ours)

    # What the engine serves beside its tables (1.x knows deprecated ways) is no reason to restart it.
    gone = ours - set(change.handlers)
    restart = bool(change.files) or not set(serve) <= set(before.handlers) or bool(gone & set(before.handlers))
    changed = restart or bool(links) or bool(journal.parts.get("artifacts"))
    outcome = Outcome(changed, restart, serve, links)
    if dry or not (changed or set(receipt.get("handlers", {})) != set(change.handlers)):
        return outcome

    began = time.time()
    journal.record(config=_undo(engine, change, links, present), receipt=_receipt(receipt, journal, engine, change))
    try:
        _write(change, links, journal.parts["config"]["directories"])
        if restart:
            journal.record(config={**journal.parts["config"], "restarting": True})
            _containerd.restart(engine, timeout)
            outcome.served = _containerd.probe(engine, serve, timeout).handlers
    except (Refusal, OSError) as error:
        words = _containerd.last_words(engine, began)
        expected, found = (error.expected, error.found) if isinstance(error, Refusal) else (_WRITTEN, str(error))
        try:
            roll_back(state, journal, timeout)
            remedy = "The node was rolled back, and its engine serves what it served before."
        except (Refusal, OSError) as second:
            remedy = f"Rolling back failed, too, and is tried again by the next run: {second}"
        raise Refusal(expected, found, f"{remedy} The engine said:\n{words}" if words else remedy) from error
    finish(state, journal)
    return outcome


def recover(state: State, timeout: float) -> str:
    """End a run that was interrupted: finish it when it was committed, else roll it back. Returns what was done, or ''."""
    journal = Journal.find(state)
    if journal is None:
        return ""
    if journal.parts["committed"]:
        finish(state, journal)
        return "finished"
    roll_back(state, journal, timeout)
    return "rolled back"


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
    journal.close()


def roll_back(state: State, journal: Journal, timeout: float) -> None:
    """Put the bytes of before back, restart the engine if it may have seen others, put the artifacts back."""
    config = journal.parts.get("config")
    if config:
        for path, content in config["files"].items():
            if content is None:
                _files.remove_file(path)
            elif not _files.has_content(path, base64.b64decode(content)):
                _files.write_atomically(path, base64.b64decode(content))
        for path, target in config["links"].items():
            _set_link(path, target)
        _files.remove_empty_directories(config["directories"])
        engine = Engine(**{**config["engine"], "version": tuple(config["engine"]["version"])})
        new = set(journal.parts["receipt"]["handlers"]) - set(config["served"])
        if config["restarting"] or _has_loaded(engine, new):
            _containerd.restart(engine, timeout)
            _containerd.probe(engine, config["served"], timeout)
    artifacts = journal.parts.get("artifacts")
    if artifacts:
        _artifacts.put_back(artifacts["prefix"], artifacts)
        _payloads.forget(state)
    journal.close()
    if not is_installed(state.receipt()) and not os.listdir(state.directory):
        os.rmdir(state.directory)


def _has_loaded(engine: Engine, handlers: set[str]) -> bool:
    """Tell whether an engine serves any of these handlers, or does not serve at all: after a reboot it may."""
    try:
        return bool(handlers & set(_cri.status(engine.socket).handlers))
    except _cri.CriError:
        return True


def _running(engine: Engine) -> _cri.Status:
    try:
        return _cri.status(engine.socket)
    except _cri.CriError as error:
        raise _containerd.no_answer(engine, error) from error


def _refuse_stale_files(change: Change) -> None:
    for file in change.files:
        found = _files.sha256_file(file.path) if os.path.exists(file.path) else ""
        if found != file.expected:
            raise Refusal(
                f"{file.path} as it was read a moment ago",
                "that it has changed meanwhile",
                "Something else edits this file: stop it and start again.",
            )


def _refuse_pods(engine: Engine, dropped: set[str], ignore: bool) -> None:
    if ignore or not dropped:
        return
    pods = [pod for pod in _cri.sandboxes(engine.socket) if pod.ready and pod.handler in dropped]
    if pods:
        raise Refusal(
            f"no pod on the handlers that go ({', '.join(sorted(dropped))})",
            ", ".join(sorted(f"{pod.namespace}/{pod.name} ({pod.handler})" for pod in pods)),
            "Remove these pods first, or set coco_ignore_running_pods=true: they can then no longer be stopped properly.",
        )


def _refuse_missing_artifacts(change: Change, artifacts: t.Mapping[str, t.Any] | None) -> None:
    going = {os.path.join(artifacts["prefix"], path) for path in artifacts["remove"]} if artifacts else set()
    for name, handler in change.handlers.items():
        for path in (handler.get("runtime_path"), handler.get("options", {}).get("ConfigPath"), *change.links.values()):
            if path and (path in going or not os.path.isfile(path)):
                raise Refusal(
                    f"the files of handler {name} on the node",
                    f"no {path}",
                    "Install the artifacts before the handlers.",
                )


def _validate(engine: Engine, change: Change, ours: set[str]) -> tuple[list[str], list[str]]:
    """Let the engine read the new configuration.

    Returns the handlers that its files have now, and those that they will have: what a restart makes it serve.
    """
    before, known = _containerd.dump(engine, engine.config)
    present = sorted(_dump.handlers(before))
    if not change.trial:
        return present, present
    with _trial(change.trial) as config:
        after, warnings = _containerd.dump(engine, config)
    lost = _dump.differences(before, after, ours)
    if lost:
        raise Refusal(
            f"a configuration of {engine.unit} that only differs in our handlers",
            f"that these settings would change, too: {'; '.join(lost[:5])}",
            "Nothing was changed. Compare 'containerd config dump' with the file to see which setting is in the way.",
        )
    unknown = sorted(_dump.unknown_keys(warnings) - _dump.unknown_keys(known))
    if unknown:
        raise Refusal(
            f"keys that containerd {engine.version_text} knows", ", ".join(unknown), "Check coco_handler_overrides."
        )
    configured = sorted(_dump.handlers(after))
    masked = sorted(set(change.handlers) - set(configured))
    if masked:
        raise Refusal(
            f"our handlers in the configuration that {engine.unit} reads",
            f"no {', '.join(masked)} in 'containerd config dump'",
            f"Another file that {engine.config} imports has a CRI section, which masks the main file's: remove it.",
        )
    # A drop-in of ours that is still in its place may be read in the trial, too.
    return present, sorted(set(configured) - (ours - set(change.handlers)))


@contextlib.contextmanager
def _trial(files: t.Mapping[str, bytes]) -> t.Iterator[str]:
    _files.remove_tree(TRIAL)
    os.mkdir(TRIAL, 0o700)
    try:
        for name, content in files.items():
            _files.write_atomically(os.path.join(TRIAL, name), content, mode=0o600)
        yield os.path.join(TRIAL, "config.toml")
    finally:
        _files.remove_tree(TRIAL)


def _link_changes(receipt: t.Mapping[str, t.Any], change: Change) -> dict[str, str | None]:
    """Return the links to set (path → target) and to remove (→ None)."""
    old = receipt.get("links", {})
    found = {path: os.readlink(path) if os.path.islink(path) else None for path in {**old, **change.links}}
    # What somebody else has put in the place of a link of ours is theirs.
    changes: dict[str, str | None] = {
        path: None for path in old if path not in change.links and found[path] == old[path]
    }
    for path, target in change.links.items():
        name = os.path.basename(path)
        # Some distributions have merged sbin into bin: then it is our own link that is found there.
        own = os.path.realpath(os.path.dirname(path))
        others = [os.path.join(other, name) for other in _SHIM_DIRECTORIES if os.path.realpath(other) != own]
        if path not in old or found[path] != old[path]:
            others.append(path)
        theirs = [other for other in others if os.path.lexists(other)]
        if theirs:
            raise Refusal(
                f"no other program named {name} on the node",
                f"{theirs[0]}, which this collection did not put there",
                "Move it away first, or correct coco_handler_overrides.",
            )
        if found[path] != target:
            changes[path] = target
    return changes


def _undo(engine: Engine, change: Change, links: t.Mapping[str, t.Any], present: t.Sequence[str]) -> dict[str, t.Any]:
    files: dict[str, str | None] = {}
    for file in change.files:
        files[file.path] = None
        if os.path.exists(file.path):
            with open(file.path, "rb") as stream:
                files[file.path] = base64.b64encode(stream.read()).decode()
    directories = [
        directory
        for path in [file.path for file in change.files if file.content is not None] + [p for p in links if links[p]]
        for directory in _files.missing_directories(os.path.dirname(path))
    ]
    return {
        "files": files,
        "links": {path: os.readlink(path) if os.path.islink(path) else None for path in links},
        "directories": sorted(set(directories)),
        "engine": {**engine.facts(), "version": list(engine.version)},
        "served": list(present),
        "restarting": False,
    }


def _receipt(receipt: t.Mapping[str, t.Any], journal: Journal, engine: Engine, change: Change) -> dict[str, t.Any]:
    """Return the receipt as it is once this run is committed."""
    # Without a handler nothing of ours is in any file, whoever took it out.
    edits = dict(receipt.get("edits", {})) if change.handlers else {}
    for file in change.files:
        edits.pop(file.path, None)
        if change.handlers and file.content != file.before:
            edits[file.path] = {
                "before": None if file.before is None else base64.b64encode(file.before).decode(),
                "after": "" if file.content is None else _files.sha256(file.content),
                "builtin": dict(file.builtin),
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
        "engine": {key: engine.facts()[key] for key in ("name", "version", "unit", "config")},
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


def _write(change: Change, links: t.Mapping[str, str | None], directories: t.Sequence[str]) -> None:
    for directory in directories:
        _files.make_directories(directory)
    for path, target in links.items():
        _set_link(path, target)
    for file in change.files:
        if file.content is None:
            _files.remove_file(file.path)
            _files.fsync_directory(os.path.dirname(file.path))
        else:
            _files.write_atomically(file.path, file.content)


def _set_link(path: str, target: str | None) -> None:
    """Let ``path`` be a link to ``target``, atomically; None removes it."""
    if target is None:
        _files.remove_file(path)
    else:
        temporary = path + _files.TEMPORARY
        _files.remove_file(temporary)
        os.symlink(target, temporary)
        os.rename(temporary, path)
    if os.path.isdir(os.path.dirname(path)):
        _files.fsync_directory(os.path.dirname(path))
