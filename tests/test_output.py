"""Files for readers: figures that are the same bytes each time."""

from matplotlib.figure import Figure

from resnet_lab.output import FORMATS, save_figure


def test_a_figure_saved_twice_is_the_same_bytes(tmp_path):
    """Catches dates and random ids in files that are committed."""
    for name in ("first", "second"):
        figure = Figure(layout="constrained")
        figure.subplots().plot([1, 2], label="残差")
        save_figure(figure, tmp_path / f"{name}.v1")
    for form in FORMATS:
        first, second = (tmp_path / f"{name}.v1.{form}" for name in ("first", "second"))
        assert first.read_bytes() == second.read_bytes()
