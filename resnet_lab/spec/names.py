"""What an ablation, a scale, an arm, a tag or a claim may be called: such names stand in cell names, in figures, and in the paths of folders."""

import re

from resnet_lab.spec.errors import SpecError

_NAME = re.compile(r"\w[\w.+-]{0,99}")  # letters and digits of any language


def is_name(text: object) -> bool:
    """Whether this is a name: letters, digits, `_`, and after the first of them also `.`, `+` and `-`; at most 100 of them."""
    return isinstance(text, str) and _NAME.fullmatch(text) is not None


def not_a_name(text: object, what: str) -> str:
    """The message about a text that is no name; `what` it was to be the name of, as in `a scale`."""
    return f"{text!r} cannot name {what}: write letters, digits, _ . + and -, beginning with a letter or a digit, at most 100 of them"


def check_name(text: object, what: str, *, key: str = "", file: str = "") -> None:
    """Raise SpecError where `text` is no name; `what` it names, as in `a scale`."""
    if not is_name(text):
        raise SpecError.of(not_a_name(text, what), key=key, file=file)
