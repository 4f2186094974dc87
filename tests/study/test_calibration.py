"""How many runs at a time, with how many threads: which ways are tried, which wins, what memory allows, and what is remembered."""

import json

import pytest

from resnet_lab.study import calibration
from resnet_lab.study.calibration import Crew, holds, known_crew, measured, remember, usual, ways
from resnet_lab.study.executors import Processes
from resnet_lab.study.probing import Probe
from resnet_lab.study.worker import Workplace

MEGABYTE = 2**20


@pytest.fixture
def machine(monkeypatch):
    """A machine with so many cores and so much free memory, whatever this one has."""

    def have(cores, free=None):
        monkeypatch.setattr(calibration, "cores", lambda: cores)
        monkeypatch.setattr(calibration, "free_memory", lambda: free)

    return have


class Bench:
    """Stands where workers would: says how long a step takes with so many runs of so many threads, and notes what was tried."""

    def __init__(self, step, memory=0, device_memory=0):
        self.step, self.memory, self.device_memory = step, memory, device_memory
        self.tried, self.sizes = [], []

    def probe(self, executor, workplace, task, crew, seconds):
        if not seconds:
            return self._probe(self.step(1, 1))
        self.tried.append((crew.workers, crew.threads))
        took = self.step(crew.workers, crew.threads)
        return took and self._probe(took)

    def resize(self, workers, threads):
        self.sizes.append(workers)

    def _probe(self, step):
        return Probe(0.0, step, 0.0, 1.0, self.memory, self.device_memory)


@pytest.fixture
def crew_for(prepare, studies, monkeypatch):
    """`crew_for(bench, runs=4)`: the crew for so many long runs on a bench."""

    def find(bench, *, runs=4, devices=("cpu",), threads=0):
        prepared = prepare(seeds=runs // 4 + 1, overrides=["training.epochs=100000"])
        monkeypatch.setattr(calibration, "_probe", bench.probe)
        place = Workplace(prepared.cache, None, devices[0], 1, studies / "progress", devices=devices)
        return measured(prepared.tasks[:runs], bench, place, threads=threads)

    return find


def test_ways_use_all_cores_with_the_most_runs_first():
    assert list(ways(2, 40)) == [(2, 1), (1, 2)]
    assert list(ways(8, 40)) == [(8, 1), (4, 2), (2, 4), (1, 8)]
    assert list(ways(6, 40)) == [(6, 1), (3, 2), (1, 4)]
    assert list(ways(1, 40)) == [(1, 1)]


def test_ways_give_the_cores_that_memory_or_too_few_runs_leave_to_the_others():
    """Would catch a machine left idle because only three workers fit into its memory."""
    assert list(ways(8, 3)) == [(3, 1), (3, 2), (2, 4), (1, 8)]
    assert list(ways(8, 1)) == [(1, 1), (1, 2), (1, 4), (1, 8)]
    assert list(ways(8, 40, threads=4)) == [(2, 4)]


def test_memory_holds_so_many_workers():
    """Would catch workers that the system kills one after the other, and none at all where one does not fit either."""
    assert holds(1000 * MEGABYTE, 10_000 * MEGABYTE) == 9
    assert holds(1000 * MEGABYTE, 10 * MEGABYTE) == 1
    assert holds(1000 * MEGABYTE, None) > 1000  # systems that do not say


def test_the_way_with_the_shortest_study_wins(crew_for, machine):
    """Would catch the usual one run a core where the runs get in each other's way."""
    machine(4)
    bench = Bench(lambda workers, threads: {(4, 1): 9.0, (2, 2): 3.0, (1, 4): 2.0}[workers, threads] if workers > 1 else 2.0)
    crew = crew_for(bench, runs=8)

    assert bench.tried == [(4, 1), (2, 2), (1, 4)]
    assert (crew.workers, crew.threads, crew.measured) == (2, 2, True)
    assert str(crew).startswith("2 runs at a time, 2 threads each: measured on plain/10 in ")
    assert crew.why.endswith("times as long with other runs x threads: 1.50 with 4 x 1, 1.33 with 1 x 4")


def test_a_few_runs_go_by_rounds(crew_for, machine):
    """Would catch three runs on two workers, of which the third begins when the others are done, taken for one and a half rounds."""
    machine(2)
    crew = crew_for(Bench(lambda workers, threads: {(2, 1): 1.0, (1, 2): 0.6}.get((workers, threads), 1.0)), runs=3)

    assert (crew.workers, crew.threads) == (1, 2)


def test_a_gain_within_chance_changes_nothing_and_a_bad_way_ends_the_search(crew_for, machine):
    """Would catch a choice that flips from call to call, and a big machine that is measured for a minute."""
    machine(8)
    bench = Bench(lambda workers, threads: {(8, 1): 1.0, (4, 2): 0.49, (2, 4): 0.4}.get((workers, threads), 1.0))
    crew = crew_for(bench, runs=8)

    assert bench.tried == [(8, 1), (4, 2), (2, 4)]  # with four threads a run the study takes 1.6 times as long
    assert (crew.workers, crew.threads) == (8, 1)


def test_no_more_workers_than_memory_holds(crew_for, machine):
    """Would catch a measurement that itself takes all the memory."""
    machine(8, free=4000 * MEGABYTE)
    bench = Bench(lambda workers, threads: 1.0 / threads, memory=1500 * MEGABYTE)
    crew = crew_for(bench, runs=8)

    assert max(workers for workers, _ in bench.tried) == crew.workers == 2
    assert "more would not fit into the memory, 1.57 GB each" in crew.why


def test_a_short_study_is_not_measured(prepare, studies, machine, monkeypatch):
    """Would catch seconds of measuring before a study that is over in seconds."""
    machine(4)
    bench = Bench(lambda workers, threads: 0.01)
    monkeypatch.setattr(calibration, "_probe", bench.probe)
    tasks = prepare(seeds=2).tasks
    crew = measured(tasks, bench, Workplace(studies, None, "cpu", 1, studies))

    assert bench.tried == []
    assert (crew.workers, crew.threads, crew.measured) == (4, 1, False)


def test_threads_that_are_asked_for_are_kept(crew_for, machine):
    machine(8)
    bench = Bench(lambda workers, threads: 1.0)

    assert (crew := crew_for(bench, threads=4)).threads == 4
    assert crew.workers == 2


def test_a_way_that_breaks_is_left_out_and_nothing_measured_is_the_usual(crew_for, machine):
    """Would catch a study that ends because a measurement ran out of memory."""
    machine(4)
    crew = crew_for(Bench(lambda workers, threads: None if workers == 4 else 1.0), runs=4)
    assert (crew.workers, crew.threads) == (2, 2)

    crew = crew_for(Bench(lambda workers, threads: 1.0 if workers == 1 and threads == 1 else None), runs=4)
    assert (crew.workers, crew.threads, crew.measured) == (4, 1, False)


def test_runs_share_a_gpu_where_that_pays(crew_for, machine, monkeypatch):
    """Would catch one run on a GPU that is half idle, and eight that only wait for each other."""
    machine(16)
    monkeypatch.setattr(calibration, "_device_holds", lambda memory, device: 8)
    bench = Bench(lambda workers, threads: {2: 1.0, 4: 1.1, 8: 2.1, 16: 5.0}.get(workers, 1.0))
    crew = crew_for(bench, runs=40, devices=("cuda:0", "cuda:1"))

    assert bench.tried == [(2, 1), (4, 1), (8, 1)]
    assert bench.sizes == [2, 4, 8]
    assert (crew.workers, crew.threads) == (4, 1)
    assert crew.why.startswith("2 a device, ")
    assert crew.why.endswith("times as many steps a second with other numbers: 0.55 with 1, 1.05 with 4")


def test_a_gpu_gets_no_more_runs_than_its_memory_holds(crew_for, machine, monkeypatch):
    machine(16)
    seen = []
    monkeypatch.setattr(calibration, "_device_holds", lambda memory, device: seen.append(memory) or 2)
    crew = crew_for(Bench(lambda workers, threads: 1.0, device_memory=7), runs=40, devices=("cuda:0",))

    assert seen == [7]
    assert crew.workers == 2


def test_what_is_asked_for_needs_no_measuring(prepare, studies, machine):
    machine(8)
    tasks = prepare().tasks

    def known(executor="processes", devices=("cpu",), **asked):
        crew = known_crew(executor, devices, tasks, studies, **asked)
        return crew and (crew.workers, crew.threads)

    assert known(workers=3) == (3, 1)
    assert known(workers=3, threads=2) == (3, 2)
    assert known("inline", threads=2) == (1, 2)
    assert known(devices=("mps",)) == (1, 1)
    assert known(devices=("cpu",)) is None


def test_runs_per_device_are_for_every_device(prepare, studies, monkeypatch):
    monkeypatch.setattr(calibration, "device_name", lambda device: "a GPU")
    crew = known_crew("processes", ("cuda:0", "cuda:1"), prepare().tasks, studies, runs_per_device=3)

    assert crew is not None
    assert (crew.workers, crew.threads) == (6, 1)


def test_before_anything_is_measured_it_is_all_cores_or_one_a_device(machine):
    machine(8)

    assert (usual(("cpu",), 0).workers, usual(("cpu",), 0).threads) == (8, 1)
    assert (usual(("cpu",), 3).workers, usual(("cpu",), 3).threads) == (2, 3)
    assert usual(("cuda:0", "cuda:1"), 0).workers == 2


def test_what_was_measured_is_remembered_for_machines_of_the_kind(prepare, studies, machine, monkeypatch):
    """Would catch a run that goes on from its checkpoint with other threads, and a laptop that goes by what was best on a server."""
    tasks = prepare().tasks
    machine(8)
    studies.mkdir()
    remember(Crew(4, 2, "measured", 100 * MEGABYTE, measured=True), studies, ("cpu",), tasks)
    assert known_crew("processes", ("cpu",), tasks, studies) == Crew(4, 2, "measured", 100 * MEGABYTE, measured=True)
    assert known_crew("processes", ("cpu",), tasks, studies, threads=1) is None
    machine(8, free=250 * MEGABYTE)
    assert known_crew("processes", ("cpu",), tasks, studies).workers == 2  # others have taken memory since

    machine(2)
    assert known_crew("processes", ("cpu",), tasks, studies) is None
    remember(Crew(2, 1, "usual"), studies, ("cpu",), tasks)  # not measured: nothing to go by
    remember(Crew(1, 2, "measured", measured=True), studies, ("cpu",), tasks)
    assert len(json.loads((studies / "crew.json").read_bytes())) == 2
    (studies / "crew.json").write_text("[cut")
    assert known_crew("processes", ("cpu",), tasks, studies) is None


@pytest.mark.slow
def test_real_workers_are_measured_and_go_on_to_do_the_runs(prepare, studies, monkeypatch):
    """Would catch a measurement that leaves workers dead, with other threads, or with too few of them."""
    monkeypatch.setattr(calibration, "SHORT_STUDY", 0.0)
    monkeypatch.setattr(calibration, "SECONDS", 0.05)
    monkeypatch.setattr(calibration, "cores", lambda: 2)
    prepared = prepare(seeds=1)
    place = Workplace(prepared.cache.absolute(), None, "cpu", 1, (studies / "progress").absolute())
    executor = Processes(place, 2)
    try:
        crew = measured(prepared.tasks, executor, place)
        assert crew.measured
        assert (crew.workers, crew.threads) in {(2, 1), (1, 2)}
        assert crew.memory > 50 * MEGABYTE
        for workers, threads in ((1, 2), (2, 1)):
            executor.resize(workers, threads)
            records = [executor.submit(task).result(60) for task in prepared.tasks[:1]]
            assert executor.free == workers
            assert records[0].environment["threads"] == str(threads)
    finally:
        executor.stop()
