"""What the name of a folder says of the images in it: good or bad, train or test, masks. Whole words, never parts.

Names are split into words at everything that is no letter, and where lower case turns to upper: ``01_NotOk`` is
"not ok". Numbers and words such as "images" or "parts" say nothing; "no", "not", "non-" and "free" turn a word round.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

Sort = Literal["normal", "abnormal", "unclear"]
Split = Literal["train", "test", "validation"]

# a strong word counts beside other words too (bottle_good, crack_small), a weak one only alone (negative, not
# "negative_electrode"; normal, not "normal_light")
_NORMAL = {
    "good", "ok", "okay", "intact", "flawless", "faultless", "fehlerfrei", "io", "良品", "合格", "正常",
}  # fmt: skip
_NORMAL_WEAK = {
    "normal", "normals", "normality", "pass", "passed", "passes", "healthy", "clean", "negative", "negatives", "neg",
    "accept", "accepted", "acceptable", "conform", "conforming", "compliant", "perfect", "fine", "gut", "gutteile",
    "regular",
}  # fmt: skip
_ABNORMAL = {
    "bad", "ng", "ko", "nok", "nio", "nonok", "defect", "defects", "defective", "defectives", "anomaly", "anomalies",
    "anomalous", "abnormal", "abnormals", "abnormality", "abnormalities", "anormal", "faulty", "rejected", "reject",
    "rejects", "broken", "damaged", "damage", "damages", "cracked", "crack", "cracks", "scratched", "scratch",
    "scratches", "dented", "dent", "dents", "flawed", "flaw", "flaws", "nonconforming", "defekt", "defekte", "schlecht",
    "schlechtteile", "ausschuss", "不良品", "不良", "不合格", "异常", "異常", "缺陷",
}  # fmt: skip
_ABNORMAL_WEAK = {
    "fail", "fails", "failed", "failure", "failures", "failing", "fault", "faults", "positive", "positives", "pos",
    "invalid", "sick", "ill", "diseased", "disease", "dirty", "scrap", "outlier", "outliers", "error", "errors",
    "tumor", "tumour", "tumors", "tumours", "lesion", "lesions", "cancer", "malignant", "infected",
    "contaminated", "contamination",
}  # fmt: skip
_UNCLEAR = {
    "yes", "no", "true", "false", "unknown", "unlabeled", "unlabelled", "unsorted", "unclear", "undecided", "doubtful",
    "uncertain", "borderline", "mixed",
}  # fmt: skip
_SPELT: dict[tuple[str, ...], Sort] = {  # by letters
    ("i", "o"): "normal", ("o", "k"): "normal", ("n", "i", "o"): "abnormal", ("n", "ok"): "abnormal",
    ("n", "g"): "abnormal",
}  # fmt: skip
_COUNTED = {"pos", "neg", "pass", "passes", "no"}  # with a number: positions, passes of a weld, "No. 12"
_NOT = {"no", "not", "non", "without", "un", "nicht", "ohne", "kein", "keine"}
_FREE = {"free", "less", "frei"}
_MASK = {"mask", "masks", "gt", "gts", "groundtruth", "groundtruths", "segmentation", "segmentations", "seg", "segs"}
_MASK_WEAK = {"annotation", "annotations", "label", "labels"}  # "label_good" holds images, "defect_mask" masks
_MASK_MORE = {"pixel", "binary", "class", "object", "manual", "polygon", "png"}  # beside a word for masks
_SPLITS: dict[str, Split] = {
    **dict.fromkeys(("train", "training", "trn", "trainset", "traindata"), "train"),
    **dict.fromkeys(("test", "testing", "tst", "testset", "testdata", "eval", "evaluation"), "test"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "valset"), "validation"),
}  # fmt: skip
_CONTAINER = {
    "image", "images", "img", "imgs", "im", "ims", "picture", "pictures", "photo", "photos", "photograph",
    "photographs", "data", "dataset", "sample", "samples", "file", "files", "folder", "jpegimages", "original",
    "originals", "input", "inputs", "rgb", "raw", "jpg", "jpeg", "bmp", "tif", "source",
}  # fmt: skip
_FILLER = _CONTAINER | {
    "set", "part", "parts", "piece", "pieces", "item", "items", "product", "products", "class", "case", "cases", "only",
    "all", "quality", "teile", "bilder",
}  # fmt: skip
_DEPTH = {"xyz", "depth", "pointcloud", "pcd", "infrared", "ir"}  # beside rgb: the same scene by another sensor
_IMAGE_ENDS = {"image", "img", "im", "rgb", "photo", "original", "orig", "input", "color", "colour", "raw", "sample"}


@dataclass(frozen=True)
class Meaning:
    """What a name says; None and False where it says nothing."""

    sort: Sort | None = None  # of the images below: "unclear" where the name says that it is not known, or says both
    split: Split | None = None
    mask: bool = False
    container: bool = False  # nothing but a word such as "images": what is below is labelled by other folders


@lru_cache(maxsize=65536)
def meaning(name: str) -> Meaning:
    """What the name of a folder, or a label, says.

    >>> meaning("NotOk").sort, meaning("01_defect-free parts").sort, meaning("broken").sort, meaning("token").sort
    ('abnormal', 'normal', 'abnormal', None)
    >>> meaning("train_good").split, meaning("Ground Truth").mask, meaning("with_mask").mask
    ('train', True, False)
    """
    words = [word for word in words_of(name) if not word.isdigit()]
    if len(words) == 1 and words[0] in _COUNTED and words_of(name) != words:
        return Meaning()
    splits = {_SPLITS[word] for word in words if word in _SPLITS}
    split = next(iter(splits)) if len(splits) == 1 else None
    rest = [word for word in words if word not in _SPLITS]
    if _is_mask(rest):
        return Meaning(split=split, mask=True)
    sort = _sort(rest)
    if sort is not None:
        return Meaning(sort, split)
    if rest and all(word in _FILLER for word in rest):
        numbered = len(words) < len(words_of(name))  # img001: one of many, which says something
        container = split is None and not numbered and any(word in _CONTAINER for word in rest)
        return Meaning(split=split, container=container)
    return Meaning(split=None if rest else split)


def is_depth(name: str) -> bool:
    """Whether a folder holds depth or another sensor's view, where one named rgb lies beside it."""
    return bool(set(words_of(name)) & _DEPTH)


def words_of(name: str) -> list[str]:
    """The words and numbers of a name, case ignored.

    >>> words_of("Test003_gt")
    ['test', '003', 'gt']
    """
    text = unicodedata.normalize("NFKC", name)
    text = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", text)
    found = re.findall(r"[^\W\d_]+|\d+", text.casefold())
    whole: list[str] = []
    for word in found:  # "ground truth" is one word
        if word in ("truth", "truths") and whole and whole[-1] == "ground":
            whole[-1] = "groundtruth"
        else:
            whole.append(word)
    return whole


def plain(name: str) -> str:
    """A name as it is compared: without case, accents composed (macOS stores them decomposed)."""
    return unicodedata.normalize("NFC", name).casefold()


_MASK_END = re.compile(
    r"(?P<stem>.*?)(?:(?:^|[\W_]+)|(?<=\d))(?:mask|masks|gt|groundtruth|ground[\W_]truth|label|labels|seg|segmentation|"
    r"annotation|annotated)(?:[\W_]*(?P<which>\d{1,3}))?",
)
_MASK_START = re.compile(
    r"(?:mask|gt|groundtruth|ground[\W_]truth|label|seg|segmentation|annotation)[\W_]+(?P<stem>.+)"
)


def unmasked(stem: str) -> str | None:
    """A name without the word for masks at its end or its beginning, as `plain` has it; None where it has none.

    >>> unmasked("10000_GT"), unmasked("Part0_label"), unmasked("mask_07"), unmasked("a-mask-2"), unmasked("mask")
    ('10000', 'part0', '07', 'a', '')
    >>> unmasked("unmask") is None
    True
    """
    text = plain(stem)
    found = _MASK_START.fullmatch(text)  # first: in mask_07 the number belongs to the image
    if found is None:
        found = _MASK_END.fullmatch(text)
    return found["stem"] if found else None


def unimaged(stem: str) -> str:
    """A name without a word such as "image" at its beginning or its end, as `plain` has it.

    >>> unimaged("image_007"), unimaged("007-RGB"), unimaged("image"), unimaged("imagine")
    ('007', '007', '', 'imagine')
    """
    text = plain(stem)
    parts = re.split(r"[\W_]+", text)
    if parts[0] in _IMAGE_ENDS:
        return re.sub(r"^[\W_]+", "", text[len(parts[0]) :])
    if parts[-1] in _IMAGE_ENDS:
        return re.sub(r"[\W_]+$", "", text[: -len(parts[-1])])
    return text


def _is_mask(words: list[str]) -> bool:
    own = [word for word in words if word not in _FILLER and word not in _MASK_MORE]
    found = [word for word in own if word in _MASK or word in _MASK_WEAK]
    if not found:
        return False
    others = [word for word in own if word not in _MASK and word not in _MASK_WEAK]
    if not others:
        return True
    return any(word in _MASK for word in found) and all(_word(word) is not None for word in others)


def _sort(words: list[str]) -> Sort | None:
    """The sort that words name together."""
    own = [word for word in words if word not in _FILLER]
    if tuple(own) in _SPELT:
        return _SPELT[tuple(own)]
    if len(own) == 1 and own[0] in _UNCLEAR:
        return "unclear"
    found: list[tuple[Sort, bool, int]] = []  # what, strong, where
    unknown, place = 0, 0
    while place < len(own):
        word, after = own[place], own[place + 1] if place + 1 < len(own) else ""
        here = _word(word)
        if word in _NOT and (following := _word(after)):
            found.append((_other(following[0]), True, place))
            place += 1
        elif here and after in _FREE:
            found.append((_other(here[0]), True, place + 1))
            place += 1
        elif here:
            found.append((here[0], here[1], place))
        else:
            unknown += 1
        place += 1
    sorts = {sort for sort, _, _ in found}
    if len(sorts) != 1:
        return "unclear" if len(sorts) == 2 else None
    if not unknown:
        return found[0][0]
    ends = (0, len(own) - 1)
    told = [sort for sort, strong, where in found if strong and (where in ends or len(found) > 1)]
    return told[0] if told else "unclear"  # "normal_light", "diseased_eyes": perhaps, perhaps not


@lru_cache(maxsize=4096)
def _word(word: str) -> tuple[Sort, bool] | None:
    """What one word says, and whether it says so beside other words too."""
    if word in _NORMAL or word in _NORMAL_WEAK:
        return "normal", word in _NORMAL
    if word in _ABNORMAL or word in _ABNORMAL_WEAK:
        return "abnormal", word in _ABNORMAL
    for start in _NOT:
        if word.startswith(start) and (rest := _word(word[len(start) :])):
            return _other(rest[0]), True
    for end in _FREE:
        if word.endswith(end) and (rest := _word(word[: -len(end)])):
            return _other(rest[0]), True
    return None


def _other(sort: Sort) -> Sort:
    return "abnormal" if sort == "normal" else "normal"
