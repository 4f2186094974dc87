"""What was measured, turned into tables, tests and verdicts; no torch."""
