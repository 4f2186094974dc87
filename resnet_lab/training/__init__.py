"""One run: from a RunSpec and a seed to a RunRecord."""
