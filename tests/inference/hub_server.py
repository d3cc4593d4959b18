"""A stand-in for the Hugging Face Hub on this machine: what a download asks of it."""

import hashlib
import json
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

COMMIT = '0123456789abcdef0123456789abcdef01234567'


@contextmanager
def hub_of(repos):
    """Serves ``NAME/MODEL`` -> folder; yields the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.do_GET()

        def do_GET(self):
            path = self.path.split('?')[0].strip('/')
            for repo, folder in repos.items():
                if path.startswith(f'api/models/{repo}'):
                    names = sorted(file.name for file in Path(folder).iterdir())
                    return self._json(path, repo, folder, names)
                if path.startswith(f'{repo}/resolve/'):
                    return self._file(Path(folder, path.rsplit('/', 1)[1]))
            return self._answer(404, b'', {'X-Error-Code': 'RepoNotFound'})

        def _json(self, path, repo, folder, names):
            if '/tree/' in path:
                found = [
                    dict(type='file', path=n, size=Path(folder, n).stat().st_size, oid=n)
                    for n in names
                ]
            else:
                found = dict(id=repo, sha=COMMIT, siblings=[dict(rfilename=n) for n in names])
            return self._answer(200, json.dumps(found).encode(), {})

        def _file(self, path):
            if not path.is_file():
                return self._answer(404, b'', {'X-Error-Code': 'EntryNotFound'})
            data = path.read_bytes()
            etag = hashlib.sha1(data).hexdigest()
            return self._answer(200, data, {'ETag': f'"{etag}"', 'X-Repo-Commit': COMMIT})

        def _answer(self, status, data, headers):
            self.send_response(status)
            for name, value in {'Content-Length': len(data), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == 'GET':
                self.wfile.write(data)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f'http://127.0.0.1:{server.server_port}'
    finally:
        server.shutdown()
        server.server_close()
