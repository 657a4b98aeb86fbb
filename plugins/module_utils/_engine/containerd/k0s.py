# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""k0s: it reads every drop-in of a directory, and restarts containerd by itself when something changes there.

Up to 1.35 it merges the drop-ins that set something for the CRI into a file of its own, with schema 2. From 1.36 on, containerd
imports them, and k0s does not start with a drop-in that has another schema than 3. Its main file tells which of both runs.
Sources: docs/runtime.md and pkg/component/worker/containerd of k0sproject/k0s.
"""

from __future__ import annotations

import contextlib
import os
import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine import toml_text
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import (
    DropIn,
    Engine,
    Facts,
    Place,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.containerd import (
    plain,
    rendering,
    schemas,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal

#: The directory of drop-ins beside the main file.
DIRECTORY = "containerd.d"
#: The first line of a main file that k0s still writes itself.
_MANAGED = "# k0s_managed=true"
#: The file into which k0s merges, as the main file imports it.
_MERGED = "containerd-cri.toml"


def place(facts: Facts) -> Place:
    """Return our drop-in. A main file that k0s does not write any more is the admin's, as with plain containerd."""
    if not is_managed(facts.text):
        return plain.place(facts)
    if facts.mode not in ("auto", DropIn.mode):
        raise Refusal(
            "coco_config_mode=auto or drop_in, because k0s itself writes the main file",
            facts.mode,
            "Leave coco_config_mode out.",
        )
    return DropIn(_drop_in(facts.config), rendered=_merged(facts.text) if facts.schema == 2 else "")


def places(config: str) -> list[str]:
    """Return our drop-in, and what could be written if k0s did not manage the main file."""
    return [*plain.places(config), _drop_in(config)]


def generated(config: str, text: str) -> list[str]:
    """Return the main file and the file that k0s merges drop-ins into. None if k0s does not manage the main file."""
    return [path for path in (config, _merged(text)) if path] if is_managed(text) else []


def doubts(engine: Engine) -> t.Iterator[Refusal]:
    """Yield a refusal if k0s has not merged what is in the directory: it has not understood it."""
    text = _text(engine.config)
    merged = _merged(text) if is_managed(text) else ""
    directory = os.path.join(os.path.dirname(engine.config), DIRECTORY)
    names = os.listdir(directory) if merged and os.path.isdir(directory) else []
    yield from rendering.doubts(engine, [os.path.join(directory, name) for name in names], merged)


def remarks(engine: Engine) -> list[str]:
    """Return what stands in the way of an upgrade: k0s 1.36 does not start with a drop-in of schema 2."""
    text = _text(engine.config)
    remark = (
        f"{_drop_in(engine.config)} keeps k0s 1.36 from starting. Before you upgrade k0s to it, run the playbook "
        "confidential_containers.runtime.prepare_upgrade, and afterwards install again."
    )
    return [remark] if is_managed(text) and toml_text.schema_of(text) <= 2 else []


def watched(engine: Engine) -> str:
    """Return the directory whose changes make k0s restart containerd. '' if it does not do that."""
    managed = is_managed(_text(engine.config))
    return os.path.join(os.path.dirname(engine.config), DIRECTORY) if managed else ""


def is_managed(text: str) -> bool:
    """Tell whether k0s writes a main file with this text itself."""
    return text.startswith(_MANAGED)


def _drop_in(config: str) -> str:
    return os.path.join(os.path.dirname(config), DIRECTORY, schemas.DROP_IN_NAME)


def _merged(text: str) -> str:
    return next((path for path in toml_text.imports_of(text) if os.path.basename(path) == _MERGED), "")


def _text(path: str) -> str:
    with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as stream:
        return stream.read()
    return ""
