#!/usr/bin/python
# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: runtime_handlers
short_description: Configure a container engine with exactly these Confidential Containers handlers
version_added: 0.1.0
author: The confidential_containers.runtime authors (@confidential-containers)
description:
  - Writes the full set of this collection's handlers to the engine's configuration, restarts the engine once, and waits until
    its CRI serves them.
  - Handlers of this collection that O(handlers) no longer has are removed. Handlers of others are never touched.
  - The user's files keep every byte that is not of this collection. Before anything is written, the engine itself reads the new
    configuration. If any setting would change besides this collection's handlers, the module fails.
  - If the engine does not come back, the previous bytes are restored, including the artifacts, and the engine is started with
    them.
  - If nothing changes, the engine is not restarted.
options:
  handlers:
    description:
      - The handlers to serve, as M(confidential_containers.runtime.payload_extract) returns them. An empty list removes all of
        them.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The name of the handler. A RuntimeClass refers to it by this name.
        type: str
        required: true
      shim:
        description: The shim behind the handler.
        type: str
      runtime_type:
        description: The runtime type, for example V(io.containerd.kata-qemu.v2).
        type: str
        required: true
      runtime_path:
        description: The program of the shim. Engines that ignore this key get a link in C(/usr/local/bin).
        type: str
        required: true
      config_path:
        description: The configuration file of the shim.
        type: str
        required: true
      privileged_without_host_devices:
        description: Whether privileged pods get no host devices.
        type: bool
      pod_annotations:
        description: Patterns of pod annotations that are passed to the shim.
        type: list
        elements: str
      container_annotations:
        description: Patterns of container annotations that are passed to the shim.
        type: list
        elements: str
      links:
        description: Links that the shim needs, by their paths on the node. The values are their targets.
        type: dict
  overrides:
    description:
      - Changes to single handlers, by name. They win over O(handlers).
      - The values are mappings with the keys above, and the other keys of a handler's table that the node's containerd knows.
    type: dict
    default: {}
  proxy_plugins:
    description:
      - Proxy plugins to register beside the handlers, by name, for example snapshotters. Each has C(type), C(address), and
        whatever else the engine knows there.
      - They are removed with the handlers.
    type: dict
    default: {}
  conflicts:
    description:
      - What to do if a handler or proxy plugin of the user's own has the name of one of this collection.
      - V(refuse) fails before anything is changed. V(keep_aside) turns its lines into comments. They become tables again when
        those of this collection are removed.
    type: str
    default: refuse
    choices: [refuse, keep_aside]
  enable_cri:
    description:
      - Whether to enable the CRI if the configuration disables it. It is disabled again when the handlers are removed.
    type: bool
    default: false
  config_mode:
    description:
      - How to write the handlers.
      - V(auto) uses a drop-in if the engine merges it safely (containerd 2.x), otherwise the main file. A mode that would break
        the node is refused.
    type: str
    default: auto
    choices: [auto, drop_in, in_place]
  run:
    description:
      - The run that M(confidential_containers.runtime.payload_artifacts) returned. Its artifacts are committed or rolled back
        together with the handlers.
    type: str
    default: ""
  ignore_running_pods:
    description: Remove handlers although pods still use them. Such pods can no longer be stopped properly.
    type: bool
    default: false
extends_documentation_fragment:
  - confidential_containers.runtime._restart
  - confidential_containers.runtime._attributes
  - confidential_containers.runtime._engine
attributes:
  check_mode:
    support: full
    details: The engine reads the new configuration in check mode, too. It is never restarted.
  diff_mode:
    support: full
    details: The values of keys with a name like a secret are masked.
  idempotent:
    support: full
requirements:
  - tomlkit (on the controller)
seealso:
  - module: confidential_containers.runtime.payload_extract
  - module: confidential_containers.runtime.payload_artifacts
"""

EXAMPLES = r"""
- name: Serve one handler of artifacts that are on the node already
  confidential_containers.runtime.runtime_handlers:
    handlers:
      - name: kata-qemu
        runtime_type: io.containerd.kata-qemu.v2
        runtime_path: /opt/confidential-containers/bin/containerd-shim-kata-v2
        config_path: /opt/confidential-containers/share/defaults/kata-containers/configuration-qemu.toml

- name: Remove all handlers of this collection
  confidential_containers.runtime.runtime_handlers:
    handlers: []
"""

RETURN = r"""
handlers:
  description: The names of this collection's handlers that are configured now.
  returned: success
  type: list
  elements: str
  sample: [kata-qemu]
served:
  description: All handlers that the engine serves (in check mode, would serve).
  returned: success
  type: list
  elements: str
  sample: [kata-qemu, runc]
config_mode:
  description: How the handlers are written.
  returned: success
  type: str
  sample: in_place
restarted:
  description: Whether the engine was restarted (in check mode, would be restarted).
  returned: success
  type: bool
engine:
  description: The engine, its version, unit and paths.
  returned: success
  type: dict
recovered:
  description: How an interrupted run was ended, V(finished) or V(rolled back). Empty if there was none.
  returned: success, and failure if there was an interrupted run
  type: str
"""
