"""The error of served ETAs against what happened, as sums that any number of answers can be added to. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class ServedErrors:
    """Sums over answers of one model in one leg. Milliseconds; an error is answer less truth, positive for too late.

    ``p50_held`` and ``p90_held`` count the answers whose order was handed over by then. ``orders``: the distinct ones.
    """

    answers: int = 0
    error_ms: int = 0
    abs_error_ms: int = 0
    p50_held: int = 0
    p90_held: int = 0
    orders: set[str] = field(default_factory=set)

    def add(self, order_id: str, p50_ms: int, p90_ms: int, truth_ms: int) -> None:
        """Add one answer. ``truth_ms``: from the answer until the hand-over."""
        error_ms = p50_ms - truth_ms
        self.answers += 1
        self.error_ms += error_ms
        self.abs_error_ms += abs(error_ms)
        self.p50_held += truth_ms <= p50_ms
        self.p90_held += truth_ms <= p90_ms
        self.orders.add(order_id)

    @property
    def mae_s(self) -> float:
        """The mean absolute error in seconds."""
        return self.abs_error_ms / self.answers / 1_000

    @property
    def bias_s(self) -> float:
        """The mean error in seconds."""
        return self.error_ms / self.answers / 1_000
