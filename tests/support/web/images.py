"""Images of one colour for the page to load, and how much of a screenshot has that colour."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from matplotlib.image import imread, imsave

Colour = tuple[int, int, int]


def png_of(colour: Colour, width: int, height: int) -> bytes:
    """A PNG of one colour; sizes in pixels."""
    out = BytesIO()
    imsave(out, np.full((height, width, 3), colour, np.uint8), format="png")
    return out.getvalue()


def share_of(colour: Colour, png: bytes) -> float:
    """The share of the pixels of an image that have the colour, 0 to 1."""
    pixels = np.rint(imread(BytesIO(png), format="png")[..., :3] * 255)
    return float(np.all(pixels == np.array(colour), axis=-1).mean())
