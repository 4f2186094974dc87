"""Questions, runs and archives from strangers, typed at each command: what they name does not run unasked."""

import json
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from factories import make_plan, make_record
from tiny_study import TINY, edit, flat

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
    weighted_layers = 1

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
        building += [("evaluate", store, "--data", "digits"), ("weights", "export", store, "--format", "onnx", "-o", "x.onnx")]
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
        assert "is not part of the project" in message or "is an ablation, not a network" in message, words
        assert not (evil / "ran").exists(), words
    line = stranger.read_text(encoding="utf-8").splitlines().index('network.block = "evil:Block"') + 1
    assert refused("plan", stranger).startswith(f"{stranger}:{line}: network.block: ")
    with pytest.raises(SpecError, match="is not part of the project"):
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


def test_a_study_with_a_block_of_ones_own_goes_to_a_colleague(invoke, inline, refused, evil, tmp_path, monkeypatch):
    """Would catch an archive that cannot be used where its question and its block are not, and code in it that runs when it is imported."""
    monkeypatch.chdir(evil)
    (evil / "mine.toml").write_text(TINY.replace("[arms.plain]\n", '[arms.plain]\nnetwork.block = "evil:Block"\n'), encoding="utf-8")
    assert inline("mine.toml", "--seeds", "1").exit_code == 0
    assert invoke("export", "mine/default", "-o", tmp_path / "mine.tar.gz").exit_code == 0
    with tarfile.open(tmp_path / "mine.tar.gz") as packed:
        assert {"own-code/evil.py", "report/report.html", "question.toml"} <= {*packed.getnames()}
    (evil / "ran").unlink()
    del sys.modules["evil"]
    sys.path.remove(str(evil))

    (tmp_path / "colleague").mkdir()
    monkeypatch.chdir(tmp_path / "colleague")
    said = invoke("import", tmp_path / "mine.tar.gz").output
    assert "4 runs added" in said
    code = tmp_path / "colleague" / "studies" / "mine" / "default" / "own-code"
    assert f"set PYTHONPATH={code} and add --trust" in said
    assert "code that came with a study is in its folder" in refused("plan", "mine")
    monkeypatch.syspath_prepend(str(code))
    assert "is not part of the project" in refused("plan", "mine")
    assert list(tmp_path.rglob("ran")) == []
    said = inline("mine", "--seeds", "1", "--trust").output
    assert "all 4 runs are done already" in flat(said)
    assert "Imported from mine.tar.gz" in flat(said)
    assert invoke("report", "mine").exit_code == 0


def test_forged_runs_are_told_from_ones_own(inline, invoke, tiny, tmp_path):
    """Would catch runs that a stranger made up for a study of mine: counted as done, and reported without a word."""
    assert inline(tiny, "--seeds", "1", "--studies", "theirs").exit_code == 0
    assert invoke("export", "tiny/default", "--studies", "theirs", "-o", "gift.tar.gz").exit_code == 0
    assert "4 runs added" in invoke("import", "gift.tar.gz").output
    said = flat(inline(tiny, "--seeds", "2").output)
    assert "4 of 8 runs to do" in said
    assert "Imported from gift.tar.gz (20" in said
    page = (tmp_path / "reports" / "tiny" / "default" / "report.html").read_text(encoding="utf-8")
    assert "not trained here: 4 of 8 runs." in page
    listed = json.loads(invoke("runs", "list", "--json").output)
    assert sorted(run["imported_from"] or "" for run in listed) == [""] * 4 + ["gift.tar.gz"] * 4
    theirs = next(run["run"] for run in listed if run["imported_from"])
    assert "imported from gift.tar.gz on 20" in flat(invoke("runs", "show", theirs).output)

    assert "--studies" in invoke("import", "gift.tar.gz", "--studies", "mine", "--separate").output
    assert not (tmp_path / "mine").exists()
    assert (tmp_path / "mine-tiny-default" / "tiny" / "default" / "plan.json").exists()


def test_the_question_that_came_with_a_study_is_found_by_its_name(inline, invoke, refused, tiny, tmp_path):
    """Would catch an imported study that cannot be resumed without its file, and one that hides a question of one's own."""
    assert inline(tiny, "--seeds", "1").exit_code == 0
    assert invoke("export", "tiny/default", "-o", "gift.tar.gz").exit_code == 0
    tiny.unlink()
    for words in ((), ("--tag", "other")):
        assert invoke("import", "gift.tar.gz", "--studies", "there", *words).exit_code == 0
    assert invoke("plan", "tiny", "--studies", "there").exit_code == 0
    assert invoke("plan", "tiny", "--studies", "there", "--scale", "default", "--tag", "other").exit_code == 0
    edit(tmp_path / "there" / "tiny" / "default@other" / "tiny.toml", "seeds = 2", "seeds = 3")
    assert "several imported studies come from an ablation tiny" in refused("plan", "tiny", "--studies", "there")
    (tmp_path / "ablations").mkdir()
    (tmp_path / "ablations" / "tiny.toml").write_text(TINY.replace("seeds = 2", "seeds = 7"), encoding="utf-8")
    assert "x 7 seeds" in flat(invoke("plan", "tiny", "--studies", "there").output)


@pytest.mark.parametrize("came", [False, True], ids=["own", "imported"])
def test_a_plan_that_was_cut_short_is_mended_as_its_message_says(inline, invoke, refused, tiny, tmp_path, came):
    """Would catch a remedy that ends in the same message, trains all runs again, or wants a question that is nowhere."""
    assert inline(tiny, "--seeds", "1").exit_code == 0
    studies, name = ("there", "tiny") if came else ("studies", tiny)
    if came:
        assert invoke("export", "tiny/default", "-o", "gift.tar.gz").exit_code == 0
        assert invoke("import", "gift.tar.gz", "--studies", studies).exit_code == 0
        tiny.unlink()
    plan = tmp_path / studies / "tiny" / "default" / "plan.json"
    plan.write_bytes(plan.read_bytes()[:500])
    for words in (("status", "tiny"), ("report", "tiny"), ("study", name)):
        assert "rename it and run the study again, finished runs are kept" in refused(*words, "--studies", studies)
    plan.rename(plan.with_name("damaged.json"))
    assert "all 4 runs are done already" in flat(inline(name, "--seeds", "1", "--studies", studies).output)
    for words in (("status", "tiny"), ("report", "tiny"), ("runs", "list")):
        assert invoke(*words, "--studies", studies).exit_code == 0
