"""How an image of any shape becomes the square of pixels that a network sees; uint8 in, uint8 out."""

from PIL import Image

from resnet_lab.spec.data import Resize


def resized(image: Image.Image, size: int, resize: Resize | None = None) -> Image.Image:
    """The `size` x `size` pixels of an image that a network sees; without `resize`, the largest centered square averaged to that size.

    `box` averages that square down to `resize.side` (and enlarges it where it is smaller); `bilinear` and `bicubic` bring the shorter side to
    `resize.side`, as torchvision's and timm's transforms do with Pillow, to the last pixel. Then the center is cut out.
    """
    side, method = (size, "box") if resize is None else (resize.side, resize.method)
    if method != "box":
        from torchvision.transforms import InterpolationMode, functional  # imports torch

        cut: Image.Image = functional.center_crop(functional.resize(image, [side], InterpolationMode(method)), [size, size])
        return cut
    width, height = image.size
    shorter = min(width, height)
    left, top = (width - shorter) // 2, (height - shorter) // 2
    filtered = Image.Resampling.BOX if shorter >= side else Image.Resampling.BICUBIC
    square = image.resize((side, side), filtered, box=(left, top, left + shorter, top + shorter))
    margin = (side - size) // 2
    return square.crop((margin, margin, margin + size, margin + size))
