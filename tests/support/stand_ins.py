"""The operators' stand-ins at work in a thread of a test."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lab.controllers import run


@contextmanager
def working(kubeconfig: Callable[[], str]) -> Iterator[None]:
    """Lets the stand-ins work in a thread of their own."""
    loop = asyncio.new_event_loop()
    task = loop.create_task(run(kubeconfig))

    def work() -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(task)
        except asyncio.CancelledError:
            pass
        finally:
            loop.close()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(timeout=60)
        assert not thread.is_alive(), "the stand-ins must end when they are cancelled"
