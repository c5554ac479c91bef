"""Classes of programs that came before, under their names, arguments and results.

`from olivine.compat import KVClient, StorageEngine, LSMEngine`, or, for programs that are to stay as they are, one line
before theirs:

>>> import olivine.compat; olivine.compat.install()
>>> from client import KVClient
>>> from storage_engine import StorageEngine
>>> from lsm_engine import LSMEngine

A key that is str has a value that is str, and one that is bytes has one that is bytes; what is missing is None.
"""

from __future__ import annotations

import sys
import types
from typing import Any, Iterable, Union

from .._client import Client
from .._db import Db
from ..errors import Invalid

__all__ = ["KVClient", "LSMEngine", "StorageEngine", "install"]

Data = Union[bytes, str]


def _like(key: Data, held: bytes | None) -> Any:
    """What is held, as text if the key is."""
    if held is None or not isinstance(key, str):
        return held
    try:
        return held.decode()
    except UnicodeDecodeError:
        return held


def _entries(memory: int, name: str) -> int:
    if memory < 1:
        raise Invalid(f"`{name}` is at least 1")
    return memory


class StorageEngine:
    """A store in a directory, whose memtable is flushed after so many entries."""

    def __init__(self, data_dir: str = "./data", memtable_size: int = 1000) -> None:
        self.data_dir, self.memtable_size = data_dir, memtable_size
        self._db = Db(data_dir, memtable_entries=_entries(memtable_size, "memtable_size"))

    def put(self, key: Data, value: Data) -> bool:
        self._db.put(key, value)
        return True

    def get(self, key: Data) -> Any:
        return _like(key, self._db.get(key))

    def batch_put(self, keys: Iterable[Data], values: Iterable[Data]) -> bool:
        """Stores all of them or none."""
        keys, values = list(keys), list(values)
        if len(keys) != len(values):
            raise Invalid("Keys and values must have the same length")
        self._db.put_many(zip(keys, values))
        return True

    def get_range(self, start_key: Data, end_key: Data) -> list[tuple[Any, Any]]:
        """Keys from `start_key` to `end_key`, which both belong to it, with their values."""
        end = end_key.encode() if isinstance(end_key, str) else bytes(end_key)
        found = self._db.items(start_key, end + b"\0")
        return [(_like(start_key, key), _like(start_key, value)) for key, value in found]

    def delete(self, key: Data) -> bool:
        self._db.delete(key)
        return True

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> StorageEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Log:
    """The log of an `LSMEngine`: closing it brings it to the disk."""

    def __init__(self, db: Db) -> None:
        self._db = db

    def close(self) -> None:
        if not self._db.closed:
            self._db.sync()


class LSMEngine:
    """A store in a directory, whose memtable is flushed after so many entries.

    `sparsity_index` is by how many entries the source's index was sparse; blocks are as large as that many small entries.
    """

    def __init__(self, db_folder: str = "lsm_db", capacity: int = 100, sparsity_index: int = 10) -> None:
        self.db_folder, self.capacity, self.sparsity_index = db_folder, capacity, sparsity_index
        block = min(max(_entries(sparsity_index, "sparsity_index") * 64, 1 << 10), 64 << 10)
        self._db = Db(db_folder, memtable_entries=_entries(capacity, "capacity"), block_bytes=block)
        self.wal = _Log(self._db)

    def set(self, key: Data, value: Data) -> None:
        self._db.put(key, value)

    def get(self, key: Data) -> Any:
        return _like(key, self._db.get(key))

    def delete(self, key: Data) -> None:
        self._db.delete(key)

    def flush(self) -> None:
        self._db.flush()

    def close(self) -> None:
        self._db.close()


class KVClient:
    """A client of the server, connected for as long as a `with` lasts, or until `close`."""

    def __init__(self, host: str = "localhost", port: int = 9999) -> None:
        self.host, self.port = host, port
        self._client: Client | None = None

    def connect(self) -> None:
        if self._client is None:
            self._client = Client(self.host, self.port, connections_max=1)
            self._client.ping()

    def _connected(self) -> Client:
        self.connect()
        assert self._client is not None
        return self._client

    def put(self, key: Data, value: Any) -> bool:
        return self._connected().put(key, value)

    def get(self, key: Data) -> Any:
        return self._connected().get(key)

    def batch_put(self, keys: Iterable[Data], values: Iterable[Any]) -> bool:
        self._connected().batch_put(keys, values)
        return True

    def get_range(self, start_key: Data, end_key: Data) -> list[tuple[Any, Any]]:
        return self._connected().get_range(start_key, end_key)

    def delete(self, key: Data) -> bool:
        return self._connected().delete(key)

    def ping(self) -> bool:
        return self._connected().ping()

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def __enter__(self) -> KVClient:
        self.connect()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def install() -> None:
    """Lets `client`, `storage_engine` and `lsm_engine` be imported by these names."""
    for name, of in (("client", KVClient), ("storage_engine", StorageEngine), ("lsm_engine", LSMEngine)):
        module = types.ModuleType(name, f"olivine.compat's {of.__name__}")
        setattr(module, of.__name__, of)
        sys.modules[name] = module
