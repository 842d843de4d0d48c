"""The profiles in use: those that come with Kiteline, or a newer signed bundle that lies in the state folder.

`incoming.bundle` is put there to be taken at the next start; `current.bundle` is the last good one; a bundle
that is not taken is set aside as `refused.bundle`. `highest` is the highest version ever used: nothing older
is taken again. Each is replaced as a whole, in this order, so that a power cut leaves the old or the new one:
current, highest, then incoming is removed.
"""

import os
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from device_drivers.bundle import MAX_BYTES, Bundle, built_in_version, open_bundle
from device_drivers.catalogue import Catalogue
from edge_agent.durable import replace, sync_folder
from wire_format.errors import KitelineError, Misconfigured, Rejected
from wire_format.keys import VerifyKey

FOLDER: Final = "profiles"
INCOMING: Final = "incoming.bundle"
CURRENT: Final = "current.bundle"
REFUSED: Final = "refused.bundle"
HIGHEST: Final = "highest"
_MODE: Final = 0o644  # public, and written by root for the service's user


@dataclass(slots=True)
class Shelf:
    """The bundles of one gateway. `refusals` say in words what was not taken at this start, `taken` what was.

    With `take` False it is only looked at: nothing is taken, moved or remembered.
    """

    folder: Path
    key: VerifyKey | None
    enabled: Collection[str] = ()
    take: bool = True
    built_in: int = field(default_factory=built_in_version)
    refusals: list[str] = field(default_factory=list)
    taken: Bundle | None = None

    def catalogue(self) -> Catalogue:
        """Take what came in, and return the catalogue to use. Only `enabled` can make it raise."""
        current = self._kept()
        incoming = self.folder / INCOMING
        if self.take and incoming.exists():
            current = self._take(incoming, current) or current
        if current is None or current.version <= self.built_in:
            return Catalogue(enabled=self.enabled)
        return Catalogue(current.profiles(), self.enabled)

    def install(self, data: bytes) -> Bundle:
        """Put a bundle there for the next start; raises what that start would say of it."""
        bundle = self._judged(data, self._kept())
        self.folder.mkdir(parents=True, exist_ok=True)
        replace(self.folder / INCOMING, data, _MODE)
        for path in (self.folder, self.folder / INCOMING):
            self._hand_over(path)
        return bundle

    def _kept(self) -> Bundle | None:
        """Return the last good bundle, if it still is one."""
        path = self.folder / CURRENT
        if not path.exists():
            return None
        try:
            bundle = self._opened(_read(path))
            if bundle.version < self._highest():
                raise Rejected(
                    f"It is version {bundle.version}; version {self._highest()} was in use before."
                )
        except KitelineError as error:
            self._refuse(path, error)
            return None
        self._remember(bundle.version)
        return bundle

    def _take(self, path: Path, current: Bundle | None) -> Bundle | None:
        try:
            data = _read(path)
            bundle = self._judged(data, current)
        except KitelineError as error:
            self._refuse(path, error)
            return None
        if current is None or bundle.digest != current.digest:
            replace(self.folder / CURRENT, data, _MODE)
            self._remember(bundle.version)
        self.taken = bundle
        path.unlink()
        sync_folder(self.folder)
        return bundle

    def _judged(self, data: bytes, current: Bundle | None) -> Bundle:
        """Return a bundle that may be used after `current`, or which it is; raises otherwise."""
        bundle = self._opened(data)
        if current is not None and bundle.digest == current.digest:
            return bundle
        least = max(self.built_in, current.version if current else 0)
        if bundle.version <= least:
            raise Rejected(
                f"It is version {bundle.version}; version {least} is in use: only a newer one is taken."
            )
        if bundle.version < self._highest():
            raise Rejected(f"It is version {bundle.version}; version {self._highest()} was in use before.")
        return bundle

    def _opened(self, data: bytes) -> Bundle:
        if self.key is None:
            raise Misconfigured(
                "No key is known to check it with: name the publisher's in the configuration, [profiles] key."
            )
        bundle = open_bundle(data, self.key)
        Catalogue(bundle.profiles(), self.enabled)  # it may need a newer Kiteline
        return bundle

    def _refuse(self, path: Path, error: KitelineError) -> None:
        self.refusals.append(f"{path.name}: {error}")
        if self.take and self.key is not None:
            path.replace(self.folder / REFUSED)
            sync_folder(self.folder)

    def _highest(self) -> int:
        try:
            return int((self.folder / HIGHEST).read_text())
        except (OSError, ValueError):
            return 0

    def _remember(self, version: int) -> None:
        if self.take and version > self._highest():
            replace(self.folder / HIGHEST, b"%d\n" % version, _MODE)

    def _hand_over(self, path: Path) -> None:
        """Give what root wrote to the owner of the state folder: the service must be able to move it."""
        owner = self.folder.parent.stat()
        if os.geteuid() == 0:
            os.chown(path, owner.st_uid, owner.st_gid)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise Rejected(f"It cannot be read ({error.strerror}).") from error
