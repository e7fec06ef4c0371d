"""What `anotwin check` says of images: a row of each, counts, and what to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from anotwin.domains.registry import domain_seeing
from anotwin.errors import clip
from anotwin.prepare.facts import Facts
from anotwin.prepare.stream import UNUSABLE
from anotwin.prepare.suspects import SUSPICIOUS
from anotwin.records import ImageItem, ImageSource
from anotwin.run.duplicates import NAME_THEM
from anotwin.settings import Settings

WHITE = 0.05  # share of pixels at the end of the range, above what is usual in this set, that is overexposed
FEW = 50  # normal images to train on, below which little can be promised


@dataclass(frozen=True)
class CheckRow:
    """One image in check.csv; what is not known is empty."""

    image: str
    part: str  # "train", "test", or "" where files are in no part
    label: str | None
    normal: bool | None
    width: int
    height: int
    channels: str
    type: str
    bits: int | None  # as many as its highest pixel takes
    at_black: float
    at_white: float
    equal_to: str  # the first image with the same pixels
    like: str  # the first of its near-duplicates
    suspicion: float | None  # of normal images: modified z-score, suspicious above 3.5
    problem: str
    error: str


@dataclass(frozen=True)
class Looked:
    """An image that was looked at."""

    source: ImageSource
    part: str
    facts: Facts

    @property
    def item(self) -> ImageItem:
        return self.source.items[self.facts.index]


@dataclass(frozen=True)
class Compared:
    """What comparing the images with each other gave, by their ids."""

    equal: Mapping[str, str]  # the first image with the same pixels
    like: Mapping[str, str]  # the first of its near-duplicates, itself for that one
    suspicion: Mapping[str, float]  # of normal images: how unlike the others
    usual_white: float  # the share of white pixels that is usual here: of a bright background


def row_of(each: Looked, compared: Compared) -> CheckRow:
    """One image in the table."""
    facts, item, equal, like = each.facts, each.item, compared.equal, compared.like
    score, white = compared.suspicion.get(facts.image), facts.at_white > compared.usual_white + WHITE
    problems = {
        "constant": facts.constant,
        f"white in {facts.at_white:.0%} of its pixels": white and not facts.constant,
        "equal to another image": facts.image in equal,
        "unlike the other normal images": score is not None and score > SUSPICIOUS,
    }
    return CheckRow(
        image=facts.image,
        part=each.part,
        label=item.label,
        normal=item.normal,
        width=facts.width,
        height=facts.height,
        channels=facts.channels,
        type=facts.type,
        bits=facts.bits or None,
        at_black=round(facts.at_black, 4),
        at_white=round(facts.at_white, 4),
        equal_to=equal.get(facts.image, ""),
        like="" if like.get(facts.image) == facts.image else like.get(facts.image, ""),
        suspicion=score,
        problem="cannot be read" if facts.error else ", ".join(name for name, holds in problems.items() if holds),
        error=facts.error,
    )


def counts_of(rows: Sequence[CheckRow]) -> dict[str, int]:
    """How many images have what."""
    parts = {row.image: row.part for row in rows}
    equal = [row for row in rows if row.equal_to]
    like = [row for row in rows if row.like and not row.equal_to]
    return {
        "images": len(rows),
        "unreadable": sum(bool(row.error) for row in rows),
        "constant": sum("constant" in row.problem for row in rows),
        "saturated": sum("white" in row.problem for row in rows),
        "equal": len(equal),
        "equal_across": sum({row.part, parts[row.equal_to]} == {"train", "test"} for row in equal),
        "like": len(like),
        "like_across": sum({row.part, parts[row.like]} == {"train", "test"} for row in like),
        "suspicious": sum("unlike" in row.problem for row in rows),
    }


def advice_for(images: Sequence[Looked], rows: Sequence[CheckRow]) -> list[str]:
    """What to do, the most urgent first."""
    n, first = counts_of(rows), _first_of(rows)
    said = [
        (n["unreadable"], f"cannot be read ({clip(first('read'), 150)}): repair or remove them"),
        (n["equal_across"], "to test with are equal to images to train on: remove them, or results are too good"),
        (n["like_across"], f"are nearly identical across train and test: {NAME_THEM}, and split by it"),
        (n["constant"], f"have one single value (first {first('constant')}): remove them"),
        (n["equal"], "are equal to others: they count once, remove what was copied by mistake"),
        (n["like"], f"are nearly identical to others: {NAME_THEM}"),
        (n["saturated"], f"are white in more pixels than the others (first {first('white')}): lower the exposure"),
        (n["suspicious"], f"are unlike the other normal images (first {first('unlike')}): look at suspicious.png"),
    ]
    return [*(counted(count, text) for count, text in said if count > 0), *_of_the_set(images)]


def counted(count: int, text: str) -> str:
    """A sentence about so many images.

    >>> counted(1, "are flat: remove them"), counted(2, "are flat: remove them")
    ('1 image is flat: remove it', '2 images are flat: remove them')
    """
    if count > 1:
        return f"{count} images {text}"
    for many, one in (("are ", "is "), ("have ", "has "), ("to test with are ", "to test with is ")):
        text = one + text.removeprefix(many) if text.startswith(many) else text
    return f"1 image {text}".replace("remove them", "remove it")


def _first_of(rows: Sequence[CheckRow]) -> Callable[[str], str]:
    """The most suspicious image, or the first, with a problem of these words; of one that cannot be read the error."""

    def first(words: str) -> str:
        having = sorted((row for row in rows if words in row.problem), key=lambda row: -(row.suspicion or 0))
        return (having[0].error or having[0].image) if having else ""

    return first


def _of_the_set(images: Sequence[Looked]) -> list[str]:
    """What concerns all of them: types of pixels, and how many there are."""
    usable = [each.facts for each in images if not each.facts.error]
    types = Counter(facts.type for facts in usable)
    told = []
    if len(types) > 1:
        mixed = ", ".join(f"{count} of {name}" for name, count in types.most_common())
        told.append(f"mixed types of pixels ({mixed}): save all in one, so that one value means one brightness")
    deep = [facts.bits for facts in usable if facts.type == "uint16"]
    if deep and max(deep) <= 8:
        told.append("16-bit files that use 8 bits at most: save the depth of the camera, or faint defects are lost")
    if (count := len(_learnt(images))) < FEW:
        told.append(f"{count} normal images to train on: take more, a few hundred if you can")
    return told


def _learnt(images: Sequence[Looked]) -> list[Looked]:
    """What a training would learn from."""
    return [each for each in images if each.part != "test" and each.item.normal is not False and not each.facts.error]


def seen_by_a_model(images: Sequence[Looked], settings: Settings) -> list[str]:
    """How images become squares, how much smaller they are then, and other notes that a training would give."""
    learnt = _learnt(images)
    if not learnt:
        return []
    source = learnt[0].source
    indices = [each.facts.index for each in learnt if each.source is source]
    try:
        spec, notes = domain_seeing(source, indices, settings).view().spec(source, indices, settings)
    except UNUSABLE as error:
        return [str(error)]
    if spec.parts:
        return list(notes)
    side = median(max(each.facts.height, each.facts.width) for each in learnt)
    much = f"{side / spec.size:.1f} times smaller" if side > spec.size else "no smaller"
    return [f"a model sees whole images in {spec.size} x {spec.size} pixels: {much} than most are", *notes]


def summary_of(images: Sequence[Looked]) -> str:
    """How many images of which sizes."""
    usable = [each.facts for each in images if not each.facts.error]
    parts = Counter(each.part for each in images)
    sizes = sorted({(facts.width, facts.height) for facts in usable}, key=lambda size: (size[0] * size[1], size))
    of = ", ".join(
        f"{parts[part]} to {part} {'on' if part == 'train' else 'with'}" for part in ("train", "test") if parts[part]
    )
    one, last = (f"{width} x {height}" for width, height in (sizes[0], sizes[-1]))
    told = f"{one} pixels" if len(sizes) == 1 else f"{len(sizes)} sizes from {one} to {last} pixels"
    bits = sorted({facts.bits for facts in usable if facts.type == "uint16"})
    kinds = sorted({f"{facts.channels} {facts.type}" for facts in usable})
    deep = f" (up to {bits[-1]} bits used)" if bits else ""
    return f"{len(images)} images{f' ({of})' if of else ''}, {told}, {', '.join(kinds)}{deep}"
