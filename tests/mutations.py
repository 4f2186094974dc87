"""What comes out of slips and malice: questions with mistakes, and JSON values with others in their places, as a seed draws them."""

import copy
import random
from collections.abc import Sequence
from typing import Any

from tiny_study import TINY

from resnet_lab.spec.library import find_ablations

VALUES = [
    *r"""
    true; 0; -1; 1; 3; 64; 256; 20000; 65536; 4294967295; 9223372036854775807; 1_000_000_000_000; 2.5; 0.5; 0.999; nan; -inf; 1e300; 1e-300; 1e-46
    ""; "x"; "plain/56"; "\u0000"; "\u001b]0;x\u0007"; "$\\frac$"; "group"; "projection"; "none"; "bottleneck"; "imagenet"; "learned_scalar"; "bf16"; "step"
    "one_cycle"; "digits"; "cifar10"; "> 1e999"; "within 1e-320"; 2026-01-01; 07:32:00; 2026-01-01T00:00:00Z
    []; [1]; [[1]]; [[]]; ["x", 1]; [1, 2, 3]; [4, 4]; [256, 256, 256]; [1, 1, 1]; [true]; [1e300]; [{}]; [{ x = 1 }, { y = -1 }]
    {}; { x = 1 }; { x = 1e308, y = 1e308 }; { kind = "cosine" }; { kind = "none" }; { kind = "group", groups = 3 }; { name = "x", value = 3 }
    [{ name = "x", value = [1, 2] }, { name = 3, value = {} }]; { kernel = 3, padding = 60 }; { kernel = 1, pool = { kernel = 9, padding = 0 } }
    { low = 1, high = 3 }; { low = 1e300, high = 1e308, log = true }; [{ low = 1, high = 0 }]; { choices = [1, 2], when = "x" }
    { iterations = 0 }; { mean = [0.5], std = [0.0] }
    """.strip()
    .replace("\n", ";")
    .split(";"),
    "9" * 30,
    "9" * 5000,
    f'"{"long " * 2000}"',
    "'''\n[x]\n'''",
    "[" * 60 + "]" * 60,
    "[" * 9000 + "]" * 9000,
    "{ a = " * 40 + "1" + " }" * 40,
]
"""What may stand where another value is due."""
LINES = [
    *r"""
    seeds = 3; x; = 1; [; [arms.x]; [[claims]]; [[where]]; [grid]; [search]; [scales.x]; [arms]; [where]; [[claims.contrast]]; arms = 3; training = 1
    claims = "x"; "" = 1; '$x^{$' = 1; arm = { x = 1 }; grid.network = 5; network.like = "resnet18"; network.depths = [1, 1, 1]; network.widths = [64, 32]
    network.layers = 20000; network.strides = [1, 64]; network.groups = 2; network.head_pool = 8; network.widths = [65536]; network.bottleneck_ratio = 1e-9
    network.block = "os:system"; data.name = "folder:/nowhere"; data.pad_crop = 7; data.validation = 0.999; data.train_images = 2
    training.lr = 1000.0; training.precision = "auto"; training.batch_size = 512; training.milestones = [3, 2]; training.warmup = { share = 0.5, epochs = 1 }
    record.weights = "yes"; varies = ["network.nothing"]
    """.strip()
    .replace("\n", ";")
    .split(";"),
    "a" + ".a" * 3000 + " = 1",
    "[" + "a." * 300 + "a]",
    "'\x01' = 1",
]
"""What may stand where nothing is due."""


def questions() -> dict[str, str]:
    """Name -> text, of what is mutated."""
    return {"tiny": TINY} | {name: path.read_text(encoding="utf-8") for name, path in sorted(find_ablations().items())}


def mutated(text: str, seed: int) -> str:
    """A question with one to three mistakes."""
    draw = random.Random(seed)
    for _ in range(draw.choice((1, 1, 2, 3))):
        lines = text.split("\n")
        at = draw.randrange(len(lines))
        kind = draw.randrange(8)
        if kind <= 2:
            given = [number for number, line in enumerate(lines) if "=" in line and not line.lstrip().startswith("#")] or [at]
            at = draw.choice(given)
            lines[at] = f"{lines[at].partition('=')[0]}= {draw.choice(VALUES)}"
        elif kind == 3:
            lines.insert(at, draw.choice(LINES))
        elif kind == 4:
            del lines[at]
        elif kind == 5:
            lines.insert(at, draw.choice(lines))
        elif kind == 6:
            place = draw.randrange(len(lines[at]) + 1)
            lines[at] = lines[at][:place] + draw.choice("\"'[]{}=.,#\n\x00é9-_") + lines[at][place + draw.randrange(2) :]
        else:
            one, other = (draw.randrange(len(lines)) for _ in range(2))
            lines[one], lines[other] = lines[other], lines[one]
        text = "\n".join(lines)
    return text


EVIL: list[Any] = [
    None, True, False, 0, -1, 3, 2**63, 10**30, 10**6, 1e300, 2.5, -2.5, "", "x", "\x1b]0;x\x07", "../../x", "$x^{$", "=1+1", "none", "digits", "9" * 300,
    [], [1], [[1]], {}, {"x": 1}, [{}], [None], float("nan"), float("inf"), "\ud800", "\0",
]  # fmt: skip
"""What may stand in the place of another JSON value."""


def places(value: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value within a value; of long lists the first six."""
    items = value.items() if isinstance(value, dict) else enumerate(value[:6]) if isinstance(value, list) else ()
    return [above, *(place for key, item in items for place in places(item, (*above, key)))]


def edited(value: Any, draw: random.Random, others: Sequence[Any] = ()) -> Any:
    """A copy of plain values in which one is another (of EVIL or `others`), is gone, or is there once more."""
    value = copy.deepcopy(value)
    *way, last = draw.choice([place for place in places(value) if place])
    inner = value
    for key in way:
        inner = inner[key]
    kind = draw.randrange(5)
    if kind < 3:
        inner[last] = draw.choice([*EVIL, *others])
    elif kind == 3:
        del inner[last]
    elif isinstance(inner, dict):
        inner[draw.choice(["new", "", "../x"])] = inner[last]
    else:
        inner.append(draw.choice(EVIL))
    return value
