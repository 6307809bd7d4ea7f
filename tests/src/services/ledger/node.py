"""A node of a small chain: does what it is told on standard input, a line each, and answers each with a line of JSON.

A data directory has chain.db (SQLite in WAL mode), wallets/wallet.db (SQLite in rollback mode), state/ (RocksDB), index/ (LevelDB),
receipts/ and metadata.json. Every block that it commits is in its log, one line each, before anybody is told of it.
"""

import hashlib
import json
import os
import random
import sqlite3
import sys
import threading

import plyvel
from rocksdict import Options, Rdict


def open_state(path, **options):
    raw = Options(raw_mode=True)
    raw.create_if_missing(True)
    # Tables come and go while a test looks on.
    raw.set_write_buffer_size(64 << 10)
    raw.set_level_zero_file_num_compaction_trigger(2)
    return Rdict(path, raw)


class Node:
    def __init__(self, folder, log):
        for name in ["", "wallets", "receipts"]:
            os.makedirs(os.path.join(folder, name), exist_ok=True)
        self.folder = folder
        self.log = open(log, "a", encoding="ascii")
        self.lock = threading.Lock()
        self.chain = sqlite3.connect(self.path("chain.db"), check_same_thread=False, isolation_level=None)
        self.chain.execute("PRAGMA journal_mode = WAL")
        self.chain.execute("PRAGMA synchronous = OFF")
        self.chain.execute(
            "CREATE TABLE IF NOT EXISTS blocks (height INTEGER PRIMARY KEY, hash TEXT, prev_hash TEXT, body BLOB)"
        )
        self.wallet = sqlite3.connect(self.path("wallets/wallet.db"), isolation_level=None, timeout=0)
        self.wallet.execute("CREATE TABLE IF NOT EXISTS keys (name TEXT, secret BLOB)")
        self.state = open_state(self.path("state"))
        self.index = plyvel.DB(self.path("index"), create_if_missing=True, write_buffer_size=64 << 10)
        self.running = None
        row = self.chain.execute("SELECT height, hash FROM blocks ORDER BY height DESC LIMIT 1").fetchone()
        self.height, self.head = row or (-1, "")

    def path(self, name):
        return os.path.join(self.folder, name)

    def block(self, body_bytes):
        with self.lock:
            height = self.height + 1
            body = random.Random(height).randbytes(body_bytes)
            head = hashlib.sha256(self.head.encode() + body).hexdigest()
            self.log.write(f"{height} {head}\n")
            self.log.flush()
            self.chain.execute("INSERT INTO blocks VALUES (?, ?, ?, ?)", (height, head, self.head, body))
            key = b"%012d" % height
            self.state[key] = head.encode() + body[:100]
            self.index.put(head.encode(), key)
            self.height, self.head = height, head

    def tell(self):
        with open(self.path("metadata.json.new"), "w", encoding="ascii") as file:
            json.dump({"height": self.height, "head": self.head}, file)
        os.replace(self.path("metadata.json.new"), self.path("metadata.json"))
        with open(self.path(f"receipts/{self.height}.json"), "w", encoding="ascii") as file:
            json.dump({"block": self.height}, file)

    def run(self, stop):
        while not stop.wait(0.01):
            self.block(1000)

    def do(self, what, *words):
        if what == "append":
            for _ in range(int(words[0])):
                self.block(int(words[1]))
            self.tell()
        elif what == "run":
            stop = threading.Event()
            thread = threading.Thread(target=self.run, args=[stop])
            thread.start()
            self.running = (stop, thread)
        elif what == "stop":
            self.running[0].set()
            self.running[1].join()
            self.tell()
        elif what == "compact":
            self.state.flush()
            self.state.compact_range(None, None)
        elif what == "break":
            self.chain.execute("UPDATE blocks SET prev_hash = 'planted' WHERE height = ?", (int(words[0]),))
        elif what == "pay":
            self.wallet.execute("INSERT INTO keys VALUES (?, randomblob(100))", (words[0],))
        elif what == "lock":
            self.wallet.execute("BEGIN EXCLUSIVE")
        elif what == "unlock":
            self.wallet.execute("ROLLBACK")
        elif what == "close":
            for open_one in [self.chain, self.wallet, self.state, self.index]:
                open_one.close()
        return {"height": self.height, "head": self.head}


def inspect(folder):
    """What servers of all four find in a folder; the folder is written to."""
    chain = sqlite3.connect(os.path.join(folder, "chain.db"))
    rows = chain.execute("SELECT height, hash, prev_hash, body FROM blocks ORDER BY height")
    head, height, holds = "", -1, True
    for height, this, previous, body in rows:
        holds = holds and previous == head and this == hashlib.sha256(head.encode() + body).hexdigest()
        head = this
    wallets = os.path.join(folder, "wallets/wallet.db")
    keys = None
    if os.path.exists(wallets):
        keys = [name for (name,) in sqlite3.connect(wallets).execute("SELECT name FROM keys")]
    state = open_state(os.path.join(folder, "state"))
    index = plyvel.DB(os.path.join(folder, "index"))
    heights = [int(key) for key in state.keys()]
    found = {
        "height": height,
        "head": head,
        "holds": holds,
        "integrity": [line for (line,) in chain.execute("PRAGMA integrity_check")],
        "keys": keys,
        # Without gaps, whatever was in a table or a log.
        "state": len(heights) if heights == list(range(len(heights))) else f"gaps: {heights}",
        "index": sum(1 for _ in index),
    }
    state.close()
    index.close()
    return found


def main():
    what, folder, *rest = sys.argv[1:]
    if what == "inspect":
        print(json.dumps(inspect(folder)))
        return
    node = Node(folder, *rest)
    for line in sys.stdin:
        print(json.dumps(node.do(*line.split())), flush=True)


main()
