"""Does a change leave every result as it was, to the bit? The code of a revision and the code here, on the same files.

Both codes train small models of every method on digits, textured discs with masks and synthetic retinas; then each
calibrates, scores (with and without pictures), evaluates and samples with the models that the revision trained.
Weights, calibrations, counterparts, differences and heatmaps as arrays, and every file written are compared byte by
byte. Pictures of `anotwin prepare` are left out: they are for a person, and their words may change.

    python benchmarks/samebits --against REVISION [--methods twin anogan] [--data retina] [--json FILE]

A row a model: how many files are equal, which are not, and how long `anotwin score` took under both codes. ``--quick``
compares HEAD with the code here, one model.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from safetensors.numpy import load_file

import anotwin
from anotwin.commands.demo import write_digits
from anotwin.data.synthetic import textured_discs
from anotwin.domains.oct.synthetic.retina import Lesion, retina_scan, retina_volume
from anotwin.files import write_json_atomic

METHODS = ("twin", "anogan", "fanogan", "acae")
SMALL = (
    "networks.base_channels=8",
    "networks.latent_dim=16",
    "training.steps=40",
    "training.batch_size=16",
    "training.snapshot_every=20",
    "training.sample_every=20",
    "search.steps=6",
    "calibration.false_alarm_rate=0.2",
)
# In a process of its own, with the package from PYTHONPATH: the commands from stdin, then the findings themselves.
RUN = """
import hashlib, json, pathlib, sys, time
from anotwin import Detector, cli
given, seconds, rows = json.load(sys.stdin), [], []
for words in given["commands"]:
    began = time.perf_counter()
    code = cli._run(words)
    if code:
        sys.exit(f"{' '.join(words)}: exit code {code}")
    seconds.append(time.perf_counter() - began)
if given["findings"]:
    model, data, layout, path = given["findings"]
    detector = Detector.load(model, "cpu")
    source = detector.open(data, layout)
    for finding in detector.findings(source, range(0, len(source.items), max(len(source.items) // 40, 1))):
        arrays = [getattr(finding, name) for name in ("query", "counterpart", "difference", "heatmap")]
        hashes = [None if a is None else hashlib.sha256(a.dtype.str.encode() + a.tobytes()).hexdigest() for a in arrays]
        rows.append([finding.id, repr(finding.score), repr(finding.discriminator), repr(finding.p_value), hashes])
    pathlib.Path(path).write_text(json.dumps(rows, indent=0))
    pathlib.Path(path).with_name("seconds.json").write_text(json.dumps(seconds))
"""
NOT_RESULTS = {"seconds_per_image"}  # of an evaluation: a time
DONE = "done"  # a file that is there when all others are
SECONDS = "seconds.json"  # of each command in `_using`, score with pictures first

Words = list[str]
console = Console(highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class Compared:
    """The files of one model under both codes."""

    data: str
    method: str
    files: int
    equal: int
    different: list[str]
    score_seconds: list[float]  # of `anotwin score` with pictures, before and now; of one run only if nothing was kept


# -- data --------------------------------------------------------------------------------------------------------------


def _digits(folder: Path) -> Words:
    write_digits(folder)
    return ["--normal", "0"]


def _discs(folder: Path) -> Words:
    """The MVTec AD layout, so that masks are looked at too."""
    normals, _ = textured_discs(80, 32, seed=0)
    unseen, _ = textured_discs(12, 32, seed=1)
    abnormal, masks = textured_discs(12, 32, seed=2, abnormal=True)
    _save(folder / "train/good", normals)
    _save(folder / "test/good", unseen)
    _save(folder / "test/defect", abnormal)
    _save(folder / "ground_truth/defect", masks.astype(np.uint8) * 255, "_mask")
    return []


def _retina(folder: Path) -> Words:
    """Healthy scans to learn from; volumes, single scans with a lesion and a blank one to score."""
    cyst, shape = [Lesion("cyst", 250, at=0.5)], (400, 128)
    _save(folder / "train/NORMAL", [retina_scan(seed, *shape).pixels for seed in range(24)], stem="eye-{}-a")
    _save(folder / "test/CYST", [retina_scan(100 + seed, *shape, cyst).pixels for seed in range(6)], stem="c{}x")
    _save(folder / "test/NORMAL", [retina_scan(200 + seed, *shape).pixels for seed in range(6)], stem="n{}x")
    _save(folder / "test/BLANK", [np.zeros(shape, np.uint8)])
    for number, lesions in enumerate(([], cyst)):
        pages = [Image.fromarray(each.pixels) for each in retina_volume(300 + number, 3, *shape, lesions)]
        path = folder / ("test/CYST" if lesions else "test/NORMAL") / f"volume-{number}.tif"
        pages[0].save(path, save_all=True, append_images=pages[1:])
    rows = ["file,patient,split,label"]
    for number, path in enumerate(sorted(path for path in folder.rglob("*") if path.is_file())):
        name = path.relative_to(folder).as_posix()
        rows.append(",".join([name, f"P{number // 2}", *name.split("/")[:2]]))
    (folder / "manifest.csv").write_text("\n".join([*rows, ""]))
    return ["--layout", "oct", "--normal", "NORMAL", "--image-size", "32"]


def _save(folder: Path, images: Sequence[np.ndarray] | np.ndarray, suffix: str = "", stem: str = "{}") -> None:
    folder.mkdir(parents=True)
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{stem.format(f'{number:03d}')}{suffix}.png")


DATA: Mapping[str, Callable[[Path], Words]] = {"digits": _digits, "discs": _discs, "retina": _retina}


# -- running -----------------------------------------------------------------------------------------------------------


def _training(method: str, data: Path, options: Words, out: Path) -> list[Words]:
    sets = [word for assignment in SMALL for word in ("--set", assignment)]
    return [["train", str(data), "--out", str(out / "model"), "--method", method, *options, *sets]]


def _using(method: str, data: Path, model: Path, out: Path) -> Iterator[Words]:
    """What is done with a trained model; `model` is a copy, which calibrate may change."""
    retina = data.name == "retina"
    layout = ["--layout", "oct"] if retina else []
    yield ["score", str(model), str(data), "--out", str(out / "score"), *layout, *(["--lines"] if retina else [])]
    yield ["score", str(model), str(data), "--out", str(out / "plain"), *layout, "--no-pictures"]
    numbers = ["--json", str(out / "evaluation.json"), "--out", str(out / "evaluation")]
    yield ["evaluate", str(model), str(data), *numbers, *layout]
    if method != "acae":
        yield ["sample", str(model), "--count", "5", "--out", str(out / "samples")]
    yield ["calibrate", str(model), str(data), "--false-alarm-rate", "0.25", *layout]
    if retina and method == "twin":
        yield ["prepare", str(data), "--out", str(out / "prepared"), "--layout", "oct"]


def _run(tree: Path, commands: list[Words], findings: Words | None = None) -> None:
    environment = os.environ | {"PYTHONPATH": str(tree / "src"), "OMP_WAIT_POLICY": "PASSIVE"}
    given = json.dumps({"commands": commands, "findings": findings})
    done = subprocess.run([sys.executable, "-c", RUN], input=given, text=True, env=environment, capture_output=True)
    if done.returncode:
        raise SystemExit(f"{tree}: {done.stderr[-2000:]}")


def _run_all(tree: Path, method: str, images: Path, options: Words, trained: Path, root: Path) -> None:
    """Train into ``root/trained``, then use the model in `trained` in ``root/used``."""
    _run(tree, _training(method, images, options, root / "trained"))
    model = root / "used/model"
    shutil.copytree(trained / "model", model, ignore=shutil.ignore_patterns("runs"))
    findings = [str(model), str(images), "oct" if images.name == "retina" else "auto", str(root / "used/findings.json")]
    _run(tree, list(_using(method, images, model, root / "used")), findings)
    (root / DONE).touch()


# -- comparing ---------------------------------------------------------------------------------------------------------


def _results(root: Path) -> set[str]:
    files = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
    return {path.as_posix() for path in files if not set(path.parts) & {DONE, SECONDS, "runs", "steps", "sheets"}}


def _equal(one: Path, other: Path) -> bool:
    if not (one.is_file() and other.is_file()):
        return False
    if one.name == "evaluation.json":
        values = [json.loads(path.read_text()) for path in (one, other)]
        return all(values[0].get(key) == values[1].get(key) for key in {*values[0], *values[1]} - NOT_RESULTS)
    if one.name == "bundle.json":  # its history has times and versions
        return bool(json.loads(one.read_text())["calibration"] == json.loads(other.read_text())["calibration"])
    if one.suffix == ".safetensors":
        before, now = load_file(one), load_file(other)
        return before.keys() == now.keys() and all(np.array_equal(before[name], now[name]) for name in before)
    return one.read_bytes() == other.read_bytes()


def compare(trees: Mapping[str, Path], work: Path, data: Sequence[str], methods: Sequence[str]) -> Iterator[Compared]:
    """Each method on each data, under the code of both `trees` ("before" and "now"); `work` keeps the files."""
    for kind in data:
        images = work / "data" / kind
        shutil.rmtree(images, ignore_errors=True)
        options = DATA[kind](images)
        for method in methods:
            roots = {name: work / name / kind / method for name in trees}
            for name, tree in trees.items():
                if name == "before" and (roots[name] / DONE).is_file():
                    continue  # by an earlier run in the same --work
                shutil.rmtree(roots[name], ignore_errors=True)
                _run_all(tree, method, images, options, roots["before"] / "trained", roots[name])
            names = sorted(_results(roots["before"]) | _results(roots["now"]))
            different = [name for name in names if not _equal(roots["before"] / name, roots["now"] / name)]
            times = [float(json.loads((roots[name] / "used" / SECONDS).read_text())[0]) for name in ("before", "now")]
            yield Compared(kind, method, len(names), len(names) - len(different), different, times)


def _tree(repository: Path, revision: str, work: Path) -> Path:
    """The package of a revision, in ``work/tree``; what another revision left in `work` is removed."""
    git = ["git", "-C", str(repository)]
    name = subprocess.run([*git, "rev-parse", revision], check=True, capture_output=True, text=True).stdout
    tree, told = work / "tree", work / "revision"
    if not told.is_file() or told.read_text() != name:
        for old in (tree, work / "before"):
            shutil.rmtree(old, ignore_errors=True)
        tree.mkdir(parents=True)
        packed = subprocess.run([*git, "archive", revision, "src"], check=True, capture_output=True).stdout
        subprocess.run(["tar", "-x", "-C", str(tree)], input=packed, check=True)
        told.write_text(name)
    return tree


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse and run; 0 if everything is equal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", default="HEAD", help="the revision to compare with; HEAD")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--data", nargs="+", choices=list(DATA), default=list(DATA))
    parser.add_argument("--work", type=Path, help="keeps all files, and the revision's results for another run")
    parser.add_argument("--json", type=Path, help="file for the rows")
    parser.add_argument("--quick", action="store_true", help="one small model")
    given = parser.parse_args(arguments)
    data, methods = (["discs"], ["twin"]) if given.quick else (given.data, given.methods)
    now = Path(anotwin.__file__).parents[2]
    with tempfile.TemporaryDirectory(prefix="anotwin-") as scratch:
        work = (given.work or Path(scratch)).absolute()
        rows = []
        for row in compare({"before": _tree(now, given.against, work), "now": now}, work, data, methods):
            rows.append(row)
            before, after = row.score_seconds
            counts = f"{row.data:8} {row.method:8} {row.equal} of {row.files} files equal"
            console.print(counts, f"score {before:.1f} s -> {after:.1f} s", *row.different[:6], sep="  ")
        if given.json:
            write_json_atomic(given.json, {"against": given.against, "rows": [asdict(row) for row in rows]})
    return int(any(row.equal < row.files for row in rows))


if __name__ == "__main__":
    sys.exit(main())
