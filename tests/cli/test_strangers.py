"""Questions, runs and archives from strangers, typed at each command: what they name does not run unasked."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from factories import make_plan, make_record
from tiny_study import TINY

import resnet_lab
from resnet_lab.runs.plan import Plan
from resnet_lab.runs.store import RunStore
from resnet_lab.spec import trust
from resnet_lab.spec.errors import SpecError
from resnet_lab.spec.reading import typed_run
from resnet_lab.spec.run import fingerprint

EVIL = """
from pathlib import Path
import resnet_lab
from torch import nn

(Path(__file__).parent / "ran").touch()

class Block(nn.Module):
    def __init__(self, in_channels, out_channels, stride, spec):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, stride, 1)

    def forward(self, x):
        return self.conv(x)

@resnet_lab.loader
def load(root):
    raise OSError("called")
"""


@pytest.fixture
def evil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A module in the working directory itself, that says so when it is imported."""
    monkeypatch.setattr(trust, "trusted_file", lambda: tmp_path / "cache" / "trusted")
    monkeypatch.setattr(sys, "path", list(sys.path))  # a command adds its working directory
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "evil.py").write_text(EVIL, encoding="utf-8")
    yield tmp_path / "work"
    sys.modules.pop("evil", None)


def naming(plan: Plan, section: str, name: str, value: str) -> Plan:
    """The plan with one more field of every cell as a stranger has set it, under the fingerprints that go with that."""
    cells = []
    for cell in plan.cells:
        spec = {**cell.spec, section: {**cell.spec[section], name: value}}
        cells.append(replace(cell, spec=spec, fingerprint=fingerprint(typed_run(spec))))
    return replace(plan, cells=tuple(cells))


@pytest.fixture(params=[("network", "block", "evil:Block"), ("data", "name", "evil:load")], ids=["block", "loader"])
def store(request: pytest.FixtureRequest, evil: Path, invoke, monkeypatch: pytest.MonkeyPatch) -> str:
    """A study in the store whose runs name the module, as an import brings them; the id of one of them."""
    monkeypatch.chdir(evil)
    plain = make_plan(seeds=range(1))
    plan = naming(plain, *request.param)
    plan.save(evil / "studies")
    for cell, was in zip(plan.cells, plain.cells, strict=True):
        record = replace(make_record(was, 0), spec=cell.spec, fingerprint=cell.fingerprint, weights={"last": "0" * 64})
        RunStore(evil / "studies").save(record)
    return RunStore.run_id(plan.cells[0].fingerprint, 0)


READING = (
    ("list",),
    ("new", "mine"),
    ("export", "plain_vs_residual/laptop", "-o", "study.tar.gz"),
    ("import", "study.tar.gz", "--studies", "there"),
    ("status", "plain_vs_residual/laptop"),
    ("report", "plain_vs_residual/laptop"),
    ("diff", "plain_vs_residual/laptop", "plain_vs_residual/laptop"),
    ("paper", "he2015"),
    ("runs", "list"),
    ("runs", "show", "RUN"),
    ("runs", "rm", "RUN", "--yes"),
    ("runs", "gc", "--yes"),
)


def test_commands_that_only_read_run_nothing(invoke, store, evil):
    """Would catch code of a stored run that is imported to list, show, report, compare, export, import or remove it."""
    for words in READING:
        result = invoke(*(store if word == "RUN" else word for word in words))
        assert result.exit_code == 0, (words, result.output)
        assert not (evil / "ran").exists(), words


def test_commands_that_build_a_stored_run_ask_first(refused, store, evil, request):
    """Would catch an imported run that runs a script of the folder it is used in; and a trust that has to be said each time."""
    (evil / "photo.png").touch()
    building = [("evaluate", store)]
    if "block" in request.node.name:
        building += [("evaluate", store, "--data", "digits"), ("weights", "export", store, "--format", "onnx", "-o", "x")]
        building += [("describe", "plain_vs_residual/laptop:plain/20")]
    for words in building:
        assert f"would run {evil / 'evil.py'}, and a stored " in refused(*words), words
        assert not (evil / "ran").exists(), words
    for words in (("evaluate", store, "--trust"), ("evaluate", store)):
        assert "trust" not in refused(*words)
        assert (evil / "ran").exists()
        (evil / "ran").unlink()
        del sys.modules["evil"]


@pytest.mark.parametrize(
    "said", ['[arms.plain]\nnetwork.block = "evil:Block"\n', '[[where]]\narm = "plain"\nnetwork.block = "evil:Block"\n']
)
def test_a_question_from_elsewhere_asks_first(invoke, refused, evil, tmp_path, monkeypatch, said):
    """Would catch a downloaded question that runs a script of the folder it is typed in, wherever in the file it says so."""
    monkeypatch.chdir(evil)
    stranger = tmp_path / "downloads" / "stranger.toml"
    stranger.parent.mkdir()
    stranger.write_text(TINY.replace("[arms.plain]\n", said) if "arms" in said else TINY + said, encoding="utf-8")
    net = stranger.with_name("net.toml")
    net.write_text('[network]\nblock = "evil:Block"\ndepths = [1]\nwidths = [8]\n[data]\nname = "synthetic"\n', encoding="utf-8")
    for words in (
        ("plan", stranger),
        ("study", stranger),
        ("describe", f"{stranger}:plain/6"),
        ("describe", stranger),
        ("describe", net),
        ("compare", net, "resnet18"),
        ("flops", net),
        ("train", net),
    ):
        message = refused(*words)
        assert "is not of the project" in message or "is a question, not a network" in message, words
        assert not (evil / "ran").exists(), words
    line = stranger.read_text(encoding="utf-8").splitlines().index('network.block = "evil:Block"') + 1
    assert refused("plan", stranger).startswith(f"{stranger}:{line}: network.block: ")
    with pytest.raises(SpecError, match="is not of the project"):
        resnet_lab.describe(str(net))
    assert not (evil / "ran").exists()
    assert invoke("describe", net, "--trust").exit_code == 0
    assert (evil / "ran").exists()


def test_a_question_of_the_project_runs_the_projects_code(invoke, evil, monkeypatch):
    """Would catch a person who is asked about his own block."""
    monkeypatch.chdir(evil)
    (evil / "mine.toml").write_text(TINY.replace("[arms.plain]\n", '[arms.plain]\nnetwork.block = "evil:Block"\n'), encoding="utf-8")
    result = invoke("plan", "mine.toml")
    assert result.exit_code == 0, result.output
    result = invoke("plan", "plain_vs_residual", "--scale", "smoke", "--set", "network.block=evil:Block")
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("name", ["/", "..", "../../x", "/etc", "*", "tiny/../../x", "tiny/default@../../x", "runs/ab"])
def test_a_study_that_is_asked_for_by_what_is_no_name(refused, tiny, tmp_path, name):
    """Would catch a traceback, and a plan read from outside the studies folder."""
    make_plan(ablation="outside", scale="x").save(tmp_path)
    for command in ("status", "report", "export"):
        message = refused(command, name, "--studies", tmp_path / "studies")
        assert "no study" in message or "cannot be called" in message
