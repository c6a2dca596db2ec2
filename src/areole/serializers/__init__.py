"""How values become bytes and come back: JSON, MessagePack, pydantic, pickle, compression, and those of others."""

from .annotation import serializer_for, serializer_for_function
from .chain import Chain
from .compression import ZlibCompression
from .json import JsonSerializer
from .msgpack import MsgpackSerializer
from .pickle import PickleSerializer, SignedPickle, pickle_deserializer, pickle_serializer
from .protocol import AnySerializer, Compression, Deserializer, Serializer, ValueSerializer
from .pydantic import PydanticSerializer
from .raw import RawSerializer
from .urls import as_serializer, serializer_from_url
from .zstd import ZstdCompression

__all__ = [
    "AnySerializer",
    "Chain",
    "Compression",
    "Deserializer",
    "JsonSerializer",
    "MsgpackSerializer",
    "PickleSerializer",
    "PydanticSerializer",
    "RawSerializer",
    "Serializer",
    "SignedPickle",
    "ValueSerializer",
    "ZlibCompression",
    "ZstdCompression",
    "as_serializer",
    "pickle_deserializer",
    "pickle_serializer",
    "serializer_for",
    "serializer_for_function",
    "serializer_from_url",
]
