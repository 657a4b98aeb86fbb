# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""References to payloads: what a user writes as ``coco_payload``, in the notation of containers-transports(5).

Nothing is opened here. ``_payload.tarball.open_source`` opens what a reference names.
"""

from __future__ import annotations

import difflib
import os
import posixpath
import re
import typing as t
from dataclasses import dataclass, replace

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal

#: Transports that name a file or a directory, and what messages call it.
PATHS: t.Mapping[str, str] = {
    "oci-archive": "an image archive",
    "docker-archive": "an image archive",
    "oci": "a directory with an OCI layout",
    "dir": "the directory of an extracted payload",
    "tarball": "a release tarball",
}
DAEMON = "docker-daemon"
REGISTRY = "docker"
TRANSPORTS = (REGISTRY, *PATHS, DAEMON)
#: Transports with which an image's name may follow the path.
_WITH_IMAGE = ("oci-archive", "docker-archive", "oci")

#: For a path without a transport: what its name looks like, and the transports that fit such a name.
_LOOKS_LIKE = (
    (re.compile(r".*kata.*static.*\.tar(\.\w+)?|.*\.(tar\.(gz|xz|zst)|tgz|txz|tzst)"), ("tarball",)),
    (re.compile(r".*docker.*\.tar"), ("docker-archive",)),
    (re.compile(r".*oci.*\.tar"), ("oci-archive",)),
    (re.compile(r".*\.tar"), ("oci-archive", "docker-archive", "tarball")),
    (re.compile(r".*"), ("dir", "oci")),
)
_IF = {
    "oci-archive": "skopeo or podman wrote it",
    "docker-archive": "docker save wrote it",
    "tarball": "it is a release tarball",
    "dir": "it is an extracted payload",
    "oci": "it has an OCI layout",
}
#: These cannot be references to a registry: a path, and the name of an archive.
_PATH = re.compile(r"(/|\./|\.\./|~).*|[^:]*\.(tar(\.(gz|xz|zst))?|tgz|txz|tzst)")
#: Nor can this: Docker would read its transport as a host with an empty port.
_OTHER_TRANSPORT = re.compile(r"(?P<name>[A-Za-z][-+\w]*):(?P<rest>/.*)")

_EXPECTED = f"coco_payload as one of {', '.join(f'{name}:' for name in TRANSPORTS)}"

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_HOST = re.compile(r"[a-zA-Z0-9]([-a-zA-Z0-9.]*[a-zA-Z0-9])?(:[0-9]{1,5})?|\[[0-9a-fA-F:]+\](:[0-9]{1,5})?")
_COMPONENT = re.compile(r"[a-z0-9]+((\.|__?|-+)[a-z0-9]+)*")
_TAG = re.compile(r"[\w][-.\w]{0,127}", re.ASCII)


@dataclass(frozen=True)
class Reference:
    """Where a payload is.

    ``path`` is a path; for ``docker`` it is the host and the repository, for ``docker-daemon`` an image's name. ``image`` is the
    image's name ('' where there is only one); for ``docker`` it is the tag. ``digest`` is what a ``docker`` reference has after
    its ``@``. ``others`` are the paths of further tarballs of the same release.
    """

    transport: str
    path: str
    image: str = ""
    digest: str = ""
    others: tuple[str, ...] = ()

    def __str__(self) -> str:
        return ", ".join(self.texts) if self.others else self._text()

    def _text(self) -> str:
        slashes = "//" if self.transport == REGISTRY else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.transport}:{slashes}{self.path}" + (f":{self.image}" if self.image else "") + digest

    @property
    def paths(self) -> list[str]:
        """Return the path, and those of further tarballs."""
        return [self.path, *self.others]

    @property
    def texts(self) -> list[str]:
        """Return the texts from which :func:`parse` makes this reference."""
        return [replace(self, path=path, others=())._text() for path in self.paths]

    @property
    def image_name(self) -> str:
        """Return the name by which engines know an image of a registry: ``HOST/REPOSITORY:TAG`` or ``HOST/REPOSITORY@DIGEST``."""
        return self._text().partition("//")[2]

    def pinned(self, digest: str) -> Reference:
        """Return the reference that names an image of a registry by its digest, not by its tag."""
        return replace(self, image="", digest=digest)


def parse(payload: str | t.Sequence[str]) -> Reference:
    """Parse one reference, a list of one, or a list of several tarballs. The refusal says which part is wrong."""
    if isinstance(payload, str):
        return _one(payload)
    if not isinstance(payload, (list, tuple)) or not all(isinstance(text, str) for text in payload):
        raise Refusal(f"{_EXPECTED}, or a list of tarballs", repr(payload), "Write text, or a list of text.")
    first, *others = [_one(text) for text in payload] or [_one("")]
    for reference in (first, *others) if others else ():
        if reference.transport != "tarball":
            raise Refusal(
                "one payload in coco_payload, or a list in which each one is tarball:PATH",
                f"{reference} in a list of {len(payload)}",
                "Name one payload, or the tarballs of one release.",
            )
    paths = [reference.path for reference in (first, *others)]
    if len(set(paths)) != len(paths):
        raise Refusal("different tarballs in coco_payload", f"the same one twice in {paths}", "Name each one once.")
    return replace(first, others=tuple(paths[1:]))


def _one(text: str) -> Reference:
    """Parse ``TRANSPORT:…``. A text without a transport is a reference to a registry."""
    if not text:
        raise Refusal(_EXPECTED, "nothing", "Name the payload, for example oci-archive:/path/of/the/archive.")
    transport, _colon, rest = text.partition(":")
    if transport == REGISTRY and not rest.startswith("//"):
        raise _wrong(text, "no // after docker:", "Write docker://HOST/REPOSITORY:TAG.")
    if transport not in TRANSPORTS:
        _refuse_path(text)
    if transport == REGISTRY or transport not in TRANSPORTS:
        return _registry(text, rest[2:] if transport == REGISTRY else text)
    path, _colon, image = rest.partition(":") if transport in _WITH_IMAGE else (rest, "", "")
    if not path:
        what = "name" if transport == DAEMON else "path"
        raise _wrong(
            text, f"no {what} after {transport}:", f"Write {transport}:{'IMAGE' if what == 'name' else '/path/of/it'}."
        )
    return Reference(transport, path, image)


def _refuse_path(text: str) -> None:
    """Refuse a text that cannot name a payload in a registry, and suggest what the user may have meant."""
    if _PATH.fullmatch(text):
        raise _wrong(text, "no transport", f"Write {_offers(text)}.")
    other = _OTHER_TRANSPORT.fullmatch(text)
    if not other:
        return
    name, rest = other.group("name"), other.group("rest")
    meant = difflib.get_close_matches(name, TRANSPORTS, n=1)
    if name in ("http", "https"):
        offer = f"docker:{rest}"
    elif name == "file":
        offer = _offers(re.sub("^//+", "/", rest))
    else:
        offer = f"{meant[0]}:{rest}" if meant else "one of these transports before the path"
    raise _wrong(text, f"{name + ':'!r} as its transport", f"Write {offer}.")


def _offers(text: str) -> str:
    path = text.partition(":")[0].rstrip("/")
    known = next(names for looks, names in _LOOKS_LIKE if looks.fullmatch(posixpath.basename(path)))
    if len(known) == 1:
        return f"{known[0]}:{text}"
    return ", or ".join(f"{name}:{text} if {_IF[name]}" for name in known)


def on_controller(reference: Reference) -> Reference:
    """Return the reference with absolute paths; a relative one starts in the current directory."""
    path, *others = [os.path.abspath(os.path.expanduser(path)) for path in reference.paths]
    return replace(reference, path=path, others=tuple(others))


def _registry(text: str, rest: str) -> Reference:
    """Parse ``[HOST/]REPOSITORY[:TAG][@DIGEST]`` as Docker does: a first part that does not look like a host belongs to a
    repository of Docker Hub.
    """
    name, at, digest = rest.partition("@")
    if at and not DIGEST.fullmatch(digest):
        raise _wrong(text, f"{digest!r} as its digest", "Write sha256: and 64 hexadecimal digits behind the @.")
    head, slash, tail = name.rpartition("/")
    repository, colon, tag = tail.partition(":")
    if colon and not _TAG.fullmatch(tag):
        raise _wrong(
            text, f"{tag!r} as its tag", "Write letters, digits, dots, hyphens and underscores behind the last colon."
        )
    parts = f"{head}{slash}{repository}".split("/")
    host = parts.pop(0) if len(parts) > 1 and re.search(r"[.:]|^localhost$", parts[0]) else "docker.io"
    if host == "docker.io" and len(parts) == 1:
        parts.insert(0, "library")
    if not _HOST.fullmatch(host):
        raise _wrong(
            text,
            f"{host!r} as the registry's host",
            "Write the host, with its port if it has one, before the first slash.",
        )
    for part in parts:
        if not _COMPONENT.fullmatch(part):
            raise _wrong(
                text,
                f"{part!r} in the name of the repository",
                "Use lower-case letters, digits and single separators.",
            )
    return Reference(REGISTRY, "/".join([host, *parts]), tag if tag or digest else "latest", digest)


def _wrong(text: str, found: str, hint: str) -> Refusal:
    return Refusal(_EXPECTED, f"{found} in {text!r}", hint)
