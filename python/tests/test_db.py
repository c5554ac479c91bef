"""The store in process."""

import gc
import os
import random
import subprocess
import sys
import tempfile
import threading
import unittest

import olivine


class Case(unittest.TestCase):
    def setUp(self):
        self._folder = tempfile.TemporaryDirectory()
        # Called last, when everything is closed.
        self.addCleanup(self._folder.cleanup)
        self.path = self._folder.name + "/store"

    def db(self, **options):
        db = olivine.Db(self.path, **options)
        self.addCleanup(db.close)
        return db


class Values(Case):
    def test_every_kind_of_bytes_goes_in_and_bytes_come_out(self):
        db = self.db(durability="os")
        everything = bytes(range(256))
        for data in ("text é", everything, bytearray(everything), memoryview(everything)):
            db.put(data, data)
            wanted = data.encode() if isinstance(data, str) else bytes(data)
            self.assertEqual(db.get(data), wanted)
            self.assertEqual(db.get(wanted), wanted)
        self.assertEqual(db.get_str("text é"), "text é")
        self.assertIsNone(db.get("none"))
        self.assertEqual(db.get("none", b"x"), b"x")
        self.assertEqual(db.get_str("none", "x"), "x")
        for wrong in (1, None, 1.5, ["a"], object()):
            with self.assertRaisesRegex(TypeError, "bytes or str, not "):
                db.put("key", wrong)
            with self.assertRaisesRegex(TypeError, "bytes or str, not "):
                db.get(wrong)

    def test_what_was_written_is_there_after_opening_again(self):
        with olivine.Db(self.path) as db:
            db.put_many((f"k{n:05}", str(n)) for n in range(10_000))
            db.put_many({"a": "1", "b": "2"})
        self.assertTrue(db.closed)
        with olivine.Db(self.path) as db:
            self.assertEqual(db.get_many(["k00017", "none", "a"]), [b"17", None, b"1"])
            self.assertEqual(sum(1 for _ in db), 10_002)
            db.flush()
            self.assertEqual(db.get("k09999"), b"9999")
            self.assertLess(0, db.size_of_range())
            self.assertEqual(db.stats()["memtable_entries"], 0)

    def test_values_go_when_their_time_is_over(self):
        db = self.db(durability="os")
        db.put("brief", "x", ttl=0.05)
        db.put("long", "x", ttl=1000)
        self.assertEqual(db.get("long"), b"x")
        threading.Event().wait(0.1)
        self.assertIsNone(db.get("brief"))
        self.assertEqual(list(db.keys()), [b"long"])
        for wrong in (0, -1, float("nan"), float("inf")):
            with self.assertRaises(olivine.Invalid):
                db.put("x", "x", ttl=wrong)

    def test_conditions_and_ranges_of_deletions(self):
        db = self.db(durability="os")
        self.assertTrue(db.put_if("a", None, "1"))
        self.assertFalse(db.put_if("a", None, "2"))
        self.assertTrue(db.put_if("a", "1", "2"))
        db.put_many((f"k{n}", "") for n in range(10))
        db.delete_range("k2", "k8")
        self.assertEqual(list(db.keys(prefix="k")), [b"k0", b"k1", b"k8", b"k9"])
        self.assertIn("k0", db)
        del db["k0"]
        self.assertNotIn("k0", db)
        with self.assertRaises(olivine.NotFound):
            del db["k0"]
        with self.assertRaises(KeyError):
            db["k0"]

    def test_keyspaces_are_apart(self):
        db = self.db(durability="os")
        other = db.keyspace("other")
        other.put("a", "1")
        self.assertIsNone(db.get("a"))
        self.assertEqual(db.keyspaces(), ["default", "other"])
        with db.batch() as batch:
            batch.put("a", "2")
            batch.put("b", "2", keyspace=other)
        self.assertEqual((db["a"], other["a"], other["b"]), (b"2", b"1", b"2"))
        db.drop_keyspace("other")
        with self.assertRaises(olivine.Closed):
            other.get("a")
        with self.assertRaises(olivine.NotFound):
            db.drop_keyspace("other")


class Walks(Case):
    def test_both_ways_with_bounds_and_limits(self):
        db = self.db(durability="os")
        held = {f"k{n:04}".encode(): str(n).encode() for n in range(3000)}
        db.put_many(held)
        order = sorted(held.items())
        self.assertEqual(list(db.items()), order)
        self.assertEqual(list(db.items(reverse=True)), order[::-1])
        self.assertEqual(list(db.items("k0010", "k0020")), order[10:20])
        self.assertEqual(list(db.items("k0010", "k0020", reverse=True, limit=3)), order[19:16:-1])
        self.assertEqual(list(db.keys(prefix="k01")), [key for key, _ in order[100:200]])
        self.assertEqual(list(db.values(limit=2)), [b"0", b"1"])
        self.assertEqual(list(db.items(limit=0)), [])
        with self.assertRaises(olivine.Invalid):
            db.items("a", prefix="a")

    def test_a_walk_shows_its_moment_and_outlives_other_handles(self):
        db = self.db(durability="os")
        db.put_many((f"k{n:04}", "old") for n in range(2000))
        walk = db.items()
        first = next(walk)
        db.put_many((f"k{n:04}", "new") for n in range(2000))
        rest = list(walk)
        self.assertEqual({value for _, value in [first, *rest]}, {b"old"})
        self.assertEqual(len(rest), 1999)
        walk = db.items()
        next(walk)
        del db
        gc.collect()
        walk.close()
        self.assertEqual(list(walk), [])

    def test_a_walk_of_a_closed_store_says_so(self):
        db = self.db(durability="os")
        db.put_many((f"k{n:04}", "x" * 100) for n in range(5000))
        walk = db.items()
        next(walk)
        db.close()
        with self.assertRaises(olivine.Closed):
            next(walk)

    def test_reads_like_a_dict(self):
        rng, oracle = random.Random(7), {}
        db = self.db(durability="os", memtable_entries=50)
        shown = db.as_dict(text=True)
        for step in range(3000):
            key = f"{rng.randrange(100):02}"
            doing = rng.randrange(10)
            if doing < 5:
                shown[key] = oracle[key] = str(step)
            elif doing < 7:
                self.assertEqual(shown.pop(key, None), oracle.pop(key, None))
            elif doing == 7:
                start, stop = sorted((key, f"{rng.randrange(100):02}"))
                del shown[start:stop]
                for gone in [k for k in oracle if start <= k < stop]:
                    del oracle[gone]
            else:
                self.assertEqual(shown.get(key), oracle.get(key))
            if step % 300 == 0:
                self.assertEqual(list(shown.items()), sorted(oracle.items()))
                self.assertEqual(list(reversed(shown)), sorted(oracle, reverse=True))
                self.assertEqual(len(shown), len(oracle))
                sliced = {k: v for k, v in sorted(oracle.items()) if "20" <= k < "60"}
                self.assertEqual(shown["20":"60"], sliced)


class Together(Case):
    def test_a_batch_is_all_or_nothing(self):
        db = self.db(durability="os")
        with self.assertRaises(ZeroDivisionError), db.batch() as batch:
            batch.put("a", "1")
            self.assertEqual(len(batch), 1)
            1 / 0
        self.assertIsNone(db.get("a"))
        with db.batch() as batch:
            batch.put("a", "1")
            batch.put_many([("b", "2"), ("c", "3")])
            batch.delete("a")
            self.assertIsNone(db.get("b"))
        self.assertEqual(list(db), [b"b", b"c"])
        with self.assertRaisesRegex(olivine.Closed, "begin another"):
            batch.put("d", "4")

    def test_transactions_see_one_moment_and_conflict(self):
        db = self.db(durability="os")
        db.put("a", "1")
        with self.assertRaises(olivine.Conflict), db.transaction() as transaction:
            transaction.put("b", transaction.get("a"))
            db.put("a", "2")
        self.assertIsNone(db.get("b"))
        with self.assertRaises(ZeroDivisionError), db.transaction() as transaction:
            transaction.put("b", "1")
            1 / 0
        self.assertIsNone(db.get("b"))

        def add(transaction):
            transaction.put("n", str(int(transaction.get("n") or b"0") + 1))

        threads = [threading.Thread(target=lambda: [db.transact(add) for _ in range(50)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(db.get("n"), b"200")

    def test_snapshots_stay(self):
        db = self.db(durability="os")
        db.put("a", "1")
        with db.snapshot() as snapshot:
            db.put("a", "2")
            db.put("b", "2")
            self.assertEqual(snapshot.get("a"), b"1")
            self.assertEqual(list(snapshot.items()), [(b"a", b"1")])
        with self.assertRaises(olivine.Closed):
            snapshot.get("a")

    def test_copies_are_stores(self):
        db = self.db()
        db.put("a", "1")
        db.checkpoint(self.path + "-copy")
        self.assertEqual(db.backup(self.path + "-backups"), 1)
        self.assertEqual(db.backup(self.path + "-backups"), 2)
        with olivine.Db(self.path + "-copy", create=False) as copy:
            self.assertEqual(copy["a"], b"1")


class Handles(Case):
    def test_a_second_opener_is_told_who_has_it(self):
        db = self.db()
        db.put("a", "1")
        with self.assertRaisesRegex(olivine.Locked, f"{os.getpid()}.*read_only=True"):
            olivine.Db(self.path)
        with olivine.Db(self.path, read_only=True) as reader:
            self.assertEqual(reader["a"], b"1")
            with self.assertRaises(olivine.ReadOnly):
                reader.put("a", "2")
            db.put("a", "2")
            self.assertEqual(reader["a"], b"1")
            reader.refresh()
            self.assertEqual(reader["a"], b"2")

    def test_what_was_closed_says_so(self):
        db = self.db()
        other = db.keyspace("other")
        db.close()
        db.close()
        for use in (
            lambda: db.get("a"),
            lambda: db.put("a", "1"),
            lambda: other.get("a"),
            lambda: db.items(),
            lambda: db.keyspace("x"),
            lambda: db.snapshot(),
            lambda: db.stats(),
        ):
            with self.subTest(use), self.assertRaises(olivine.Closed):
                use()
        with self.assertRaises(ValueError):
            db.get("a")

    def test_wrong_options_are_told(self):
        with self.assertRaisesRegex(olivine.Invalid, "sync, os or interval"):
            olivine.Db(self.path, durability="never")
        with self.assertRaisesRegex(olivine.Error, "memtable_bytes_max"):
            olivine.Db(self.path, memtable_bytes=1)
        with self.assertRaises(olivine.Error):
            olivine.Db(self.path, create=False)
        self.assertFalse(os.path.exists(self.path))

    def test_damage_is_corruption(self):
        with olivine.Db(self.path) as db:
            db.put_many((f"k{n}", "x" * 50) for n in range(1000))
            db.flush()
        tables = [name for name in os.listdir(self.path) if name.startswith("table-")]
        self.assertTrue(tables, os.listdir(self.path))
        with open(f"{self.path}/{tables[0]}", "r+b") as table:
            table.seek(200)
            table.write(b"\xff" * 50)
        with self.assertRaises(olivine.Corruption), olivine.Db(self.path) as db:
            list(db.items())

    @unittest.skipUnless(hasattr(os, "fork"), "there are no forks here")
    def test_a_fork_is_told_that_the_store_is_another_process(self):
        db = self.db()
        db.put("a", "1")
        child = os.fork()
        if child == 0:
            code = 1
            try:
                try:
                    db.get("a")
                except olivine.Closed as error:
                    code = 0 if "fork" in str(error) else 2
            finally:
                os._exit(code)
        self.assertEqual(os.waitpid(child, 0)[1], 0)
        self.assertEqual(db.get("a"), b"1")

    def test_what_was_acknowledged_survives_a_killed_process(self):
        script = (
            "import olivine, sys\n"
            "db = olivine.Db(sys.argv[1])\n"
            "for n in range(10**9):\n"
            "    db.put(f'k{n}', str(n))\n"
            "    print(n, flush=True)\n"
        )
        child = subprocess.Popen([sys.executable, "-c", script, self.path], stdout=subprocess.PIPE)
        for _ in range(200):
            child.stdout.readline()
        child.kill()
        told = child.stdout.read().decode().split("\n")
        child.wait()
        child.stdout.close()
        last = max([int(line) for line in told[:-1] if line], default=199)
        db = self.db()
        for n in range(last + 1):
            self.assertEqual(db.get(f"k{n}"), str(n).encode())

    def test_threads_share_a_store(self):
        db = self.db(durability="os", memtable_entries=500)
        wrong = []

        def work(one):
            rng = random.Random(one)
            for n in range(500):
                key = f"{one}-{n}"
                db.put(key, key)
                back = f"{one}-{rng.randrange(n + 1)}"
                if db.get(back) != back.encode():
                    wrong.append(back)
                if n % 50 == 0:
                    found = [key for key in db.keys(prefix=f"{one}-")]
                    if len(found) != n + 1:
                        wrong.append(found)
                    gc.collect()

        threads = [threading.Thread(target=work, args=(one,)) for one in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])
        self.assertEqual(sum(1 for _ in db), 3000)


if __name__ == "__main__":
    unittest.main()
