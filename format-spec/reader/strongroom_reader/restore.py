"""Writing a snapshot's entries into an empty folder."""

import os
import stat

from . import objects as o
from .errors import Refused, require

ZEROS = bytes(1 << 20)


def write_content(repository, entry, file):
    """Content to a stream, in order; holes become zeros."""
    for chunk_id, length in repository.content(entry):
        if chunk_id == o.HOLE:
            for start in range(0, length, len(ZEROS)):
                file.write(ZEROS[: length - start])
        else:
            file.write(repository.chunk(chunk_id, length))


def write_sparse(repository, entry, file):
    """Content to a new file; holes stay holes."""
    end = 0
    for chunk_id, length in repository.content(entry):
        if chunk_id != o.HOLE:
            file.seek(end)
            file.write(repository.chunk(chunk_id, length))
        end += length
    file.truncate(end)


class Restore:
    def __init__(self, repository, target, warn):
        require(not os.path.lexists(target) or os.listdir(target) == [], f"{target} is there and not empty")
        os.makedirs(target, exist_ok=True)
        self._repository, self._target, self._warn = repository, os.fsencode(target), warn
        self._files, self._directories = set(), []

    def run(self, snapshot):
        for entry in self._repository.entries(snapshot):
            path = os.path.join(self._target, entry.path)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            self._create(entry, path)
        for entry, path in reversed(self._directories):  # last, because writing into a folder changes its time
            self._set_metadata(entry, path)

    def _create(self, entry, path):
        if entry.link_to is not None and entry.link_to in self._files:
            os.link(os.path.join(self._target, entry.link_to), path, follow_symlinks=False)
            return
        if entry.kind in (o.FILE, o.STREAM):
            with open(path, "xb") as file:
                write_sparse(self._repository, entry, file)
        elif entry.kind == o.DIRECTORY:
            os.makedirs(path, exist_ok=True)
            os.chmod(path, 0o700)
            self._directories.append((entry, path))
            return
        elif entry.kind == o.SYMLINK:
            os.symlink(entry.target, path)
        elif not self._create_special(entry, path):
            return
        self._files.add(entry.path)
        if entry.kind != o.STREAM:
            self._set_metadata(entry, path)

    def _create_special(self, entry, path):
        kind = {o.CHARACTER_DEVICE: stat.S_IFCHR, o.BLOCK_DEVICE: stat.S_IFBLK, o.FIFO: stat.S_IFIFO}
        try:
            os.mknod(path, kind.get(entry.kind, stat.S_IFSOCK) | 0o600, os.makedev(*entry.device or (0, 0)))
            return True
        except PermissionError as error:
            self._warn(f"{entry.path!r} is left out: {error.strerror}")
            return False

    def _set_metadata(self, entry, path):
        if os.geteuid() == 0:
            os.chown(path, entry.uid, entry.gid, follow_symlinks=False)
        for name, value in entry.xattrs or []:
            try:
                os.setxattr(path, name, value, follow_symlinks=False)
            except OSError as error:
                self._warn(f"{entry.path!r}: attribute {name!r} is not set: {error.strerror}")
        if entry.kind != o.SYMLINK:
            os.chmod(path, entry.mode)
        os.utime(path, ns=(entry.mtime_ns, entry.mtime_ns), follow_symlinks=False)


def find_entry(repository, snapshot, path):
    for entry in repository.entries(snapshot):
        if entry.path == path:
            require(entry.content is not None, "it is neither a file nor a stream")
            return entry
    raise Refused(f"the snapshot has no {path!r}")
