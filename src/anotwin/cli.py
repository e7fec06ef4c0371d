"""The command line: parse the arguments, call what does the work, print.

Exit codes: 0 done; 2 what the user can correct (arguments, images, a model folder, a place to write); 3 training
diverged; 1 the machine (memory, input/output); 130 Ctrl-C, 143 SIGTERM, 129 SIGHUP. Each but 0 comes with one line on
stderr: ``error: ...``.

The commands import what they need when they run: importing torch takes seconds, and ``--help`` should not.
"""

from __future__ import annotations

import errno
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from anotwin import __version__
from anotwin.commands import entries
from anotwin.commands.arguments import (
    LAYOUTS,
    OPTIONS,
    TRANSLATED,
    VIEWS,
    Abnormal,
    AbnormalImages,
    Budget,
    Data,
    Device,
    Group,
    Json,
    Layout,
    Method,
    Model,
    Normal,
    Set,
    lines_of,
    path_of,
)
from anotwin.errors import AnoTwinError
from anotwin.report.terminal import flush_results, forget_odd_sizes, nobody_reads, prepare_streams, print_error
from anotwin.stopping import exit_code, stoppable
from anotwin.threads import share_the_machine


class _Stopped(AnoTwinError):
    """Ctrl-C and the other signals that ask to stop, for which typer would print nothing."""

    exit_code = 130


class _Machine(AnoTwinError):
    """What is neither the user's fault nor ours."""

    exit_code = 1


class _Commands(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            stopped = _Stopped(str(stop) or "stopped; what was finished is kept")
            stopped.exit_code = exit_code(stop)
            raise stopped from None
        except BrokenPipeError as error:  # typer would exit with 1 and say nothing
            if nobody_reads():
                raise SystemExit(0) from None
            raise _Machine(f"a process that this one works with has ended: {error}") from None


app = typer.Typer(
    cls=_Commands,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Learn from normal images alone what is normal; score, show and flag what is not.",
)


@app.command()
def prepare(
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder for prepared.csv, sheets/, steps/.", parser=path_of)],
    layout: Annotated[
        str | None, typer.Option(help=f"How DATA is laid out: {LAYOUTS}; some have nothing to prepare.")
    ] = None,
    view: Annotated[str, typer.Option(help=f"What a model sees: {VIEWS}; auto: by the layout.")] = "auto",
    part: Annotated[
        str | None,
        typer.Option(
            help="train (normal scans, as train takes them) or test (all).", show_default="train; test of a file"
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="At most this many scans: whole volumes, drawn at random with a fixed seed.")
    ] = None,
    pictures: Annotated[bool, typer.Option(help="Write the steps of every scan; sheets are always written.")] = True,
    as_json: Json = False,
) -> None:
    """Show what a model gets of images, before training: of OCT scans layer lines, the flattened retina, patches."""
    from anotwin.commands import preparing, showing

    with showing.bars() as watch:
        found = preparing.prepare_folder(data, out, layout, view, part, limit, pictures, watch)
    showing.prepared(found, as_json)


app.command()(entries.check)


@app.command()
def train(
    data: Data,
    out: Annotated[Path, typer.Option(help="Model folder to write.", parser=path_of)],
    method: Method = None,
    layout: Annotated[str | None, typer.Option(help=f"{LAYOUTS}; to translate: {TRANSLATED}.")] = None,
    view: Annotated[str | None, typer.Option(help=f"What the model sees: {VIEWS}; auto: by layout and size.")] = None,
    normal: Normal = None,
    abnormal: Abnormal = None,
    abnormal_images: AbnormalImages = None,
    group: Group = None,
    image_size: Annotated[int | None, typer.Option(help="Side of the model's square: 16, 32, 64, 128 or 256.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.")] = None,
    steps: Annotated[int | None, typer.Option(help="Training steps.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the last run in --out.")] = False,
    config: Annotated[Path | None, typer.Option(help="Settings as TOML.", parser=path_of)] = None,
    overrides: Set = None,
    device: Device = "auto",
) -> None:
    """Train on the normal images in DATA, calibrate on some that are held out, write the model.

    Or train a model for anotwin translate: on two domains (--layout unpaired or pairs; with cyclegan, unless
    --abnormal-images are given), or to enlarge images (--method srgan --layout folder, given by name).
    """
    from anotwin.commands import showing, translating
    from anotwin.detector import Detector
    from anotwin.settings import Settings

    base = Settings.load(config) if config else Detector.settings_of_run(out) if resume else Settings()
    given = {
        "data.layout": layout,
        "data.view": view,
        "data.normal": json.dumps(lines_of(normal), ensure_ascii=False) if normal else None,
        "data.abnormal": json.dumps(lines_of(abnormal), ensure_ascii=False) if abnormal else None,
        "data.abnormal_images": json.dumps(str(abnormal_images), ensure_ascii=False) if abnormal_images else None,
        "data.group": None if group is None else json.dumps(group, ensure_ascii=False),
        "data.image_size": image_size,
        "training.seed": seed,
        "training.steps": steps,
    }
    options = [f"{key}={value}" for key, value in given.items() if value is not None]
    settings = base.with_overrides([*(overrides or []), *options])
    if translating.is_asked(method, settings, out, resume):
        with showing.bars() as watch:
            translator = translating.train_translation(data, out, method, settings, resume, device, watch)
        showing.trained_translation(translator.method.name, translator.history, out)
        return
    with showing.bars() as watch:
        detector = Detector.train(
            data, out, method=method, settings=settings, resume=resume, device=device, watch=watch
        )
    showing.trained(detector, out)


@app.command()
def calibrate(
    model: Model,
    data: Data,
    false_alarm_rate: Annotated[
        float | None,
        typer.Option(help="Share of normal images that may be flagged; the model's setting (0.01) if not given."),
    ] = None,
    overrides: Set = None,
    budget_ms: Budget = None,
    layout: Layout = "auto",
    normal: Normal = None,
    abnormal: Abnormal = None,
    group: Group = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Set the threshold for a false-alarm rate, from the held-out part of the training data or from other normals.

    --set changes how this model searches and compares from now on, for example search.discrimination=sigmoid; so does
    --budget-ms, whose steps are stored in the model with the threshold that holds for them.
    """
    from anotwin.commands import budget, showing
    from anotwin.detector import Detector
    from anotwin.lock import one_writer

    detector = Detector.load(model, device)
    if overrides:
        detector = detector.with_settings(detector.method.settings.with_overrides(overrides))
    with showing.bars() as watch, one_writer(model):
        detector = budget.within_budget(detector, budget_ms, watch)
        kinds = {"normal": lines_of(normal), "abnormal": lines_of(abnormal)}
        detector.calibrate(data, false_alarm_rate, watch=watch, layout=layout, group=group, **kinds)
        detector.save_calibration(model)
    showing.calibrated(detector, as_json)


@app.command()
def score(
    model: Model,
    data: Data,
    out: Annotated[
        Path,
        typer.Option(
            help="Folder for scores.csv, counterparts/, heatmaps/, figure.png and what the domain writes besides.",
            parser=path_of,
        ),
    ],
    layout: Layout = "auto",
    pictures: Annotated[bool, typer.Option(help="Write a counterpart and a heatmap for every image.")] = True,
    option: Annotated[list[str] | None, typer.Option(metavar="NAME", help=f"Repeatable. {OPTIONS}.")] = None,
    lines: Annotated[bool, typer.Option("--lines", help="The same as --option lines.")] = False,
    group: Group = None,
    budget_ms: Budget = None,
    device: Device = "auto",
) -> None:
    """Score the images in DATA. Called again after it was stopped, it keeps the finished rows."""
    from anotwin.commands import budget, scoring, showing
    from anotwin.detector import Detector

    detector = Detector.load(model, device)
    with showing.bars() as watch:
        detector = budget.within_budget(detector, budget_ms, watch)
        options = frozenset([*(option or ()), *(["lines"] if lines else ())])
        summary = scoring.score_folder(detector, data, out, layout, pictures, watch, options, group)
    showing.scored(summary)


@app.command()
def evaluate(
    model: Model,
    data: Data,
    json_file: Annotated[Path, typer.Option("--json", help="File for the numbers.", parser=path_of)],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for roc.png, histogram.png ...; beside the JSON if not given.", parser=path_of),
    ] = None,
    limit: Annotated[int | None, typer.Option(help="At most this many images, drawn with a fixed seed.")] = None,
    planted: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Plant N defects into the normal images, and measure how counterparts repair them. Needs no labels.",
        ),
    ] = None,
    budget_ms: Budget = None,
    layout: Layout = "auto",
    normal: Normal = None,
    abnormal: Abnormal = None,
    group: Group = None,
    device: Device = "auto",
) -> None:
    """Score labelled images and measure AUROC and more, with 95 % intervals; of a translation: compare with the truth.

    A translation is compared with the true images of pairs: l1, PSNR and SSIM; of label maps accuracy and Dice.
    """
    from anotwin.bundle import is_translation
    from anotwin.commands import budget, evaluating, showing, translation_truth
    from anotwin.detector import Detector

    if is_translation(model):
        with showing.bars() as watch:
            numbers = translation_truth.evaluate_model(model, data, json_file, layout, limit, group, device, watch)
        showing.compared(numbers, json_file)
        return
    detector = Detector.load(model, device)
    with showing.bars() as watch:
        detector = budget.within_budget(detector, budget_ms, watch)
        kinds = {"normal": lines_of(normal), "abnormal": lines_of(abnormal), "group": group}
        numbers = evaluating.evaluate_to(
            json_file, detector, data, out, layout=layout, limit=limit, watch=watch, planted=planted, **kinds
        )
    (showing.evaluated if planted is None else showing.planted)(numbers, json_file)


app.command()(entries.translate)
app.command()(entries.detectability)
app.command()(entries.watch)


@app.command()
def sample(
    model: Model,
    count: Annotated[int, typer.Option(help="How many.")],
    out: Annotated[Path, typer.Option(help="Folder for the images and grid.png.", parser=path_of)],
    seed: Annotated[int, typer.Option(help="Another seed gives other images.")] = 0,
    device: Device = "auto",
) -> None:
    """Generate new normal images, for augmentation or to see what the model has learnt."""
    from anotwin.commands import scoring, showing
    from anotwin.detector import Detector

    detector = Detector.load(model, device)
    with showing.bars() as watch:
        written = scoring.sample_folder(detector, count, out, seed, watch)
    showing.sampled(written, out)


@app.command()
def info(model: Model, as_json: Json = False) -> None:
    """Show method, settings, size, health and calibration of a model."""
    from anotwin.bundle import is_translation
    from anotwin.commands import showing
    from anotwin.detector import Detector
    from anotwin.translator import Translator

    kind = Translator if is_translation(model) else Detector
    showing.described(kind.load(model, "cpu").describe(), as_json)


@app.command()
def demo(
    data: Annotated[
        Path | None,
        typer.Option(
            help="A folder with MNIST's idx files, or digits: those of scikit-learn. Not given: MNIST if found.",
            parser=path_of,
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for data, model and results.", parser=path_of)] = Path("demo"),
) -> None:
    """Train, calibrate, score and evaluate on real images, in under three minutes."""
    from anotwin.commands import showing
    from anotwin.commands.demo import run_demo

    with showing.bars() as watch:
        outcome = run_demo(data, out, watch)
    showing.demonstrated(outcome, out)


def _version(value: bool) -> None:
    if value:
        print(f"anotwin {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    del version


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; every expected error ends as one line on stderr and an exit code."""
    prepare_streams()
    share_the_machine()
    with stoppable():
        code = _run(arguments)
    reason = flush_results()
    sys.exit(code if code or not reason else _fail(reason, 1))


def _run(arguments: list[str] | None) -> int:
    forget_odd_sizes()
    try:
        result: Any = app(args=arguments, standalone_mode=False)
        return result if isinstance(result, int) else 0
    except AnoTwinError as error:
        return _fail(str(error), error.exit_code)
    except KeyboardInterrupt as stop:  # before the command began
        return _fail("stopped", exit_code(stop))
    except SystemExit:  # of typer and rich: nobody reads what is printed any more
        return 0
    except OSError as error:
        hint = "; free space or choose another --out" if error.errno == errno.ENOSPC and error.filename else ""
        where = error.filename or "standard output, or another open file"
        return _fail(flush_results() or f"{where}: {error.strerror or error}{hint}", 1)
    except (MemoryError, RuntimeError) as error:
        said = str(error).lower()
        if isinstance(error, MemoryError) or "out of memory" in said or "can't allocate memory" in said:
            return _fail("out of memory; lower search.batch_size, training.batch_size or --image-size", 1)
        raise
    except Exception as error:  # click's own errors; typer may bring its own copy of click
        if hasattr(error, "format_message") and hasattr(error, "exit_code"):
            return _fail(" ".join(error.format_message().split()), int(error.exit_code))
        raise


def _fail(message: str, code: int) -> int:
    print_error(message)
    return code


if __name__ == "__main__":
    main()
