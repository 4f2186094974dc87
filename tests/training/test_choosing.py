"""What becomes of fields left to the machine: bf16 where the hardware has it and it pays, compiling where it saves more than it takes."""

from dataclasses import replace

import pytest

from resnet_lab.spec.choosing import Choice
from resnet_lab.training import choosing
from resnet_lab.training.choosing import Candidate, choose, in_turn, spread
from resnet_lab.training.timing import Stepper


@pytest.fixture
def candidate(small_run):
    """`candidate("deep", layers=14, epochs=5)`: a run that leaves its precision to the machine."""

    def make(name, *, layers=8, **recipe):
        return Candidate(name, small_run({"network": {"layers": layers}, "training": {"precision": "auto", **recipe}}))

    return make


@pytest.fixture
def hardware(monkeypatch):
    """The hardware computes in bf16, or not, whatever this machine does."""
    return lambda has: monkeypatch.setattr(choosing, "computes_bf16", lambda device: has)


def steps_take(monkeypatch, seconds):
    """The first of two ways takes 1 s a step, the second so many, in the order in which networks are timed."""
    times = iter(seconds)
    monkeypatch.setattr(choosing, "in_turn", lambda one, other: (1.0, next(times)))


def test_without_bf16_hardware_nothing_is_timed(candidate, hardware, monkeypatch):
    """Would catch emulated bf16, and a wait for nothing on old processors."""
    hardware(False)
    monkeypatch.setattr(choosing, "in_turn", lambda one, other: pytest.fail("timed"))
    (choice,) = choose([candidate("a")], "cpu")

    assert (choice.field, choice.value) == ("training.precision", "fp32")
    assert choice.why.endswith("does not compute in bf16")


@pytest.mark.parametrize(("seconds", "value"), [(0.8, "bf16"), (0.95, "fp32"), (1.3, "fp32")])
def test_bf16_has_to_pay(candidate, hardware, monkeypatch, seconds, value):
    """Would catch other numbers for a gain that nobody notices, or for a loss."""
    hardware(True)
    steps_take(monkeypatch, [seconds])
    (choice,) = choose([candidate("a")], "cpu")

    assert choice.value == value
    assert f"{1 / seconds:.2f} times as fast in bf16 (a, on " in choice.why


def test_the_whole_training_counts_not_the_number_of_networks(candidate, hardware, monkeypatch):
    """Would catch a choice by votes: two short runs that bf16 slows down against one long run that it speeds up."""
    hardware(True)
    runs = [candidate("long", layers=20, epochs=50), candidate("short", layers=14, epochs=1), candidate("least", epochs=1)]
    steps_take(monkeypatch, [0.7, 1.2, 1.2])
    (choice,) = choose(runs, "cpu")

    assert choice.value == "bf16"


def test_a_network_that_cannot_be_trained_here_leaves_what_is_plain(candidate, hardware, monkeypatch):
    """Would catch a study that ends before its first run because of one arm's error: that run says it itself."""

    def breaks(one, other):
        raise MemoryError("too large\nand more")

    hardware(True)
    monkeypatch.setattr(choosing, "in_turn", breaks)
    (choice,) = choose([candidate("a")], "cpu")

    assert (choice.value, choice.why) == ("fp32", "a step could not be timed (MemoryError: too large)")


def test_what_is_known_is_not_measured(candidate, monkeypatch):
    """Would catch a study that goes on and measures again, and may flip."""
    monkeypatch.setattr(choosing, "computes_bf16", lambda device: pytest.fail("looked at the hardware"))
    known = Choice("training.precision", "bf16", "as before")

    assert choose([candidate("a")], "cpu", known=[known]) == (known,)


def test_short_runs_are_not_compiled_and_it_is_not_tried(candidate, monkeypatch):
    """Would catch half a minute of compiling before a study of a minute."""
    made = []
    real = Candidate.stepper
    monkeypatch.setattr(Candidate, "stepper", lambda self, device, **recipe: made.append(recipe) or real(self, device, **recipe))
    (choice,) = choose([candidate("a", precision="fp32", compile="auto")], "cpu")

    assert (choice.field, choice.value) == ("training.compile", False)
    assert choice.why.startswith("a run takes about ")
    assert made == [{}]


class Scripted:
    """Steps that take what a test says."""

    def __init__(self, first: float, step: float) -> None:
        self.first, self.step = first, step

    def steps(self, seconds=0.0, *, least=1):
        taken = [self.first, *[self.step] * (least - 1)]
        self.first = self.step
        return taken


@pytest.mark.parametrize(
    ("compiled", "compiling", "value"),
    [(0.5, 30.0, True), (0.5, 3000.0, False), (0.99, 1.0, False), (1.2, 1.0, False)],
    ids=["it pays", "it takes longer than it saves", "within chance", "slower"],
)
def test_compiling_has_to_save_more_than_it_takes(candidate, monkeypatch, compiled, compiling, value):
    """A run of 1000 steps of a second: what compiled steps save is held against what compiling took."""
    steppers = {False: Scripted(1.0, 1.0), True: Scripted(compiling, compiled)}
    monkeypatch.setattr(Candidate, "stepper", lambda self, device, *, compile=False: steppers[compile])
    run = candidate("a", precision="fp32", compile="auto", epochs=None, iterations=1000)
    (choice,) = choose([run], "cpu")

    assert choice.value is value
    assert f"{1 / compiled:.2f} times as fast compiled" in choice.why


def test_precision_comes_first_so_that_what_is_compiled_computes_in_it(candidate, hardware, monkeypatch):
    """Would catch compiling that is judged by fp32 steps in a study of bf16."""
    seen = []

    def compile_later(runs, device):
        seen.extend(each.run.training.precision for each in runs)
        return Choice("training.compile", False, "")

    hardware(True)
    steps_take(monkeypatch, [0.5])
    monkeypatch.setitem(choosing.CHOOSERS, "training.compile", compile_later)
    chosen = choose([candidate("a", compile="auto")], "cpu")

    assert seen == ["bf16"]
    assert [each.field for each in chosen] == ["training.precision", "training.compile"]


def test_a_few_networks_stand_for_many(candidate):
    """Would catch a large grid that is timed for minutes, and one judged by its smallest network."""
    runs = [candidate(str(layers), layers=layers) for layers in range(8, 68, 6)]
    alike = [replace(run, run=replace(run.run, training=replace(run.run.training, lr=0.5))) for run in runs]
    few = spread([*runs, *alike], 3)

    assert few[0].name == "62"
    assert few[-1].name == "8"
    assert len(few) == 3
    assert spread(runs, 1)[0].name in {"44", "50"}  # half of the work is done above it


def test_a_stepper_does_real_steps(candidate):
    """Would catch timing that trains nothing, stops by itself, or leaves the caller's random state changed."""
    stepper = candidate("a").stepper("cpu", precision="fp32")

    assert len(stepper.steps(least=5)) == 5
    assert len(stepper.steps(least=300)) == 300  # beyond an epoch of its images
    assert len(stepper.steps(0.05)) > 1
    assert isinstance(stepper, Stepper)
    one, other = in_turn(stepper, candidate("b", layers=26).stepper("cpu", precision="fp32"))
    assert 0 < one < other
