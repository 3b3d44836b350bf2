"""The machine's clock, which a test or a program of one can put forward."""

from __future__ import annotations

from telnyx_oauth.transport.clock import SystemClock


class ForwardClock(SystemClock):
    """As the machine's own, by so many seconds later."""

    def __init__(self, forward: float = 0.0) -> None:
        self.forward = forward

    def boot(self) -> float:
        return super().boot() + self.forward

    def wall(self) -> float:
        return super().wall() + self.forward
