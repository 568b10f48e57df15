"""A Python package index and a model hub, each with one entry, on a loopback port.

No package registry ships such servers without a network of their own. The clients are the real pip, uv and
huggingface_hub. The first line of output is the port, and each further line is one request. The server ends when its
standard input ends.
"""

import hashlib
import http.server
import io
import json
import sys
import threading
import zipfile

COMMIT = "0123456789abcdef0123456789abcdef01234567"
WEIGHTS = b"weights of a tiny model\n"
NAME = "tinymodel-1.0-py3-none-any.whl"


def wheel():
    files = {
        "tinymodel.py": "WEIGHTS = 'tiny'\n",
        "tinymodel-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: tinymodel\nVersion: 1.0\n",
        "tinymodel-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in files)
    files["tinymodel-1.0.dist-info/RECORD"] = record + "tinymodel-1.0.dist-info/RECORD,,\n"
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name), text)
    return content.getvalue()


WHEEL = wheel()
LINK = f'<a href="/files/{NAME}#sha256={hashlib.sha256(WHEEL).hexdigest()}">{NAME}</a>'
MODEL = {"id": "acme/tiny", "sha": COMMIT, "siblings": [{"rfilename": "weights.bin"}], "private": False, "tags": []}
PAGES = {
    "/simple/tinymodel/": (f"<!DOCTYPE html><html><body>{LINK}</body></html>".encode(), "text/html"),
    f"/files/{NAME}": (WHEEL, "application/octet-stream"),
    "/api/models/acme/tiny": (json.dumps(MODEL).encode(), "application/json"),
    "/api/models/acme/tiny/revision/main": (json.dumps(MODEL).encode(), "application/json"),
    "/acme/tiny/resolve/main/weights.bin": (WEIGHTS, "application/octet-stream"),
    f"/acme/tiny/resolve/{COMMIT}/weights.bin": (WEIGHTS, "application/octet-stream"),
}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        print(self.command, self.path, flush=True)
        content, kind = PAGES.get(self.path.split("?")[0], (b"", None))
        self.send_response(200 if kind else 404)
        self.send_header("Content-Type", kind or "text/plain")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Cache-Control", "max-age=600")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *arguments):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_port, flush=True)
sys.stdin.read()
