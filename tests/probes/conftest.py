"""The small real runs, as fixtures."""

from small_runs import one_thread, small_run, splits_of, trained

__all__ = ["one_thread", "small_run", "splits_of", "trained"]
