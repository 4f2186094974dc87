"""docs/spec.md is made from the types: it cannot describe a field that is not there."""

from pathlib import Path

from resnet_lab.spec.reference import reference


def test_the_reference_in_docs_is_the_current_one() -> None:
    """To bring it up to date: resnet-lab schema --markdown > docs/spec.md."""
    assert (Path(__file__).parents[2] / "docs" / "spec.md").read_text(encoding="utf-8") == reference()


def test_every_field_has_a_meaning_or_speaks_for_itself() -> None:
    """Would catch a field added without a word about it."""
    without = [
        line.split("`")[1] for line in reference().splitlines() if line.startswith("| `") and line.rstrip(" |").endswith(("`", "derived"))
    ]
    assert without == []
