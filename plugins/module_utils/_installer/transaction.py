# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""A payload's own commands, each in a transaction that the command itself knows nothing of.

The steps are: record → run → probe → note the difference, or put everything back. What :func:`roll_back` needs is
``CommandUndo`` in the journal (``_run.journal``). What commands have done is ``Installer`` in the receipt (``_run.receipt``).
"""

from __future__ import annotations

import contextlib
import os
import re
import time
import typing as t
from dataclasses import replace

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine import (
    cri,
    flavours,
    pods,
    startable,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import Driver, Engine
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.probe import PATIENCE
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal, as_refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._installer import (
    contracts,
    reach,
    record,
    root,
    running,
    service,
    volumes,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._installer.command import (
    Command,
    CommandOutcome,
    contract_of,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._installer.kept import Kept, find
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import files, systemd
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node.progress import Progress
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run import staged, unit
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.commands import undone_by
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.journal import (
    CommandUndo,
    Journal,
    Stage,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.receipt import (
    CommandDone,
    Difference,
    EngineIdentity,
    Installer,
    Payload,
    Receipt,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.state import State

#: The files of units that a command may install.
_UNIT = re.compile(rf"{reach.UNITS}/[^/]+\.(service|socket|timer|path)")


def is_done(receipt: Receipt, command: Command, driver: Driver) -> bool:
    """Tell whether there is nothing to do: the same command was run, and what it made is there, configured and served."""
    done = receipt.installer.done.get(command.name)
    if done is None or done.fingerprint != command.fingerprint:
        return False
    if command.name != "install":
        return True
    damaged = {path for path in record.touched(receipt.installer.left) if not reach.configures(driver, path)}
    handlers = set(receipt.handlers)
    if damaged or not handlers <= _configured(driver) & set(driver.served()):
        return False
    paths, _types = _programs(driver, handlers)
    # Run once more, it will be refused by what it leaves.
    return not any(startable.on_mounts(startable.shims(paths.get(name, ()))) for name in handlers)


def check(state: State, driver: Driver, command: Command, ignore_pods: bool) -> list[volumes.Bind]:
    """Refuse a command that cannot be run. Nothing is changed. Returns what is to be mounted for it."""
    receipt = state.receipt()
    if command.name == "install" and (receipt.tree or receipt.edits):
        raise Refusal(
            "a node without a native installation, for a payload's own installer",
            f"payload {receipt.payload.digest} below {receipt.prefix}",
            "Uninstall that first.",
        )
    binds = volumes.bound(command.volumes, command.mounts, _working(state))
    volumes.missing(binds)
    contract = contract_of(command.name, find(state, command.digest))
    # What is installed can go, whatever became of the engine.
    if contract and contract.runs(command.argv) and command.name not in ("uninstall", "cleanup"):
        contracts.refuse(contract, driver.engine, {bind.target: bind.source for bind in binds})
    # Without a CRI there are no pods, and nobody to ask.
    if driver.served() and command.name == "uninstall":
        pods.refuse(driver, set(receipt.handlers), ignore_pods)
    if command.kubectl not in ("none", "stub"):
        _check_kubeconfig(command.kubectl)
    return binds


def _check_kubeconfig(path: str) -> None:
    """Refuse a path at which no kubeconfig can be on the node. The refusal gives the reason."""
    expected = "none, stub or the path of a kubeconfig on the node in coco_installer_kubectl"
    if not os.path.isabs(path):
        raise Refusal(expected, path, "Write one of these words, or a path that begins with /.")
    if volumes.UNFIT.search(path):
        raise Refusal(expected, repr(path), "Copy the file to a path without spaces, colons, quotes and backslashes.")
    if not os.path.isfile(path):
        found = "which is no file" if os.path.exists(path) else "where nothing is"
        raise Refusal(expected, f"{path}, {found} on the node", "Copy a kubeconfig to that path of the node first.")


def carry_out(
    state: State, journal: Journal, driver: Driver, plain: t.Mapping[str, t.Any], timeout: float, ignore_pods: bool
) -> CommandOutcome:
    """Run one command. Returns when its work is done and the engine serves, or raises when the node is as before."""
    command = Command(**plain)
    receipt = state.receipt()
    owned = set(receipt.handlers)
    try:
        kept = _find(state, command)
        binds = check(state, driver, command, ignore_pods)
        created = volumes.missing(binds)
    except Exception:
        journal.close()
        raise

    def work(before: set[str]) -> CommandOutcome:
        volumes.create(created)
        program = root.prepared(_root(state), kept, command, driver.engine, binds)
        invocation = driver.start()
        outcome = running.run(driver, command, program, before - owned)
        unread = driver.start() == invocation and _must_start(driver, record.changes(_store(state)))
        _settle(driver, command, outcome, before - owned, invocation, unread, timeout)
        return outcome

    def result(outcome: CommandOutcome, changed: record.Changes) -> Receipt:
        return _receipt(state, receipt, kept, command, outcome, changed, driver.engine)

    # Paths that earlier commands have left changed are recorded, too, wherever they are.
    roots = [*reach.recorded(driver, binds), *receipt.installer.left]
    return _safely(state, journal, driver, roots, created, timeout, work, result)


def restore_left(
    state: State, journal: Journal, driver: Driver, plain: t.Mapping[str, t.Any], timeout: float, ignore_pods: bool
) -> CommandOutcome:
    """Bring back what commands have left changed, and make the engine serve that. What somebody has edited since stays."""
    del plain, ignore_pods
    receipt = state.receipt()

    def work(before: set[str]) -> CommandOutcome:
        del before
        bring_back(state)
        if _must_start(driver, receipt.installer.left):
            return CommandOutcome(restarted=True, served=driver.apply((), timeout))
        configured = _configured(driver)
        restarted = not _serves(driver, configured)
        return CommandOutcome(restarted=restarted, served=driver.apply(configured, timeout) if restarted else ())

    def result(outcome: CommandOutcome, changed: record.Changes) -> Receipt:
        del outcome, changed
        return replace(receipt, installer=replace(receipt.installer, left={}))

    # Most of what is left behind goes for good. Recorded are only files that may keep the engine from starting: those must be able
    # to come back.
    roots = [
        path for path in receipt.installer.left if reach.configures(driver, path) or path.startswith(f"{reach.UNITS}/")
    ]
    return _safely(state, journal, driver, roots, [], timeout, work, result)


def bring_back(state: State) -> None:
    """Bring back what commands have left changed. What somebody has edited since stays."""
    left = state.receipt().installer.left
    edited = record.edited(left)
    wanted = {path: item["before"] for path, item in left.items() if path not in edited}
    _stop_units(path for path, before in wanted.items() if before is None)
    record.put_back(wanted, lambda path: _original(state, path))
    systemd.reload()


def _safely(
    state: State,
    journal: Journal,
    driver: Driver,
    roots: t.Sequence[str],
    created: t.Sequence[volumes.Created],
    timeout: float,
    work: t.Callable[[set[str]], CommandOutcome],
    result: t.Callable[[CommandOutcome, record.Changes], Receipt],
) -> CommandOutcome:
    """Do ``work``, which may change what ``roots`` hold, and commit its ``result``, a receipt; or put everything back.

    ``work`` gets the handlers that the engine both serves and is configured with, and a rollback restores these. A handler that
    the engine serves without a configuration would be lost at any restart: nobody can give it back.
    """
    began = time.time()
    try:
        before = set(driver.served()) & _configured(driver)
        journal.record(command=CommandUndo(list(created), driver.engine, sorted(before), driver.start(), timeout))
        record.take(_store(state), roots, unit.PATHS)
        outcome = work(before)
        changed = record.changes(_store(state))
        outcome.files = {path: _word(*pair) for path, pair in changed.items()}
        receipt = result(outcome, changed)
        # The command may not have made durable what it wrote.
        os.sync()
        journal.record(receipt=receipt, committed=True)
    except Exception as error:
        # This includes errors that nobody has foreseen: a stranger's program may have done anything by now.
        raise _undone(state, journal, driver, error, began) from error
    finish(state, journal)
    return outcome


def finish(state: State, journal: Journal) -> None:
    """End a run that was committed. May be repeated."""
    service.remove()
    receipt = journal.receipt or state.receipt()
    left = receipt.installer.left
    for path, item in left.items():
        original, copy = _original(state, path), record.saved(_store(state), path)
        if item["before"] and item["before"]["type"] != "directory" and not os.path.lexists(original):
            files.make_directories(os.path.dirname(original), mode=0o700)
            os.rename(copy, original)
    state.write_receipt(receipt)
    # A path that is as before again needs no kept bytes. If a later command changes it, that one's record has them.
    for original in record.index([_original(state, "")]):
        path = original[len(_original(state, "")) :]
        if path not in left and not os.path.isdir(original):
            files.remove_file(original)
    _tidy(state, journal)
    staged.forget(state)
    files.sync([state.directory, *(entry["path"] for entry in _created(journal))])
    journal.close()


def roll_back(state: State, journal: Journal) -> list[str]:
    """Stop the command, put back all that it changed, and make the engine serve as before. May be repeated.

    Returns what the user has to know: which files stay because somebody else has changed them. If a rollback fails, an admin may
    repair a file by hand.
    """
    service.remove()
    undo = journal.command
    if undo is None:  # the run was opened, and nothing was done yet
        journal.close()
        return []
    # The root file system goes first, because putting back needs some room on the disk.
    files.remove_tree(_root(state))
    _stop_units(path for path, (before, _after) in record.changes(_store(state)).items() if before is None)
    seen = record.seen(_store(state)) if undo.seen is None else undo.seen
    if undo.seen is None:
        undo = _noted(journal, replace(undo, seen=seen))
    changed, kept = record.restore(_store(state), seen)
    _tidy(state, journal)
    driver = flavours.driver(undo.engine)
    systemd.reload()
    start = driver.start()
    if changed or undo.back is None:
        undo = _noted(journal, replace(undo, back=start))
    serve = _configured(driver) if kept else undo.served
    # An engine that was started after everything was back needs no further start.
    if changed or not _serves(driver, serve) or (start != undo.invocation and start == undo.back):
        driver.apply(serve, max(undo.timeout, PATIENCE))
    files.sync([state.directory, *(entry["path"] for entry in undo.created)])
    journal.close()
    return [f"{path}: changed by somebody else since this run had failed, and left as found." for path in kept]


def _noted(journal: Journal, undo: CommandUndo) -> CommandUndo:
    """Note how far the rollback has come, in case it fails. A full disk must not stop it here."""
    with contextlib.suppress(OSError, Refusal):
        journal.record(command=undo)
    return undo


def damage(receipt: Receipt) -> dict[str, str]:
    """Return the paths that are no longer as commands of the payload left them, each with missing or edited."""
    left = receipt.installer.left
    return {path: "edited" if record.entry_at(path) else "missing" for path in sorted(record.touched(left))}


def left_behind(receipt: Receipt) -> dict[str, str]:
    """Return the paths that differ from the node before the first command, each with added, changed or removed."""
    left = receipt.installer.left
    return {path: _word(item["before"], item["after"]) for path, item in sorted(left.items())}


def edited(receipt: Receipt) -> list[str]:
    """Return the paths that somebody has edited after commands of the payload: they stay."""
    left = receipt.installer.left
    return sorted(path for path in record.edited(left) if record.entry_at(path))


def _configured(driver: Driver) -> set[str]:
    return set(driver.configured().served())


def _stop_units(paths: t.Iterable[str]) -> None:
    """Stop units whose files are about to be removed, or their processes would stay."""
    names = [os.path.basename(path) for path in paths if _UNIT.fullmatch(path)]
    if names:
        systemd.stop(names)


def _original(state: State, path: str) -> str:
    """Return where the content is kept that a path had before the first command."""
    return f"{state.directory}/before{path}"


def _root(state: State) -> str:
    return os.path.join(state.directory, "root")


def _working(state: State) -> str:
    """Return the directory for volumes that only this command has (emptyDir)."""
    return os.path.join(state.directory, "volumes")


def _tidy(state: State, journal: Journal) -> None:
    """Remove what only the command needed, and what was made for it and is still empty: the next command gets that anew."""
    Progress().end()
    for directory in (_root(state), _working(state)):
        files.remove_tree(directory)
    recorded = journal.receipt.installer.left if journal.receipt else {}
    volumes.remove_created([entry for entry in _created(journal) if entry["path"] not in recorded])


def _created(journal: Journal) -> list[volumes.Created]:
    return journal.command.created if journal.command else []


def _store(state: State) -> str:
    """Return the directory with the record that was taken before the current command."""
    return os.path.join(state.journal, "before")


def _find(state: State, command: Command) -> Kept:
    kept = find(state, command.digest)
    if kept is None:
        raise Refusal(
            f"the layers of payload {command.digest} on the node, kept there since it was installed",
            "none of them",
            "Run the install playbook with this payload once more: then they are there again.",
        )
    return kept


def _serves(driver: Driver, handlers: t.Collection[str]) -> bool:
    try:
        status = driver.status()
    except cri.CriError:
        return not handlers  # an engine with a disabled CRI serves none
    return status.ready and set(status.handlers) == set(handlers)


def _must_start(driver: Driver, changed: t.Iterable[str]) -> bool:
    """Tell whether only a start of the engine shows what changed paths mean.

    A distribution makes the file that its engine reads when it starts the engine: until then that file is the one of before.
    """
    return bool(contracts.of_distribution(driver.engine)) and any(reach.configures(driver, path) for path in changed)


def _settle(
    driver: Driver,
    command: Command,
    outcome: CommandOutcome,
    foreign: set[str],
    invocation: str,
    unread: bool,
    timeout: float,
) -> None:
    """Make the engine serve what it is configured with now. Raises a refusal when that is not what the command should achieve.

    ``unread``: what the command has configured is known when the engine has started.
    """
    if unread:
        driver.apply(foreign, timeout)
    configured = _configured(driver)
    try:
        now = set(driver.status().handlers)
        stale = not configured <= now or bool((now - foreign) - configured)
    except cri.CriError:
        # The engine may be restarting already: wait for its answer before deciding on a second restart.
        now = set(driver.serving((), timeout))
        stale = not configured <= now
    if stale:
        # Many scripts leave the restart to a later command. Until then the engine would serve handlers that are gone.
        driver.apply(configured, timeout)
    outcome.served = driver.serving(foreign, timeout)
    outcome.restarted = driver.start() != invocation
    new = set(outcome.served) - foreign
    outcome.handlers = sorted(new)
    if command.name == "install":
        startable.refuse_configured(*_programs(driver, new))
    missing = sorted(set(command.handlers) - new) if command.handlers else []
    if command.name == "install" and (missing or not new):
        raise Refusal(
            f"{driver.engine.unit} to serve {', '.join(command.handlers) or 'a new handler'} after install of the payload",
            f"{', '.join(sorted(new)) or 'none'} new, beside {', '.join(sorted(foreign))}",
            running.hint(outcome.output, command),
        )
    if command.name == "uninstall" and new:
        raise Refusal(
            f"no handler of the payload in {driver.engine.unit} after its uninstall",
            f"{', '.join(sorted(new))}{'; ' + outcome.warning if outcome.warning else ''}",
            running.hint(outcome.output, command),
        )


def _programs(driver: Driver, handlers: set[str]) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Return the paths and the runtime types that the engine's configuration has for handlers."""
    configuration = driver.configured()
    types = configuration.runtime_types()
    return configuration.paths(), {name: types[name] for name in handlers & set(types)}


def _undone(state: State, journal: Journal, driver: Driver, error: Exception, began: float) -> Refusal:
    """Roll back, and return what to tell the user. If that fails, too, raise it."""
    words = driver.last_words(began)
    if journal.committed:
        # Writing the commit failed, but this object still has it. The rollback's next note would write it, and the next run would
        # finish what is undone here.
        journal.committed, journal.receipt = False, None
        with contextlib.suppress(OSError, Refusal):
            journal.record()
    first = as_refusal(error, "the command of the payload to be carried out")
    said = f" The engine said:\n{words}" if words else ""
    try:
        if journal.stage is Stage.OPENED:
            journal.close()
            return first
        done = {path: _word(*pair) for path, pair in record.changes(_store(state)).items()}
        roll_back(state, journal)
    except Exception as second:
        remedy = (
            f"{first.remedy} Putting it back failed, too, and is tried again by the next run, which keeps what you mend by hand "
            f"until then: {as_refusal(second, 'the node to be as before again')}"
        )
        raise Refusal(first.expected, first.found, remedy + said) from second
    listed = ", ".join(f"{path} ({word})" for path, word in list(done.items())[:8])
    more = f" and {len(done) - 8} more" if len(done) > 8 else ""
    back = f"It had touched {listed}{more}: all as before now." if done else "The node is as before."
    return Refusal(first.expected, first.found, f"{first.remedy} {back}{said}")


def _word(before: record.RecordEntry | None, after: record.RecordEntry | None) -> str:
    return "added" if before is None else "removed" if after is None else "changed"


def _receipt(
    state: State,
    receipt: Receipt,
    kept: Kept,
    command: Command,
    outcome: CommandOutcome,
    changed: record.Changes,
    engine: Engine,
) -> Receipt:
    """Return the receipt for the time after the command."""
    installer = undone_by(command.name, receipt.installer)
    old = dict(installer.left)
    for path in old:
        # The entry when this command began.
        found = changed[path][0] if path in changed else record.entry_at(path)
        content = record.saved(_store(state), path) if path in changed else path
        if not record.untouched(content, old[path]["after"], found):
            old[path] = {"before": old[path]["before"], "edited": True, "after": found}

    def is_as_before(path: str, item: Difference) -> bool:
        original = _original(state, path)
        copy = original if os.path.lexists(original) else record.saved(_store(state), path)
        return record.same(item["before"], item["after"], copy, path)

    signed = {path: (before, record.signed(path, after)) for path, (before, after) in changed.items()}
    left = record.merge(old, signed, is_as_before)
    run = CommandDone(command.digest, command.fingerprint, **command.known)
    result = replace(receipt, installer=Installer({**installer.done, command.name: run}, left))
    if command.name not in ("install", "uninstall"):
        return result
    (image,) = kept.images()
    return replace(
        result,
        handlers={name: {} for name in outcome.handlers} if command.name == "install" else {},
        payload=Payload(image.digest, image.digest_kind, image.chain, (), image.architecture, kept.title),
        engine=EngineIdentity(**engine.identity()),
    )
