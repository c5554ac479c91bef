"""What can go wrong, as one tree; each says in its text what to do next."""

__all__ = [
    "Busy",
    "Closed",
    "Conflict",
    "Corruption",
    "DiskFull",
    "Error",
    "Invalid",
    "Locked",
    "NotFound",
    "Poisoned",
    "ReadOnly",
    "ServerError",
    "Timeout",
    "Unanswered",
    "Unreachable",
]


class Error(Exception):
    """Something that was asked for did not happen."""


class NotFound(Error, KeyError):
    """There is no such key, keyspace or file."""

    def __str__(self) -> str:
        # KeyError would show its text in quotes.
        return Exception.__str__(self)


class Corruption(Error):
    """What is on the disk is not what was written. Trying again cannot help."""


class Locked(Error):
    """Somebody else has the store open; the text names their process."""


class Closed(Error, ValueError):
    """The handle, or the store it belongs to, was closed."""


class Invalid(Error, ValueError):
    """An argument is out of its bounds; nothing was done."""


class Conflict(Error):
    """Somebody has written to what the transaction had read. Run it again."""


class Busy(Error):
    """The store is behind its work; nothing was done. Try again in a moment."""


class DiskFull(Error, OSError):
    """There is no room on the disk; reads go on, and writes will when there is."""


class Poisoned(Error):
    """A write or a sync failed, and the store takes no more. Open it again."""


class ReadOnly(Error):
    """The store was opened to be read only."""


class Timeout(Error, TimeoutError):
    """There was no answer in time. A write may have been carried out."""


class Unreachable(Error, ConnectionError):
    """The server cannot be reached, and was not asked."""


class Unanswered(Error, ConnectionError):
    """The connection broke before the answer came. A write may have been carried out."""


class ServerError(Error):
    """The server answered that it would not; `code` is for programs."""

    def __init__(self, message: str, code: str = "failed") -> None:
        super().__init__(message)
        self.code = code
