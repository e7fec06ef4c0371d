"""anomalib's GANomaly, trained by its own Lightning module: as shipped, and with inputs that its decoder can reach.

As shipped, its pre-processor normalises with ImageNet's statistics, so that black is -2.1 and white 2.6, while the
decoder ends in tanh. The other way only that changes: inputs in [-1, 1], and training until the loss no longer falls
(shipped: 100 epochs, or an earlier stop at the best AUROC of the *test* labels, which is left out here).

The score is the model's own: the mean squared difference of the two latent codes, higher for abnormal images. anomalib
then rescales it by the least and greatest score of the run, which no ranking sees. Images are enlarged to a square of a
power of two, at least 32 (anomalib's default of 256 costs 64 times as much), and grey is repeated in three channels.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.oneclass.peers.outcome import Array, Fitted

BATCH = 32  # anomalib's default, of the model and of its data modules
SHIPPED_EPOCHS = 100  # of anomalib's example settings
WAIT = 10  # epochs: converged if none of them lowered ...
GAIN = 0.01  # ... the least mean loss of an epoch by this share


@dataclass(frozen=True)
class Plan:
    """When training ends."""

    epochs: int  # -1: no limit
    enough: Callable[[Sequence[float]], bool]  # given the mean generator loss of every epoch so far
    note: str


def side(height: int, width: int) -> int:
    """The power of two that an image is enlarged to; below 32 the two encoders' latent codes have different shapes."""
    return int(max(32, 2 ** np.ceil(np.log2(max(height, width)))))


def colours(images: Array) -> Tensor:
    """(N, H, W) or (N, H, W, 3) uint8 -> (N, 3, H, W) in [0, 1]."""
    pixels = torch.from_numpy(images)
    channels = pixels.unsqueeze(1).expand(-1, 3, -1, -1) if pixels.ndim == 3 else pixels.movedim(3, 1)
    return channels.float() / 255


def converged(losses: Sequence[float]) -> bool:
    """Whether the last `WAIT` epochs brought no loss below all earlier ones by at least a share of `GAIN`."""
    if len(losses) <= WAIT:
        return False
    return min(losses[-WAIT:]) > (1 - GAIN) * min(losses[:-WAIT])


def never(_losses: Sequence[float]) -> bool:
    """Train for all epochs."""
    return False


def shipped(train: Array, seed: int, minutes: float) -> Callable[[], Fitted]:
    """The call that trains GANomaly as anomalib has it."""
    size = side(*train.shape[1:3])
    processor = _ganomaly().configure_pre_processor((size, size))
    plan = Plan(SHIPPED_EPOCHS, never, f"as shipped, {size} x {size}")
    return lambda: _fit(train, seed, minutes, processor, plan)


def reachable(train: Array, seed: int, minutes: float) -> Callable[[], Fitted]:
    """The call that trains GANomaly with inputs in [-1, 1] until `converged`."""
    _ganomaly()  # imported before the clock runs
    transforms = import_module("torchvision.transforms.v2")
    size = side(*train.shape[1:3])
    steps = [transforms.Resize((size, size), antialias=True), transforms.Normalize(mean=[0.5] * 3, std=[0.5] * 3)]
    processor = import_module("anomalib.pre_processing").PreProcessor(transforms.Compose(steps))
    plan = Plan(-1, converged, f"inputs in [-1, 1], {size} x {size}")
    return lambda: _fit(train, seed, minutes, processor, plan)


def _ganomaly() -> Any:
    return import_module("anomalib.models.image.ganomaly").Ganomaly


def _fit(train: Array, seed: int, minutes: float, processor: Any, plan: Plan) -> Fitted:
    _quiet()
    lightning = import_module("lightning.pytorch")
    lightning.seed_everything(seed, verbose=False)
    model = _ganomaly()(
        batch_size=BATCH, pre_processor=processor, post_processor=False, evaluator=False, visualizer=False
    )
    losses: list[float] = []

    def after_epoch(trainer: Any, _module: Any) -> None:
        if trainer.is_last_batch:  # not where time ran out within the epoch
            losses.append(float(trainer.callback_metrics["generator_loss_epoch"]))
        trainer.should_stop = trainer.should_stop or plan.enough(losses)

    trainer = lightning.Trainer(
        **model.trainer_arguments,
        accelerator="cpu",
        max_epochs=plan.epochs,
        max_time={"seconds": 60 * minutes},
        callbacks=[lightning.callbacks.LambdaCallback(on_train_epoch_end=after_epoch)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    began = time.perf_counter()
    trainer.fit(model, _loader(train))
    seconds = time.perf_counter() - began
    end = "converged" if plan.enough(losses) else "all" if len(losses) == plan.epochs else "stopped by the time limit"
    batches = trainer.global_step // 2  # Lightning counts the steps of both optimisers
    model.eval()
    note = f"{plan.note}; {batches} batches ({len(losses)} whole epochs) in {seconds:.0f} s, {end}"
    return Fitted(lambda images: _scores(model, images), note)


def _loader(train: Array) -> Any:
    """anomalib's batches, shuffled; the pre-processor is applied by the model's own callback."""
    batch_class = import_module("anomalib.data").ImageBatch
    return torch.utils.data.DataLoader(
        colours(train),  # type: ignore[arg-type]  # anything with a length and an index will do
        batch_size=BATCH,
        shuffle=True,
        collate_fn=lambda images: batch_class(image=torch.stack(images)),
    )


def _scores(model: Any, images: Array) -> Array:
    """(M,): what the model predicts, before anomalib rescales it by the whole test set."""
    found = []
    with torch.inference_mode():
        for start in range(0, len(images), 128):
            part = model.pre_processor.transform(colours(images[start : start + 128]))
            found.append(model.model(part).pred_score.numpy())
    return np.concatenate(found)


def _quiet() -> None:
    """Lightning advises on workers and logging intervals at every fit."""
    warnings.filterwarnings("ignore", module=r"lightning\..*")
    for name in ("lightning.pytorch", "lightning.fabric", "anomalib"):
        logging.getLogger(name).setLevel(logging.ERROR)
