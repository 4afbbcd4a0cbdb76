"""A small HTTP server that records what it is sent and answers as its paths say."""

import json
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Web:
    """Requests are kept by the first element of their path, which is a story's
    account. The rest says what to answer: /ACCOUNT/status/503, /ACCOUNT/token,
    /ACCOUNT/slow, and 200 to anything else."""

    def __init__(self):
        self.lock, self.requests = threading.Lock(), {}
        web = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                path, _, query = self.path.partition("?")
                _, owner, *rest = path.split("/")
                status, said = web.answers(owner, rest)
                with web.lock:
                    web.requests.setdefault(owner, []).append(
                        {
                            "method": self.command, "path": "/" + "/".join(rest), "query": urllib.parse.parse_qsl(query), "body": body,
                            "headers": {k.lower(): v for k, v in self.headers.items()}, "names": [k for k in self.headers],
                        }
                    )
                said = json.dumps(said).encode()
                try:
                    self.send_response(status)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(said)))
                    self.end_headers()
                    self.wfile.write(said)
                except ConnectionError:  # nobody waits for so long
                    pass

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.tokens = {}

    def answers(self, owner, rest):
        match rest:
            case ["status", status, *_]:
                return int(status), {}
            case ["slow"]:
                time.sleep(6)
            case ["token"]:
                with self.lock:
                    self.tokens[owner] = self.tokens.get(owner, 0) + 1
                    return 200, {"access_token": f"token-{self.tokens[owner]}", "token_type": "Bearer", "expires_in": 3600}
            case ["second-token", *_]:  # takes no call before a second token was fetched
                with self.lock:
                    return (200 if self.tokens.get(owner, 0) > 1 else 401), {}
        return 200, {}

    def wait(self, owner, path, n=1, seconds=15):
        """The first n requests of the owner to the path, or those that came in time."""
        end = time.monotonic() + seconds
        while True:
            with self.lock:
                got = [r for r in self.requests.get(owner, []) if r["path"].startswith(path)]
            if len(got) >= n or time.monotonic() > end:
                return got[:n]
            time.sleep(0.02)
