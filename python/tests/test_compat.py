"""Programs that came before run as they are: the Python of their README files, in `blocks`, behind one line."""

import os
import subprocess
import sys
import tempfile
import unittest

from node import Node, NodeCase

BLOCKS = os.path.join(os.path.dirname(__file__), "blocks")
SWITCH = "import olivine.compat; olivine.compat.install()\n"


def run(name, folder, port=None):
    with open(os.path.join(BLOCKS, name), encoding="utf-8") as file:
        script = file.read()
    if port is not None:
        # The only thing that differs: where the server listens.
        script = f"import olivine.compat; olivine.compat.KVClient.__init__.__defaults__ = ('localhost', {port})\n" + script
        script = script.replace("port=9999", f"port={port}")
    done = subprocess.run(
        [sys.executable, "-c", SWITCH + script], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode:
        raise AssertionError(f"{name}: {done.stderr}")
    return done.stdout


class Engines(unittest.TestCase):
    def test_the_storage_engine_as_written(self):
        with tempfile.TemporaryDirectory() as folder:
            run("002_2.py", folder)
            check = (
                "from olivine.compat import StorageEngine\n"
                "with StorageEngine(data_dir='./data') as engine:\n"
                "    print(engine.get('key1'), engine.get('key2'), engine.get_range('key1', 'key4'))\n"
            )
            done = subprocess.run([sys.executable, "-c", check], cwd=folder, capture_output=True, text=True, check=True)
            self.assertEqual(
                done.stdout, "None value2 [('key2', 'value2'), ('key3', 'value3'), ('key4', 'value4')]\n"
            )

    def test_the_lsm_engine_as_written(self):
        with tempfile.TemporaryDirectory() as folder:
            run("003_1.py", folder)
            check = (
                "from olivine.compat import LSMEngine\n"
                "db = LSMEngine('my_db', 100, 5)\n"
                "print(db.get('user:1'), db.get('config:timeout'), db.get('none'), db.get(b'user:2'))\n"
                "db.wal.close(); db.wal.close(); db.close(); db.wal.close()\n"
            )
            done = subprocess.run([sys.executable, "-c", check], cwd=folder, capture_output=True, text=True, check=True)
            self.assertEqual(done.stdout, "alice 30 None b'bob'\n")
            with open(os.path.join(BLOCKS, "003_2.py"), encoding="utf-8") as file:
                block = file.read()
            self.assertTrue(block.startswith("LSMEngine("), block)
            script = "from olivine.compat import LSMEngine\ndb = " + block + "\ndb.set('a', 'b'); print(db.get('a'))"
            done = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=True)
            self.assertEqual(done.stdout, "b\n")

    def test_wrong_arguments_are_told(self):
        from olivine.compat import LSMEngine, StorageEngine

        import olivine

        with tempfile.TemporaryDirectory() as folder:
            with self.assertRaises(olivine.Invalid):
                StorageEngine(folder + "/a", 0)
            with self.assertRaises(olivine.Invalid):
                LSMEngine(folder + "/a", 0)
            with StorageEngine(folder + "/a", 10) as engine:
                with self.assertRaises(ValueError):
                    engine.batch_put(["a"], [])


class Clients(NodeCase):
    def test_the_client_as_written(self):
        with tempfile.TemporaryDirectory() as folder:
            said = run("002_1.py", folder, self.node.port)
            self.assertEqual(
                said,
                "Value: John Doe\nuser:1000: John Doe\nuser:1001: Alice\nuser:1002: Bob\nuser:1003: Charlie\n",
            )
            self.assertEqual(run("002_3.py", folder, self.node.port), "Alice Smith\n")
            self.assertEqual(run("002_4.py", folder, self.node.port), "1234\n")
            said = run("002_5.py", folder, self.node.port)
            self.assertEqual(said.count("metrics:2024-01-01T10:0"), 3)
            self.assertEqual(run("002_6.py", folder, self.node.port), "Loaded 1000 products\n")


if __name__ == "__main__":
    unittest.main()
