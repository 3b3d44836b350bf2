"""Pagination of lists: pages one by one, or several fetched ahead."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Generator
from contextlib import aclosing
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import attrs

from ..errors import APIResponseValidationError
from ..hints import Hinted, refused
from ..messages import Response
from ..protocol.converter import decode
from ..protocol.requests import Call, Extras
from ..protocol.secret import Secret, Uncopied
from ..types import OAuthOAuthPaginationMeta
from .engine import Answer, Engine

_T = TypeVar("_T")


class PageBody(Protocol[_T]):
    """The response model of a page, such as `types.OAuthClientListResponse`."""

    @property
    def data(self) -> list[_T]:
        """The items."""
        ...

    @property
    def meta(self) -> OAuthOAuthPaginationMeta | None:
        """The position of the page."""
        ...

    def to_dict(self) -> dict[str, object]:
        """The page as the API sent it."""
        ...


@attrs.frozen
class PageInfo:
    """The query parameters that request another page."""

    params: dict[str, int]


class PageData(Hinted, Uncopied, Generic[_T]):
    """Data and position of a page, for the async and the blocking page."""

    _instead = "Copy or pickle its `data`."

    def __init__(self, body: PageBody[_T], number: int) -> None:
        self._body = body
        self._number = number

    @property
    def data(self) -> list[_T]:
        """This page's items."""
        return self._body.data

    @property
    def meta(self) -> OAuthOAuthPaginationMeta | None:
        """The position of this page among all pages."""
        return self._body.meta

    def has_next_page(self) -> bool:
        """Return whether there is a page after this one. An empty page is the last."""
        return self.next_page_info() is not None

    def next_page_info(self) -> PageInfo | None:
        """The query parameters of the next page, or `None` after the last."""
        return PageInfo({"page[number]": self._number + 1}) if self._number < self._last_number else None

    @property
    def _last_number(self) -> int:
        """The number of the last page, according to this page."""
        total = None if self.meta is None else self.meta.total_pages
        return total if self.data and total is not None else self._number

    def to_dict(self) -> dict[str, object]:
        """The page as the API sent it."""
        return self._body.to_dict()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(data={self.data!r}, meta={self.meta!r})"


class AsyncPage(PageData[_T]):
    """One page of a list. `async for` iterates over its items and those of all pages after it."""

    if not TYPE_CHECKING:
        __getitem__ = refused("is gone over with `async for`; `data` is the list of this page's items.")

    def __init__(
        self, listing: Listing[_T], body: PageBody[_T], number: int, previous: AsyncPage[_T] | None = None
    ) -> None:
        super().__init__(body, number)
        self._listing = listing
        # Brent's cycle detection: each page is compared with this one, which moves up at each power of two. A server that
        # repeats pages in a cycle of any length reaches it again, and only one page has to be kept.
        self._landmark: PageBody[_T] = body if previous is None or number & (number - 1) == 0 else previous._landmark

    async def get_next_page(self) -> AsyncPage[_T]:
        """The next page. Raises `RuntimeError` after the last, and `APIResponseValidationError` if the server repeats pages."""
        if not self.has_next_page():
            raise RuntimeError("There is no next page. Ask `has_next_page()` first.")
        return self._listing.following(self, await self._listing.ask(self._number + 1))

    async def iter_pages(self) -> AsyncIterator[AsyncPage[_T]]:
        """This page and all after it."""
        page = self
        yield page
        while page.has_next_page():
            page = await page.get_next_page()
            yield page

    async def __aiter__(self) -> AsyncIterator[_T]:
        async for page in self.iter_pages():
            for item in page.data:
                yield item

    def concurrently(self, pages: int) -> AsyncGenerator[_T]:
        """The items of this page and of all pages after it, in order, with up to `pages` pages fetched ahead at once.

        Fetching begins when the second page is needed, and ends when you stop: the requests in flight are cancelled once the
        iterator is closed or collected. An error is raised in the place of its page's items.
        Raises `ValueError` unless `pages` is 1 or more.
        """
        return _items(ahead(self._listing, self, pages))


class AsyncPaginator(Hinted, Uncopied, Generic[_T]):
    """A list that is not fetched yet: `await` it for a page, or iterate over all items with `async for`."""

    _hint = "Nothing is fetched yet: `await` it for a page, or go over all items with `async for`."
    if not TYPE_CHECKING:
        __getitem__ = refused("is gone over with `async for`; `await` gives a page of it, which has `data`.")

    def __init__(self, listing: Listing[_T]) -> None:
        self._listing = listing

    def __await__(self) -> Generator[object, None, AsyncPage[_T]]:
        return self._listing.first().__await__()

    async def __aiter__(self) -> AsyncIterator[_T]:
        # Page by page: each generator that an item passes through costs as much as reading it.
        async for page in (await self).iter_pages():
            for item in page.data:
                yield item

    def concurrently(self, pages: int) -> AsyncGenerator[_T]:
        """All items, in order, with up to `pages` pages fetched ahead at once, as `AsyncPage.concurrently` does it."""
        return _items(ahead(self._listing, None, pages))


class Listing(Generic[_T]):
    """A list call, which can request any of its pages."""

    def __init__(self, engine: Engine, call: Call, kind: type[PageBody[_T]], extras: Extras) -> None:
        self._engine = engine
        self._call = call
        self._kind = kind
        self._extras = extras

    def first(self) -> Awaitable[AsyncPage[_T]]:
        """The requested page."""
        return self._engine.exchange(self._call, self._extras, self.read)

    def read(self, answer: Answer) -> AsyncPage[_T]:
        """The page in the answer to the call."""
        body = decode(answer.response, self._kind)
        number = None if body.meta is None else body.meta.page_number
        return AsyncPage(self, body, number or self._requested())

    def _requested(self) -> int:
        number = str((self._extras.query or {}).get("page[number]", self._call.query.get("page[number]")))
        return int(number) if number.isdecimal() else 1

    async def ask(self, number: int) -> Answer:
        """Request page `number`."""
        call = attrs.evolve(self._call, query={**self._call.query, "page[number]": number})
        # A page number in the user's extra_query would win, and fetch the same page again and again.
        own = Secret({name: value for name, value in (self._extras.query or {}).items() if name != "page[number]"})
        return await self._engine.exchange(call, attrs.evolve(self._extras, query=own.plain), _unchanged)

    def following(self, previous: AsyncPage[_T], answer: Answer) -> AsyncPage[_T]:
        """The page in an answer of `ask`. Raises `APIResponseValidationError` unless it can follow `previous`."""
        body, number = decode(answer.response, self._kind), previous._number + 1
        actual = None if body.meta is None else body.meta.page_number
        if actual not in (None, number):
            raise _repeated(f"$.meta.page_number: expected {number}, found {actual}", answer.response)
        if body.data and body.data in (previous.data, previous._landmark.data):
            raise _repeated(f"$.data: page {number} has the items of an earlier one", answer.response)
        return AsyncPage(self, body, number, previous)


def ahead(listing: Listing[_T], page: AsyncPage[_T] | None, most: int) -> AsyncGenerator[AsyncPage[_T]]:
    """`page`, or the first, and all after it. At most `most` pages are in flight or wait to be consumed."""
    if most < 1:
        raise ValueError("`pages` must be 1 or more")
    return _ahead(listing, page, most)


async def _items(pages: AsyncGenerator[AsyncPage[_T]]) -> AsyncGenerator[_T]:
    # An `async for` that is left early does not close its iterator.
    async with aclosing(pages):
        async for page in pages:
            for item in page.data:
                yield item


async def _ahead(listing: Listing[_T], page: AsyncPage[_T] | None, most: int) -> AsyncGenerator[AsyncPage[_T]]:
    page = page or await listing.first()
    yield page
    under_way: deque[asyncio.Task[Answer]] = deque()

    def ask_for_more(page: AsyncPage[_T]) -> None:
        # The newest page's total counts, since the list may grow or shrink meanwhile.
        first, last = page._number + len(under_way) + 1, page._number + most
        for number in range(first, min(last, page._last_number) + 1):
            under_way.append(asyncio.create_task(listing.ask(number)))

    try:
        ask_for_more(page)
        while page.has_next_page():
            page = listing.following(page, await under_way[0])
            under_way.popleft()
            ask_for_more(page)
            yield page
    finally:
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)


def _unchanged(answer: Answer) -> Answer:
    return answer


def _repeated(problem: str, response: Response) -> APIResponseValidationError:
    return APIResponseValidationError(
        (f"{problem}; a server that repeats pages would be read for ever",), response=response
    )
