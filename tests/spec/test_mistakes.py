"""Questions with mistakes that nobody thought of: whatever stands in a file is read, or refused at its line."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from mutations import mutated, questions
from tiny_study import TINY

from resnet_lab.data.datasets import dataset_facts
from resnet_lab.spec import errors
from resnet_lab.spec.data import DATASETS, DatasetFacts, DataSpec
from resnet_lab.spec.errors import MOST_PROBLEMS, SpecError, key_lines
from resnet_lab.spec.reading import parse_ablation, read_ablation
from resnet_lab.spec.resolve import resolve

SEEDS = range(500)


def facts(spec: DataSpec) -> DatasetFacts:
    if spec.name in DATASETS:
        return replace(DATASETS[spec.name], size=spec.image_size or DATASETS[spec.name].size)
    return dataset_facts(spec, data_root=Path("nowhere"), cache=Path("nowhere"))


def ask(text: str) -> None:
    ablation = parse_ablation(text, Path("question.toml"), "question")
    for scale in ablation.scales:
        resolve(ablation, scale, facts=facts)


def test_five_hundred_mistakes_are_told_without_a_traceback() -> None:
    """Would catch any exception but SpecError, and a mistake without its line."""
    texts, refused = list(questions().values()), {}
    for seed in SEEDS:
        try:
            ask(mutated(texts[seed % len(texts)], seed))
        except SpecError as error:
            refused[seed] = error.problems
    assert {seed: problems for seed, problems in refused.items() if not all(problem.line for problem in problems)} == {}
    assert 0.5 < len(refused) / len(SEEDS) < 0.98, "most are mistakes, some are not"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('training.schedule = { kind = "cosine" }', "training.schedule: should be 'constant', 'step', 'cosine' or 'one_cycle', not a table"),
        ("network.shortcut = {}", "network.shortcut: should be 'none', 'identity', 'projection' or 'projection_everywhere', not a table"),
        ("training.epochs = 2026-01-01", "training.epochs: dates and times are not allowed"),
        ("claims = [{ name = 07:32:00 }]", "claims.0.name: dates and times are not allowed"),
        (f"network.layers = {'9' * 5000}", "a number of thousands of digits"),
        (f"network.layers = {'9' * 30}", "network.layers: no number may be so large"),
        (f"network.widths = {'[' * 60}{']' * 60}", "network.widths.0: lists or tables within each other, deeper than any field has them"),
        (f"network.widths = {'[' * 9000}{']' * 9000}", "lists or tables within each other, too many to be read"),
        (f"a{'.a' * 100_000} = 1", "100,000 dots in one line"),
        ('statement = "\\u001b]0;mine\\u0007"', "statement: has the character \\x1b, which cannot be shown"),
        ('"\\u0000" = 1', "\\x00: has the character \\x00"),
        ("training.lr = 1e300", "training.lr: 1e+300 is too many: at most 1,000"),
        ("training.epochs = 1_000_000_000_000", "training.epochs: 1000000000000 is too many: at most 1,000,000"),
        ("network.layers = 400_002", "network.layers: 400002 is too many: at most 20,000"),
        (f"network.widths = {[8] * 40}", "network.widths: 40 of them is too many: at most 32"),
        ("seeds = 1_000_000_000", "seeds: how many seeds (at least 1, at most 10,000)"),
    ],
)  # fmt: skip
def test_what_broke_a_reader_is_told_at_its_line(line: str, says: str) -> None:
    """Each of them ended in a traceback, stood at line 1, or was taken."""
    with pytest.raises(SpecError) as caught:
        parse_ablation(f'question = "x"\n{line}\n', Path("q.toml"), "q")
    (said,) = str(caught.value).splitlines()
    assert said.startswith("q.toml:2: ")
    assert says in said
    assert len(said) < 500
    assert said.isprintable()


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ("network.stem = { padding = 3 }", "network.stem.padding: 3 pixels around a 3x3 window"),
        ("network.stem = { pool = { padding = 2 } }", "network.stem.pool.padding: 2 pixels around a 3x3 window"),
        ("network.depths = [20000, 20000]", "network.depths: 40,000 blocks are too many"),
        ("data.cutout = 9", "data.cutout: a square of 9 pixels is larger than the 8x8 images: make it smaller"),
        ("training.label_smoothing = 1.0", "training.label_smoothing: should be less than 1, not 1.0"),
        ("training.mixup = -0.1", "training.mixup: should be greater than or equal to 0, not -0.1"),
        ('training.class_weights = "balance"', 'training.class_weights: should be "none", "balanced", or a list with one number per class'),
        ("training.class_weights = [1, 0]", "training.class_weights: should be "),
        ("training.class_weights = [1, 2, 3]", "training.class_weights: 3 of them, but the network tells 10 classes apart: give one number per class"),
        ("data.pad_crop = 8", "data.pad_crop: 8 pixels around 8x8 images: some crops would hold nothing of them"),
        (f"grid.training.init_salt = {list(range(150))}\ngrid.data.split_seed = {list(range(150))}", "1 arms on this grid are 22,500 cells: at most 20,000"),
        (f"grid.training.init_salt = {list(range(150))}\nseeds = 9000", "150 cells with 9,000 seeds are 1,350,000 runs: at most 200,000"),
        ("[[where]]\narm = \"nett\"\ntraining.lr = 1", "where.0.arm: no arm 'nett'; did you mean 'net'?"),
        ("grid.network.layers = [6, 10]\n[[where]]\nlayers = 56\ntraining.lr = 1", "where.0.layers: no cell has layers = 56; there are 6, 10"),
    ],
)  # fmt: skip
def test_what_fields_come_to_together_is_bounded_too(fields: str, says: str) -> None:
    """Would catch a question whose plan fills the memory, and an override that sets nothing."""
    layers = "" if "layers" in fields or "depths" in fields else "network.layers = 6\n"
    with pytest.raises(SpecError, match=r"^question.toml:\d+: ") as caught:
        ask(f'training.epochs = 1\ntraining.batch_size = 16\ndata.name = "synthetic"\nnetwork.widths = [2, 2]\n{layers}{fields}')
    assert says in str(caught.value)


def test_what_somebody_may_want_is_not_refused() -> None:
    """Would catch limits that are too low: ImageNet's nets, the deepest that were trained, thousands of cells."""
    ask(
        'network = { layers = 1202 }\ntraining = { iterations = 64_000, milestones = [32_000, 48_000], schedule = "step" }\ndata.name = "cifar10"'
    )
    ask(
        'network = { like = "resnet152", classes = 1000 }\ntraining = { epochs = 1000, batch_size = 8192 }\ndata = { name = "cifar10", image_size = 32 }'
    )
    ask(f"network.layers = 20\ntraining.epochs = 1\ngrid.training.init_salt = {list(range(3000))}\nseeds = 20")


def test_files_that_no_person_wrote(tmp_path: Path) -> None:
    """Would catch a pipe that is waited for, a file that fills the memory, and one that an editor begins with a mark refused."""
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "large.toml").write_bytes(b"#" * 10**7)
    (tmp_path / "latin.toml").write_bytes(b'\nquestion = "\xe9"')
    (tmp_path / "folder.toml").mkdir()
    for name, says in (
        ("pipe", "no regular file"),
        ("large", "larger than the 1 MB"),
        ("latin", r"latin.toml:2: .*save it as UTF-8"),
        ("folder", "directory"),
    ):
        with pytest.raises(SpecError, match=says):
            read_ablation(tmp_path / f"{name}.toml")
    (tmp_path / "marked.toml").write_bytes(b"\xef\xbb\xbf" + TINY.replace("\n", "\r\n").encode())
    assert read_ablation(tmp_path / "marked.toml").file.question == "Does a very small net learn?"


def test_lines_are_found_in_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Would catch a search that reads the text anew for every mistake, or every line of a long list: 300 mistakes in 600 lines took 99 s."""
    parsed: list[str] = []
    real = errors.tomllib.loads
    monkeypatch.setattr(errors.tomllib, "loads", lambda text: (parsed.append(text), real(text))[1])
    numbers = "".join(f" {number},\n" for number in range(600))
    arms = "".join(f"[arms.a{number}]\nnetwork.layers = {7 + 8 * number}\n" for number in range(300))
    with pytest.raises(SpecError) as caught:
        ask(f'training.epochs = 1\ntraining.batch_size = 16\ndata.name = "synthetic"\nnetwork.widths = [2, 2]\n{arms}')
    assert len(caught.value.problems) == MOST_PROBLEMS + 1
    assert str(caught.value).endswith("... and 100 more problems")
    assert len(parsed) < 2 * (600 + 10), "each statement is looked at once, after the whole was read"
    parsed.clear()
    assert key_lines(f"a = [\n{numbers}]\nb = 1")["b"] == 603
    assert len(parsed) == 2
