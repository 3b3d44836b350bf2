"""Rows: each carries an async method's whole signature to its blocking twin, so that nothing is written twice.

https://typing.python.org/en/latest/spec/generics.html#paramspec
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cached_property, wraps
from inspect import signature
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    ParamSpec,
    TypeVar,
    cast,
    get_args,
    get_type_hints,
    overload,
)

from ..hints import misnamed
from ..protocol.secret import Secret
from ..protocol.uncopied import Uncopied
from ..resources.members import filled, put, returning, rows_in, said_to_return
from ..resources.resource import Form, Resource
from ..transport.engine import Engine
from ..transport.pager import AsyncPage, AsyncPaginator
from ..transport.raw import AsyncStreamed
from .driver import Lease
from .pages import Page
from .raw import APIResponse, Streamed

_P = ParamSpec("_P")
_T = TypeVar("_T")
_R = TypeVar("_R")


class Twin(Uncopied):
    """The blocking twin of a value whose methods are async."""

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
    """The blocking twin of a resource, answering with raw responses."""

    def __init__(self, resource: type[Resource], engine: Engine, lease: Lease) -> None:
        self._core = resource(engine, Form.RAW)
        self._lease = lease

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name, row in rows_in(cls, blocking):
            put(cls, name, row.raw(), row.owner)


class StreamedTwin(Uncopied):
    """The blocking twin of a resource, answering with context managers of raw responses."""

    def __init__(self, resource: type[Resource], engine: Engine, lease: Lease) -> None:
        self._core = resource(engine, Form.STREAMED)
        self._lease = lease

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name, row in rows_in(cls, blocking):
            put(cls, name, row.streamed(), row.owner)


def _as_it_is(value: Any, _lease: Lease) -> Any:
    return value


class blocking(Generic[_P, _T]):  # noqa: N801 - a row reads as a word: `create = blocking(AsyncOAuthClients.create)`
    """A row for a method that ends in a value. Each of the three twins has a function of its own."""

    finish: Callable[[Any, Lease], Any] = staticmethod(_as_it_is)

    def __init__(self, method: Callable[Concatenate[Any, _P], Awaitable[_T]]) -> None:
        self._method = method
        self.owner = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.owner = owner.__qualname__

    @cached_property
    def _kind(self) -> Any:
        """What the value is, for those who look."""
        return said_to_return(self._method)

    def plain(self) -> Any:
        """The function for a twin that gives the value itself."""
        return self._plain(self._method)

    def _plain(self, looks: Callable[..., object]) -> Any:
        method, finish = self._method, self.finish

        @wraps(looks)
        def row(twin: Twin, *args: _P.args, **kwargs: _P.kwargs) -> object:
            core, lease = twin._core, twin._lease
            given = Secret((args, kwargs))
            del args, kwargs

            def call() -> Awaitable[Any]:
                try:
                    return method(core, *given.plain[0], **given.plain[1])
                except TypeError:
                    problem = misnamed(
                        f"{type(twin).__name__}.{method.__name__}", method, len(given.plain[0]), given.plain[1]
                    )
                    if not problem:
                        raise
                raise TypeError(problem)

            return finish(lease.run(call), lease)

        return row

    def raw(self) -> Any:
        """The function for a twin that gives raw responses."""
        method, finish = self._method, self.finish

        @wraps(returning(method, filled(APIResponse, self._kind)))
        def row(twin: RawTwin, *args: _P.args, **kwargs: _P.kwargs) -> object:
            core, lease = twin._core, twin._lease
            given = Secret((args, kwargs))
            del args, kwargs

            def call() -> Awaitable[Any]:
                return method(core, *given.plain[0], **given.plain[1])

            return APIResponse(lease.run(call), lease, lambda value: finish(value, lease))

        return row

    def streamed(self) -> Any:
        """The function for a twin that gives context managers."""
        method, finish = self._method, self.finish

        @wraps(returning(method, filled(Streamed, self._kind)))
        def row(twin: StreamedTwin, *args: _P.args, **kwargs: _P.kwargs) -> object:
            core, lease = twin._core, twin._lease
            given = Secret((args, kwargs))
            del args, kwargs

            def call() -> Awaitable[Any]:
                return method(core, *given.plain[0], **given.plain[1])

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
            """The row as a method of its twin."""


class _Paging(blocking[_P, _T]):
    @staticmethod
    def finish(value: AsyncPage[Any], lease: Lease) -> Page[Any]:
        return Page(value, lease)

    @cached_property
    def _kind(self) -> Any:
        return filled(Page, *get_args(said_to_return(self._method)))

    def plain(self) -> Any:
        return self._plain(returning(self._method, self._kind))


def paging(method: Callable[Concatenate[Any, _P], AsyncPaginator[_T]]) -> blocking[_P, Page[_T]]:
    """A row for a method that lists."""
    return cast("blocking[_P, Page[_T]]", _Paging(cast("Callable[Concatenate[Any, _P], Awaitable[Any]]", method)))


def takes(
    method: Callable[Concatenate[Any, _P], object],
) -> Callable[[Callable[..., _R]], Callable[Concatenate[Any, _P], _R]]:
    """Give a function the parameters and the docstring of `method`, keeping what it returns."""

    def dress(function: Callable[..., _R]) -> Callable[Concatenate[Any, _P], _R]:
        returns = get_type_hints(function)["return"]
        dressed = wraps(method, assigned=("__doc__",))(function)
        # The names in its annotations are found where `method` is from.
        dressed.__annotations__ = {**method.__annotations__, "return": returns}
        dressed.__dict__["__signature__"] = signature(method).replace(return_annotation=returns)
        return cast("Callable[Concatenate[Any, _P], _R]", dressed)

    return dress
