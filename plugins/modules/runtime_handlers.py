#!/usr/bin/python
# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: runtime_handlers
short_description: Bring a container engine to exactly these Confidential Containers handlers
version_added: 0.1.0
author: The confidential_containers.runtime authors (@confidential-containers)
description:
  - Writes the full set of this collection's runtime handlers to the engine's configuration, restarts the engine once, and
    waits until its CRI serves them. What is not in O(handlers) any more goes; handlers of others are never touched.
  - The user's files keep every byte that is not ours. Before anything is written, the engine itself reads the new
    configuration, and any setting that would change besides our handlers stops the module.
  - When the engine does not come back, the bytes of before are restored, artifacts included, and the engine is up again.
  - No change, no restart.
options:
  handlers:
    description:
      - The handlers to serve, as M(confidential_containers.runtime.payload_extract) returns them; an empty list removes
        them all.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The handler's name, as a RuntimeClass names it.
        type: str
        required: true
      shim:
        description: The shim that it stands for.
        type: str
      runtime_type:
        description: The runtime type, for example V(io.containerd.kata-qemu.v2).
        type: str
        required: true
      runtime_path:
        description: The shim's program. Engines that ignore it get a link in C(/usr/local/bin).
        type: str
        required: true
      config_path:
        description: The shim's configuration file.
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
        description: Links that the shim needs, path on the node to target.
        type: dict
  overrides:
    description:
      - Changes to single handlers, by name. Values are the keys above and the other keys of a handler's table that the
        node's containerd knows; O(overrides) wins.
    type: dict
    default: {}
  proxy_plugins:
    description:
      - Proxy plugins to register beside the handlers, by name, for example snapshotters. Each has C(type) and C(address), and
        what else the engine knows there. They go with the handlers.
    type: dict
    default: {}
  conflicts:
    description:
      - What to do about handlers and proxy plugins of the user's that have a name of ours. With V(keep_aside) their lines
        become comments, which become tables again when ours are removed.
    type: str
    default: refuse
    choices: [refuse, keep_aside]
  enable_cri:
    description:
      - Whether a CRI that the configuration disables may be enabled. It is disabled again when the handlers are removed.
    type: bool
    default: false
  config_mode:
    description:
      - How the handlers are written. V(auto) takes a drop-in where the engine merges one safely (containerd 2.x), else the
        main file. A mode that would break the node is refused.
    type: str
    default: auto
    choices: [auto, drop_in, in_place]
  run:
    description:
      - The run that M(confidential_containers.runtime.payload_artifacts) returned. Its artifacts are committed or rolled
        back together with the handlers.
    type: str
    default: ""
  ignore_running_pods:
    description: Remove handlers although pods still use them. Such pods cannot be stopped properly any more.
    type: bool
    default: false
extends_documentation_fragment:
  - confidential_containers.runtime._restart
  - confidential_containers.runtime._attributes
  - confidential_containers.runtime._engine
attributes:
  check_mode:
    support: full
    details: The engine reads the new configuration in check mode, too; it is never restarted.
  diff_mode:
    support: full
    details: Values of keys that name a secret are masked.
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
  description: Names of this collection's handlers that are configured now.
  returned: success
  type: list
  elements: str
  sample: [kata-qemu]
served:
  description: All handlers that the engine serves (in check mode - would serve).
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
  description: Whether the engine was (in check mode - would be) restarted.
  returned: success
  type: bool
engine:
  description: The engine, its version, unit and paths.
  returned: success
  type: dict
recovered:
  description: What was done about an interrupted run, V(finished) or V(rolled back); empty when there was none.
  returned: success, and on failure where there was one
  type: str
"""
