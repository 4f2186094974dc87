"""What counting a network comes to, for whoever keeps such counts; nothing here imports torch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """Learned parameters, and multiply-adds on one image."""

    params: int
    macs: int

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.params + other.params, self.macs + other.macs)
