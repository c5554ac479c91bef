"""The client, beside a server."""

import asyncio
import socket
import subprocess
import threading
import time
import unittest

import olivine
from node import PROGRAM, Node, NodeCase


class Answers(NodeCase):
    more = ("--durability", "os")

    def setUp(self):
        super().setUp()
        self.client = olivine.Client("localhost", self.node.port, timeout=10)
        self.addCleanup(self.client.close)

    def test_values_come_back_as_they_were(self):
        everything = bytes(range(256))
        for value in ("text é\n\"", everything, "", b"", 5, -1.5, True, [1, "a", None], {"a": {"b": []}}):
            self.assertTrue(self.client.put("key", value))
            wanted = value.decode() if value == b"" else value
            self.assertEqual(self.client.get("key"), wanted)
        self.client.put(everything, everything)
        self.assertEqual(self.client.get(everything), everything)
        self.assertIsNone(self.client.get("none"))
        self.assertEqual(self.client.get("none", 1), 1)

    def test_everything_can_be_asked(self):
        client = self.client
        self.assertEqual(client.batch_put([f"k{n:03}" for n in range(250)], range(250)), 250)
        self.assertEqual(client.batch_get(["k001", "none", b"k002"]), [1, None, 2])
        self.assertEqual(client.get_range("k010", "k012"), [("k010", 10), ("k011", 11), ("k012", 12)])
        order = [(f"k{n:03}", n) for n in range(250)]
        self.assertEqual(list(client.scan(prefix="k", page=100)), order)
        self.assertEqual(list(client.scan("k010", "k019", reverse=True, page=3)), order[19:9:-1])
        self.assertTrue(client.put("once", "1", if_absent=True))
        self.assertFalse(client.put("once", "2", if_absent=True))
        self.assertTrue(client.put("brief", "x", ttl=0.05))
        time.sleep(0.1)
        self.assertIsNone(client.get("brief"))
        client.delete("once")
        self.assertIsNone(client.get("once"))
        self.assertTrue(client.ping())
        self.assertEqual(client.stats()["takes_writes"], 1)
        self.assertEqual(client.batch_put([], []), 0)

    def test_what_is_refused_says_why(self):
        with self.assertRaisesRegex(olivine.ServerError, "key-bytes-max") as caught:
            self.client.put("k" * 5000, "")
        self.assertEqual(caught.exception.code, "too_large")
        with self.assertRaises(olivine.ServerError):
            self.client.batch_put(["a"], [])
        with self.assertRaises(TypeError):
            self.client.put("a", object())

    def test_pipelines_are_answered_whatever_their_size(self):
        self.client.put("large", "v" * (16 << 10))
        asked = [{"command": "get", "key": "large"}, {"command": "put", "key": "a", "value": b"\xff"}] * 1000
        answers = self.client.pipeline(asked)
        self.assertEqual(len(answers), 2000)
        self.assertEqual({len(answer["value"]) for answer in answers[::2]}, {16 << 10})
        self.assertEqual({answer["status"] for answer in answers}, {"ok"})

    def test_threads_share_a_client(self):
        wrong = []

        def work(one):
            for n in range(100):
                self.client.put(f"{one}-{n}", n)
                if self.client.get(f"{one}-{n}") != n:
                    wrong.append(n)

        threads = [threading.Thread(target=work, args=(one,)) for one in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])
        self.assertLessEqual(len(self.client._idle), 8)


class Tasks(NodeCase):
    more = ("--durability", "os")

    def run_with(self, work, **options):
        async def all_of_it():
            async with olivine.AsyncClient("localhost", self.node.port, **options) as client:
                return await work(client)

        return asyncio.run(all_of_it())

    def test_tasks_share_a_connection(self):
        async def work(client):
            async def one(n):
                await client.put(f"k{n:03}", {"n": n})
                return await client.get(f"k{n:03}")

            found = await asyncio.gather(*(one(n) for n in range(300)))
            self.assertEqual(found, [{"n": n} for n in range(300)])
            self.assertEqual(len([key async for key, _ in client.scan(prefix="k", page=70)]), 300)
            self.assertEqual(await client.batch_put(["a", b"\xff"], ["1", b"\xfe"]), 2)
            self.assertEqual(await client.batch_get([b"\xff", "none", "a"]), [b"\xfe", None, "1"])
            self.assertEqual(await client.get_range("a", "a"), [("a", "1")])
            self.assertFalse(await client.put("a", "2", if_absent=True))
            await client.delete("a")
            self.assertIsNone(await client.get("a"))
            self.assertTrue(await client.ping())
            self.assertEqual((await client.stats())["takes_writes"], 1)
            # A task that goes away before its answer leaves the others theirs.
            for n in range(50):
                gone = asyncio.ensure_future(client.get("k001"))
                await asyncio.sleep(0)
                gone.cancel()
                self.assertEqual(await client.get(f"k{n:03}"), {"n": n})
            with self.assertRaises(olivine.ServerError):
                await client.put("k" * 5000, "")

        self.run_with(work)

    def test_a_server_that_comes_back_is_found_again(self):
        async def work(client):
            await client.put("apple", "red")
            port, folder = self.node.port, self.node.folder
            self.node.kill()
            reading = asyncio.ensure_future(client.get("apple"))
            await asyncio.sleep(0.3)
            self.node = await asyncio.to_thread(lambda: Node(port=port, folder=folder))
            self.assertEqual(await reading, "red")

        self.run_with(work)


class Breaks(unittest.TestCase):
    """What the client does when connections break: beside a server of a few lines."""

    def serve(self, *answers):
        """Answers requests in turn, over any connections; None hangs up, a number waits so long before it does."""
        listener = socket.create_server(("127.0.0.1", 0))
        got, script, over = [], list(answers), threading.Event()

        def one(stream):
            with stream, stream.makefile("rb") as lines:
                for line in lines:
                    got.append(line)
                    answer = script.pop(0) if script else None
                    if isinstance(answer, float):
                        over.wait(answer)
                        return
                    if answer is None:
                        return
                    stream.sendall(answer.encode() + b"\n")

        def all_of_them():
            while True:
                try:
                    stream, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=one, args=(stream,), daemon=True).start()

        threading.Thread(target=all_of_them, daemon=True).start()

        def end():
            over.set()
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()

        self.addCleanup(end)
        client = olivine.Client("127.0.0.1", listener.getsockname()[1], timeout=1)
        self.addCleanup(client.close)
        return client, got

    OK = '{"status":"ok","message":"so"}'
    FOUND = '{"status":"ok","value":"red"}'
    BUSY = '{"status":"error","message":"m","code":"busy"}'
    AWAY = '{"status":"error","message":"m","code":"unavailable"}'

    def test_what_reads_is_asked_again(self):
        client, got = self.serve(None, self.AWAY, None, self.FOUND)
        self.assertEqual(client.get("a"), "red")
        self.assertEqual(len(got), 4)

    def test_a_write_is_not_sent_twice(self):
        client, got = self.serve(None, self.OK)
        with self.assertRaises(olivine.Unanswered):
            client.put("a", "1")
        self.assertEqual(len(got), 1)
        client.put("a", "1")
        client, got = self.serve(self.AWAY)
        with self.assertRaises(olivine.ServerError):
            client.put("a", "1")
        self.assertEqual(len(got), 1)

    def test_tasks_are_told_the_same(self):
        async def work(port, *asks):
            told = []
            async with olivine.AsyncClient("127.0.0.1", port, timeout=1) as client:
                for ask in asks:
                    try:
                        told.append(await ask(client))
                    except olivine.Error as error:
                        told.append(type(error))
            return told

        put, get = lambda client: client.put("a", "1"), lambda client: client.get("a")
        for script, asks, wanted, times in (
            ((None, self.AWAY, None, self.FOUND), (get,), ["red"], 4),
            ((None, self.OK), (put, put), [olivine.Unanswered, True], 2),
            ((self.BUSY, self.OK), (put,), [True], 2),
            ((self.AWAY,), (put,), [olivine.ServerError], 1),
            ((30.0, self.FOUND), (get, get), [olivine.Timeout, "red"], 2),
            (("HTTP/1.1 400", self.FOUND), (get, get), [olivine.ServerError, "red"], 2),
        ):
            client, got = self.serve(*script)
            with self.subTest(script):
                self.assertEqual(asyncio.run(work(client.port, *asks)), wanted)
                self.assertEqual(len(got), times)

    def test_what_was_refused_for_a_moment_is(self):
        client, got = self.serve(self.BUSY, self.BUSY, self.OK)
        client.put("a", "1")
        self.assertEqual(len(got), 3)

    def test_no_call_takes_longer_than_it_has_time(self):
        client, _ = self.serve(30.0)
        began = time.monotonic()
        with self.assertRaises(TimeoutError):
            client.get("a")
        self.assertLess(time.monotonic() - began, 3)

    def test_a_connection_that_was_closed_while_idle_is_not_used(self):
        client, got = self.serve(self.OK, self.OK)
        client.put("a", "1")
        client._idle[0]._socket.shutdown(socket.SHUT_WR)
        time.sleep(0.1)
        client.put("a", "2")
        self.assertEqual(len(got), 2)

    def test_strange_answers_and_nobody_there(self):
        client, _ = self.serve("HTTP/1.1 400 Bad Request")
        with self.assertRaisesRegex(olivine.ServerError, "none of Olivine's"):
            client.get("a")
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        with self.assertRaisesRegex(olivine.Unreachable, "olivine serve"):
            olivine.Client("127.0.0.1", port, timeout=0.2).get("a")


class Back(NodeCase):
    def test_a_server_that_comes_back_is_found_again(self):
        with olivine.Client("localhost", self.node.port) as client:
            client.put("apple", "red")
            port, folder = self.node.port, self.node.folder
            self.node.kill()
            found = []
            thread = threading.Thread(target=lambda: found.append(client.get("apple")))
            thread.start()
            time.sleep(0.3)
            self.node = Node(port=port, folder=folder)
            thread.join()
            self.assertEqual(found, ["red"])


@unittest.skipUnless(PROGRAM, "NODE_PROGRAM names no program to start as a server")
class Secrets(unittest.TestCase):
    def test_tls_and_tokens_are_spoken(self):
        import tempfile

        folder = tempfile.TemporaryDirectory()
        data = folder.name + "/node"

        def said(*words, text=""):
            line = [PROGRAM, *words, "--data-dir", data]
            return subprocess.run(line, input=text, capture_output=True, text=True, check=True).stdout

        said("init", "--password-file", "-", text="correct horse\n")
        node = Node("--tls", "auto", folder=folder)
        self.addCleanup(node.end)
        token = subprocess.run(
            [PROGRAM, "token", "create", "admin", "--data-dir", data], capture_output=True, text=True, check=True
        ).stdout.split("\n")[-2]
        ca = data + "/tls/cert.pem"
        for login in ({"token": token}, {"user": "admin", "password": "correct horse"}):
            with olivine.Client("localhost", node.port, ca=ca, **login) as client:
                for n in range(5):
                    client.put("apple", n)
                    self.assertEqual(client.get("apple"), n)
        for login in ({}, {"token": "wrong"}):
            with olivine.Client("localhost", node.port, ca=ca, **login) as client:
                with self.assertRaises(olivine.ServerError) as caught:
                    client.get("apple")
                self.assertEqual(caught.exception.code, "unauthenticated")
        with self.assertRaises(olivine.Unreachable):
            olivine.Client("localhost", node.port, tls=True, timeout=0.2).get("apple")


if __name__ == "__main__":
    unittest.main()
