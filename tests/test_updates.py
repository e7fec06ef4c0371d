"""Notes that are told to a watch."""

from anotwin.updates import Update, tell


def test_many_notes_are_cut_and_the_rest_counted():
    seen: list[Update] = []
    tell(seen.append, [f"note {k}" for k in range(25)], most=3)
    assert [update.detail for update in seen] == ["note 0", "note 1", "note 2", "... and 22 more notes"]
    assert {update.stage for update in seen} == {"note"}


def test_as_many_notes_as_fit_are_all_told():
    seen: list[Update] = []
    tell(seen.append, ["a", "b"], most=2)
    tell(seen.append, [])
    assert [update.detail for update in seen] == ["a", "b"]
