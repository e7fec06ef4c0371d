"""An image of 100 million pixels in less than 2 GiB: in a process of its own, whose highest memory is asked for."""

from __future__ import annotations

import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
from local_mean import LocalMean, tiles

from anotwin.data.arrays import from_arrays
from anotwin.domains.surfaces.view import TilesView

SCRIPT = """
import resource, sys
from pathlib import Path
import numpy as np
from local_mean import LocalMean, tiles
from anotwin.data.folder import open_folder
from anotwin.domains.regions import find_regions
from anotwin.report.choose import shrunk
from anotwin.report.overlay import save_pictures
from anotwin.run.local import score_stream

(found,) = score_stream(LocalMean(tiles(128)), open_folder(sys.argv[1], "test"), None)
assert found.error == "", found.error
assert found.heatmap.shape == (10_000, 10_000)
assert np.unravel_index(found.heatmap.argmax(), found.heatmap.shape) == (7000, 3000)
scored = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
save_pictures(found, sys.argv[1], "out.png", (0, 255))
saved = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
shrunk(found)
assert find_regions(found.heatmap, 0.9 * float(found.heatmap.max()))
print(scored, saved, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""


def test_the_maps_of_an_image_are_let_go_with_its_pictures() -> None:
    """Of a large image they take as much memory as the pictures, and nothing else is asked of them then."""
    image = np.random.default_rng(0).integers(0, 255, (70, 90), dtype=np.uint8)
    method = LocalMean(tiles(32))
    (tiled,) = TilesView().prepare(from_arrays([image]), [0], method.spec, method.settings, True)
    results, squares = tiled.results(), tiled.squares.rows(slice(None))
    found = method.counterpart(squares)
    comparison = method.compare(squares.images, found)
    results.take(found.images, comparison.difference, comparison.heatmap)
    heat, maps = results.heat().copy(), weakref.ref(results.heat().base)
    assert maps() is not None
    pictures = results.pictures(2.0)
    assert maps() is None
    assert np.array_equal(pictures.heatmap, heat / np.float32(2.0))


@pytest.mark.slow
def test_an_image_of_ten_thousand_by_ten_thousand_takes_less_than_2_gib(tmp_path: Path) -> None:
    from PIL import Image

    image = np.random.default_rng(0).integers(100, 130, (10_000, 10_000), dtype=np.uint8)
    image[7000, 3000] = 255
    Image.fromarray(image).save(tmp_path / "large.bmp")
    words = [sys.executable, "-c", SCRIPT, str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=Path(__file__).parent, check=False)
    assert done.returncode == 0, done.stderr
    assert max(float(word) for word in done.stdout.split()) < 2, done.stdout
