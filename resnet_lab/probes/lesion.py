"""What a trained network loses when some of its blocks are deleted, swapped or shuffled (Veit et al. 2016, arXiv:1605.06431, section 4).

To delete a block is to set its residual function to zero: what its shortcut carries goes on alone, through the join and whatever follows it. A plain
block has no shortcut, and is replaced by what would be left of its residual twin: the identity, which subsamples and pads with zero channels where the
shape changes (He et al. 2015, option A). So both arms lose the same function, and the same is left in its place.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import combinations
from typing import ClassVar, TypeVar

import torch
from scipy.stats import kendalltau
from torch import Tensor, nn

from resnet_lab.networks.blocks import Block
from resnet_lab.networks.build import Place, places
from resnet_lab.networks.joins import Add, Site
from resnet_lab.networks.shortcuts import PLAIN, Identity, Shortcut
from resnet_lab.probes.base import Probe, ProbeResult, Subject
from resnet_lab.probes.measure import evaluate
from resnet_lab.spec.probes import PROBES, ProbeFacts

T = TypeVar("T")


@dataclass(frozen=True)
class _Damage:
    """One lesion: the blocks that are deleted, and for each place that gets another block, which one."""

    kind: str
    amount: int = 0
    deleted: tuple[Place, ...] = ()
    moved: dict[Place, Place] = field(default_factory=dict)

    @property
    def metric(self) -> str:
        """Its number's name, if the facts know it: shuffles are one number, whatever they moved."""
        alone = self.kind == "shuffle" or (self.kind == "swap" and self.amount == 1)
        return f"lesion_{self.kind}" if alone else f"lesion_{self.amount}" if self.kind == "delete" else ""


@dataclass(frozen=True)
class Lesion(Probe):
    """By how many percentage points the error on the images rises: error(damaged) - error(whole), a mean over draws.

    Table: `lesion` (`none`, `delete`, `swap`, `shuffle`), `amount` (blocks deleted, pairs swapped, blocks that a shuffle moved), `block` (that of a
    single deletion, else empty), `shape` (`same`; `changes` where a deleted block subsamples or widens), `tau` (Kendall's, of the blocks' order
    with the one before, as in Veit et al., Fig. 5b), `error` in percent.
    """

    images: int = 512
    deletions: tuple[int, ...] = (1, 2, 3, 5)
    """How many blocks at a time. If one, each block in turn; else drawn."""
    swaps: tuple[int, ...] = (1, 2, 3)
    """How many pairs of blocks of equal shape at a time; no block is in two pairs."""
    draws: int = 5
    """Of each amount, and of shuffles, which permute all blocks among those of equal shape."""

    facts: ClassVar[ProbeFacts] = PROBES["lesion"]

    def measure(self, subject: Subject) -> ProbeResult:
        """`lesion_K` for K deleted blocks, `lesion_swap` for one swapped pair, `lesion_shuffle`: each where there are blocks enough."""
        sites = list(places(subject.network))
        damages = [_Damage("none"), *self._deletions(sites, subject), *self._reorderings(sites, subject)]
        errors = []
        for damage in damages:
            with damaged(subject, damage.deleted, damage.moved) as model:
                errors.append(evaluate(model, [(subject.images[: self.images], subject.labels[: self.images])]).error)
        rises: dict[str, list[float]] = {}
        for damage, error in zip(damages, errors, strict=True):
            rises.setdefault(damage.metric, []).append(error - errors[0])
        return ProbeResult(
            {name: sum(found) / len(found) for name, found in rises.items() if name in self.facts.metrics},
            {
                "lesion": [damage.kind for damage in damages],
                "amount": [damage.amount for damage in damages],
                "block": [damage.deleted[0].name if len(damage.deleted) == 1 else "" for damage in damages],
                "shape": ["same" if all(map(_keeps_shape, damage.deleted)) else "changes" for damage in damages],
                "tau": [_tau(sites, damage.moved) for damage in damages],
                "error": errors,
            },
        )

    def _deletions(self, sites: Sequence[Place], subject: Subject) -> Iterator[_Damage]:
        """A shortcut that carries is there, or an identity can stand in for it, which drops no channels."""
        able = [place for place in sites if subject.network.shortcut != PLAIN or place.in_channels <= place.out_channels]
        generator = subject.generator("lesion: deletions")
        for amount in self.deletions:
            if amount == 1:
                yield from (_Damage("delete", 1, (place,)) for place in able)
            elif amount <= len(able):
                yield from (_Damage("delete", amount, tuple(_draw(able, generator)[:amount])) for _ in range(self.draws))

    def _reorderings(self, sites: Sequence[Place], subject: Subject) -> Iterator[_Damage]:
        alike = [pair for pair in combinations(sites, 2) if pair[0].built_for == pair[1].built_for]
        generator = subject.generator("lesion: swaps")
        for amount in self.swaps:
            for _ in range(self.draws):
                moved: dict[Place, Place] = {}
                for one, other in _draw(alike, generator):
                    if len(moved) < 2 * amount and one not in moved and other not in moved:
                        moved |= {one: other, other: one}
                if len(moved) == 2 * amount:
                    yield _Damage("swap", amount, moved=moved)
        generator = subject.generator("lesion: shuffles")
        groups = [[place for place in sites if place.built_for == shape] for shape in {place.built_for: None for place in sites}]
        for _ in range(self.draws if alike else 0):
            new = {place: other for group in groups for place, other in zip(group, _draw(group, generator), strict=True) if place != other}
            yield _Damage("shuffle", len(new), moved=new)


class Nothing(nn.Module):
    """A residual function that is zero: [B, C, H, W] to zeros [1, 1, 1, 1], which joins spread over the shape of what is carried."""

    def forward(self, x: Tensor) -> Tensor:
        """Zeros."""
        return x.new_zeros((1, 1, 1, 1))


@contextmanager
def damaged(subject: Subject, deleted: Sequence[Place], moved: dict[Place, Place]) -> Iterator[nn.Module]:
    """The subject's model without the residual functions of some blocks, and with others in each other's places; whole again afterwards."""
    model, whole = subject.model, dict(subject.blocks)
    changed = {place.name: _without_residual(whole[place.name], place, subject) for place in deleted}
    changed |= {place.name: whole[other.name] for place, other in moved.items()}
    try:
        for name, block in changed.items():
            model.set_submodule(name, block)
        yield model
    finally:
        for name in changed:
            model.set_submodule(name, whole[name])


def _without_residual(block: Block, place: Place, subject: Subject) -> Block:
    shortcut = block.shortcut
    if subject.network.shortcut == PLAIN:
        site = Site(place.in_channels, place.out_channels, place.stride, {})
        shortcut = Shortcut(Identity(place.in_channels, place.out_channels, place.stride), Add(site))
    left = Block(Nothing(), shortcut, pre=block.pre, post=block.post, shares_pre=block.carries_pre)
    return left.eval()


def _draw(items: Sequence[T], generator: torch.Generator) -> list[T]:
    """All of them in an order that is drawn."""
    return [items[index] for index in torch.randperm(len(items), generator=generator).tolist()]


def _keeps_shape(place: Place) -> bool:
    return place.stride == 1 and place.in_channels == place.out_channels


def _tau(sites: Sequence[Place], moved: dict[Place, Place]) -> float:
    """1 for the order as it was, -1 for the reverse; nan in a network of one block, which has no order."""
    order = [sites.index(moved.get(place, place)) for place in sites]
    return float(kendalltau(range(len(sites)), order).statistic)
