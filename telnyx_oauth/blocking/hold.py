"""A client's hold on the private loop: it lasts as long as anything of the client is in use, and ends what the client began."""

from __future__ import annotations

import atexit
import warnings
import weakref
from collections.abc import Awaitable, Callable
from contextlib import suppress

from ..errors import ClientClosedError
from .loop import Lease, exiting, join_ending


class Hold(Lease):
    """A lease and `end`, the call that ends what its client has open. `unclosed` complains when it is dropped; "" is silence.

    A client's resources, pages and responses share its hold. So `Telnyx().oauth.retrieve_jwks()` works, where the client
    itself is gone before the call is made. `lender` is the hold on what a copy uses as well, and lasts as long as the copy's.
    """

    def __init__(
        self, end: Callable[[], Awaitable[object]], unclosed: Callable[[], str], lender: Hold | None = None
    ) -> None:
        super().__init__()
        self._end = end
        self._unclosed = unclosed
        self._lender = lender
        _open.add(self)

    def end(self) -> None:
        """End what is open, and the private thread if nobody else needs it. A later call raises `ClientClosedError`."""
        if self.is_held:
            with suppress(ClientClosedError):  # another thread has ended it meanwhile
                self.run(self._end)
        self.close()

    async def _end_here(self) -> None:
        await self._end()
        self.close()

    def __del__(self) -> None:
        if not self.is_held or self.is_closed:
            return
        self.start(self._end_here)
        # Last, because a warning may have been made an error.
        if text := self._unclosed():
            warnings.warn(text, ResourceWarning, source=self)


_open: weakref.WeakSet[Hold] = weakref.WeakSet()


@atexit.register
def _end_all() -> None:
    """No snippet closes its client, and a program may end without a word."""
    exiting.set()
    for hold in list(_open):
        hold.end()
    join_ending()
