"""Files, folders and links of a node, always relative to folder descriptors and never through a link.

Outside of homes every folder on the way belongs to root. Inside a home everything happens with the site's own rights.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from types import TracebackType
from typing import Literal, NamedTuple, Self

from hosthold.node.failure import NodeFailure
from hosthold.node.identity import acting_as, synchronise
from hosthold.node.quota import limit, make_limited
from hosthold.node.removal import remove_folder
from hosthold.types.node import NodeLayout, Owner
from hosthold.types.resource import Directory, File, Link, Quota

PathResource = Directory | File | Link
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ_LIMIT = 4 * 1_048_576


class Observed(NamedTuple):
    """What lies at a path now."""

    kind: Literal["directory", "file", "link", "other"]
    mode: int
    owner: Owner
    body: bytes = b""
    """A file's content (as far as a resource could reach), or a link's target."""

    @property
    def digest(self) -> str:
        """Equal for two states exactly if nothing that a resource declares differs."""
        head = f"{self.kind} {self.mode:o} {self.owner.uid}:{self.owner.gid}\n"
        return hashlib.sha256(head.encode() + self.body).hexdigest()


def declared(resource: PathResource) -> Observed:
    """What will be observed once the resource is written."""
    if isinstance(resource, Directory):
        return Observed("directory", resource.mode, resource.owner)
    if isinstance(resource, File):
        return Observed("file", resource.mode, resource.owner, resource.content.encode())
    return Observed("link", 0, resource.owner, resource.target.encode())


class Tree:
    """The folders of a node, opened one below the other and kept open while an order is handled."""

    def __init__(self, layout: NodeLayout) -> None:
        self.layout = layout
        self._folders: dict[str, int] = {}
        self._homes = layout.sites + "/"
        self.is_lazy = False
        """Whether nothing is flushed by itself: whoever writes many files flushes them all at once."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.forget()

    def forget(self) -> None:
        """Close all descriptors."""
        while self._folders:
            os.close(self._folders.popitem()[1])

    def root_of(self, path: str) -> str:
        """The one of the node's two folders that holds the path."""
        for root in (self.layout.run, self.layout.state):
            if path.startswith(root + "/"):
                return root
        raise NodeFailure("OrderRefused", f"{path} is not below the node's folders", "", is_permanent=True)

    def folder(self, path: str) -> int:
        """A descriptor of the folder at this path; no component below the node's folders may be a link."""
        known = self._folders.get(path)
        if known is None:
            if path in (self.layout.run, self.layout.state):
                known = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            else:
                parent, _, name = path.rpartition("/")
                known = os.open(name, _FOLDER, dir_fd=self.folder(parent))
            self._folders[path] = known
        return known

    def parent(self, path: str) -> tuple[int, str]:
        """The descriptor of the folder that holds this path, and the path's last part."""
        head, _, name = path.rpartition("/")
        return self.folder(head), name

    def home_of(self, path: str) -> str | None:
        """The home inside which the path lies; a home itself lies in none."""
        if not path.startswith(self._homes):
            return None
        parts = path[len(self._homes) :].split("/", 2)
        return f"{self._homes}{parts[0]}/home" if len(parts) > 2 and parts[1] == "home" else None

    def observe(self, path: str) -> Observed | None:
        """What is at the path outside of homes; `None` if nothing is."""
        try:
            folder, name = self.parent(path)
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return None
        mode, owner = stat.S_IMODE(status.st_mode), _owner(status.st_uid, status.st_gid)
        if stat.S_ISDIR(status.st_mode):
            return Observed("directory", mode, owner)
        if stat.S_ISLNK(status.st_mode):
            return Observed("link", 0, owner, os.fsencode(os.readlink(name, dir_fd=folder)))
        if not stat.S_ISREG(status.st_mode):
            return Observed("other", mode, owner)
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        with os.fdopen(descriptor, "rb") as file:
            return Observed("file", mode, owner, file.read(_READ_LIMIT))

    def stage(self, resource: File | Link, temporary: str) -> None:
        """Write the new file or link beside its place, whole and on disk, under a name of its own."""
        folder, _ = self.parent(resource.path)
        if isinstance(resource, Link):
            os.symlink(resource.target, temporary, dir_fd=folder)
            os.chown(temporary, resource.owner.uid, resource.owner.gid, dir_fd=folder, follow_symlinks=False)
            return
        _write(folder, temporary, resource, flush=not self.is_lazy)

    def flush(self) -> None:
        """Make all that was written durable at once, where it must survive a reboot (syncfs(2))."""
        synchronise(self.folder(self.layout.state))

    def replace(self, path: str, temporary: str) -> None:
        """Let the staged file or link take its place in one step."""
        folder, name = self.parent(path)
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)

    def make_directory(self, resource: Directory) -> None:
        """Make the folder; it appears with its owner and mode or is private meanwhile."""
        folder, name = self.parent(resource.path)
        if resource.quota is None:
            os.mkdir(name, 0o700, dir_fd=folder)
        else:
            make_limited(folder, name)
            limit(self.folder(resource.path), resource.quota)
        self.set_attributes(resource.path, resource.owner, resource.mode)

    def set_attributes(self, path: str, owner: Owner, mode: int) -> None:
        """Give the folder its owner and mode."""
        descriptor = self.folder(path)
        os.fchown(descriptor, owner.uid, owner.gid)
        os.fchmod(descriptor, mode)

    def set_quota(self, path: str, quota: Quota) -> None:
        """Give the folder another quota, where the file system can enforce one."""
        limit(self.folder(path), quota)

    def move(self, path: str, kept: str) -> None:
        """Move what is at one path to the other, replacing what is there; both on one file system."""
        source, target = self.parent(path), self.parent(kept)
        os.rename(source[1], target[1], src_dir_fd=source[0], dst_dir_fd=target[0])
        self._drop(path)

    def keep(self, path: str, kept: str) -> None:
        """Give the file or link at `path` a second name, under which it survives being replaced."""
        source, target = self.parent(path), self.parent(kept)
        os.link(source[1], target[1], src_dir_fd=source[0], dst_dir_fd=target[0], follow_symlinks=False)

    def exists(self, path: str) -> bool:
        """Whether anything is at the path outside of homes."""
        try:
            folder, name = self.parent(path)
            os.stat(name, dir_fd=folder, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def remove(self, path: str) -> None:
        """Remove what is at the path, a folder with all that is in it; nothing there is not an error."""
        try:
            folder, name = self.parent(path)
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return
        if not stat.S_ISDIR(status.st_mode):
            os.unlink(name, dir_fd=folder)
            return
        self._drop(path)
        try:
            os.rmdir(name, dir_fd=folder)
        except OSError:
            remove_folder(folder, name)

    def sync(self, path: str) -> None:
        """Make the folder's entries durable; one that is gone, or that need not survive a reboot, needs nothing."""
        if self.is_lazy or (path + "/").startswith(self.layout.run + "/"):
            return
        with suppress(FileNotFoundError, NotADirectoryError):
            os.fsync(self.folder(path))

    def exists_at_home(self, path: str, owner: Owner) -> bool:
        """Whether anything is at a path inside a home, or what leads there is not the site's plain folders."""
        try:
            home = self.folder(self._home(path))
            with acting_as(owner):
                folder = self._folder_at_home(home, path.rpartition("/")[0])
                try:
                    os.stat(path.rpartition("/")[2], dir_fd=folder, follow_symlinks=False)
                finally:
                    os.close(folder)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return True

    def create_at_home(self, owner: Owner, resources: Sequence[Directory | File]) -> None:
        """Make folders and seeds inside one home, with its owner's rights; what is there already stays as it is."""
        home = self.folder(self._home(resources[0].path))
        folders: dict[str, int] = {}
        try:
            with acting_as(owner):
                for resource in resources:
                    path, _, name = resource.path.rpartition("/")
                    if path not in folders:
                        folders[path] = self._folder_at_home(home, path)
                    with suppress(FileExistsError):
                        self._create_at_home(folders[path], name, resource)
        finally:
            for folder in folders.values():
                os.close(folder)

    def _create_at_home(self, folder: int, name: str, resource: Directory | File) -> None:
        if isinstance(resource, File):
            _write(folder, name, resource, flush=not self.is_lazy)
        else:
            os.mkdir(name, 0o700, dir_fd=folder)
            made = os.open(name, _FOLDER, dir_fd=folder)
            try:
                os.fchmod(made, resource.mode)
            finally:
                os.close(made)
        if not self.is_lazy:
            os.fsync(folder)

    def remove_at_home(self, path: str, owner: Owner) -> None:
        """Remove a file or an empty folder inside a home, with the rights of its owner; a full folder stays."""
        with suppress(OSError):
            self._remove_at_home(self.folder(self._home(path)), path, owner)

    def _remove_at_home(self, home: int, path: str, owner: Owner) -> None:
        with acting_as(owner):
            folder = self._folder_at_home(home, path.rpartition("/")[0])
            name = path.rpartition("/")[2]
            try:
                if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                    os.rmdir(name, dir_fd=folder)
                else:
                    os.unlink(name, dir_fd=folder)
            finally:
                os.close(folder)

    def _home(self, path: str) -> str:
        home = self.home_of(path)
        if home is None:
            raise NodeFailure("OrderRefused", f"{path} is not inside a home", "", is_permanent=True)
        return home

    def _folder_at_home(self, home: int, path: str) -> int:
        """A new descriptor of a home, or of a folder inside it; links on the way are refused by the kernel (ELOOP)."""
        folder = os.open(".", _FOLDER, dir_fd=home)
        for name in path[len(self._homes) :].split("/")[2:]:
            try:
                inner = os.open(name, _FOLDER, dir_fd=folder)
            finally:
                os.close(folder)
            folder = inner
        return folder

    def _drop(self, path: str) -> None:
        for known in [known for known in self._folders if known == path or known.startswith(path + "/")]:
            os.close(self._folders.pop(known))


@lru_cache(1024)
def _owner(uid: int, gid: int) -> Owner:
    return Owner(uid=uid, gid=gid)


def _write(folder: int, name: str, resource: File, *, flush: bool) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    file = os.open(name, flags, 0o600, dir_fd=folder)
    try:
        content = memoryview(resource.content.encode())
        while content:
            content = content[os.write(file, content) :]
        status = os.fstat(file)
        if (status.st_uid, status.st_gid) != (resource.owner.uid, resource.owner.gid):
            os.fchown(file, resource.owner.uid, resource.owner.gid)
        os.fchmod(file, resource.mode)
        if flush:
            os.fsync(file)
    finally:
        os.close(file)
