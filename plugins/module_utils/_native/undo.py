# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The engine's configuration as it was before a run: what the journal holds of it, and how it is put back.

Only what the run has written is taken back. When a rollback fails, an admin may repair a file by hand: that file is theirs.
"""

from __future__ import annotations

import contextlib
import os
import typing as t
from dataclasses import replace

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine import cri, flavours
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import Apply, Driver
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.change import (
    Change,
    decoded,
    encoded,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.flavours import FLAVOURS
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.probe import PATIENCE
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node.files import (
    missing_directories,
    remove_empty_directories,
    remove_file,
    set_link,
    sha256,
    sha256_file,
    temporary,
    write_atomically,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.journal import (
    ConfigUndo,
    Journal,
    Stage,
)

#: How many seconds an engine gets to answer when it may need no restart.
_ANSWER = 5.0
#: Stands for anything that is no file (for our links: no link), and so was not written by us.
_OTHER = "something else"


def remember(
    driver: Driver, change: Change, links: t.Mapping[str, str | None], present: t.Sequence[str], timeout: float
) -> ConfigUndo:
    """Return what the journal needs to know of the engine's configuration.

    That is what will be written, what was there before, and the engine that reads it. ``present`` are the handlers in the
    engine's files now.
    """
    files: dict[str, str | None] = {}
    modified: dict[str, int] = {}
    for file in change.files:
        files[file.path] = None
        if os.path.exists(file.path):
            with open(file.path, "rb") as stream:
                files[file.path] = encoded(stream.read())
                modified[file.path] = os.fstat(stream.fileno()).st_mtime_ns
    directories = [
        directory
        for path in [file.path for file in change.files if file.content is not None] + [p for p in links if links[p]]
        for directory in missing_directories(os.path.dirname(path))
    ]
    return ConfigUndo(
        files=files,
        modified=modified,
        written={file.path: _digest(file.content) for file in change.files},
        links={path: os.readlink(path) if os.path.islink(path) else None for path in links},
        linked=dict(links),
        directories=sorted(set(directories)),
        engine=driver.engine,
        served=list(present),
        invocation=driver.start(),
        timeout=timeout,
    )


def decide(found: str, before: str, written: str | None) -> str:
    """Decide about one file or link: done, put back, or keep.

    The arguments are digests of a file, or targets of a link; '' means that nothing is there. ``written`` is None in journals of
    versions that did not note it: then everything is put back.
    """
    if found == before:
        return "done"
    return "put back" if written in (None, found) else "keep"


def take_back(journal: Journal, config: ConfigUndo) -> list[str]:
    """Put back what the run has written, and make the engine serve that. May be repeated.

    Returns what the user has to know: which files somebody else has changed.
    """
    decisions = {**_files_back(config), **_links_back(config)}
    remove_empty_directories(config.directories)
    driver = flavours.driver(config.engine)
    kept = sorted(path for path, decision in decisions.items() if decision == "keep")
    if journal.stage is not Stage.ROLLING_BACK or "put back" in decisions.values():
        config = replace(config, back=driver.start())
        # This note can only spare a restart, so a full disk must not stop the rollback here.
        with contextlib.suppress(OSError, Refusal):
            journal.record(config=config)
    wanted = driver.configured().served() if kept else config.served
    new = set(journal.receipt.handlers if journal.receipt else ()) - set(config.served)
    if _must_apply(driver, config, new, wanted):
        driver.apply(wanted, max(config.timeout, PATIENCE))
    return _words(kept, sorted(new & set(wanted)))


def _files_back(config: ConfigUndo) -> dict[str, str]:
    decisions = {}
    for path, content in config.files.items():
        before = decoded(content)
        wait = flavours.waiting(config.engine, path)
        remove_file(temporary(os.path.realpath(path), wait))
        decisions[path] = decide(_found(path), _digest(before), config.written.get(path))
        if decisions[path] == "put back":
            if before is None:
                remove_file(path)
            else:
                write_atomically(path, before, waiting=wait)
        if decisions[path] != "keep" and path in config.modified:
            _set_time(path, config.modified[path])
    return decisions


def _set_time(path: str, modified: int) -> None:
    """Give a file that is back the time of before: by that one sees whether a template was changed since it was rendered.

    A file that the run could not write has it already, and may stand on a read-only file system.
    """
    if os.stat(path).st_mtime_ns != modified:
        os.utime(path, ns=(modified, modified))


def _links_back(config: ConfigUndo) -> dict[str, str]:
    decisions = {}
    linked = config.linked
    for path, target in config.links.items():
        remove_file(temporary(path))
        found = os.readlink(path) if os.path.islink(path) else _OTHER if os.path.lexists(path) else ""
        decisions[path] = decide(found, target or "", (linked[path] or "") if path in linked else None)
        if decisions[path] == "put back":
            set_link(path, target)
    return decisions


def _digest(content: bytes | None) -> str:
    return "" if content is None else sha256(content)


def _found(path: str) -> str:
    if os.path.isfile(path):
        return sha256_file(path)
    return _OTHER if os.path.exists(path) else ""


def _must_apply(driver: Driver, config: ConfigUndo, new: t.Collection[str], wanted: t.Collection[str]) -> bool:
    """Tell whether the engine must read its files again.

    It must when it may still run with what this run had written, or when it does not serve what it should.
    """
    if FLAVOURS[config.engine.name].apply is Apply.WATCHED:
        return True  # what this run has written there is an event: the engine ends, even if it is as before again
    start = driver.start()
    untouched = start == config.invocation if config.invocation else not _has_loaded(driver, config, new)
    if not untouched and start == config.back:
        return True
    # Either it last read its files before the run, or it read them after they were put back: only its answer is missing.
    try:
        driver.serving(() if untouched else wanted, _ANSWER)
    except Refusal:
        return True
    return False


def _has_loaded(driver: Driver, config: ConfigUndo, new: t.Collection[str]) -> bool:
    """Tell whether the engine has read what this run wrote, for journals of versions that did not note the engine's start."""
    try:
        return bool(config.restarting or set(new) & set(driver.status().handlers))
    except cri.CriError:
        return True


def _words(kept: t.Sequence[str], ours: t.Sequence[str]) -> list[str]:
    if not kept:
        return []
    words = [f"{', '.join(kept)}: changed by somebody else since this run had written there, and left as found."]
    if ours:
        words.append(
            f"The engine's configuration still names {', '.join(ours)}, whose files go: take these tables out there, "
            "and restart the engine."
        )
    return words
