# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Where handlers go if nobody but the admin writes containerd's configuration."""

from __future__ import annotations

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import (
    DropIn,
    Facts,
    InPlace,
    Place,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.containerd import schemas


def place(facts: Facts) -> Place:
    """Return where handlers go: see ``schemas.ROWS``."""
    target = schemas.decide(facts.version, facts.schema, facts.mode, facts.plain)
    if target.mode == schemas.DROP_IN:
        return DropIn(schemas.drop_in_path(facts.config), importer=facts.config)
    return InPlace(facts.config)


def places(config: str) -> list[str]:
    """Return the main file and the drop-in."""
    return [config, schemas.drop_in_path(config)]
