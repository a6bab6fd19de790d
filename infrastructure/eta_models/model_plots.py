"""The plots of a model card, which the registry keeps beside the model: no answer depends on them."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final

from infrastructure.eta_models.model_files import MANIFEST, read_model_manifest

PLOTS: Final[Mapping[str, str]] = {
    "error-by-leg.png": "Error by leg",
    "error-by-hour.png": "Error by local hour",
    "error-by-distance.png": "Error by distance",
    "calibration.png": "Calibration",
    "importance.png": "Worth of inputs, by leaving them out",
}
"""File name -> title, in the order of the card. A model has all of them, some or none."""
MAX_PLOT_BYTES: Final = 1 << 20
"""A plot has about 40 kB; a larger file stays in the directory."""
_PNG: Final = b"\x89PNG\r\n\x1a\n"


def read_plots(folder: Path, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The plots in the directory of a model, by file name.

    ``files`` has the manifest, which names the hash of each. A plot that is absent, damaged or too large is left out:
    the model answers without it. Raises ModelUnavailable for a manifest that cannot be read.
    """
    sums = read_model_manifest(files[MANIFEST]).files
    found = {}
    for name in PLOTS:
        try:
            with (folder / name).open("rb") as file:
                content = file.read(MAX_PLOT_BYTES + 1)
        except OSError:
            continue
        is_whole = len(content) <= MAX_PLOT_BYTES and sha256(content).hexdigest() == sums.get(name)
        if is_whole and content.startswith(_PNG):
            found[name] = content
    return found
