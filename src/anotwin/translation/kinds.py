"""Which methods translate, by the layout that is asked for: the command line asks before torch is loaded.

pix2pix and srgan are methods of `Detector` too. They translate where the layout says so: `unpaired` and `pairs` hold
two domains, and with `folder`, given by name, srgan enlarges. cyclegan needs two domains, so that it always translates.
"""

from __future__ import annotations

from anotwin.errors import SettingsError, did_you_mean

LAYOUT_OF = {"cyclegan": "unpaired", "pix2pix": "pairs", "srgan": "folder"}  # what each method learns from
TWO_DOMAINS = ("unpaired", "pairs")  # layouts that nothing but a translation has
ALWAYS = ("cyclegan",)  # methods that do nothing else
AUTO = "auto"
RULE = (
    "cyclegan with --layout unpaired, pix2pix with --layout pairs and srgan with --layout folder, given by name, train "
    "a model for anotwin translate"
)


def translates(method: str | None, layout: str | None) -> bool:
    """Whether `anotwin train` with these makes a `Translator`; None and auto: not given.

    >>> translates("pix2pix", "pairs"), translates("pix2pix", None), translates("cyclegan", None)
    (True, False, True)
    """
    return layout in TWO_DOMAINS or method in ALWAYS or (method == "srgan" and layout == LAYOUT_OF["srgan"])


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
