"""Which ring a test is of, what the table says, and in which order files run."""

from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.project import ROOT
from tests.support.rings import SECONDS, LongestFirst, longest_first, measure, ring_of, span, table


def report(
    nodeid: str, ring: str = "units", *, when: str = "call", outcome: str = "passed", start: float = 0, stop: float = 1
) -> Any:
    return pytest.TestReport(
        nodeid, (nodeid, 0, nodeid), {"lab": 1}, outcome, None, when,  # type: ignore[arg-type]
        user_properties=[("ring", ring)], duration=stop - start, start=start, stop=stop,
    )  # fmt: skip


@pytest.mark.engine
@pytest.mark.lab
def test_a_test_of_engine_and_lab_is_of_the_lab(request: pytest.FixtureRequest) -> None:
    assert ring_of(request.node) == "lab"


@pytest.mark.engine
def test_a_test_of_the_engine_is_of_the_engine(request: pytest.FixtureRequest) -> None:
    assert ring_of(request.node) == "engine"


def test_any_other_test_is_a_unit_test(request: pytest.FixtureRequest) -> None:
    assert ring_of(request.node) == "units"


def test_the_table_counts_tests_and_their_fixtures_time() -> None:
    rings = measure(
        [
            report("a::one", "lab", when="setup", start=0, stop=90),
            report("a::one", "lab", start=90, stop=100),
            report("b::two", "lab", when="setup", outcome="failed", start=20, stop=25),
            report("c::three", outcome="skipped", start=1, stop=2),
            report("c::four", outcome="failed", start=2, stop=3),
            report("c::four", when="teardown", outcome="failed", start=3, stop=4),
        ]
    )

    assert [line.split() for line in table(rings)[1:]] == [
        ["units", "0", "1", "1", "3.0", "s", "3.0", "s"],
        ["lab", "1", "1", "0", "1", "min", "45", "s", "1", "min", "40", "s"],
    ]


def test_a_test_whose_process_died_is_counted_as_failed() -> None:
    crashed: Any = pytest.TestReport("a::one", ("a", None, "a"), {}, "failed", "worker 'gw0' crashed", "???")  # type: ignore[arg-type]

    assert [line.split()[:3] for line in table(measure([crashed]))[1:]] == [["lost", "0", "1"]]


def test_a_time_reads_as_minutes_from_one_minute_on() -> None:
    assert [span(59.94), span(60), span(754.2)] == ["59.9 s", "1 min  0 s", "12 min 34 s"]


def test_every_file_with_a_recorded_time_exists() -> None:
    assert [name for name in SECONDS if not (ROOT / name).exists()] == []


def test_the_longest_file_comes_first_and_a_files_tests_stay_in_order() -> None:
    longest, shorter = sorted(SECONDS, key=lambda name: -SECONDS[name])[:2]
    names = [("tests/test_short.py", 1), (shorter, 1), (longest, 1), (shorter, 2), (longest, 2)]
    items: Any = [SimpleNamespace(path=ROOT / name, number=number) for name, number in names]
    longest_first(items, ROOT)

    assert [(item.path.relative_to(ROOT).as_posix(), item.number) for item in items] == [
        (longest, 1),
        (longest, 2),
        (shorter, 1),
        (shorter, 2),
        ("tests/test_short.py", 1),
    ]


class Worker:
    """A process that runs tests, as the scheduler sees it."""

    def __init__(self) -> None:
        self.given: list[int] = []
        self.shutting_down = False
        self.gateway = SimpleNamespace(id="gw")

    def send_runtest_some(self, indices: list[int]) -> None:
        self.given += indices

    def shutdown(self) -> None:
        self.shutting_down = True


def test_a_process_gets_its_next_file_when_one_test_of_the_last_is_left() -> None:
    config: Any = SimpleNamespace(
        option=SimpleNamespace(loadscopereorder=True), getvalue=lambda _: ["2*popen"], hook=None
    )
    log: Any = SimpleNamespace(loadscopesched=lambda *_: None)
    tests = [f"{file}::{number}" for file in ("long", "longer", "last") for number in range(3)]
    scheduler = LongestFirst(config, log)
    workers: Any = [Worker(), Worker()]
    for worker in workers:
        scheduler.add_node(worker)
        scheduler.add_node_collection(worker, tests)
    scheduler.schedule()
    assert [worker.given for worker in workers] == [[0, 1, 2], [3, 4, 5]]

    scheduler.mark_test_complete(workers[0], 0)
    assert workers[0].given == [0, 1, 2], "two are left"
    scheduler.mark_test_complete(workers[0], 1)
    assert workers[0].given == [0, 1, 2, 6, 7, 8]
