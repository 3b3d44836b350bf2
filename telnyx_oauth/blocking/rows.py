"""Rows, and the pages and responses that they return. A row gives an async method's whole signature to its blocking twin.

https://typing.python.org/en/latest/spec/generics.html#paramspec
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterator
from contextlib import AbstractContextManager
from functools import cached_property, partial, wraps
from inspect import signature
from types import TracebackType
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Final,
    Generic,
    ParamSpec,
    TypeVar,
    cast,
    get_args,
    get_type_hints,
    overload,
)

from ..hints import Hinted, naming_problem, refused
from ..protocol.secret import Secret, Uncopied
from ..resources.resource import Form, Resource, filled, put, return_type, returning, rows_in
from ..transport.engine import Engine
from ..transport.pagination import AsyncPage, AsyncPaginator, PageData, ahead
from ..transport.responses import AsyncAPIResponse, AsyncStreamed, ResponseFacts
from .driver import Lease

_P = ParamSpec("_P")
_T = TypeVar("_T")
_R = TypeVar("_R")
_I = TypeVar("_I")
_END: Final = object()


class Page(PageData[_T]):
    """One page of a list. `for` iterates over its items and those of all pages after it."""

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

        Fetching begins when the second page is needed, and ends when you stop: the requests in flight are cancelled once the
        iterator is closed or collected. An error is raised in the place of its page's items.
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
            # Without waiting: the garbage collector may end this generator, in any thread.
            if self._lease.is_held:
                self._lease.start(pages.aclose)
            raise


class APIResponse(ResponseFacts[_T]):
    """A response, its body read or still on the wire."""

    def __init__(self, response: AsyncAPIResponse[Any], lease: Lease, finish: Callable[[Any], _T]) -> None:
        super().__init__(response._answer)
        self._response = response
        self._lease = lease
        self._finish = finish

    @property
    def is_closed(self) -> bool:
        """`True` once the body has been read, or closed."""
        return self._response.is_closed

    def read(self) -> bytes:
        """The whole body. Raises `APIResponseValidationError` if it has more than 16 MiB: use `iter_bytes` then."""
        return self._run(self._response.read)

    def text(self) -> str:
        """The whole body as text."""
        return self._run(self._response.text)

    def json(self) -> object:
        """The whole body as JSON. Raises `ValueError` if it is not JSON."""
        return self._run(self._response.json)

    def parse(self) -> _T:
        """The typed value that the call without `with_raw_response` would return."""
        return self._finish(self._run(self._response.parse))

    def iter_bytes(self, chunk_size: int | None = None) -> Iterator[bytes]:
        """The body piece by piece, as it arrives, or in pieces of `chunk_size` bytes. A streamed body can be read once."""
        return self._each(self._response.iter_bytes(chunk_size))

    def iter_text(self, chunk_size: int | None = None) -> Iterator[str]:
        """The body as text, piece by piece."""
        return self._each(self._response.iter_text(chunk_size))

    def iter_lines(self) -> Iterator[str]:
        """The body as text, line by line, without the line ends."""
        return self._each(self._response.iter_lines())

    def close(self) -> None:
        """Close the body; the rest of it is not read."""
        if not self._lease.is_closed:  # else it was closed with its connection
            self._run(lambda: _close_fully(self._response.close()))

    def _each(self, items: AsyncIterator[_I]) -> Iterator[_I]:
        async def following() -> Any:
            return await anext(items, _END)

        while (item := Secret(self._run(following))).plain is not _END:
            yield item.plain

    def _run(self, call: Callable[[], Coroutine[Any, Any, _I]]) -> _I:
        if not self._response.is_here:
            return self._lease.run(call)
        # The body is here, so the coroutine awaits nothing: one step runs all of it, without the loop.
        step = call()
        try:
            step.send(None)
        except StopIteration as stop:
            value: _I = stop.value
            return value
        raise AssertionError("The coroutine waited.")  # pragma: no cover - reading a body that is here awaits nothing


class Streamed(Hinted, Uncopied, AbstractContextManager[APIResponse[_T]]):
    """Context manager of a response whose body is still on the wire. Its end returns the connection."""

    _hint = "Nothing is sent yet: `with ... as response` gives the response."
    if not TYPE_CHECKING:
        __aenter__ = refused("is used with `with`; the one for `async with` is of AsyncTelnyx.")

    def __init__(self, streamed: AsyncStreamed[Any], lease: Lease, finish: Callable[[Any], _T]) -> None:
        self._streamed = streamed
        self._lease = lease
        self._finish = finish

    def __enter__(self) -> APIResponse[_T]:
        return APIResponse(self._lease.run(self._streamed.__aenter__), self._lease, self._finish)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._lease.is_closed:
            self._lease.run(lambda: _close_fully(self._streamed.__aexit__(kind, error, traceback)))


async def _close_fully(closing: Awaitable[None]) -> None:
    """Close, and let the loop take the turn in which it closes the socket: it may then rest for long."""
    await closing
    await asyncio.sleep(0)


class Twin(Uncopied):
    """The blocking twin of an object with async methods. A base class."""

    def __init__(self, core: Any, lease: Lease) -> None:
        self._core = core
        self._lease = lease

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name, row in rows_in(cls, blocking):
            put(cls, name, row.plain(), row.owner)

    @property
    def _engine(self) -> Engine:
        engine: Engine = self._core._engine
        return engine


class RawTwin(Uncopied):
    """The blocking twin of a resource, whose methods return raw responses. A base class."""

    def __init__(self, resource: type[Resource], engine: Engine, lease: Lease) -> None:
        self._core = resource(engine, Form.RAW)
        self._lease = lease

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name, row in rows_in(cls, blocking):
            put(cls, name, row.raw(), row.owner)


class StreamedTwin(Uncopied):
    """The blocking twin of a resource, whose methods return context managers of raw responses. A base class."""

    def __init__(self, resource: type[Resource], engine: Engine, lease: Lease) -> None:
        self._core = resource(engine, Form.STREAMED)
        self._lease = lease

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name, row in rows_in(cls, blocking):
            put(cls, name, row.streamed(), row.owner)


def _unchanged(value: Any, _lease: Lease) -> Any:
    return value


def _begin(
    twin: object,
    method: Callable[..., Awaitable[Any]],
    core: object,
    arguments: Secret[tuple[tuple[Any, ...], dict[str, Any]]],
) -> Awaitable[Any]:
    """Call `method`. A `TypeError` for wrong arguments names the blocking method, which the caller called."""
    try:
        return method(core, *arguments.plain[0], **arguments.plain[1])
    except TypeError as exc:
        ours, pythons = f"{type(twin).__name__}.{method.__name__}", f"{method.__qualname__}()"
        problem = naming_problem(ours, method, len(arguments.plain[0]), arguments.plain[1])
        if not problem and str(exc).startswith(pythons):
            problem = f"{ours}(){str(exc).removeprefix(pythons)}"
        if not problem:
            raise
    raise TypeError(problem)


class blocking(Generic[_P, _T]):  # noqa: N801 - a row reads as a word: `create = blocking(AsyncOAuthClients.create)`
    """A row for a method that returns a value. Each of the three kinds of twins gets a function of its own."""

    finish: Callable[[Any, Lease], Any] = staticmethod(_unchanged)

    def __init__(self, method: Callable[Concatenate[Any, _P], Awaitable[_T]]) -> None:
        self._method = method
        self.owner = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.owner = owner.__qualname__

    @cached_property
    def _kind(self) -> Any:
        """The type of the value, for annotations."""
        return return_type(self._method)

    def plain(self) -> Any:
        """The function for a twin that returns the value itself."""
        return self._plain(self._method)

    def _plain(self, model: Callable[..., object]) -> Any:
        method, finish = self._method, self.finish

        @wraps(model)
        def row(twin: Twin, *args: _P.args, **kwargs: _P.kwargs) -> object:
            core, lease = twin._core, twin._lease
            arguments = Secret((args, kwargs))
            del args, kwargs
            call = partial(_begin, twin, method, core, arguments)
            return finish(lease.run(call), lease)

        return row

    def raw(self) -> Any:
        """The function for a twin that returns raw responses."""
        method, finish = self._method, self.finish

        @wraps(returning(method, filled(APIResponse, self._kind)))
        def row(twin: RawTwin, *args: _P.args, **kwargs: _P.kwargs) -> object:
            core, lease = twin._core, twin._lease
            arguments = Secret((args, kwargs))
            del args, kwargs
            call = partial(_begin, twin, method, core, arguments)
            return APIResponse(lease.run(call), lease, lambda value: finish(value, lease))

        return row

    def streamed(self) -> Any:
        """The function for a twin that returns context managers."""
        method, finish = self._method, self.finish

        @wraps(returning(method, filled(Streamed, self._kind)))
        def row(twin: StreamedTwin, *args: _P.args, **kwargs: _P.kwargs) -> object:
            core, lease = twin._core, twin._lease
            arguments = Secret((args, kwargs))
            del args, kwargs
            call = partial(_begin, twin, method, core, arguments)
            return Streamed(AsyncStreamed(call), lease, lambda value: finish(value, lease))

        return row

    if TYPE_CHECKING:

        @overload
        def __get__(self, twin: Twin, owner: object = None) -> Callable[_P, _T]: ...

        @overload
        def __get__(self, twin: RawTwin, owner: object = None) -> Callable[_P, APIResponse[_T]]: ...

        @overload
        def __get__(self, twin: StreamedTwin, owner: object = None) -> Callable[_P, Streamed[_T]]: ...

        @overload
        def __get__(self, twin: None, owner: object = None) -> Callable[..., object]: ...

        def __get__(self, twin: Twin | RawTwin | StreamedTwin | None, owner: object = None) -> Any:
            """The method of the twin, for type checkers: `put` replaces rows by functions."""


class _Paging(blocking[_P, _T]):
    @staticmethod
    def finish(value: AsyncPage[Any], lease: Lease) -> Page[Any]:
        return Page(value, lease)

    @cached_property
    def _kind(self) -> Any:
        return filled(Page, *get_args(return_type(self._method)))

    def plain(self) -> Any:
        return self._plain(returning(self._method, self._kind))


def paging(method: Callable[Concatenate[Any, _P], AsyncPaginator[_T]]) -> blocking[_P, Page[_T]]:
    """A row for a method that lists."""
    return cast("blocking[_P, Page[_T]]", _Paging(cast("Callable[Concatenate[Any, _P], Awaitable[Any]]", method)))


def takes(
    method: Callable[Concatenate[Any, _P], object],
) -> Callable[[Callable[..., _R]], Callable[Concatenate[Any, _P], _R]]:
    """Give a function the parameters and the docstring of `method`, and let it keep its own return type."""

    def apply(function: Callable[..., _R]) -> Callable[Concatenate[Any, _P], _R]:
        returns = get_type_hints(function)["return"]
        wrapper = wraps(method, assigned=("__doc__",))(function)
        # `wraps` sets `__wrapped__`, so the names in these annotations are looked up in the module of `method`.
        wrapper.__annotations__ = {**method.__annotations__, "return": returns}
        wrapper.__dict__["__signature__"] = signature(method).replace(return_annotation=returns)
        return cast("Callable[Concatenate[Any, _P], _R]", wrapper)

    return apply
