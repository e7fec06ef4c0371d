"""What the columns of a manifest mean: its headers are understood under the names that people give them.

Headers are compared without case, spaces, hyphens, underscores and other signs: ``Patient ID`` is ``patient_id``.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence


def _words(text: str) -> list[str]:
    return text.split()


FILE = _words(
    "file filename filepath path imagepath imagefile imagefilename image imagename img imgpath imgname imgfile "
    "relativepath relpath fname picture photofile name imageid imgid"
)
LABEL = _words(
    "label labels labelname class classname category categoryname diagnosis dx disease pathology condition finding "
    "defect defecttype target y"
)
SPLIT = _words("split splits set subset partition phase usage dataset fold part")  # where its values are split words

_ENDS = ("", "id", "ids", "no", "nr", "num", "number", "code", "key", "uid", "name", "index", "idx")


def _ids(text: str) -> list[str]:
    """Each word alone and as people number what it names: ``patient``, ``patientid``, ``patientno`` ..."""
    return [word + end for word in text.split() for end in _ENDS if word + end not in _TYPES]


_TYPES = frozenset(["partno", "partnr", "partnum", "partnumber", "partname", "itemno", "itemname"])  # of many parts
GROUP = _ids("group groups cluster")
PATIENT = [
    *_ids("patient patienten subject participant proband person individual case donor animal mouse"),
    "mrn",
    "pid",
]
# Of the things of one kind the coarser comes first: a photograph of a part, a tile of a strip, a scene of a clip
THING = _ids(
    "specimen sample part bauteil object item piece workpiece component unit serial board pcb wafer coil roll sheet "
    "panel plate strip slide video movie clip sequence seq scene burst track photo photograph parentimage "
    "originalimage sourceimage sourcefile"
)
SCAN = [*_ids("study exam visit series volume stack"), "seriesinstanceuid", "studyinstanceuid"]
# What images are taken with or when: a unit of sampling only where there are many of them. Two cameras or eyes are not.
SOMETIMES = _ids(
    "lot batch charge session camera cam kamera site location station device scanner machine operator line day date "
    "run eye"
)
ENOUGH = 5  # values of one of these, to be the unit of sampling: fewer leave nothing to calibrate on

UNITS = [*GROUP, *PATIENT, *THING, *SCAN, *SOMETIMES]  # the unit of sampling is the first that a manifest has
WITHIN_PATIENT = frozenset([*SCAN, *_ids("eye")])

_SPLIT_WORDS = {
    "train": "train training trn trainset trainingset fit",
    "test": "test testing tst testset evaluation eval",
    "val": "val valid validation validate validationset valset dev development",
}
SPLIT_OF = {word: part for part, words in _SPLIT_WORDS.items() for word in words.split()}
UNKNOWN = frozenset(["", "na", "n/a", "#n/a", "nan", "none", "null", "nil", "unknown", "-", "--", "?", "."])

# columns that a layout may know beside those, by the name that it asks for
MORE: Mapping[str, Sequence[str]] = {
    "patient": PATIENT,
    "eye": ["eye", "laterality", "eyeside"],
    "volume": ["volume", "volumeid", "stack", "stackid"],
    "slice": ["slice", "sliceno", "slicenumber", "sliceindex", "bscan", "bscanno", "bscannumber", "bscanindex"],
    "mask": ["mask", "maskfile", "maskpath", "maskfilename", "groundtruth", "gt", "segmentation"],
    "axial_um": ["axialum", "axial", "axialspacingum", "axialmicrons"],
    "lateral_um": ["lateralum", "lateral", "lateralspacingum", "lateralmicrons"],
    "between_um": ["betweenum", "between", "slicespacingum", "betweenmicrons"],
}


def plain(header: str) -> str:
    """A header as it is compared: letters and digits alone, in lower case.

    >>> plain(" Patient-ID "), plain("axial (µm)")
    ('patientid', 'axialum')
    """
    text = unicodedata.normalize("NFKC", header).casefold().replace("\N{GREEK SMALL LETTER MU}", "u")
    return "".join(char for char in text if char.isalnum())


def split_of(value: str) -> str | None:
    """train, test or val by a cell; None for other words.

    >>> split_of("Training"), split_of("validation"), split_of("7")
    ('train', 'val', None)
    """
    return SPLIT_OF.get(plain(value))


def units_of(columns: Iterable[str]) -> list[str]:
    """The plain headers among `columns` that may name a unit of sampling, the unit itself first.

    >>> units_of(["eye", "lotno", "studysubjectid", "width"])
    ['studysubjectid', 'lotno', 'eye']
    """
    ranks = {name: rank for rank, name in enumerate(UNITS)}
    longer = tuple(f"{word}id" for word in ("patient", "subject", "participant", "case"))
    found = {name: ranks.get(name, ranks["patient"] if name.endswith(longer) else None) for name in columns}
    return sorted((name for name in found if found[name] is not None), key=lambda name: found[name] or 0)


def first_of(names: Sequence[str], columns: Mapping[str, int]) -> str | None:
    """The first of `names` that is a column."""
    return next((name for name in names if name in columns), None)
