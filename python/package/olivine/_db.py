"""The store in process: what `_olivine` does, in the shapes that Python has for it."""

from __future__ import annotations

import collections.abc
from contextlib import contextmanager
from typing import Any, Callable, Iterable, Iterator, TypeVar, Union

from . import _olivine
from .errors import Conflict, NotFound

Data = Union[bytes, bytearray, memoryview, str]
T = TypeVar("T")


class Keyspace:
    """A named, ordered map from bytes to bytes. Text is taken as UTF-8; what comes out is bytes."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        # What is called most is called without a step between.
        self.get = inner.get
        self.put = inner.put
        self.delete = inner.delete
        self.get_many = inner.get_many

    @property
    def name(self) -> str:
        return self._inner.name

    def get_str(self, key: Data, default: str | None = None) -> str | None:
        """The value as text."""
        value = self._inner.get(key)
        return default if value is None else value.decode()

    def put_if(self, key: Data, expected: Data | None, value: Data) -> bool:
        """Stores `value` if what is there is `expected`, None for nothing. Whether it did."""
        return self._inner.put_if(key, expected, value)

    def merge(self, key: Data, operand: Data) -> None:
        """Folds `operand` into the value with the keyspace's operator."""
        self._inner.merge(key, operand)

    def delete_range(self, start: Data, end: Data) -> None:
        """Takes away all keys from `start` up to `end`, which stays, with one write."""
        self._inner.delete_range(start, end)

    def items(
        self,
        start: Data | None = None,
        end: Data | None = None,
        *,
        prefix: Data | None = None,
        reverse: bool = False,
        limit: int | None = None,
    ) -> Iterator[tuple[bytes, bytes]]:
        """Entries from `start` up to `end`, or those whose keys begin with `prefix`, as of this moment."""
        return self._inner.items(start, end, prefix=prefix, reverse=reverse, limit=limit)

    def keys(
        self,
        start: Data | None = None,
        end: Data | None = None,
        *,
        prefix: Data | None = None,
        reverse: bool = False,
        limit: int | None = None,
    ) -> Iterator[bytes]:
        """The keys of `items`."""
        return self._inner.keys(start, end, prefix=prefix, reverse=reverse, limit=limit)

    def values(
        self,
        start: Data | None = None,
        end: Data | None = None,
        *,
        prefix: Data | None = None,
        reverse: bool = False,
        limit: int | None = None,
    ) -> Iterator[bytes]:
        """The values of `items`."""
        return self._inner.values(start, end, prefix=prefix, reverse=reverse, limit=limit)

    def size_of_range(self, start: Data | None = None, end: Data | None = None) -> int:
        """About how many bytes of tables the range takes."""
        return self._inner.size_of_range(start, end)

    def as_dict(self, *, text: bool = False) -> Mapping:
        """The keyspace as a dict with keys in order; with `text`, of str instead of bytes."""
        return Mapping(self, text=text)

    def __contains__(self, key: Data) -> bool:
        return self._inner.contains(key)

    def __getitem__(self, key: Data) -> bytes:
        value = self._inner.get(key)
        if value is None:
            raise NotFound(f"there is no key {key!r}")
        return value

    def __setitem__(self, key: Data, value: Data) -> None:
        self._inner.put(key, value)

    def __delitem__(self, key: Data) -> None:
        self[key]
        self._inner.delete(key)

    def __iter__(self) -> Iterator[bytes]:
        return self._inner.keys()

    def __repr__(self) -> str:
        return f"<olivine.Keyspace {self.name!r}>"


class Db(Keyspace):
    """A store in a directory, and its keyspace `default`.

    Writes are on the disk when they return, unless `durability` says otherwise: "sync", "os" (the kernel has them) or
    "interval" (synced every `interval` seconds). One process has a store open for writing; any number may read it with
    `read_only=True`.
    """

    def __init__(self, path: Any, **options: Any) -> None:
        self._db = _olivine._Db(path, **options)
        try:
            super().__init__(self._db.keyspace())
        except BaseException:
            self._db.close()
            raise

    @property
    def path(self) -> str:
        return str(self._db.path)

    @property
    def closed(self) -> bool:
        return self._db.closed

    def keyspace(self, name: str = "default") -> Keyspace:
        """The keyspace of this name, made if there is none."""
        return Keyspace(self._db.keyspace(name))

    def keyspaces(self) -> list[str]:
        return self._db.keyspaces()

    def drop_keyspace(self, name: str) -> None:
        """Takes a keyspace away with all that is in it."""
        self._db.drop_keyspace(name)

    @contextmanager
    def batch(self) -> Iterator[Batch]:
        """Writes that are carried out together when the block ends, and not at all if it raises."""
        batch = Batch(self._db.batch(), self._inner)
        yield batch
        batch._inner.write()

    def put_many(self, pairs: Iterable[tuple[Data, Data]] | dict[Any, Any]) -> None:
        """Stores pairs: all of them or none."""
        batch = self._db.batch()
        batch.put_many(self._inner, pairs.items() if isinstance(pairs, dict) else pairs)
        batch.write()

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Reads of one moment and own writes; when the block ends they are carried out, or `Conflict` is raised if
        somebody wrote to what was read. If the block raises, nothing is written."""
        transaction = Transaction(self._db.transaction(), self._inner)
        try:
            yield transaction
        except BaseException:
            transaction._inner.rollback()
            raise
        transaction._inner.commit()

    def transact(self, work: Callable[[Transaction], T], attempts: int = 100) -> T:
        """Calls `work` with a transaction, and again as long as others come between."""
        for attempt in range(attempts):
            try:
                with self.transaction() as transaction:
                    result = work(transaction)
                return result
            except Conflict:
                if attempt + 1 == attempts:
                    raise
        raise ValueError("`attempts` is at least 1")

    def snapshot(self) -> Snapshot:
        """A view of this moment, which stays until it is closed."""
        return Snapshot(self._db.snapshot(), self._inner)

    def flush(self) -> None:
        """Brings what is in memory into tables."""
        self._db.flush()

    def sync(self) -> None:
        """Returns when no power cut can take what was written so far."""
        self._db.sync()

    def refresh(self) -> None:
        """Lets a store that is only read show what was written meanwhile."""
        self._db.refresh()

    def checkpoint(self, path: Any) -> None:
        """Makes a store of its own of this moment in the directory `path`."""
        self._db.checkpoint(path)

    def backup(self, path: Any) -> int:
        """Adds a backup to the directory `path`, and returns its number; what is there already is not copied."""
        return self._db.backup(path)

    def stats(self) -> dict[str, int]:
        return self._db.stats()

    def close(self) -> None:
        """Closes the store; again, it does nothing."""
        self._db.close()

    def __enter__(self) -> Db:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<olivine.Db {self.path!r}{' closed' if self.closed else ''}>"


class Batch:
    """Writes that are carried out together."""

    def __init__(self, inner: Any, default: Any) -> None:
        self._inner = inner
        self._default = default

    def _of(self, keyspace: Keyspace | None) -> Any:
        return self._default if keyspace is None else keyspace._inner

    def put(self, key: Data, value: Data, *, ttl: float | None = None, keyspace: Keyspace | None = None) -> None:
        self._inner.put(self._of(keyspace), key, value, ttl=ttl)

    def put_many(self, pairs: Iterable[tuple[Data, Data]], *, keyspace: Keyspace | None = None) -> None:
        self._inner.put_many(self._of(keyspace), pairs)

    def delete(self, key: Data, *, keyspace: Keyspace | None = None) -> None:
        self._inner.delete(self._of(keyspace), key)

    def delete_range(self, start: Data, end: Data, *, keyspace: Keyspace | None = None) -> None:
        self._inner.delete_range(self._of(keyspace), start, end)

    def merge(self, key: Data, operand: Data, *, keyspace: Keyspace | None = None) -> None:
        self._inner.merge(self._of(keyspace), key, operand)

    def clear(self) -> None:
        self._inner.clear()

    def __len__(self) -> int:
        return len(self._inner)


class Transaction:
    """Reads of one moment and own writes."""

    def __init__(self, inner: Any, default: Any) -> None:
        self._inner = inner
        self._default = default

    def _of(self, keyspace: Keyspace | None) -> Any:
        return self._default if keyspace is None else keyspace._inner

    def get(self, key: Data, *, keyspace: Keyspace | None = None) -> bytes | None:
        return self._inner.get(self._of(keyspace), key)

    def put(self, key: Data, value: Data, *, ttl: float | None = None, keyspace: Keyspace | None = None) -> None:
        self._inner.put(self._of(keyspace), key, value, ttl=ttl)

    def delete(self, key: Data, *, keyspace: Keyspace | None = None) -> None:
        self._inner.delete(self._of(keyspace), key)


class Snapshot:
    """A view of a store at one moment."""

    def __init__(self, inner: Any, default: Any) -> None:
        self._inner = inner
        self._default = default

    def _of(self, keyspace: Keyspace | None) -> Any:
        return self._default if keyspace is None else keyspace._inner

    def get(self, key: Data, *, keyspace: Keyspace | None = None) -> bytes | None:
        return self._inner.get(self._of(keyspace), key)

    def items(
        self,
        start: Data | None = None,
        end: Data | None = None,
        *,
        prefix: Data | None = None,
        reverse: bool = False,
        limit: int | None = None,
        keyspace: Keyspace | None = None,
    ) -> Iterator[tuple[bytes, bytes]]:
        of = self._of(keyspace)
        return self._inner.items(of, start, end, prefix=prefix, reverse=reverse, limit=limit)

    def close(self) -> None:
        self._inner.close()

    def __enter__(self) -> Snapshot:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Mapping(collections.abc.MutableMapping):
    """A keyspace as a dict: keys come in order, and a slice of keys is a dict of what lies between.

    >>> import olivine, tempfile
    >>> with olivine.Db(tempfile.mkdtemp() + "/store") as db:
    ...     fruit = db.as_dict(text=True)
    ...     fruit.update(apple="red", fig="blue", lime="green")
    ...     fruit["a":"g"], len(fruit), fruit.pop("lime")
    ({'apple': 'red', 'fig': 'blue'}, 3, 'green')
    """

    def __init__(self, keyspace: Keyspace, *, text: bool = False) -> None:
        self._keyspace = keyspace
        self._text = text

    def _shown(self, data: bytes) -> Any:
        return data.decode() if self._text else data

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice):
            if key.step not in (None, 1, -1):
                raise ValueError("a slice of keys has a step of 1 or -1")
            found = self._keyspace.items(key.start, key.stop, reverse=key.step == -1)
            return {self._shown(key): self._shown(value) for key, value in found}
        return self._shown(self._keyspace[key])

    def __setitem__(self, key: Data, value: Data) -> None:
        self._keyspace[key] = value

    def __delitem__(self, key: Any) -> None:
        if isinstance(key, slice):
            if key.start is None or key.stop is None or key.step not in (None, 1):
                raise ValueError("a slice of keys to be deleted has a start and a stop")
            self._keyspace.delete_range(key.start, key.stop)
        else:
            del self._keyspace[key]

    def __iter__(self) -> Iterator[Any]:
        return map(self._shown, self._keyspace.keys())

    def __reversed__(self) -> Iterator[Any]:
        return map(self._shown, self._keyspace.keys(reverse=True))

    def __contains__(self, key: object) -> bool:
        return isinstance(key, (bytes, bytearray, memoryview, str)) and key in self._keyspace

    def __len__(self) -> int:
        """Counts the keys, one by one."""
        return sum(1 for _ in self._keyspace.keys())
