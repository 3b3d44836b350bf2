"""Pages for callers that block."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from ..transport.pager import AsyncPage, PageData
from .loop import Lease

_T = TypeVar("_T")


class Page(PageData[_T]):
    """One page of a list. Iterating goes over its items and those of all pages after it."""

    def __init__(self, page: AsyncPage[_T], lease: Lease) -> None:
        super().__init__(page._body, page._number)
        self._page = page
        self._lease = lease

    def get_next_page(self) -> Page[_T]:
        """The next page. Raises `RuntimeError` after the last, and `APIResponseValidationError` if the server repeats pages."""
        return Page(self._lease.run(self._page.get_next_page), self._lease)

    def iter_pages(self) -> Iterator[Page[_T]]:
        """This page and all after it."""
        page = self
        yield page
        while page.has_next_page():
            page = page.get_next_page()
            yield page

    def __iter__(self) -> Iterator[_T]:
        for page in self.iter_pages():
            yield from page.data
