"""Links to the page: each opens it once. They lie in the state folder as files named by their hash.

For a first look at made-up patients: whoever may read that folder may make a link; nobody else can.
"""

import hashlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class PageLinks:
    """One-time tokens, shared between the running bridge and its command line."""

    folder: Path

    def make(self) -> str:
        """Return a new token."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.geteuid() == 0:
            # An administrator's command: the service, whose state folder it is, must be able to use it up.
            owner = self.folder.parent.stat()
            os.chown(self.folder, owner.st_uid, owner.st_gid)
        token = secrets.token_urlsafe(32)
        os.close(os.open(self._file(token), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        return token

    def redeem(self, token: str) -> bool:
        """Tell whether a token is good, and use it up: of two who come at once, one enters."""
        try:
            self._file(token).unlink()
        except FileNotFoundError:
            return False
        return True

    def _file(self, token: str) -> Path:
        return self.folder / hashlib.sha256(token.encode()).hexdigest()
