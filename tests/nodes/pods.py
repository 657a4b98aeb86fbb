# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pods on a node, asked for as kubelet does: through the CRI socket, with a runtime handler."""

from __future__ import annotations

import contextlib
import json
import select
import sys
import time
import typing as t
import uuid

import nodes
from host import Failure
from images import POD_IMAGE

LABELS = {"testbed": "pod"}  # ours to remove
# Who asks while an engine restarts asks again at once.
RECONNECT = [(f"grpc.{which}_reconnect_backoff_ms", 100) for which in ("initial", "max")]


class Cri:
    """One node's runtime service, in the version of CRI that its containerd speaks."""

    def __init__(self, name: str) -> None:
        try:
            import grpc
        except ImportError:
            raise Failure("pods need the packages of tests/nodes/requirements.txt") from None
        self._rpc_error = grpc.RpcError
        # The node's file system as its init sees it, so that no port has to be opened.
        channel = grpc.insecure_channel(
            f"unix:///proc/{nodes.pid(name)}/root{nodes.engine(name).socket}", options=RECONNECT
        )
        self.api: t.Any = None
        for api, services in _versions():
            self.api, self._runtime = api, services.RuntimeServiceStub(channel)
            try:
                self._runtime.Version(api.VersionRequest(), timeout=10)
                return
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.UNIMPLEMENTED:
                    raise Failure(f"node {name}: CRI does not answer: {_one_line(error.details())}") from None
        raise Failure(f"node {name}: containerd answers, but its CRI plugin is down")

    def __call__(self, method: str, timeout: float = 90, **fields: t.Any) -> t.Any:
        request = getattr(self.api, f"{method}Request")(**fields)
        try:
            return getattr(self._runtime, method)(request, timeout=timeout)
        except self._rpc_error as error:
            raise Failure(f"{method}: {_one_line(error.details())}") from None


def _versions() -> t.Iterator[tuple[t.Any, t.Any]]:
    from cri_api.v1 import api_pb2, api_pb2_grpc

    yield api_pb2, api_pb2_grpc
    from cri_api.v1alpha2 import api_pb2 as alpha_pb2  # for containerd 1.4
    from cri_api.v1alpha2 import api_pb2_grpc as alpha_pb2_grpc

    yield alpha_pb2, alpha_pb2_grpc


def _one_line(text: str | None) -> str:
    return " ".join((text or "no reason given").split())


class Done(t.NamedTuple):
    """A command that has ended in a pod."""

    pod: str
    code: int = 0
    output: str = ""
    errors: str = ""


def run(name: str, handler: str, command: t.Sequence[str], keep: bool) -> Done:
    """Start a pod and run a command in its container."""
    cri = Cri(name)
    api = cri.api
    pod_name = f"testbed-{uuid.uuid4().hex[:8]}"
    node_namespace = api.NamespaceOption(network=api.NamespaceMode.Value("NODE"))  # needs no CNI
    config = api.PodSandboxConfig(
        metadata=api.PodSandboxMetadata(name=pod_name, uid=pod_name, namespace="testbed"),
        labels=LABELS,
        linux=api.LinuxPodSandboxConfig(
            security_context=api.LinuxSandboxSecurityContext(namespace_options=node_namespace)
        ),
    )
    container = api.ContainerConfig(
        metadata=api.ContainerMetadata(name="main"),
        image=api.ImageSpec(image=POD_IMAGE),
        command=["/bin/sleep", "86400"],
        labels=LABELS,
        linux=api.LinuxContainerConfig(
            security_context=api.LinuxContainerSecurityContext(namespace_options=node_namespace)
        ),
    )
    # "runc" is what a pod without a RuntimeClass gets, whatever the node calls it.
    pod = cri("RunPodSandbox", config=config, runtime_handler="" if handler == "runc" else handler).pod_sandbox_id
    try:
        made = cri("CreateContainer", pod_sandbox_id=pod, config=container, sandbox_config=config).container_id
        cri("StartContainer", container_id=made)
        done = _exec(cri, pod, made, command)
    except BaseException:
        with contextlib.suppress(Failure):  # the first error is the one to tell
            _remove(cri, pod)
        raise
    if not keep:
        _remove(cri, pod)
    return done


def _exec(cri: Cri, pod: str, container: str, command: t.Sequence[str]) -> Done:
    if not command:
        return Done(pod)
    done = cri("ExecSync", container_id=container, cmd=list(command))
    output, errors = (text.decode(errors="replace") for text in (done.stdout, done.stderr))
    return Done(pod, int(done.exit_code), output, errors)


def run_in(name: str, pods: t.Sequence[str], command: t.Sequence[str]) -> list[Done]:
    """Run a command in each of these running pods."""
    cri = Cri(name)
    return [_exec(cri, pod, _container(cri, pod), command) for pod in pods]


def keep_running_in(name: str, pods: t.Sequence[str], command: t.Sequence[str]) -> None:
    """Run a command in running pods again and again, in turns, until our input ends, and print a line of JSON for each time.

    The clock is the monotonic one, which all nodes have in common.
    """
    cri = Cri(name)
    containers = [(pod, _container(cri, pod)) for pod in pods]
    while True:
        for pod, container in containers:
            told = {"pod": pod, "began": time.monotonic(), "code": None, "output": "", "error": ""}
            try:
                done = cri("ExecSync", container_id=container, cmd=list(command))
                told.update(code=done.exit_code, output=(done.stdout + done.stderr).decode(errors="replace"))
            except Failure as error:
                told["error"] = str(error)
                time.sleep(0.02)  # while the engine is down
            print(json.dumps({**told, "ended": time.monotonic()}), flush=True)
            if select.select([sys.stdin], [], [], 0)[0]:
                return


def _container(cri: Cri, pod: str) -> str:
    running = cri.api.ContainerStateValue(state=cri.api.ContainerState.Value("CONTAINER_RUNNING"))
    found = cri("ListContainers", filter=cri.api.ContainerFilter(pod_sandbox_id=pod, state=running)).containers
    if not found:
        raise Failure(f"no container runs in a pod {pod}")
    return str(found[0].id)


def _remove(cri: Cri, pod: str) -> None:
    cri("StopPodSandbox", pod_sandbox_id=pod)
    cri("RemovePodSandbox", pod_sandbox_id=pod)


def rows(name: str) -> list[str]:
    """Every pod of a node, ours or not: namespace, name, handler, state, ID."""
    cri = Cri(name)
    return [
        "\t".join(
            (
                pod.metadata.namespace,
                pod.metadata.name,
                pod.runtime_handler or "runc",
                cri.api.PodSandboxState.Name(pod.state).replace("SANDBOX_", "").lower(),
                pod.id,
            )
        )
        for pod in cri("ListPodSandbox").items
    ]


def remove_all(name: str) -> None:
    """Remove the pods that the testbed made on a node, those that fail to go last."""
    cri = Cri(name)
    errors = []
    for pod in cri("ListPodSandbox", filter=cri.api.PodSandboxFilter(label_selector=LABELS)).items:
        try:
            _remove(cri, pod.id)
        except Failure as error:
            errors.append(f"{pod.metadata.name}: {error}")
    if errors:
        raise Failure("; ".join(errors))
