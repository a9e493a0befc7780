"""The meter of the API's silence measures the longest one."""

import threading
from typing import Any, cast

import pytest

from ops.clients.kubernetes import Kube
from tests.support.api_gap import gap, watch


@pytest.mark.parametrize(("answers", "longest"), [([0.0, 0.25, 3.0, 3.25], 2.75), ([1.0], 0.0), ([], 0.0)])
def test_the_longest_time_between_two_answers_is_the_gap(answers: list[float], longest: float) -> None:
    assert gap(answers) == longest


def test_only_a_ready_api_counts_as_an_answer() -> None:
    stop = threading.Event()
    reported = iter([True, False, True])

    class Api:
        _http: Any = type("Client", (), {})()

        def ready(self) -> bool:
            answer = next(reported, None)
            if answer is None:
                stop.set()
            return bool(answer)

    assert len(watch(cast("Kube", Api()), stop)) == 2
