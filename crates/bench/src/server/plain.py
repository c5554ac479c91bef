"""A key-value server in plain Python: a thread a connection, a dictionary, a log that is synced.

It speaks the JSON lines that Olivine's door on 9999 speaks, and prints its port.
"""

import json
import os
import socketserver
import sys
import threading


class Store:
    def __init__(self, directory):
        self.lock = threading.RLock()
        self.values = {}
        self.log = open(os.path.join(directory, "wal.log"), "ab")

    def put(self, keys, values):
        record = json.dumps({"keys": keys, "values": values}).encode() + b"\n"
        with self.lock:
            self.log.write(record)
            self.log.flush()
            os.fsync(self.log.fileno())
            self.values.update(zip(keys, values))

    def get(self, key):
        with self.lock:
            return self.values.get(key)


class Handler(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True

    def handle(self):
        for line in self.rfile:
            self.wfile.write(json.dumps(self.answer(json.loads(line))).encode() + b"\n")

    def answer(self, request):
        command = request.get("command")
        if command == "put":
            store.put([request["key"]], [request["value"]])
            return {"status": "ok", "message": "Key-value pair stored"}
        if command == "get":
            value = store.get(request["key"])
            if value is None:
                return {"status": "not_found", "message": "Key not found"}
            return {"status": "ok", "value": value}
        if command == "batch_put":
            store.put(request["keys"], request["values"])
            return {"status": "ok", "message": f"{len(request['keys'])} key-value pairs stored"}
        return {"status": "error", "message": f"Unknown command: {command}"}


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128


store = Store(sys.argv[1])
with Server(("127.0.0.1", 0), Handler) as server:
    print(server.server_address[1], flush=True)
    server.serve_forever()
