"""The remote client: `python -m olivine.remote`."""

import os
import subprocess
import sys
import tempfile
import unittest

from node import PROGRAM, Node
from olivine.remote import settings


class Settings(unittest.TestCase):
    def test_the_environment_goes_before_the_file(self):
        with tempfile.TemporaryDirectory() as folder:
            path = folder + "/.env"
            self.assertEqual(settings(path, {}), ("localhost", 7000))
            with open(path, "w", encoding="utf-8") as file:
                file.write("# where\nHOST_IP_ADDR=\"10.0.0.1\"\nexport HOST_PORT = '7001' # of the node\nOTHER=1\n")
            self.assertEqual(settings(path, {}), ("10.0.0.1", 7001))
            self.assertEqual(settings(path, {"HOST_PORT": "7002"}), ("10.0.0.1", 7002))
            for wrong in ("x", "0", "70000"):
                with self.assertRaises(SystemExit):
                    settings(path, {"HOST_PORT": wrong})


@unittest.skipUnless(PROGRAM, "NODE_PROGRAM names no program to start as a server")
class Talks(unittest.TestCase):
    def test_lines_and_arguments_are_sent(self):
        node = Node("--line-port", "0", door="line")
        self.addCleanup(node.end)
        with tempfile.TemporaryDirectory() as folder:
            with open(folder + "/.env", "w", encoding="utf-8") as file:
                file.write(f'HOST_IP_ADDR="127.0.0.1"\nHOST_PORT="{node.port}"\n')
            environment = {k: v for k, v in os.environ.items() if not k.startswith("HOST_")}

            def said(*words, text=""):
                line = [sys.executable, "-m", "olivine.remote", *words]
                done = subprocess.run(
                    line, input=text, cwd=folder, env=environment, capture_output=True, text=True, check=False
                )
                return done.stdout, done.returncode

            self.assertEqual(said(text="PUT name age 30\nGET name\nGET none\nexit\n"), ("OK\nOK age 30\nNOT_FOUND\n", 0))
            self.assertEqual(said("GET", "name"), ("OK age 30\n", 0))
            told, code = said("FROB")
            self.assertTrue(told.startswith("ERROR") and code == 1, told)
            node.kill()
            self.assertEqual(said("GET", "name"), ("", 4))


if __name__ == "__main__":
    unittest.main()
