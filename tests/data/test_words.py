"""What names mean: whole words, in any case and spelling; never parts of words."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anotwin.data.words import meaning, unmasked


def words(text: str) -> list[str]:
    return text.split()


GOOD = words(
    """
    good ok okay normal pass passed healthy clean negative neg non-defective nondefective non_defective defect-free
    defectfree defect_free no_defect no_defects NoDefect undamaged uncracked flawless intact i.O. without_defects
    not_defective no-crack anomaly_free Normal_Images good_parts 01_good good1 OK-2 bottle_good gut 合格 No_Anomaly
    """
)
BAD = words(
    """
    bad ng NG ko KO fail failed defect defective defects anomaly anomalous abnormal faulty reject rejected nok NOK nOK
    not_ok notOk NotOK not-good no_good nogood positive n.i.O. unhealthy unclean broken crack scratches damaged invalid
    01_bad bad_2 screw_defective crack_small 不良品 faulty_imprint non_conforming nonconforming
    """
)
NOTHING = words(
    """
    token book broke passport kode radio angle notes noon unit goodness okra badge bottle line1 cam2 img001 combined
    logical failsafe_x1 nothing P3_OS pos1 pass2 rejection negatively station latest contrast vale groundless maskara
    Anna bent dots stripes hole metal_nut candle
    """
)
UNCLEAR = words("good_bad ok_and_ng yes no true unlabeled unknown normal_light negative_electrode mixed")
MASKS = words(
    """
    ground_truth GroundTruth groundtruth GT gt mask Masks annotation annotations label labels segmentation
    SegmentationClass defect_mask binary_masks mask_images test_masks Test003_gt
    """
)
NO_MASKS = words("with_mask without_mask no_mask mask_on unmasked label_good labels_ok labeled masked")
SPLITS = {
    "train": words("train training Train train_set TrainImages train2017 Train001 train_good"),
    "test": words("test testing Test test_images test_ok testset"),
    "validation": words("val valid validation Val val_good"),
}


@pytest.mark.parametrize("name", GOOD)
def test_good(name):
    assert meaning(name).sort == "normal"


@pytest.mark.parametrize("name", BAD)
def test_bad(name):
    assert meaning(name).sort == "abnormal"


@pytest.mark.parametrize("name", NOTHING)
def test_nothing(name):
    said = meaning(name)
    assert (said.sort, said.split, said.mask) == (None, None, False)


@pytest.mark.parametrize("name", UNCLEAR)
def test_unclear(name):
    assert meaning(name).sort == "unclear"


@pytest.mark.parametrize("name", MASKS)
def test_masks(name):
    assert meaning(name).mask


@pytest.mark.parametrize("name", NO_MASKS)
def test_no_masks(name):
    assert not meaning(name).mask


@pytest.mark.parametrize("split,name", [(split, name) for split, names in SPLITS.items() for name in names])
def test_splits(split, name):
    assert meaning(name).split == split


@pytest.mark.parametrize("name", ["test_bench", "train_station", "latest", "contest", "testament"])
def test_no_splits(name):
    assert meaning(name).split is None


FREE = [name for name in GOOD + BAD if name.isascii() and "." not in name and not {name[0], name[-1]} & set("012")]
separators = st.sampled_from(["_", "-", " ", ".", "__", " - "])


@given(st.sampled_from(FREE), st.sampled_from([str.lower, str.upper, str.title]), separators, st.integers(0, 9999))
def test_case_separators_and_numbers_change_nothing(name, case, separator, number):
    spelt = "".join(c if c.isalnum() else " " for c in name).split()
    if any(c.isupper() for c in name[1:]):  # there the case is a separator
        return
    changed = case(separator.join(spelt))
    assert meaning(changed).sort == meaning(name).sort
    if name not in ("neg", "pass"):  # pass2 is a number of something
        assert meaning(f"{number}{separator}{changed}").sort == meaning(name).sort
        assert meaning(f"{changed}{separator}{number}").sort == meaning(name).sort


@given(st.sampled_from(["good", "ok", "defective", "anomalous", "healthy", "damaged", "flawed"]), separators)
def test_not_turns_a_word_round(word, separator):
    other = {"normal": "abnormal", "abnormal": "normal"}[str(meaning(word).sort)]
    for start in ("not", "non", "no"):
        assert meaning(f"{start}{separator}{word}").sort == other
        assert meaning(f"{start}{word}").sort == other


WITHIN = words("good ok bad ng ko nok fail pass defect mask train test")
OTHERS = words("goods defects defected passed passes fails failed masks tests testing training")
ENDS = tuple(words("s ed ing ive ives ure set data free less"))


@given(st.sampled_from(WITHIN), st.text(string.ascii_lowercase, min_size=1, max_size=6), st.booleans())
def test_a_word_within_a_word_says_nothing(word, letters, before):
    name = letters + word if before else word + letters
    said = meaning(name)
    if said.sort or said.split or said.mask:  # another word of the list, or a negation; no part of one
        assert name in OTHERS or name.startswith(("no", "un", "wi", "ni", "oh", "ke")) or name.endswith(ENDS)


@given(st.text(max_size=30))
def test_any_name_means_something_or_nothing(name):
    said = meaning(name)
    assert said.sort in (None, "normal", "abnormal", "unclear")
    assert unmasked(name) is None or len(unmasked(name)) <= len(name.casefold()) * 3
