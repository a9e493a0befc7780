"""What a test starts, and what ends with its `with`."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class Started(ABC):
    """A context manager over processes: they are ended also where not all of them start."""

    def __enter__(self) -> Self:
        """Starts everything."""
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends every process."""
        self._stop()

    @abstractmethod
    def _start(self) -> None:
        """Starts the processes and waits until they answer."""

    @abstractmethod
    def _stop(self) -> None:
        """Ends what was started."""
