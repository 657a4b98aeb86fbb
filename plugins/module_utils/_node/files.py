# Copyright: (c) 2026, the confidential_containers.runtime authors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""Files and directories, changed so that a crash leaves either the old or the new file, never half of one.

Also what else a disk asks for: free room, holes in sparse files, attributes, and durable changes.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import shutil
import stat
import sys
import typing as t

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal

#: The smallest run of zeros, in bytes, that becomes a hole.
_HOLE = 64 << 10
_ZEROS = bytes(_HOLE)
#: Bytes that a run leaves free at least.
_SPARE = 64 << 20
_SPARE_FILES = 1000
#: The extended attribute that holds the capabilities of a program.
CAPABILITY = "security.capability"
#: The ending of our temporary files. Not ``.toml``: engines import ``*.toml``, hidden files included.
TEMPORARY = ".confidential-containers~"

#: Extended attributes that the kernel computes from a file's content. They do not fit a new content.
_OF_THE_CONTENT = ("security.ima", "security.evm")

# statx(2), which Python does not have before 3.15.
_AT_FDCWD = -100
_AT_SYMLINK_NOFOLLOW = 0x100
_STATX_SIZE = 256
_STATX_ATTRIBUTES = slice(8, 16)
_STATX_ATTR_IMMUTABLE = 0x10
_STATX_ATTR_APPEND = 0x20


def sha256(data: bytes) -> str:
    """Return the digest as image manifests write it: ``sha256:<hex>``."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def sha256_file(path: str) -> str:
    """Return the digest of a file's content. Reads the file in blocks."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return "sha256:" + digest.hexdigest()


def has_content(path: str, data: bytes) -> bool:
    """Tell whether the file at ``path`` holds exactly ``data``."""
    try:
        with open(path, "rb") as stream:
            return stream.read() == data
    except FileNotFoundError:
        return False


def fsync_directory(path: str) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_filesystem(path: str) -> None:
    """Make durable all that was written to the file system of ``path``: one call instead of one for each file."""
    try:
        import ctypes  # some Pythons lack it
    except ImportError:
        os.sync()  # all file systems: takes longer, and reports no failure
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), path)
    finally:
        os.close(descriptor)


def sync(paths: t.Iterable[str]) -> None:
    """Make durable what has changed at these paths, or where they were: one call for each file system.

    Call this before you remove the record that asks for the change. The record may lie on another file system. A power cut
    could otherwise lose the change but keep the removal of its record.
    """
    systems = {}
    for path in paths:
        while not os.path.isdir(path):
            path = os.path.dirname(path)
        systems[os.stat(path).st_dev] = path
    for path in systems.values():
        sync_filesystem(path)


def is_immutable(path: str) -> bool:
    """Tell whether even root cannot change a file or directory, because of ``chattr +i`` or ``+a``."""
    try:
        import ctypes
    except ImportError:
        return False  # the change itself will fail, and say why
    found = ctypes.create_string_buffer(_STATX_SIZE)
    statx = getattr(ctypes.CDLL(None), "statx", None)  # not in the C library of Ubuntu 18.04, for example
    if statx is None or statx(_AT_FDCWD, os.fsencode(path), _AT_SYMLINK_NOFOLLOW, 0, found) != 0:
        return False
    attributes = int.from_bytes(found.raw[_STATX_ATTRIBUTES], sys.byteorder)
    return bool(attributes & (_STATX_ATTR_IMMUTABLE | _STATX_ATTR_APPEND))


def write_with_holes(target: io.FileIO, block: bytes) -> None:
    """Write a block, with holes for long runs of zeros: guest images are sparse.

    In the end, the caller has to truncate the file to its size: a hole at its end does not lengthen it.
    """
    view, written = memoryview(block), 0
    for start in range(0, len(block), _HOLE):
        if block.startswith(_ZEROS, start):
            _write_all(target, view[written:start])
            target.seek(_HOLE, os.SEEK_CUR)
            written = start + _HOLE
    _write_all(target, view[written:])


def _write_all(target: io.FileIO, view: memoryview) -> None:
    while view:
        view = view[target.write(view) :]


def begin_writing(target: io.FileIO) -> None:
    """Let the kernel begin to write a file to the disk.

    Otherwise the kernel waits, and :func:`sync_filesystem` has to wait for all files at once.
    """
    with contextlib.suppress(OSError):
        # This call is meant to drop the file from the page cache. For that, the kernel begins to write the file.
        os.posix_fadvise(target.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def require_room(directory: str, least: int, what: str, remedy: str = "Make room there.") -> None:
    """Refuse to begin without room for ``what``: ``least`` bytes, a reserve beside them, and some inodes."""
    least += _SPARE
    found = os.statvfs(directory)
    free = found.f_bavail * found.f_frsize
    if free < least or (found.f_files > 0 and found.f_favail < _SPARE_FILES):
        raise Refusal(
            f"room for {what} in {directory}: at least {least >> 20} MiB and {_SPARE_FILES} files",
            f"{free >> 20} MiB and {found.f_favail} files free",
            remedy,
        )


def temporary(path: str, waiting: str = "") -> str:
    """Return the name under which a new ``path`` is made: beside it, or in the directory ``waiting``.

    The name is always the same, so that the next process finds what a killed one has left.
    """
    return os.path.join(waiting or os.path.dirname(path), f".{os.path.basename(path)}{TEMPORARY}")


def write_atomically(path: str, data: bytes, mode: int = 0o644, waiting: str = "") -> None:
    """Replace ``path`` (or the file that a link of that name points to) with a file that holds ``data``, durably.

    The new file gets owner, mode and extended attributes (the SELinux label is one) of the file that it replaces. A file
    that is not there yet gets ``mode``. Only one process may write a path at a time: the callers hold the lock.
    ``waiting``: the directory in which the new file is made, of the same file system.
    """
    path = os.path.realpath(path)
    present = os.stat(path) if os.path.exists(path) else None
    new = temporary(path, waiting)
    remove_file(new)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            if present is not None:
                os.fchown(stream.fileno(), present.st_uid, present.st_gid)
                _copy_attributes(path, stream.fileno())
            os.fchmod(stream.fileno(), stat.S_IMODE(present.st_mode) if present is not None else mode)
            stream.flush()
            os.fsync(stream.fileno())
        os.rename(new, path)
    except BaseException:
        os.unlink(new)
        raise
    fsync_directory(os.path.dirname(path))


def _copy_attributes(source: str, target: int) -> None:
    """Give a new file the extended attributes of the file that it replaces, such as the SELinux label and the ACL."""
    for name in _attributes(source):
        try:
            value = os.getxattr(source, name)
            if _attributes(target).count(name) and os.getxattr(target, name) == value:
                continue
            os.setxattr(target, name, value)
        except OSError as error:
            if error.errno == errno.ENOTSUP:
                continue
            raise Refusal(
                f"{source} to keep its extended attribute {name}",
                f"that the system refuses it to the new file: {error.strerror}",
                f"Without it the file would not be what it was ('getfattr -d -m - {source}' shows it). Nothing was written there.",
            ) from error


def _attributes(file: str | int) -> list[str]:
    """Return the names of the extended attributes to keep: none on a file system without such attributes."""
    try:
        return [name for name in os.listxattr(file) if name not in _OF_THE_CONTENT]
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return []
        raise


def write_json(path: str, value: t.Any) -> None:
    """Write a document of our state. Only root can read it; it is replaced atomically."""
    write_atomically(path, (json.dumps(value, indent=1, sort_keys=True) + "\n").encode(), mode=0o600)


def read_json(path: str) -> t.Any:
    """Return the document at ``path``, None if there is none."""
    try:
        with open(path, encoding="utf-8") as stream:
            return json.load(stream)
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise Refusal(f"{path} as this collection wrote it", f"no JSON ({error})", damaged(path)) from error


def damaged(path: str) -> str:
    """Say what to do about a document of ours that somebody, or a disk, has damaged."""
    return (
        f"Bring {path} back from a backup of the node. Without one, move it away: this collection then knows nothing of what it "
        "says, and what is on the node because of it stays there."
    )


def remove_file(path: str) -> bool:
    """Remove a file or link; return whether it was there."""
    if not os.path.lexists(path):  # on a read-only file system, even the removal of a missing file fails
        return False
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    return True


def set_link(path: str, target: str | None) -> None:
    """Let ``path`` be a link to ``target``, atomically and durably; None removes it."""
    if target is None:
        remove_file(path)
    else:
        new = temporary(path)
        remove_file(new)
        os.symlink(target, new)
        os.rename(new, path)
    if os.path.isdir(os.path.dirname(path)):
        fsync_directory(os.path.dirname(path))


def remove_tree(path: str) -> bool:
    """Remove a directory of ours and all that is in it. Return whether it was there. A mount point is emptied, and stays."""
    if not os.path.lexists(path):
        return False
    try:
        shutil.rmtree(path)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        _empty(path)
        remove_empty_directories([path])
    return True


def _empty(directory: str) -> None:
    with os.scandir(directory) as found:
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                _empty(entry.path)
                remove_empty_directories([entry.path])
            else:
                os.unlink(entry.path)


def disk_usage(path: str) -> int:
    """Return how many bytes on the disk all files below a directory take."""
    found = {}
    for directory, _directories, names in os.walk(path):
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # a run at work may move them
                state = os.lstat(os.path.join(directory, name))
                found[state.st_ino] = state.st_blocks * 512
    return sum(found.values())


def make_directories(path: str, mode: int = 0o755) -> list[str]:
    """Create ``path`` and its missing parents; return those that were created, parents first."""
    missing = missing_directories(path)
    for directory in missing:
        os.mkdir(directory)
        os.chmod(directory, mode)
    return missing


def missing_directories(path: str) -> list[str]:
    """Return what :func:`make_directories` would create."""
    missing: list[str] = []
    while path and not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    return missing[::-1]


def remove_empty_directories(paths: t.Iterable[str]) -> list[str]:
    """Remove those of our directories that are empty, children first. Return those that stayed."""
    stayed = []
    for path in sorted(paths, key=len, reverse=True):
        try:
            os.rmdir(path)
        except FileNotFoundError:
            continue
        except OSError:
            stayed.append(path)
    return stayed
