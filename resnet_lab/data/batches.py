"""Batches for training and evaluation: normalized float32 images, shuffled and augmented on whole batches.

A training stream depends on (seed, epoch) and the DataSpec, never on the network or the device: twins see the same images, bit for bit.
What an epoch draws is drawn at its start, on the CPU, so that an interrupted epoch resumes at any batch exactly as it would have.
"""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from resnet_lab.data.splits import Split
from resnet_lab.spec.data import DataSpec

CROP_TRIES = 10
"""Boxes that are drawn for an image before the whole image is taken."""

Batch = tuple[Tensor, Tensor]
"""(images float32 [B, C, S, S], labels int64 [B])."""


@dataclass(frozen=True)
class Draws:
    """The random part of one epoch over N images.

    `order` int64 [N] says which image comes n-th. For that image `shift` int64 [N, 2] is the corner (down, right) of its crop in the padded
    image, and `flip` bool [N] whether it is mirrored. `box` float64 [N, 4] (top, left, height, width, as shares of the image's side) is what
    `random_resized_crop` cuts out, `center` float64 [N, 2] (down, right, as shares of the side too) where `cutout` has its square; None without them.
    """

    order: Tensor
    shift: Tensor
    flip: Tensor
    box: Tensor | None = None
    center: Tensor | None = None


def epoch_draws(images: int, spec: DataSpec, *, seed: int, epoch: int) -> Draws:
    """What epoch `epoch` of seed `seed` draws for so many images. Order, crop, box, flip and cutout have generators of their own."""
    order = torch.randperm(images, generator=_generator("order", seed, epoch))
    if spec.pad_crop:
        shift = torch.randint(0, 2 * spec.pad_crop + 1, (images, 2), generator=_generator("crop", seed, epoch))
    else:
        shift = torch.zeros(images, 2, dtype=torch.int64)
    if spec.flip:
        flip = torch.randint(0, 2, (images,), generator=_generator("flip", seed, epoch)).bool()
    else:
        flip = torch.zeros(images, dtype=torch.bool)
    box = crop_boxes(images, spec.crop_scale_min, _generator("box", seed, epoch)) if spec.random_resized_crop else None
    center = torch.rand(images, 2, generator=_generator("cutout", seed, epoch), dtype=torch.float64) if spec.cutout else None
    return Draws(order, shift, flip, box, center)


def crop_boxes(images: int, scale_min: float, generator: torch.Generator) -> Tensor:
    """float64 [N, 4], (top, left, height, width) in shares of a square image's side: what random resized crops cut out.

    As torchvision draws them: area uniform in [scale_min, 1], log of width / height uniform in +-log(4/3), ten tries to fit, else everything.
    """
    drawn = torch.rand(images, CROP_TRIES, 2, generator=generator, dtype=torch.float64)
    area = scale_min + (1 - scale_min) * drawn[..., 0]
    ratio = torch.exp((2 * drawn[..., 1] - 1) * math.log(4 / 3))
    sides = torch.stack([(area / ratio).sqrt(), (area * ratio).sqrt()], dim=-1)  # height, width
    fits = (sides <= 1).all(-1)
    first = fits.to(torch.uint8).argmax(1)
    chosen = torch.where(fits.any(1)[:, None], sides[torch.arange(images), first], 1.0)
    corner = torch.rand(images, 2, generator=generator, dtype=torch.float64) * (1 - chosen)
    return torch.cat([corner, chosen], dim=1)


def epoch_batches(
    split: Split,
    spec: DataSpec,
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    start: int = 0,
    device: torch.device | str = "cpu",
    channels_last: bool = False,
    drop_last: bool = True,
) -> Iterator[Batch]:
    """The training batches of one epoch from batch `start` on; `drop_last`: the incomplete batch at its end is left out.

    Padding is zero after normalization, that is the mean (He et al. 2015, section 4.2).
    """
    draws = epoch_draws(len(split), spec, seed=seed, epoch=epoch)
    rows = split.rows[draws.order]
    augmented = bool(spec.pad_crop or spec.flip)
    side = split.side
    for batch in range(start, len(split) // batch_size if drop_last else -(-len(split) // batch_size)):
        part = slice(batch * batch_size, (batch + 1) * batch_size)
        images, labels = _gather(split, rows[part], device)
        if draws.box is not None:
            images = resized_crop(images, draws.box[part], draws.flip[part], side=side)
        elif augmented:
            images = crop_and_flip(images, draws.shift[part], draws.flip[part], padding=spec.pad_crop)
        if draws.center is not None:
            images = cut_out(images, draws.center[part], length=spec.cutout)
        yield _laid_out(images, channels_last), labels


def ordered_batches(split: Split, *, batch_size: int, device: torch.device | str = "cpu", channels_last: bool = False) -> Iterator[Batch]:
    """All images of a split in its order, without augmentation, cropped to their center; the last batch may be smaller."""
    margin, side = (split.images.shape[-1] - split.side) // 2, split.side
    for start in range(0, len(split), batch_size):
        rows = split.rows[start : start + batch_size]
        images, labels = _gather(split, rows, device)
        yield _laid_out(images[:, margin : margin + side, margin : margin + side], channels_last), labels


def crop_and_flip(images: Tensor, shift: Tensor, flip: Tensor, *, padding: int) -> Tensor:
    """Pad each image [B, S, S, C] with `padding` zeros a side, cut S x S out of it at `shift` [B, 2] and mirror it where `flip` [B].

    One gather does all three: row (image, y, x) of the padded batch is what a pixel of the result copies.
    """
    count, size, _, channels = images.shape
    along = torch.arange(size)
    padded_size = size + 2 * padding
    columns = torch.where(flip[:, None], size - 1 - along, along) + shift[:, 1:]
    lines = (torch.arange(count)[:, None] * padded_size + along + shift[:, :1]) * padded_size
    index = (lines[:, :, None] + columns[:, None, :]).flatten().to(images.device)
    padded = F.pad(images, (0, 0, padding, padding, padding, padding))
    return padded.view(-1, channels).index_select(0, index).view(count, size, size, channels)


def resized_crop(images: Tensor, box: Tensor, flip: Tensor, *, side: int) -> Tensor:
    """Cut `box` [B, 4] out of each image [B, S, S, C], bring it to side x side pixels and mirror it where `flip` [B]; the whole batch at once.

    Bilinear. Cached images are at most 8/7 as large as what a network sees, so a crop is hardly ever reduced and needs no smoothing first.
    """
    along = (torch.arange(side, dtype=torch.float64) + 0.5) / side
    across = torch.where(flip[:, None], 1 - along, along)
    ys, xs = (2 * (box[:, axis, None] + box[:, axis + 2, None] * share) - 1 for axis, share in ((0, along), (1, across)))
    ys, xs = ys.float().to(images.device), xs.float().to(images.device)
    grid = torch.stack([xs[:, None, :].expand(-1, side, -1), ys[:, :, None].expand(-1, -1, side)], dim=-1)
    cut = F.grid_sample(images.permute(0, 3, 1, 2), grid, mode="bilinear", padding_mode="border", align_corners=False)
    return cut.permute(0, 2, 3, 1)


def cut_out(images: Tensor, center: Tensor, *, length: int) -> Tensor:
    """Set a square of `length` pixels a side to zero in each image [B, S, S, C], as far as it lies in the image; the whole batch at once.

    `center` [B, 2] says which pixel (down, right, in shares of S) has `length // 2` pixels of it before itself.
    """
    size = images.shape[1]
    along = torch.arange(size)
    first = (center * size).long()[:, :, None] - length // 2
    inside = (along >= first) & (along < first + length)
    square = inside[:, 0, :, None] & inside[:, 1, None, :]
    return images.masked_fill(square[..., None].to(images.device), 0.0)


def _gather(split: Split, rows: Tensor, device: torch.device | str) -> Batch:
    """Normalized images [B, S, S, C] and labels, gathered where the split lies and moved as uint8 where that is elsewhere."""
    there = rows.to(split.images.device)
    images = split.normalization.to(device).apply(split.images[there].to(device))
    return images.permute(0, 2, 3, 1), split.labels[there].to(device)


def _laid_out(images: Tensor, channels_last: bool) -> Tensor:
    """[B, S, S, C] as [B, C, S, S]: a mere view under channels-last, a copy otherwise."""
    images = images.permute(0, 3, 1, 2)
    return images if channels_last else images.contiguous()


def _generator(purpose: str, seed: int, epoch: int) -> torch.Generator:
    digest = hashlib.sha256(f"{purpose}/{seed}/{epoch}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
