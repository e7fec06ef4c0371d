"""A camera on this machine, for tests of live sources: motion JPEG over HTTP, on loopback alone."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from made_clips import Pixels
from PIL import Image

PATIENCE = 20.0  # seconds after which a test that hangs is ended


class Camera:
    """A server of motion JPEG; it can be killed, and started again at the same port.

    Args:
        frames: the frame of each number, from 0: (H, W) or (H, W, 3) uint8.
        interval: seconds from one to the next.
    """

    def __init__(self, frames: Callable[[int], Pixels], interval: float = 0.03) -> None:
        self.frames, self.interval, self.number, self.port = frames, interval, 0, 0
        self.damaged: set[int] = set()  # frames that are sent as noise
        self.stall_after: int | None = None  # frames after which nothing more is sent, once
        self.status = 200
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> Camera:
        """Serve; the numbers of frames go on."""
        camera, killed = self, threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(camera.status)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                while camera.status == 200 and not killed.is_set():
                    if camera.number == camera.stall_after:
                        camera.stall_after = None
                        killed.wait(PATIENCE)
                    try:
                        self.wfile.write(camera.part())
                    except OSError:
                        return
                    killed.wait(camera.interval)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self._killed = killed
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def part(self) -> bytes:
        """The next frame, as it is sent."""
        out = io.BytesIO()
        Image.fromarray(self.frames(self.number)).save(out, "JPEG", quality=95)
        data = out.getvalue()
        if self.number in self.damaged:
            data = b"no picture" * 40
        self.number += 1
        return b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (len(data), data)

    def kill(self) -> None:
        """Drop all connections and refuse new ones."""
        if self._server is not None:
            self._killed.set()
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/live"
