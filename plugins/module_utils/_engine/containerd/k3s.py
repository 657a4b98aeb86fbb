# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""k3s and RKE2: they render containerd's main file from a template at each start.

The rendered file decides, and not the release: does it import a directory of drop-ins, and which schema does it have?
Sources: docs.k3s.io/advanced, k3s-io/k3s#13680 (the imports), #7991 (the template "base").
"""

from __future__ import annotations

import os
import re
import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine import toml_text
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import (
    DropIn,
    Engine,
    Facts,
    Place,
    Template,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.containerd import (
    imports,
    rendering,
    schemas,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal

#: The line with which a template includes the distribution's own one.
BASE = '{{ template "base" . }}'
#: The first patch release of each minor one (1.N) that has the template "base". Later minor ones have it, too.
_BASE_SINCE = {24: 17, 25: 13, 26: 8, 27: 5, 28: 1}
#: The names of the main file, by its schema. Templates and directories of drop-ins are called after them.
_OLD, _NEW = "config.toml", "config-v3.toml"


def place(facts: Facts) -> Place:
    """Return the drop-in if the rendered file imports it, else the template."""
    name = _NEW if facts.schema > 2 else _OLD
    drop_in, template = _drop_in(facts.config, name), _template(facts.config, name)
    patterns = (imports.absolute(pattern, facts.config) for pattern in toml_text.imports_of(facts.text))
    # On containerd 1.x a drop-in replaces the whole CRI section of the main file. On 2.x, only a template keeps the file at
    # schema 2. If nobody but us has one, it has to stay: without it, another schema and directory would count.
    fits = facts.version >= (2, 0) and (name == _NEW or template in facts.templates)
    imported = fits and any(imports.matches(pattern, drop_in) for pattern in patterns)
    mode = DropIn.mode if imported else Template.mode
    if facts.mode not in ("auto", mode):
        raise Refusal(
            "coco_config_mode=auto, because the file that the distribution renders decides",
            f"{facts.mode}, but handlers go into {drop_in if imported else template}",
            "Leave coco_config_mode out.",
        )
    if imported:
        return DropIn(drop_in)
    if template not in facts.templates and not has_base(facts.release):
        raise Refusal(
            'a release that has the template "base": 1.24.17, 1.25.13, 1.26.8, 1.27.5, 1.28.1 or a later one',
            facts.release,
            f"Upgrade it first, or copy the whole template of this release to {template} and restart its unit.",
        )
    return Template(template, facts.config, BASE)


def places(config: str) -> list[str]:
    """Return the templates and the drop-ins, for both schemas."""
    return [path(config, name) for path in (_template, _drop_in) for name in (_NEW, _OLD)]


def generated(config: str, text: str) -> list[str]:
    """Return the main file: it is rendered anew at each start."""
    return [config]


def doubts(engine: Engine) -> t.Iterator[Refusal]:
    """Yield a refusal if the template that counts was changed since it was rendered: a restart would try it out."""
    templates = [_template(engine.config, name) for name in (_NEW, _OLD)]
    first = next((path for path in templates if os.path.exists(path)), "")
    yield from rendering.doubts(engine, [first] if first else [], engine.config)


def has_base(release: str) -> bool:
    """Tell whether a release has the template "base". A release that we cannot read has it: the old ones we can read."""
    match = re.match(r"v?1\.(\d+)\.(\d+)", release)
    if not match:
        return True
    minor, patch = map(int, match.groups())
    return patch >= _BASE_SINCE[minor] if minor in _BASE_SINCE else minor > max(_BASE_SINCE)


def _template(config: str, name: str) -> str:
    return os.path.join(os.path.dirname(config), f"{name}.tmpl")


def _drop_in(config: str, name: str) -> str:
    return os.path.join(os.path.dirname(config), f"{name}.d", schemas.DROP_IN_NAME)
