#!/usr/bin/python
# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: payload_archive
short_description: Save a payload image to an archive, through a Docker engine on the controller
version_added: 0.1.0
author: The confidential_containers.runtime authors (@confidential-containers)
description:
  - Saves an image of the controller's Docker engine to a file. Use this for nodes that reach no registry.
  - Runs on the controller, whatever host the task is for. Reports its progress if it takes longer than five seconds.
requirements:
  - docker (Python package, on the controller)
options:
  image:
    description: The image, as C(docker pull) and C(docker save) take it.
    type: str
    required: true
  path:
    description:
      - Where to save the archive. For the nodes, it is C(docker-archive:PATH) in
        O(confidential_containers.runtime.payload_extract#module:payload).
    type: path
    required: true
  pull:
    description:
      - Whether to pull the image first.
      - In check mode, nothing is pulled.
    type: str
    default: missing
    choices: [always, missing, never]
  docker_host:
    description: The address of the Docker engine. By default, this is C(DOCKER_HOST) of the environment, or else the usual socket.
    type: str
    default: ""
extends_documentation_fragment:
  - confidential_containers.runtime._attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
seealso:
  - module: confidential_containers.runtime.payload_extract
"""

EXAMPLES = r"""
- name: Save a payload for nodes that reach no registry
  confidential_containers.runtime.payload_archive:
    image: quay.io/kata-containers/kata-deploy:3.25.0
    path: /srv/payloads/kata-deploy.tar
  run_once: true
  register: archive

- name: Stage it on each node
  confidential_containers.runtime.payload_extract:
    payload: docker-archive:{{ archive.path }}
"""

RETURN = r"""
path:
  description: The path of the archive.
  returned: success
  type: str
digest:
  description: The digest by which the Docker engine knows the image.
  returned: success
  type: str
architecture:
  description: The architecture of the image.
  returned: success
  type: str
  sample: amd64
"""
