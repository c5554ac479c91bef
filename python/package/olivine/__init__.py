"""Olivine: a log-structured key-value store in process, and clients for its server.

>>> import olivine, tempfile
>>> db = olivine.Db(tempfile.mkdtemp() + "/store")
>>> db.put("apple", "red")
>>> db.get("apple")
b'red'
>>> db["lime"] = b"green"
>>> [(key, value) for key, value in db.items(prefix="a")]
[(b'apple', b'red')]
>>> db.close()
"""

from ._aio import AsyncClient
from ._client import Client
from ._db import Batch, Db, Keyspace, Mapping, Snapshot, Transaction
from ._olivine import __version__
from .errors import (
    Busy,
    Closed,
    Conflict,
    Corruption,
    DiskFull,
    Error,
    Invalid,
    Locked,
    NotFound,
    Poisoned,
    ReadOnly,
    ServerError,
    Timeout,
    Unanswered,
    Unreachable,
)

__all__ = [
    "AsyncClient",
    "Batch",
    "Busy",
    "Client",
    "Closed",
    "Conflict",
    "Corruption",
    "Db",
    "DiskFull",
    "Error",
    "Invalid",
    "Keyspace",
    "Locked",
    "Mapping",
    "NotFound",
    "Poisoned",
    "ReadOnly",
    "ServerError",
    "Snapshot",
    "Timeout",
    "Transaction",
    "Unanswered",
    "Unreachable",
    "__version__",
]
