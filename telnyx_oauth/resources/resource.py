"""The base of the resources, and how their views are made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from enum import Enum, auto
from functools import cached_property, partial, wraps
from types import FunctionType, SimpleNamespace
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    ParamSpec,
    TypeVar,
    cast,
    get_args,
    get_origin,
    get_type_hints,
    overload,
)

import attrs

from ..hints import Hinted
from ..protocol.converter import decode
from ..protocol.requests import Call, Extras
from ..protocol.secret import Secret, Uncopied
from ..transport.engine import Answer, Engine
from ..transport.pagination import AsyncPage, AsyncPaginator, Listing, PageBody
from ..transport.responses import AsyncAPIResponse, AsyncStreamed

if TYPE_CHECKING:
    member = property
    part = cached_property
else:

    class member(property):  # noqa: N801 - it is used as `property` is
        """A property. On the class it is the class that its getter is said to return."""

        def __get__(self, whole: object, owner: type | None = None) -> Any:
            """What the getter gives, or its class."""
            return get_type_hints(self.fget)["return"] if whole is None else super().__get__(whole, owner)

    class part(cached_property):  # noqa: N801 - it is used as `cached_property` is
        """A property that is made once, as `cached_property` does. On the class it is the class that is made."""

        def __get__(self, whole: object, owner: type | None = None) -> Any:
            """What was made, or its class."""
            return get_type_hints(self.func)["return"] if whole is None else super().__get__(whole, owner)


def rows_in(kind: type, row: type) -> Iterator[tuple[str, Any]]:
    """The rows that a class has, its own and its bases', where nothing has taken their place. With their names."""
    found: dict[str, object] = {}
    for base in reversed(kind.__mro__):
        found.update(vars(base))
    return ((name, value) for name, value in found.items() if isinstance(value, row))


def said_to_return(method: Callable[..., object]) -> Any:
    """What a method's annotation says that it returns."""
    only = SimpleNamespace(
        __annotations__={"return": method.__annotations__["return"]}
    )  # the others need not exist yet
    return get_type_hints(only, method.__globals__)["return"]


def returning(method: Callable[..., object], kind: object) -> Callable[..., object]:
    """A stand-in for a method that is said to return another kind, for `functools.wraps`. It is not for calling.

    `inspect` and `typing` make a signature of it when someone looks, so that none has to be made before.
    """
    assert isinstance(method, FunctionType)
    twin = FunctionType(method.__code__, method.__globals__, method.__name__, method.__defaults__, method.__closure__)
    twin.__kwdefaults__ = method.__kwdefaults__
    twin.__annotations__ = {**method.__annotations__, "return": kind}
    twin.__doc__, twin.__module__, twin.__qualname__ = method.__doc__, method.__module__, method.__qualname__
    return twin


def filled(generic: Any, *kinds: object) -> Any:
    """A generic class with these kinds in it, for an annotation that is made at run time."""
    return generic[kinds]


def put(owner: type, name: str, function: FunctionType, rows: str) -> None:
    """Make a function a method of a class: mocks, `help` and debuggers know what that is. `rows` is the class of its row."""
    function.__qualname__ = f"{rows}.{name}"
    function.__module__ = owner.__module__
    setattr(owner, name, function)


_P = ParamSpec("_P")
_T = TypeVar("_T")


class Form(Enum):
    """In which form a resource gives its answers."""

    PARSED = auto()
    RAW = auto()
    STREAMED = auto()


class Resource(Hinted, Uncopied):
    """A group of operations. Its methods describe calls; the engine sends them."""

    def __init__(self, engine: Engine, form: Form = Form.PARSED) -> None:
        self._engine = engine
        self._form = form

    def _send(self, call: Call, kind: type[_T], extras: Extras) -> Awaitable[_T]:
        read = partial(_read, kind)
        if self._form is Form.PARSED:
            return self._engine.exchange(call, extras, read)
        raw = self._engine.exchange(call, self._streaming(extras), lambda answer: AsyncAPIResponse(answer, read))
        # The rows of a raw or streamed view say what this really is; the methods under them are written once.
        return cast("Awaitable[_T]", raw)

    def _list(self, call: Call, kind: type[PageBody[_T]], extras: Extras) -> AsyncPaginator[_T]:
        listing = Listing(self._engine, call, kind, extras)
        if self._form is Form.PARSED:
            return AsyncPaginator(listing)
        streaming = self._streaming(extras)
        raw = self._engine.exchange(call, streaming, lambda answer: AsyncAPIResponse(answer, listing.read))
        return cast("AsyncPaginator[_T]", raw)

    def _streaming(self, extras: Extras) -> Extras:
        return attrs.evolve(extras, stream=self._form is Form.STREAMED)


def _read(kind: type[_T], answer: Answer) -> _T:
    return decode(answer.response, kind, asked=answer.request)


class RawView(Hinted, Uncopied):
    """A resource whose methods answer with raw responses, their bodies read."""

    def __init__(self, resource: type[Resource], engine: Engine) -> None:
        self._resource = resource(engine, Form.RAW)

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name, row in rows_in(cls, viewed):
            put(cls, name, row.raw(), row.owner)


class StreamedView(Hinted, Uncopied):
    """A resource whose methods answer with context managers of raw responses, their bodies on the wire."""

    def __init__(self, resource: type[Resource], engine: Engine) -> None:
        self._resource = resource(engine, Form.STREAMED)

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name, row in rows_in(cls, viewed):
            put(cls, name, row.streamed(), row.owner)


class viewed(Generic[_P, _T]):  # noqa: N801 - a row reads as a word: `create = viewed(AsyncOAuthClients.create)`
    """A row of a raw or streamed view: an operation with its parameters as they are and its answer in another form.

    Each view has a function of its own, which looks like what it is: a coroutine function, or one that gives a context manager.
    """

    def __init__(self, method: Callable[Concatenate[Any, _P], Awaitable[_T]]) -> None:
        self._method = method
        self.owner = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.owner = owner.__qualname__

    def _dressed(self, function: Any, form: type) -> Any:
        """The function with the looks of the operation, and said to return this form of its answer."""
        method = self._method
        kind = said_to_return(method)
        if get_origin(kind) is AsyncPaginator:
            return wraps(returning(method, filled(form, filled(AsyncPage, *get_args(kind)))))(function)
        dressed = wraps(method)(function)
        dressed.__annotations__ = {**method.__annotations__, "return": filled(form, kind)}
        return dressed

    def raw(self) -> Any:
        """The function for a raw view."""
        method = self._method

        async def row(view: RawView, *args: _P.args, **kwargs: _P.kwargs) -> object:
            given = Secret((args, kwargs))
            del args, kwargs
            return await method(view._resource, *given.plain[0], **given.plain[1])

        return self._dressed(row, AsyncAPIResponse)

    def streamed(self) -> Any:
        """The function for a streamed view."""
        method = self._method

        def row(view: StreamedView, *args: _P.args, **kwargs: _P.kwargs) -> object:
            given = Secret((args, kwargs))
            del args, kwargs

            def send() -> Any:
                return method(view._resource, *given.plain[0], **given.plain[1])

            return AsyncStreamed(send)

        return self._dressed(row, AsyncStreamed)

    if TYPE_CHECKING:

        @overload
        def __get__(self, view: RawView, owner: object = None) -> Callable[_P, Awaitable[AsyncAPIResponse[_T]]]: ...

        @overload
        def __get__(self, view: StreamedView, owner: object = None) -> Callable[_P, AsyncStreamed[_T]]: ...

        @overload
        def __get__(self, view: None, owner: object = None) -> Callable[..., object]: ...

        def __get__(self, view: RawView | StreamedView | None, owner: object = None) -> Any:
            """The row as a method of the view."""


def viewed_list(method: Callable[Concatenate[Any, _P], AsyncPaginator[_T]]) -> viewed[_P, AsyncPage[_T]]:
    """A row for an operation that lists."""
    return viewed(cast("Callable[Concatenate[Any, _P], Awaitable[AsyncPage[_T]]]", method))
