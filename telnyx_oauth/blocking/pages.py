"""Pages for callers that block."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Iterator
from typing import TYPE_CHECKING, TypeVar

from ..hints import refused
from ..transport.pager import AsyncPage, PageData, ahead
from .driver import Lease

_T = TypeVar("_T")


class Page(PageData[_T]):
    """One page of a list. Iterating goes over its items and those of all pages after it."""

    if not TYPE_CHECKING:
        __getitem__ = refused("is gone over with `for`; `data` is the list of this page's items.")

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

    def concurrently(self, pages: int) -> Generator[_T]:
        """The items of this page and of all pages after it, in order, with up to `pages` pages fetched ahead at once.

        Nothing is fetched before the second page is needed, nor after you stop; what is then on its way is given up once the
        iterator is closed or collected. An error comes where its page's items would have come.
        Raises `ValueError` unless `pages` is 1 or more.
        """
        return self._items(ahead(self._page._listing, self._page, pages))

    def _items(self, pages: AsyncGenerator[AsyncPage[_T]]) -> Generator[_T]:
        async def following() -> AsyncPage[_T] | None:
            return await anext(pages, None)

        try:
            while (page := self._lease.run(following)) is not None:
                yield from page.data
        except GeneratorExit:
            # Nothing is waited for: it may be the garbage collector that ends this, in any thread.
            if self._lease.is_held:
                self._lease.start(pages.aclose)
            raise
