# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The pods that still use a handler: they keep it from being removed."""

from __future__ import annotations

import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.api import Driver
from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal


def refuse(driver: Driver, dropped: t.Collection[str], ignore: bool) -> None:
    """Refuse to remove handlers that pods still run on."""
    if ignore or not dropped:
        return
    used = [pod for pod in driver.pods() if pod.ready and pod.handler in dropped]
    if used:
        raise Refusal(
            f"no pod on the handlers that go ({', '.join(sorted(dropped))})",
            ", ".join(sorted(f"{pod.namespace}/{pod.name} ({pod.handler})" for pod in used)),
            "Remove these pods first, or set coco_ignore_running_pods=true: they can then no longer be stopped properly.",
        )
