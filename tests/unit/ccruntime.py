# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""CcRuntime manifests and parts of them."""

from __future__ import annotations

import typing as t

#: The beginning of a manifest as text: more fields of spec.config can follow.
HEAD = """\
apiVersion: confidentialcontainers.org/v1beta1
kind: CcRuntime
spec:
  runtimeName: kata
  config:
    installType: bundle
    payloadImage: example.org/payload:1
"""

NODE_NAME = {"name": "NODE_NAME", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "spec.nodeName"}}}


def a_manifest(config: dict[str, t.Any] | None = None, **spec: t.Any) -> dict[str, t.Any]:
    """Return a small manifest that the CRD allows, with these fields on top."""
    return {
        "apiVersion": "confidentialcontainers.org/v1beta1",
        "kind": "CcRuntime",
        "metadata": {"name": "ccruntime"},
        "spec": {
            "runtimeName": "kata",
            "config": {"installType": "bundle", "payloadImage": "example.org/payload:1", **(config or {})},
            **spec,
        },
    }


def a_volume(name: str, path: str, kind: str = "") -> dict[str, t.Any]:
    return {"name": name, "hostPath": {"path": path, "type": kind}}


def a_mount(name: str, path: str) -> dict[str, str]:
    return {"name": name, "mountPath": path}


def variables(**values: str) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in values.items()]


def classes(snapshotter: str, *names: str, pulltype: str = "") -> list[dict[str, str]]:
    return [{"name": name, "snapshotter": snapshotter, "pulltype": pulltype} for name in names]
