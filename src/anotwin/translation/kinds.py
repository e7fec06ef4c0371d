"""Which methods translate, by the layout that is asked for: the command line asks before torch is loaded.

pix2pix and srgan are methods of `Detector` too. They translate where the layout says so: `unpaired` and `pairs` hold
two domains, and with `folder`, given by name, srgan enlarges. cyclegan translates unless it is handed abnormal images.
"""

from __future__ import annotations

from anotwin.errors import SettingsError, did_you_mean

LAYOUT_OF = {"cyclegan": "unpaired", "pix2pix": "pairs", "srgan": "folder"}  # what each method learns from
TWO_DOMAINS = ("unpaired", "pairs")  # layouts that nothing but a translation has
UNLESS_ABNORMAL = ("cyclegan",)  # methods that translate unless normal images come with abnormal ones
AUTO = "auto"
RULE = (
    "cyclegan with --layout unpaired, pix2pix with --layout pairs and srgan with --layout folder, given by name, train "
    "a model for anotwin translate; cyclegan with --abnormal-images trains a detector"
)


def translates(method: str | None, layout: str | None, abnormal: bool = False) -> bool:
    """Whether `anotwin train` with these makes a `Translator`; None and auto: not given.

    `abnormal`: a folder of abnormal images is given.

    >>> translates("pix2pix", "pairs"), translates("pix2pix", None)
    (True, False)
    >>> translates("cyclegan", None), translates("cyclegan", None, abnormal=True)
    (True, False)
    """
    unless_abnormal = method in UNLESS_ABNORMAL and not abnormal
    return layout in TWO_DOMAINS or unless_abnormal or (method == "srgan" and layout == LAYOUT_OF["srgan"])


def chosen_layout(method: str | None, layout: str | None) -> str:
    """The layout of a translation by `method`; raises SettingsError where they do not go together."""
    own = LAYOUT_OF.get(method or "")
    if own is None:
        what = "no --method" if method is None else f"method {method!r}"
        hint = "" if method is None else did_you_mean(method, LAYOUT_OF)
        raise SettingsError(f"{what} for a translation (--layout {layout}); {RULE}{hint}")
    if layout not in (None, AUTO, own):
        raise SettingsError(f"method {method} with --layout {layout}: it learns from --layout {own}; {RULE}")
    return own
