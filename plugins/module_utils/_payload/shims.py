# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""The table of shims and what each needs of a node; which handlers a payload offers, and which of them a node can run.

A new kind of shim is a row in ``WORDS``. What a node has is found by ``_node.hardware``.
"""

from __future__ import annotations

import posixpath
import re
import typing as t
from dataclasses import asdict, dataclass, field, replace

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.components import Components
from ansible_collections.confidential_containers.runtime.plugins.module_utils._payload.layouts import Layout


@dataclass(frozen=True)
class Needs:
    """What a shim needs: one of these architectures (empty: any), and all of these capabilities."""

    architectures: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()


#: For each capability: its name in messages, and whether a look at the node can tell that it is there.
CAPABILITIES: t.Mapping[str, tuple[str, bool]] = {
    "kvm": ("/dev/kvm", True),
    "mshv": ("Microsoft's hypervisor (/dev/mshv)", True),
    "sev": ("AMD SEV", True),
    "snp": ("AMD SEV-SNP", True),
    "tdx": ("Intel TDX", True),
    "se": ("IBM Secure Execution", True),
    "cca": ("Arm CCA", False),
    "sgx": ("Intel SGX", True),
    "gpu": ("an NVIDIA GPU that is bound to vfio-pci", True),
    "devmapper": ("the devmapper snapshotter", False),
    "guest_pull": ("image pull inside the guest", False),
    "peer_pods": ("a peer pods adaptor", False),
}

_X86 = ("amd64",)
_X86_ARM = ("amd64", "arm64")
#: The words that names of shims consist of. A shim needs everything that its words need. So a shim that nobody has listed is never
#: served on a node that cannot run it. Source: the shims of Kata up to 4.1.
WORDS: t.Mapping[str, Needs] = {
    "qemu": Needs((), ("kvm",)),
    "clh": Needs(_X86_ARM, ("kvm",)),
    "cloud-hypervisor": Needs(_X86_ARM, ("kvm",)),
    "dragonball": Needs(_X86_ARM, ("kvm",)),
    "stratovirt": Needs(_X86_ARM, ("kvm",)),
    "openvmm": Needs(_X86, ("kvm",)),
    "fc": Needs(_X86_ARM, ("kvm", "devmapper")),
    "azure": Needs(_X86, ("mshv",)),
    "mshv": Needs((), ("mshv",)),
    "remote": Needs(("amd64", "ppc64le", "s390x"), ("peer_pods",)),
    "enclave-cc": Needs(_X86, ("sgx",)),
    "sev": Needs(_X86, ("kvm", "sev")),
    "snp": Needs(_X86, ("kvm", "snp")),
    "tdx": Needs(_X86, ("kvm", "tdx")),
    "se": Needs(("s390x",), ("kvm", "se")),
    "cca": Needs(("arm64",), ("kvm", "cca")),
    "nvidia-gpu": Needs(_X86_ARM, ("kvm", "gpu")),
    "nvidia-cpu": Needs(_X86_ARM, ("kvm",)),
    "coco-dev": Needs((), ("kvm", "guest_pull")),
    "runtime-rs": Needs(),
    "rs": Needs(),  # the same in Kata 3.x
}
#: Shims that upstream builds for fewer architectures than their words allow.
_ARCHITECTURES: t.Mapping[str, tuple[str, ...]] = {
    "qemu-coco-dev": ("amd64", "s390x"),
    "qemu-coco-dev-runtime-rs": ("amd64", "arm64", "s390x"),
}

_CONFIGURATION = re.compile(r"configuration-(?P<shim>[a-z0-9][a-z0-9-]*)\.toml")


@dataclass(frozen=True)
class Handler:
    """One runtime handler, in the keys of an engine's handler table. All paths are paths on the node."""

    name: str
    shim: str
    runtime_type: str
    runtime_path: str
    config_path: str
    privileged_without_host_devices: bool = True
    pod_annotations: tuple[str, ...] = ("io.katacontainers.*",)
    container_annotations: tuple[str, ...] = ("io.kubernetes.container.terminationMessage*",)
    #: Links that the shim needs: path on the node → target.
    links: t.Mapping[str, str] = field(default_factory=dict)
    #: The flaw of the payload with which no node can run this handler; '' for none.
    flaw: str = ""

    def table(self) -> dict[str, t.Any]:
        """Return the handler as plain data, for a module's result."""
        table = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        del table["flaw"]
        return table if self.links else {key: value for key, value in table.items() if key != "links"}


@dataclass(frozen=True)
class Choice:
    """The handlers to serve on a node, and the reason for each one that is left out."""

    handlers: tuple[Handler, ...]
    excluded: t.Mapping[str, str]


_NOT_ASKED = "not asked for in coco_handlers"
_NOT_NAMED = "not named in the CcRuntime"
_NOT_OFFERED = "not in the payload"
_PROGRAM = "has a configuration in the payload, but not the program of its shim, {}"
_FLAW = "has a placeholder for a distribution's own QEMU or firmware in its configuration, and does not run from the payload alone"


def offered(
    tree: t.Mapping[str, t.Mapping[str, t.Any]], layout: Layout, prefix: str, components: Components | None = None
) -> list[Handler]:
    """Return a handler for every shim configuration in ``tree``, whose paths are relative to ``prefix``.

    A payload in ``components`` also offers the shims that were not chosen and so not unpacked.
    """
    found: dict[str, Handler] = {}
    # A shim can be there in Go and in Rust. The first one found is taken, and Go's directory comes first.
    for directory, binary in layout.configurations.items():
        for path in sorted(tree):
            match = _CONFIGURATION.fullmatch(posixpath.basename(path))
            shim = match.group("shim") if match and posixpath.dirname(path) == directory else ""
            if not shim or not (components is None or shim in components.needed):
                continue
            flaw = _PROGRAM.format(binary) if binary not in tree else _FLAW if tree[path].get("placeholder") else ""
            if shim not in found or (found[shim].flaw and not flaw):
                handler = replace(
                    _handler(layout, shim),
                    runtime_path=f"{prefix}/{binary}",
                    config_path=f"{prefix}/{path}",
                    links={link: f"{prefix}/{target}" for link, target in layout.links.items()},
                    flaw=flaw,
                )
                found[shim] = replace(handler, **layout.keys)
    left = [] if components is None else [shim for shim in components.needed if not components.suffice([shim])]
    for shim in left:
        found[shim] = replace(_handler(layout, shim), flaw=_NOT_ASKED)
    return sorted(found.values(), key=lambda handler: handler.name)


def _handler(layout: Layout, shim: str) -> Handler:
    return Handler(layout.handler.format(shim=shim), shim, layout.runtime_type.format(shim=shim), "", "")


def words_of(shim: str) -> list[str]:
    """Split a shim's name into known and unknown words. Some known words contain a hyphen."""
    parts, words = shim.split("-"), []
    while parts:
        pair = "-".join(parts[:2])
        words.append(pair if pair in WORDS else parts[0])
        del parts[: 2 if pair in WORDS else 1]
    return words


def _architectures(shim: str) -> list[tuple[str, ...]]:
    """Return lists of architectures. A shim runs on those that are in every list."""
    if shim in _ARCHITECTURES:
        return [_ARCHITECTURES[shim]]
    return [WORDS[word].architectures for word in words_of(shim) if word in WORDS and WORDS[word].architectures]


def _capabilities(shim: str) -> list[str]:
    """Return the capabilities that the words of a shim's name stand for."""
    needed = [name for word in words_of(shim) if word in WORDS for name in WORDS[word].capabilities]
    # With Microsoft's hypervisor, a shim does not need KVM.
    return [name for name in dict.fromkeys(needed) if name != "kvm" or "mshv" not in needed]


def _unknown(shim: str) -> str:
    """Return the part of a shim's name that does not tell what the shim needs; '' when the whole name tells it."""
    unknown = [word for word in words_of(shim) if word not in WORDS]
    return "-".join(unknown) if unknown or _capabilities(shim) else shim


def missing(shim: str, architecture: str, capabilities: t.Mapping[str, bool], asked: bool = False) -> str:
    """Say what a node lacks to run a shim, or '' when it lacks nothing.

    When the user ``asked`` for the handler by name, two things count as there: a capability that a look at the node cannot tell,
    and whatever an unknown word of the name needs.
    """
    for architectures in _architectures(shim):
        if architecture not in architectures:
            return f"runs on {', '.join(architectures)}, not on {architecture}"
    needed = {name: CAPABILITIES[name] for name in _capabilities(shim)}
    for name, (title, visible) in needed.items():
        if visible and not capabilities.get(name):
            return f"needs {title}, which this node does not have"
    if asked:
        return ""
    for title, visible in needed.values():
        if not visible:
            return f"needs {title}, which cannot be seen from outside: name the handler in coco_handlers"
    if _unknown(shim):
        return (
            f"has {_unknown(shim)!r} in its name, which tells nothing of its needs: name the handler in coco_handlers"
        )
    return ""


def chosen_shims(
    shims: t.Iterable[str],
    asked: t.Collection[str],
    architecture: str,
    capabilities: t.Mapping[str, bool],
    candidates: t.Collection[str] = (),
) -> list[str]:
    """Return the shims of a payload in components that are wanted on a node. Nothing is refused."""
    if asked:
        return [shim for shim in shims if f"kata-{shim}" in asked]
    named = [shim for shim in shims if not candidates or f"kata-{shim}" in candidates]
    return [shim for shim in named if not missing(shim, architecture, capabilities, asked=bool(candidates))]


def shims_to_unpack(
    shims: t.Iterable[str],
    asked: t.Sequence[str],
    architecture: str,
    capabilities: t.Mapping[str, bool],
    own: t.Collection[str] = (),
    candidates: t.Collection[str] = (),
) -> list[str]:
    """Return the shims whose components are to be unpacked, or refuse now what :func:`choose` would refuse afterwards."""
    handlers = [Handler(f"kata-{shim}", shim, "", "", "") for shim in shims]
    return [handler.shim for handler in choose(handlers, asked, architecture, capabilities, own, candidates).handlers]


def reasons(handlers: t.Iterable[Handler], architecture: str, capabilities: t.Mapping[str, bool]) -> dict[str, str]:
    """Say of each handler that is not served why it is left out."""
    return {
        handler.name: missing(handler.shim, architecture, capabilities) or handler.flaw or _NOT_ASKED
        for handler in handlers
    }


def choose(
    handlers: t.Sequence[Handler],
    asked: t.Sequence[str],
    architecture: str,
    capabilities: t.Mapping[str, bool],
    own: t.Collection[str] = (),
    candidates: t.Collection[str] = (),
) -> Choice:
    """Choose among the payload's handlers: those that the user asked for, or every one that the node can run.

    ``own`` are names of the user's own handlers: the user may ask for them, and the payload need not have them. ``candidates``
    are the only handlers to choose from when there are any. They count as asked for by name, but those that the node cannot run
    are left out without a refusal.
    """
    names = [handler.name for handler in handlers]
    unknown = [name for name in asked if name not in names and name not in own]
    if unknown:
        raise Refusal(
            f"a payload with the handlers asked for in coco_handlers ({', '.join(asked)})",
            f"no configuration for {', '.join(unknown)}; the payload offers {', '.join(names) or 'no handler at all'}",
            "Name handlers that the payload offers, or leave coco_handlers empty.",
        )
    excluded = {} if asked else {name: _NOT_OFFERED for name in candidates if name not in names}
    chosen = []
    for handler in handlers:
        if (asked or candidates) and handler.name not in (asked or candidates):
            excluded[handler.name] = _NOT_ASKED if asked else _NOT_NAMED
            continue
        lack = missing(handler.shim, architecture, capabilities, asked=bool(asked or candidates))
        if not (lack or handler.flaw):
            chosen.append(handler)
        elif asked and lack:
            raise Refusal(
                f"a node that can run {handler.name}", f"that it {lack}", "Leave it out of coco_handlers for this node."
            )
        elif asked:
            raise Refusal(
                f"a payload that {handler.name} can run from",
                f"one in which it {handler.flaw}",
                "Use a payload that has it, or leave the handler out of coco_handlers.",
            )
        else:
            excluded[handler.name] = lack or handler.flaw
    if not chosen:
        by_name = [
            handler.name
            for handler in handlers
            if not handler.flaw and not missing(handler.shim, architecture, capabilities, asked=True)
        ]
        raise Refusal(
            "a payload with at least one handler that this node can run",
            "; ".join(f"{name} {reason}" for name, reason in excluded.items())
            or "no shim configuration in the payload",
            f"If this node can run one of them ({', '.join(by_name)}), name it in coco_handlers."
            if by_name
            else "Use another payload for this node, or leave the node out of the inventory's group.",
        )
    return Choice(tuple(chosen), excluded)
