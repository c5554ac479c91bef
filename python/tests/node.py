"""A server of its own for a test: the program that `NODE_PROGRAM` names."""

import os
import subprocess
import tempfile
import unittest

PROGRAM = os.environ.get("NODE_PROGRAM")


class Node:
    def __init__(self, *more, port=0, folder=None, door="json"):
        self.folder = folder or tempfile.TemporaryDirectory()
        line = [PROGRAM, "serve", "--data-dir", self.folder.name + "/node", "--doors", door]
        if door == "json":
            line += ["--json-port", str(port)]
        self.process = subprocess.Popen([*line, *more], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        greeting = []
        while not any(line.startswith("ready") for line in greeting):
            line = self.process.stdout.readline()
            if not line:
                raise RuntimeError("".join(greeting))
            greeting.append(line)
        words = next(line.split() for line in greeting if line.strip().startswith(door))
        self.port = int(words[1].rsplit(":", 1)[1])

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def end(self):
        self.kill()
        self.folder.cleanup()


@unittest.skipUnless(PROGRAM, "NODE_PROGRAM names no program to start as a server")
class NodeCase(unittest.TestCase):
    more = ()

    def setUp(self):
        self.node = Node(*self.more)
        self.addCleanup(lambda: self.node.end())
