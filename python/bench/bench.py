"""Measures the store in process beside other bindings of Python: `cargo xtask bench python`.

Every store has the same keys and values, syncs nothing (writes survive a killed process), and is asked the same in the same
order; stores take turns, and a figure is the best of the rounds. A rival that is not installed is left out, and said so.
"""

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import threading
import time

KEYS = 200_000
VALUE = b"v" * 100
BATCH = 1000
RANGE = 100


def key(n):
    return b"key:%012d" % n


class Olivine:
    name = "olivine"

    def __init__(self, path):
        import olivine

        self.db = olivine.Db(path, durability="os")
        self.put, self.get = self.db.put, self.db.get

    def batch(self, pairs):
        self.db.put_many(pairs)

    def range(self, start):
        return list(self.db.items(start, limit=RANGE))

    def many(self, keys):
        return self.db.get_many(keys)

    def settle(self):
        self.db.flush()

    def close(self):
        self.db.close()


class RocksDict:
    name = "rocksdict"

    def __init__(self, path):
        import rocksdict

        options = rocksdict.Options(raw_mode=True)
        options.create_if_missing(True)
        self.module, self.db = rocksdict, rocksdict.Rdict(path, options)
        self.put, self.get = self.db.__setitem__, self.db.get

    def batch(self, pairs):
        batch = self.module.WriteBatch(raw_mode=True)
        for key, value in pairs:
            batch.put(key, value)
        self.db.write(batch)

    def range(self, start):
        found = []
        for entry in self.db.items(from_key=start):
            found.append(entry)
            if len(found) == RANGE:
                return found
        return found

    def many(self, keys):
        return self.db.get(keys)

    def settle(self):
        self.db.flush()

    def close(self):
        self.db.close()


class Plyvel:
    name = "plyvel"

    def __init__(self, path):
        import plyvel

        self.db = plyvel.DB(path, create_if_missing=True, bloom_filter_bits=10)
        self.put, self.get = self.db.put, self.db.get

    def batch(self, pairs):
        with self.db.write_batch() as batch:
            for key, value in pairs:
                batch.put(key, value)

    def range(self, start):
        found = []
        with self.db.iterator(start=start) as entries:
            for entry in entries:
                found.append(entry)
                if len(found) == RANGE:
                    break
        return found

    def many(self, keys):
        return [self.db.get(key) for key in keys]

    def settle(self):
        self.db.compact_range()

    def close(self):
        self.db.close()


class Lmdb:
    name = "lmdb"

    def __init__(self, path):
        import lmdb

        self.env = lmdb.open(path, map_size=4 << 30, sync=False, metasync=False, writemap=True)

    def put(self, key, value):
        with self.env.begin(write=True) as transaction:
            transaction.put(key, value)

    def get(self, key):
        with self.env.begin() as transaction:
            return transaction.get(key)

    def batch(self, pairs):
        with self.env.begin(write=True) as transaction:
            transaction.cursor().putmulti(pairs)

    def range(self, start):
        with self.env.begin() as transaction:
            cursor = transaction.cursor()
            cursor.set_range(start)
            found = []
            for entry in cursor:
                found.append(entry)
                if len(found) == RANGE:
                    break
            return found

    def many(self, keys):
        with self.env.begin() as transaction:
            return transaction.cursor().getmulti(keys)

    def settle(self):
        pass

    def close(self):
        self.env.close()


STORES = (Olivine, RocksDict, Plyvel, Lmdb)
#: The bindings of log-structured stores, which bars are of.
LSM = ("rocksdict", "plyvel")
BARS = (("put", 1.0), ("batch", 1.3), ("get", 1.0), ("range", 1.3))


def timed(work):
    began = time.perf_counter()
    count = work()
    return count / (time.perf_counter() - began)


def measured(store_of, path, keys, rows):
    """Adds what a store does a second to the rows, the best of all rounds."""
    rng = random.Random(7)
    order = list(range(keys))
    rng.shuffle(order)
    store = store_of(path)

    def note(row, rate):
        rows.setdefault((row, store.name), []).append(rate)

    few = keys // 10

    def put():
        for n in order[:few]:
            store.put(key(n), VALUE)
        return few

    def batch():
        for at in range(few, keys, BATCH):
            store.batch([(key(n), VALUE) for n in order[at : at + BATCH]])
        return keys - few

    def get():
        asked = few * 2
        for _ in range(asked):
            if store.get(key(rng.randrange(keys))) is None:
                raise AssertionError("a key is gone")
        return asked

    def scan():
        count = 0
        for _ in range(few // 20):
            count += len(store.range(key(rng.randrange(keys - RANGE))))
        return count

    def many():
        count = 0
        for _ in range(few // 50):
            found = store.many([key(rng.randrange(keys)) for _ in range(100)])
            count += len(found)
        return count

    note("put", timed(put))
    note("batch", timed(batch))
    store.settle()
    note("get", timed(get))
    note("range", timed(scan))
    note("get_many", timed(many))
    if isinstance(store, Olivine):
        for row, work in (("get", get), ("range", scan), ("get_many", many)):
            one = timed(work)
            done = []
            threads = [threading.Thread(target=lambda: done.append(work())) for _ in range(2)]
            began = time.perf_counter()
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            note(f"{row}, of two threads", sum(done) / (time.perf_counter() - began))
            rows.setdefault((f"{row}, two threads of one", "ratio"), []).append(
                rows[(f"{row}, of two threads", store.name)][-1] / one
            )
    store.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=KEYS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dir", help="where the stores are made, on the disk to be measured")
    parser.add_argument("--json", help="write every figure there, too")
    arguments = parser.parse_args()
    rows, there = {}, []
    for store in STORES:
        try:
            __import__(store.name)
            there.append(store)
        except ImportError:
            print(f"LEFT OUT: {store.name} is not installed", file=sys.stderr)
    folder = tempfile.mkdtemp(dir=arguments.dir)
    try:
        for number in range(arguments.rounds):
            for store in there:
                measured(store, os.path.join(folder, f"{store.name}-{number}"), arguments.keys, rows)
                shutil.rmtree(os.path.join(folder, f"{store.name}-{number}"))
    finally:
        shutil.rmtree(folder)
    best = {at: max(rates) for at, rates in rows.items()}
    names = [store.name for store in there]
    print(f"{'a second':26}" + "".join(f"{name:>12}" for name in names))
    for row in dict.fromkeys(row for row, name in best if name != "ratio"):
        cells = [f"{best[row, name]:12,.0f}" if (row, name) in best else f"{'':12}" for name in names]
        print(f"{row:26}" + "".join(cells))
    print(f"\n{'ratio':44}{'wanted':>8}{'is':>8}")
    for row, wanted in BARS:
        rivals = [best[row, name] for name in LSM if (row, name) in best]
        if rivals:
            shown(f"{row}, of the best binding of a log-structured store", wanted, best[row, "olivine"] / max(rivals))
    for row, wanted in (("get_many", 1.7), ("range", 1.7), ("get", 1.0)):
        shown(f"{row}, two threads of one", wanted, best[f"{row}, two threads of one", "ratio"])
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            for (row, name), figure in best.items():
                file.write(json.dumps({"row": row, "store": name, "figure": figure}) + "\n")


def shown(what, wanted, found):
    print(f"{what:52}{wanted:8.2f}{found:8.2f}{'' if wanted <= found else '  below'}")


if __name__ == "__main__":
    main()
