"""An image of 100 million pixels in less than 2 GiB: in a process of its own, whose highest memory is asked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.mark.slow
def test_an_image_of_ten_thousand_by_ten_thousand_takes_less_than_2_gib(tmp_path: Path) -> None:
    import numpy as np
    from PIL import Image

    image = np.random.default_rng(0).integers(100, 130, (10_000, 10_000), dtype=np.uint8)
    image[7000, 3000] = 255
    Image.fromarray(image).save(tmp_path / "large.bmp")
    words = [sys.executable, "-c", SCRIPT, str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=Path(__file__).parent, check=False)
    assert done.returncode == 0, done.stderr
    assert max(float(word) for word in done.stdout.split()) < 2, done.stdout
