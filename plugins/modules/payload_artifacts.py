#!/usr/bin/python
# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: payload_artifacts
short_description: Install or remove the artifacts of a payload
version_added: 0.1.0
author: The confidential_containers.runtime authors (@confidential-containers)
description:
  - Brings artifacts that M(confidential_containers.runtime.payload_extract) has staged to the prefix, by rename, so that
    running sandboxes keep the files that they have open. Writes only what differs.
  - A change opens a run. M(confidential_containers.runtime.runtime_handlers) commits it, and only then the old files are
    pruned, or puts the old files back. A run that is never committed is rolled back by the next one.
  - A file that this collection did not put there is never overwritten (see O(conflicts)), a configuration file that the admin edited is kept.
options:
  state:
    description: Whether the artifacts of this payload, or none of ours, shall be there.
    type: str
    default: present
    choices: [present, absent]
  digest:
    description: The payload's digest, as M(confidential_containers.runtime.payload_extract) returned it.
    type: str
  prefix:
    description: Where the artifacts go.
    type: path
  tree:
    description: The artifacts of a payload that is not on the node yet, for check mode.
    type: dict
    default: {}
  conflicts:
    description:
      - What to do about files of the user's in the place of artifacts. With V(keep_aside) they get C(.kept) behind their name,
        until the artifacts go.
    type: str
    default: refuse
    choices: [refuse, keep_aside]
  edited_config:
    description:
      - What to do about configuration files that the admin has edited. V(keep) leaves them as they are and reports them,
        V(replace) puts the payload's own in their place.
      - A file in the place of one that nobody remembers, because a cleanup followed, is treated in the same way, and with V(replace) or
        O(conflicts=keep_aside) kept aside.
    type: str
    default: keep
    choices: [keep, replace]
extends_documentation_fragment:
  - confidential_containers.runtime._verify
  - confidential_containers.runtime._attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: The names of files, not their contents.
  idempotent:
    support: full
seealso:
  - module: confidential_containers.runtime.payload_extract
  - module: confidential_containers.runtime.runtime_handlers
"""

EXAMPLES = r"""
- name: Stage a payload
  confidential_containers.runtime.payload_extract:
    payload: oci-archive:/srv/payloads/runtime-payload.oci.tar
  register: payload

- name: Install its artifacts
  confidential_containers.runtime.payload_artifacts:
    digest: "{{ payload.digest }}"
    prefix: "{{ payload.prefix }}"
    tree: "{{ payload.tree | default({}) }}"
  register: artifacts

- name: Serve its handlers, which commits the artifacts, too
  confidential_containers.runtime.runtime_handlers:
    handlers: "{{ payload.handlers }}"
    run: "{{ artifacts.run }}"

- name: Take the handlers out again
  confidential_containers.runtime.runtime_handlers:
    handlers: []

- name: Remove the artifacts, which no handler uses any more
  confidential_containers.runtime.payload_artifacts:
    state: absent
"""

RETURN = r"""
run:
  description: The run that was opened, for M(confidential_containers.runtime.runtime_handlers); empty when nothing changed.
  returned: success
  type: str
files:
  description: How many files were added, replaced, removed (once the run is committed) and kept.
  returned: success
  type: dict
  sample: {added: 12, replaced: 0, removed: 0, kept: 0}
edited:
  description:
    - Configuration files that the admin has edited and that stay as they are. One that no installation of this collection is known to
      have brought counts as edited.
    - With O(state=absent), all that stays of the user's, whenever the artifacts were removed.
  returned: success
  type: list
  elements: str
recovered:
  description: What was done about an interrupted run, V(finished) or V(rolled back); empty when there was none.
  returned: success, and on failure where there was one
  type: str
"""

import os
import typing as t
from dataclasses import replace

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.confidential_containers.runtime.plugins.module_utils import _module
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal, as_refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._installer import contracts
from ansible_collections.confidential_containers.runtime.plugins.module_utils._native import artifacts, transaction
from ansible_collections.confidential_containers.runtime.plugins.module_utils._native.swap import swap_in
from ansible_collections.confidential_containers.runtime.plugins.module_utils._node import files, process
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload import layouts
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.tree import Tree
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.begin import begin
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.journal import Journal, Stage, Swap
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.receipt import Receipt
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.staged import find, working_directory
from ansible_collections.confidential_containers.runtime.plugins.module_utils._run.state import State

#: What SELinux does on a node that has it: 1, it forbids; 0, it only reports.
_ENFORCING = "/sys/fs/selinux/enforce"

#: How a decision is shown in a diff.
_SIGNS = (("add", "+"), ("replace", "~"), ("remove", "-"), ("edited", "="))


def _result(prefix: str, plan: artifacts.ArtifactChanges, run: str = "", upgrade: str = "") -> dict[str, t.Any]:
    counts = {"added": "add", "replaced": "replace", "removed": "remove", "kept": "keep"}
    edited = [os.path.join(prefix, path) for path in plan["edited"]]
    lines = [f"{sign} {os.path.join(prefix, path)}\n" for decision, sign in _SIGNS for path in plan[decision]]
    lines += [f"! {os.path.join(prefix, path)} is kept aside\n" for path in plan.kept]
    return {
        "changed": bool(plan.any or upgrade),
        "run": run,
        "files": {word: len(plan[decision]) for word, decision in counts.items()},
        "edited": edited,
        "diff": {"prepared": upgrade + "".join(lines)} if plan.any or upgrade else {},
    }


def _present(module: AnsibleModule, state: State) -> dict[str, t.Any]:
    digest, prefix = module.params["digest"], os.path.normpath(module.params["prefix"])
    receipt = state.receipt()
    contracts.refuse_installed(receipt)
    if receipt.tree and receipt.prefix != prefix:
        raise Refusal(f"an installation below {prefix}, or none", receipt.prefix, "Uninstall that one first.")
    # Files that their admin has edited survive an uninstallation; they are still ours to keep.
    known = receipt if receipt.prefix == prefix else Receipt()
    old: Tree = {**known.left, **known.tree}
    staged = find(state, digest)
    if staged:
        new: Tree = staged.tree or {}
    elif module.check_mode and module.params["tree"]:
        new = module.params["tree"]
    elif receipt.tree and receipt.payload.digest == digest:
        new = receipt.tree
    else:
        raise Refusal(
            f"payload {digest} on the node",
            "neither staged nor installed",
            "Run payload_extract before payload_artifacts.",
        )
    plan = artifacts.Comparison(
        prefix,
        old,
        new,
        keep_aside=module.params["conflicts"] == "keep_aside",
        keep_edited=module.params["edited_config"] == "keep",
        verify=module.params["verify"],
    ).changes()
    before = receipt.payload.digest if receipt.tree else digest
    upgrade = f"payload {before} becomes {digest}\n" if before != digest else ""
    if module.check_mode or not (plan.any or staged):
        return _result(prefix, plan, upgrade=upgrade)
    if not staged:
        raise Refusal(
            f"the artifacts of {digest} below {prefix} as they were installed",
            f"changes to {len(plan['add']) + len(plan['replace'])} of them",
            "Run payload_extract before payload_artifacts.",
        )

    journal = Journal(state)
    working = os.path.join(working_directory(prefix), "copy-" + journal.run[:16]) if staged.keep else staged.staged
    swap = Swap(
        prefix=prefix,
        staged=working,
        aside=os.path.join(working_directory(prefix), "aside-" + journal.run[:16]),
        **{part: plan[part] for part in ("add", "replace", "remove")},
        editable={path: new[path] for path in plan["add"] + plan["replace"] if layouts.is_configuration(path)},
        directories=plan.directories,
        kept=plan.kept,
        give_back=sorted(set(known.kept) - set(new)),
    )
    begin(state, journal, artifacts=swap)
    if working != staged.staged:
        _copy(staged.staged, working)
    swap_in(swap)
    _label(module, prefix)
    edited = set(plan["edited"])
    tree = {
        path: entry if path in edited else artifacts.sign(os.path.join(prefix, path), entry)
        for path, entry in new.items()
    }
    left = {path: old[path] for path in plan["edited"] if path not in new}
    planned = replace(
        receipt,
        payload=staged.payload,
        installer=contracts.undone_by("install", receipt.installer),
        prefix=prefix,
        tree=tree,
        left=left,
        directories=sorted({*receipt.directories, *plan.directories}),
        kept=sorted({*known.kept, *plan.kept} & set(new)),
    )
    journal.record(receipt=planned)
    return {**_result(prefix, plan, journal.run, upgrade), "changed": True}


def _label(module: AnsibleModule, prefix: str) -> None:
    """Give artifacts the labels of their place: they were made elsewhere, and programs have others."""
    if not os.path.exists(_ENFORCING):
        return
    done = process.run(["restorecon", "-R", prefix], timeout=300)
    if done.returncode == 0:
        return
    refusal = Refusal(
        f"SELinux labels for the artifacts, from restorecon -R {prefix}",
        (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1],
        "The node's SELinux decides with these labels whether a shim may be executed.",
    )
    with open(_ENFORCING, encoding="ascii") as stream:
        if stream.read().strip() == "1":
            raise refusal
    module.warn(str(refusal))


def _whole(
    do: t.Callable[[AnsibleModule, State], dict[str, t.Any]], module: AnsibleModule, state: State
) -> dict[str, t.Any]:
    """Do it, or put everything back: whatever goes wrong, and wherever before the commit."""
    try:
        return do(module, state)
    except Exception as error:
        journal = Journal.find(state)
        if journal and journal.stage is not Stage.COMMITTED:
            _back(module, state, journal, error)
        raise


def _back(module: AnsibleModule, state: State, journal: Journal, error: Exception) -> None:
    """Roll back; where that fails, too, tell both."""
    try:
        for words in transaction.roll_back(state, journal):
            module.warn(words)
    except Exception as second:
        first = as_refusal(error, "the artifacts to be brought to their place")
        remedy = (
            f"Rolling back failed, too, and is tried again by the next run: {as_refusal(second, 'the node as before')}"
        )
        raise Refusal(first.expected, first.found, remedy) from second


def _copy(staged: str, working: str) -> None:
    """Copy a payload that is kept: what is installed is renamed into its place, and may be edited there."""
    done = process.run(["cp", "--archive", "--reflink=auto", "--", staged, working], timeout=3600)
    if done.returncode != 0:
        files.remove_tree(working)
        raise Refusal(
            f"a second copy of the payload beside {staged}, because of coco_keep_payload",
            done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit status {done.returncode} of cp",
            "Without coco_keep_payload none is made.",
        )


def _absent(module: AnsibleModule, state: State) -> dict[str, t.Any]:
    receipt = state.receipt()
    # In check mode, the handlers that would have gone before are still there.
    if receipt.handlers and not module.check_mode:
        raise Refusal(
            "no handler of ours in the engine's configuration",
            ", ".join(receipt.handlers),
            "Remove them first: runtime_handlers with an empty list.",
        )
    prefix = receipt.prefix or "/"
    known = {**receipt.left, **receipt.tree}
    plan = artifacts.Comparison(prefix, known, {}).changes()
    # A file that was kept aside cannot come back where an edited one stays.
    edited, kept = plan["edited"], list(receipt.kept)
    after = replace(
        receipt,
        tree={},
        kept=[path for path in kept if path in edited],
        left={path: known[path] for path in edited},
    )
    changed = bool(receipt.tree or plan["remove"])
    if changed and not module.check_mode:
        journal = Journal(state)
        swap = Swap(prefix, remove=plan["remove"], give_back=kept)
        begin(state, journal, artifacts=swap, receipt=after)
        transaction.finish(state, journal)
    return {**_result(prefix, plan), "edited": artifacts.staying(after), "changed": changed}


def main() -> t.NoReturn:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "default": "present", "choices": ["present", "absent"]},
            "digest": {"type": "str"},
            "prefix": {"type": "path"},
            "tree": {"type": "dict", "default": {}},
            "conflicts": {"type": "str", "default": "refuse", "choices": ["refuse", "keep_aside"]},
            "edited_config": {"type": "str", "default": "keep", "choices": ["keep", "replace"]},
            "verify": {"type": "bool", "default": False},
        },
        required_if=[("state", "present", ("digest", "prefix"))],
        supports_check_mode=True,
    )

    def act() -> dict[str, t.Any]:
        with _module.session(module) as (state, recovered):
            result = _whole(_present if module.params["state"] == "present" else _absent, module, state)
            return {**result, "changed": bool(result["changed"] or recovered), "recovered": recovered}

    _module.enter(module, act)


if __name__ == "__main__":
    main()
