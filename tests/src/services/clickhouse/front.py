"""The HTTP interface of ClickHouse before its engine as a library (chdb): as much of it as clients of backups use.

    front.py PORT FOLDER [PASSWORD]

A POST to /?query=...&SETTING=... runs one query: the parameter, then the body; of an INSERT with a FORMAT, the body is the
data. A query that fails answers 500 and `Code: N. DB::Exception: ...`; one that fails in the middle says so behind what it
sent, and breaks off, as servers of these versions do.
"""

import base64
import os
import re
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

from chdb import session

TAG = "strongroomtesttag"
# The library takes one query at a time.
ONE_AT_A_TIME = threading.Lock()
OF_THE_INTERFACE = {"query", "database", "user", "password", "wait_end_of_query", "default_format"}


class Front(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        self.answer(200, b"Ok.\n")

    def do_POST(self):
        parameters = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        is_insert = re.match(r"\s*INSERT\b.*\bFORMAT\s+\w+\s*$", parameters.get("query", ""), re.I | re.S)
        body = tempfile.NamedTemporaryFile(prefix="body-", dir=self.server.bodies)
        with body:
            self.read_body(body)
            if self.server.password and not self.is_known():
                text = "Code: 516. DB::Exception: default: Authentication failed: password is incorrect. (AUTHENTICATION_FAILED)\n"
                return self.answer(403, text.encode(), {"X-ClickHouse-Exception-Code": "516"})
            body.flush()
            with ONE_AT_A_TIME:
                if is_insert:
                    query = re.sub(r"\bFORMAT\s+(\w+)\s*$", lambda found: f"SELECT * FROM file('{body.name}', '{found[1]}')", parameters["query"], flags=re.I)
                    if os.path.getsize(body.name) == 0:
                        return self.answer(200, b"")
                else:
                    body.seek(0)
                    query = "\n".join(filter(None, [parameters.get("query", ""), body.read().decode()]))
                self.run(query, parameters)

    def run(self, query, parameters):
        settings = {name: value for name, value in parameters.items() if name not in OF_THE_INTERFACE}
        server = self.server.session
        try:
            if "database" in parameters:
                server.query(f"USE `{parameters['database']}`")
            self.set(settings)
            self.stream(query, "wait_end_of_query" in parameters)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        except Exception as error:
            self.refuse(error)
        finally:
            if "database" in parameters:
                server.query("USE default")

    def set(self, settings):
        """Each query has its own; most have those of the last."""
        server, now = self.server.session, self.server.settings
        for name in [name for name in now if name not in settings]:
            server.query(f"SET {name} = DEFAULT")
            del now[name]
        for name, value in settings.items():
            if now.get(name) != value:
                server.query(f"SET {name} = {value if re.fullmatch(r'-?[0-9.]+', value) else repr(value)}")
                now[name] = value

    def stream(self, query, waits):
        found = re.search(r"\bFORMAT\s+(\w+)\s*;?\s*$", query, re.I)
        form = found[1] if found else "TabSeparated"
        query = query[: found.start()] if found else query
        server = self.server.session
        is_read = re.match(r"\s*(SELECT|WITH)\b", query, re.I)
        if waits or not is_read:
            return self.answer(200, server.query(query, form).bytes())
        began = False
        try:
            for chunk in server.send_query(query, form):
                if not began:
                    began = True
                    self.send_response(200)
                    self.send_header("Transfer-Encoding", "chunked")
                    self.send_header("X-ClickHouse-Exception-Tag", TAG)
                    self.end_headers()
                self.chunk(chunk.bytes())
        except (BrokenPipeError, ConnectionResetError):
            raise
        except Exception as error:
            if not began:
                raise
            said = f"{error}\n"
            self.chunk(f"\r\n__exception__\r\n{TAG}\r\n{said}{len(said)} {TAG}\r\n__exception__\r\n".encode())
            self.close_connection = True
            return
        if began:
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.answer(200, b"")

    def refuse(self, error):
        text = str(error).strip()
        code = re.search(r"Code: (\d+)", text)
        self.answer(404 if code and code[1] == "60" else 500, (text + "\n").encode(), {"X-ClickHouse-Exception-Code": code[1] if code else "0"})

    def is_known(self):
        kind, _, login = self.headers.get("Authorization", "").partition(" ")
        try:
            return kind == "Basic" and base64.b64decode(login).decode() == f"default:{self.server.password}"
        except ValueError:
            return False

    def answer(self, status, body, headers={}):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def chunk(self, data):
        if data:
            self.wfile.write(b"%x\r\n" % len(data) + data + b"\r\n")

    def read_body(self, out):
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline().split(b";")[0], 16):
                self.copy(size, out)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
        else:
            self.copy(int(self.headers.get("Content-Length", 0)), out)

    def copy(self, left, out):
        while left:
            data = self.rfile.read(min(left, 1 << 16))
            if not data:
                raise ConnectionResetError
            out.write(data)
            left -= len(data)


class Server(ThreadingHTTPServer):
    daemon_threads = True


def main():
    port, folder, password = int(sys.argv[1]), sys.argv[2], (sys.argv[3:] or [""])[0]
    server = Server(("127.0.0.1", port), Front)
    server.session = session.Session(os.path.join(folder, "data"))
    server.bodies = os.path.join(folder, "bodies")
    os.makedirs(server.bodies, exist_ok=True)
    server.password = password
    server.settings = {}
    server.serve_forever()


main()
