"""A hub for stories: the answers of Hugging Face's to those who read models, for one model by two names."""

import hashlib
import http.server
import json
import sys
import urllib.parse

PORT, WEIGHTS = int(sys.argv[1]), sys.argv[2]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
MODELS = ["org/model", "hf-internal-testing/tiny-random-bert"]
FILES = {"config.json": b'{"model_type": "bert"}', "model.safetensors": open(WEIGHTS, "rb").read()}
LARGE = "model.safetensors"


def blob(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def entry(path, content):
    found = {"type": "file", "path": path, "size": len(content), "oid": blob(content)}
    if path == LARGE:
        found["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
    return found


class Hub(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        for model in MODELS:
            if path.startswith(f"/api/models/{model}/revision/"):
                siblings = [{"rfilename": name} for name in FILES]
                return self.answer(json.dumps({"id": model, "sha": COMMIT, "private": False, "siblings": siblings}))
            if path.startswith(f"/api/models/{model}/tree/"):
                return self.answer(json.dumps([entry(*file) for file in FILES.items()]))
            if path.startswith(f"/{model}/resolve/"):
                name = path.split("/", 5)[5]
                if name in FILES:
                    return self.file(name, FILES[name])
        self.answer("", 404, {"X-Error-Code": "RepoNotFound"})

    do_HEAD = do_GET

    def file(self, name, content):
        found = entry(name, content)
        headers = {"ETag": '"%s"' % found.get("lfs", found)["oid"], "Accept-Ranges": "bytes"}
        wanted = self.headers.get("Range")
        if not wanted:
            return self.answer(content, 200, headers)
        first, last = wanted.removeprefix("bytes=").split("-")
        first, last = int(first), min(int(last or len(content)), len(content) - 1)
        headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        self.answer(content[first : last + 1], 206, headers)

    def answer(self, body, status=200, headers={}):
        body = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        for name, value in {"X-Repo-Commit": COMMIT, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *words):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Hub)
print(f"hub at {PORT}")
server.serve_forever()
