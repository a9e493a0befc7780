"""A TCP relay on loopback that can fall silent as a dead network does: nothing arrives any more, and nobody hangs up."""

import socket
import threading
from contextlib import suppress
from typing import Self

CHUNK = 65536


class Relay:
    """Passes on what comes to `port`, to another port on loopback."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._open: list[socket.socket] = []
        self._silenced: set[socket.socket] = set()
        self._room: int | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for end in (self._listener, *self._open):
            end.close()

    def silence(self, *, after: int = 0) -> None:
        """Swallows what comes over the connections that there are; over later ones too, once so many bytes have passed."""
        with self._lock:
            self._silenced.update(self._open)
            self._room = after or None

    def mend(self) -> None:
        """New connections work again; those that fell silent stay so."""
        with self._lock:
            self._silenced.update(self._open)
            self._room = None

    def _accept(self) -> None:
        with suppress(OSError):  # the listener was closed
            while True:
                here, _ = self._listener.accept()
                there = socket.create_connection(("127.0.0.1", self._target))
                self._open += [here, there]
                for source, sink in ((here, there), (there, here)):
                    threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):  # one of the two was closed
            while data := source.recv(CHUNK):
                with self._lock:
                    if self._room is not None:
                        self._room -= len(data)
                        if self._room < 0:
                            self._silenced.update({source, sink})
                if source not in self._silenced:
                    sink.sendall(data)
            if source not in self._silenced:
                sink.shutdown(socket.SHUT_WR)
