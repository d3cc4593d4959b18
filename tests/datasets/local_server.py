"""An HTTP server on this machine, for tests of downloads."""

import http.server
import threading
import time

import pytest


@pytest.fixture
def server():
    """An HTTP server on this machine; ``files`` maps a path to bytes, or to seconds of silence."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            server.asked.append(self.path)
            content = server.files.get(self.path)
            if content is None:
                return self.send_error(404)
            self.send_response(200)
            silent = isinstance(content, float)
            self.send_header('Content-Length', str(1 << 20 if silent else len(content)))
            self.end_headers()
            if silent:
                self.wfile.write(b'x' * 1000)
                self.wfile.flush()
                time.sleep(content)
                return None
            self.wfile.write(content)
            return None

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    server.files, server.asked = {}, []
    server.url = f'http://127.0.0.1:{server.server_port}'
    thread = threading.Thread(target=server.serve_forever, kwargs=dict(poll_interval=0.02))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()
