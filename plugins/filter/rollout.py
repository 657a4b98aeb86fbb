# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A filter that puts nodes into batches; see the filter's documentation."""

from __future__ import annotations

import typing as t

from ansible.utils.helpers import pct_to_int

DOCUMENTATION = r"""
name: rollout
short_description: Put nodes into batches of which none holds two servers
version_added: 0.1.0
author: The confidential_containers.runtime authors (@confidential-containers)
description:
  - A server is a node whose engine belongs to the unit that also runs the API server of Kubernetes, as with k3s and RKE2. A restart of this
    unit takes the API server of the node away for some seconds. So servers come one at a time, after all other nodes, because
    a mistake that all nodes share then stops the rollout before it comes to a server.
  - Whether a node is a server is known if a play before has registered the result of M(confidential_containers.runtime.runtime_info) as
    C(_coco_node). Without servers, nodes and batches stay as they are.
positional: _input, hostvars, serial
options:
  _input:
    description: The names of the nodes.
    type: list
    elements: str
    required: true
  hostvars:
    description: The variables of all hosts, which Ansible calls C(hostvars).
    type: dict
    required: true
  serial:
    description: The batches, as a play takes them as C(serial). They are for the nodes that are no servers.
    type: list
    elements: raw
    default: []
"""

EXAMPLES = r"""
- name: Show which nodes of this batch are servers
  ansible.builtin.debug:
    msg: "{{ ansible_play_batch | confidential_containers.runtime.rollout(hostvars) }}"
"""

RETURN = r"""
_value:
  description: The names of the nodes in their order (C(hosts)), the batches (C(serial)), and the names of the C(servers).
  type: dict
"""


def rollout(
    hosts: t.Sequence[str], hostvars: t.Mapping[str, t.Any], serial: t.Sequence[t.Any] = ()
) -> dict[str, t.Any]:
    """Return the order of the nodes, their batches, and which are servers."""
    nodes = {host: hostvars[host].get("_coco_node") if host in hostvars else None for host in hosts}
    servers = [host for host, node in nodes.items() if node and (node.get("engine") or {}).get("server")]
    if not servers:
        return {"hosts": list(hosts), "serial": list(serial), "servers": []}
    others = [host for host in hosts if host not in servers]
    # Nobody has looked at nodes that --limit leaves out. A node with wrong variables is not counted either: one more then comes alone.
    batches = _batches(serial, sum(nodes[host] is not None for host in others))
    return {"hosts": [*others, *servers], "serial": [*batches, 1], "servers": servers}


def _batches(serial: t.Sequence[t.Any], nodes: int) -> list[int]:
    """Return the sizes of the batches that Ansible would make of some nodes."""
    sizes: list[int] = []
    while serial and sum(sizes) < nodes:
        size = pct_to_int(serial[min(len(sizes), len(serial) - 1)], nodes)
        sizes.append(min(size, nodes - sum(sizes)))
    return sizes


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"rollout": rollout}
