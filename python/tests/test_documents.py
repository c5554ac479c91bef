"""What the documentation shows is what happens."""

import doctest
import os
import re
import sys
import tempfile
import unittest

import olivine
import olivine._db
import olivine.compat
from node import PROGRAM, Node

README = os.path.join(os.path.dirname(__file__), "..", "README.md")


class Documents(unittest.TestCase):
    def test_examples_in_the_modules(self):
        before = dict(sys.modules)
        tests = 0
        for module in (olivine, olivine._db, olivine.compat):
            result = doctest.testmod(module)
            self.assertEqual(result.failed, 0, module.__name__)
            tests += result.attempted
        self.assertGreater(tests, 10)
        for name in set(sys.modules) - set(before):
            if name in ("client", "storage_engine", "lsm_engine"):
                del sys.modules[name]

    @unittest.skipUnless(PROGRAM, "NODE_PROGRAM names no program to start as a server")
    def test_the_lines_of_the_readme(self):
        with open(README, encoding="utf-8") as file:
            blocks = re.findall(r"```python\n(.*?)```", file.read(), re.DOTALL)
        self.assertEqual(len(blocks), 2)
        node = Node()
        self.addCleanup(node.end)
        before = os.getcwd()
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            try:
                os.mkdir("data")
                for block in blocks:
                    exec(block.replace("9999", str(node.port)), {"print": lambda *_: None})
            finally:
                os.chdir(before)


if __name__ == "__main__":
    unittest.main()
