# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images of a Docker engine on the controller: pulled if necessary, and saved to a file."""

from __future__ import annotations

import os
import time
import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.archive import Archive
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.reference import Reference
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils import _watch

try:
    import docker
    from docker import errors as docker_errors
except ImportError:
    docker = None

#: A function that shows a line of progress.
Show = t.Callable[[str], None]


class Daemon:
    """A Docker engine. ``host`` is its address; '' means the one in the environment (``DOCKER_HOST``), or the usual socket."""

    def __init__(self, show: Show, host: str = "") -> None:
        if docker is None:
            raise Refusal(
                "the Python package docker on the controller", "none", "'pip install docker', where Ansible runs."
            )
        self._show = show
        self._next = time.monotonic() + _watch.PERIOD
        try:
            self._api = docker.DockerClient(base_url=host).api if host else docker.from_env().api
            self._api.ping()
        except (docker_errors.DockerException, OSError) as error:
            raise Refusal(
                "a Docker engine that answers on the controller", str(error), "Start Docker, or set DOCKER_HOST."
            ) from error

    def image(self, name: str, pull: str = "missing") -> dict[str, t.Any]:
        """Return what the engine knows of an image (``Id``, ``Architecture``, ``Size`` …), after pulling it if necessary.

        ``pull`` is always, missing or never.
        """
        try:
            if pull != "always":
                try:
                    return t.cast("dict[str, t.Any]", self._api.inspect_image(name))
                except docker_errors.ImageNotFound:
                    if pull == "never":
                        raise
            self._pull(name)
            return t.cast("dict[str, t.Any]", self._api.inspect_image(name))
        except docker_errors.ImageNotFound as error:
            raise Refusal(
                f"image {name} in the Docker engine of the controller", "none", "Build, load or pull it first."
            ) from error
        except (docker_errors.DockerException, OSError) as error:
            raise Refusal(
                f"image {name} from its registry", str(error), "Check its name, or 'docker login'."
            ) from error

    def _pull(self, name: str) -> None:
        last = name.rpartition("/")[2]
        tag = None if "@" in last or ":" in last else "latest"
        layers: dict[str, tuple[int, int]] = {}
        for event in self._api.pull(name, tag=tag, stream=True, decode=True):
            if "error" in event:
                raise docker_errors.DockerException(event["error"])
            detail = event.get("progressDetail") or {}
            if event.get("status") == "Downloading" and "total" in detail:
                layers[event["id"]] = (detail["current"], detail["total"])
                done, total = (sum(column) for column in zip(*layers.values(), strict=True))
                self._tell("pulled to the Docker engine", done, total)

    def save(self, name: str, path: str, size: int) -> None:
        """Write an image to a file. The file appears only when it is whole. ``size`` is its expected size in bytes."""
        part, done = f"{path}.part", 0
        try:
            with open(part, "wb") as target:
                for block in self._api.get_image(name):
                    target.write(block)
                    done += len(block)
                    self._tell("saved from the Docker engine", done, max(size, done))
                target.flush()
                os.fsync(target.fileno())
            os.replace(part, path)
        except docker_errors.DockerException as error:
            raise Refusal(f"image {name} from the Docker engine", str(error), "See the Docker engine's log.") from error
        finally:
            if os.path.exists(part):
                os.unlink(part)

    def _tell(self, what: str, done: int, total: int) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _watch.PERIOD
            self._show(_watch.line((what, done, total)))


def identity(image: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return what tells a node which image this is, before anything is saved: the digest by which the engine knows it.

    It is the configuration's digest, or the manifest's where the engine keeps images as containerd does.
    """
    return {
        "digest": image["Id"],
        "digest_kind": "config",
        "chain": {image["Id"]: "config"},
        "architecture": image["Architecture"],
    }


def holds(path: str, digest: str) -> bool:
    """Tell whether the file at ``path`` is an archive of the image with this digest already."""
    try:
        with Archive(Reference("docker-archive", path)) as archive:
            return any(digest in image.chain for image in archive.images())
    except Refusal:
        return False
