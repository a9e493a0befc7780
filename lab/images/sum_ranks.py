"""A distributed program: every worker sends a number to worker 0, which adds them and sends the sum to all.

It shows what a training needs of a cluster: the workers find each other by name, reach each other, and all end.
"""

import os
import socket
import sys
import time

PATIENCE_S = 120.0
"""How long workers look for worker 0, whose name is known to the cluster's DNS only once its pod runs."""


def serve_sum(port: int, others: int, own: int) -> int:
    """Worker 0: adds one number of each other worker to its own, and answers all with the sum."""
    with socket.create_server(("", port)) as server:
        connections = [server.accept()[0] for _ in range(others)]
        total = own + sum(int(connection.makefile().readline()) for connection in connections)
        for connection in connections:
            with connection:
                connection.sendall(f"{total}\n".encode())
    return total


def ask_sum(address: str, port: int, own: int) -> int:
    """Another worker: sends its number and waits for the sum."""
    with find_worker(address, port) as connection:
        connection.sendall(f"{own}\n".encode())
        return int(connection.makefile().readline())


def find_worker(address: str, port: int) -> socket.socket:
    """A connection to worker 0, as soon as its name is known and it listens."""
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            return socket.create_connection((address, port), timeout=PATIENCE_S)
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def main() -> int:
    """Prints what this worker contributed and what all of them together did."""
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    own = rank + 1
    total = ask_sum(address, port, own) if rank else serve_sum(port, world - 1, own)
    sys.stdout.write(f"rank {rank} of {world} on {socket.gethostname()}: sent {own}, sum {total}\n")
    return 0 if total == world * (world + 1) // 2 else 1


if __name__ == "__main__":
    sys.exit(main())
