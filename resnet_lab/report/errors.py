"""What can go wrong when a report is written; importing this costs nothing."""


class ReportError(OSError):
    """The report's folder cannot be written; the message names it and what to do."""
