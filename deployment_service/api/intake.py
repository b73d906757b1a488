"""How a request's message comes in: received only after its key was checked, bounded, and then decoded."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Hashable
from functools import cache
from typing import Any

import grpc.aio
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message

from deployment_service.api.errors import DeadlineExceeded
from deployment_service.domain.errors import InvalidArgument

Context = grpc.aio.ServicerContext[Any, Any]

# Smaller messages need little memory with any content.
_SMALL_BYTES = 64 * 2**10
# An empty nested message has two bytes and takes two hundred when it is decoded. More than any request may have.
_MAX_FIELDS = 5_000
_RECEIVE_TIMEOUT_S = 10.0


class Slots:
    """Bounds how much is done at once: in all, and for each owner."""

    def __init__(self, *, total: int, per_owner: int) -> None:
        self._total = asyncio.Semaphore(total)
        self._per_owner = per_owner
        self._owners: dict[Hashable, tuple[asyncio.Semaphore, list[None]]] = {}

    @contextlib.asynccontextmanager
    async def slot(self, owner: Hashable) -> AsyncIterator[None]:
        """Wait for a slot; the owner's own limit comes first, so that one owner can't take all."""
        semaphore, users = self._owners.setdefault(owner, (asyncio.Semaphore(self._per_owner), []))
        users.append(None)
        try:
            async with semaphore, self._total:
                yield
        finally:
            users.pop()
            if not users:
                self._owners.pop(owner, None)


async def receive(context: Context, *, max_bytes: int) -> bytes:
    """Return the bytes of the call's message. Raises InvalidArgument and DeadlineExceeded."""
    try:
        async with asyncio.timeout(_RECEIVE_TIMEOUT_S):
            data = await context.read()
    except TimeoutError:
        raise DeadlineExceeded(
            "REQUEST_NOT_RECEIVED", f"No request came within {_RECEIVE_TIMEOUT_S:g} s."
        ) from None
    if not isinstance(data, bytes):
        raise InvalidArgument("request", "is missing", reason="MALFORMED_REQUEST")
    if len(data) > max_bytes:
        raise InvalidArgument(
            "request",
            f"has {len(data)} bytes; at most {max_bytes} are allowed",
            reason="REQUEST_TOO_LARGE",
        )
    return data


def is_large(data: bytes) -> bool:
    """Whether a message's memory counts as long as its call lasts."""
    return len(data) > _SMALL_BYTES


def decode(data: bytes, parse: Callable[[bytes], Message]) -> Message:
    """Return the message. Raises InvalidArgument if it is none, or has more fields than any request."""
    try:
        if is_large(data):
            message_type: Any = getattr(parse, "__self__")  # noqa: B009 - the method FromString
            _check_fields(memoryview(data), message_type.DESCRIPTOR, [_MAX_FIELDS])
        return parse(data)
    except (DecodeError, IndexError, RecursionError):
        raise InvalidArgument(
            "request", "can't be decoded as the message it should be", reason="MALFORMED_REQUEST"
        ) from None


@cache
def _nested(descriptor: Descriptor) -> dict[int, Descriptor]:
    """The message types that a message's fields hold, by number, as far as those can hold lists of messages."""
    return {
        field.number: field.message_type
        for field in descriptor.fields
        if field.message_type is not None and _holds_lists(field.message_type)
    }


def _holds_lists(descriptor: Descriptor) -> bool:
    """Whether it has a list of messages; a map is none."""
    written = descriptor_pb2.DescriptorProto()
    descriptor.CopyToProto(written)
    maps = {inner.name for inner in written.nested_type if inner.options.map_entry}
    return any(
        field.label == field.LABEL_REPEATED
        and field.type == field.TYPE_MESSAGE
        and field.type_name.rpartition(".")[2] not in maps
        for field in written.field
    )


def _check_fields(data: memoryview, descriptor: Descriptor, left: list[int]) -> None:
    """Count fields in the wire format, before any message is made. ``left`` is how many more there may be.

    Only messages that can hold lists of messages are entered: others are counted as one field.
    """
    nested = _nested(descriptor)
    place = 0
    while place < len(data):
        left[0] -= 1
        if left[0] < 0:
            raise InvalidArgument(
                "request", f"has more than {_MAX_FIELDS} fields", reason="REQUEST_TOO_LARGE"
            )
        tag, place = _varint(data, place)
        match tag & 7:
            case 0:
                _, place = _varint(data, place)
            case 1:
                place += 8
            case 2:
                size, place = _varint(data, place)
                if (inner := nested.get(tag >> 3)) is not None:
                    _check_fields(data[place : place + size], inner, left)
                place += size
            case 5:
                place += 4
            case _:  # a group, which proto3 doesn't have
                raise DecodeError


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
        if shift > 63:
            raise DecodeError
