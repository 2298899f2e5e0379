#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A registry that serves one OCI layout, and does one thing wrong.

bad_registry.py LAYOUT MODE: prints "HOST:PORT", then serves until it is killed. MODE:
    fine        nothing is wrong
    manifest    the manifest is not the one that its digest promises
    config      nor is the configuration
    blob        a layer's bytes are changed
    truncated   a layer ends early, its length promised in full
    stall       a layer stops half-way and never goes on
    errors      every answer about an image is 500
    html        a manifest is a web page
"""
import http.server
import json
import sys
import threading

layout, mode = sys.argv[1], sys.argv[2]


def read(digest):
    with open(f"{layout}/blobs/sha256/{digest.removeprefix('sha256:')}", "rb") as f:
        return f.read()


with open(layout + "/index.json", encoding="utf-8") as f:
    top = json.load(f)["manifests"][0]["digest"]
config = json.loads(read(top))["config"]["digest"]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status, body=b"", media="application/json", promised=None):
        self.send_response(status)
        self.send_header("Content-Type", media)
        self.send_header("Content-Length", str(promised if promised is not None else len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)
            self.wfile.flush()

    def manifest(self, name):
        digest = name if name.startswith("sha256:") else top
        body = read(digest)
        if mode == "manifest":
            body = body.replace(b'"schemaVersion":2', b'"schemaVersion": 2')
        if mode == "html":
            return self.answer(200, b"<html>welcome</html>", "text/html")
        return self.answer(200, body, "application/vnd.oci.image.manifest.v1+json")

    def blob(self, digest):
        body = read(digest)
        layer = digest != config
        if mode == "config" and not layer:
            body = body.replace(b'"os":"linux"', b'"os":"LINUX"')
        if mode == "blob" and layer:
            body = body[:-8] + bytes(x ^ 0x55 for x in body[-8:])
        if mode in ("truncated", "stall") and layer:
            self.answer(200, body[:len(body) // 2], promised=len(body))
            if mode == "stall":
                threading.Event().wait()
            self.close_connection = True
            return None
        return self.answer(200, body, "application/octet-stream")

    def do_GET(self):
        parts = self.path.split("?")[0].strip("/").split("/")
        if parts == ["v2"]:
            return self.answer(200, b"{}")
        if mode == "errors":
            return self.answer(500, b"out of order", "text/plain")
        try:
            return {"manifests": self.manifest, "blobs": self.blob}[parts[-2]](parts[-1])
        except (KeyError, IndexError, FileNotFoundError):
            return self.answer(404, b'{"errors":[{"code":"NAME_UNKNOWN","message":"repository name not known to registry"}]}')

    do_HEAD = do_GET


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass


server = Server(("127.0.0.1", 0), Handler)
print(f"127.0.0.1:{server.server_address[1]}", flush=True)
server.serve_forever()
