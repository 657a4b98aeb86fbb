# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """Options about the container engine."""

    DOCUMENTATION = r"""
options:
  engine:
    description:
      - The container engine of the node. V(auto) finds the one that its kubelet uses.
      - To set this option once for all modules, use C(group/confidential_containers.runtime.engine) in C(module_defaults).
    type: str
    default: auto
    choices: [auto, containerd, k3s, rke2, k0s, microk8s, crio]
  engine_config:
    description: The engine's main configuration file. By default, the file with which its daemon runs.
    type: path
  engine_unit:
    description: The systemd unit of the engine. By default, it is detected.
    type: str
  engine_socket:
    description: The engine's CRI socket. By default, the one on its command line, or else the one in its configuration.
    type: path
"""
