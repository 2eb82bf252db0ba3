"""Values of any size: small ones in the item, compressed when that helps, larger ones in a blob.

A DynamoDB write is billed by the kilobyte and an S3 put by the call: from about 8 KB on the blob is cheaper
(prices of 2026: $0.625 per million units of 1 KB, $5 per million puts).
"""

from __future__ import annotations

import zlib
from typing import Final

from milepost_engine.core.run import BlobRef, Stored
from milepost_engine.ports import Blobs, Item, Value

__all__ = ["INLINE_BYTES", "Values"]

INLINE_BYTES: Final = 8 * 1024
_WORTH_COMPRESSING: Final = 700
"""An item with a value of this size, keys and other attributes included, still costs one write unit."""
_CACHED_BYTES: Final = 64 * 1024 * 1024


class Values:
    """Puts a value into attributes of an item, or into a blob. Blobs are cached, up to 64 MiB."""

    def __init__(self, blobs: Blobs, inline_bytes: int = INLINE_BYTES) -> None:
        self._blobs = blobs
        self._inline = inline_bytes
        self._cache: dict[str, bytes] = {}
        self._cached_bytes = 0

    async def store(self, key: str, value: Stored) -> dict[str, Value]:
        """Attribute suffixes and values: `""` plain, `_z` compressed, `_ref` and `_size` in a blob."""
        if isinstance(value, BlobRef):
            return {"_ref": value.key, "_size": value.size}
        packed = self._small(value)
        if packed is not None:
            return packed
        await self._blobs.put(key, zlib.compress(value, 1))
        self._remember(key, value)
        return {"_ref": key, "_size": len(value)}

    def _small(self, value: bytes) -> dict[str, Value] | None:
        if len(value) <= _WORTH_COMPRESSING:
            return {"": value.decode()}
        if len(value) > 64 * self._inline:
            return None
        packed = zlib.compress(value, 1)
        if len(packed) <= min(self._inline, len(value) - len(value) // 8):
            return {"_z": packed}
        return {"": value.decode()} if len(value) <= self._inline else None

    def pack(self, name: str, value: bytes) -> dict[str, Value]:
        """Attributes for a value that stays in the item whatever its size."""
        if len(value) <= _WORTH_COMPRESSING:
            return {name: value.decode()}
        return {f"{name}_z": zlib.compress(value, 1)}

    def unpack(self, name: str, item: Item) -> bytes:
        """The counterpart of `pack`."""
        packed = item.get(f"{name}_z")
        if isinstance(packed, bytes):
            return zlib.decompress(packed)
        return str(item[name]).encode()

    def stored(self, name: str, item: Item) -> Stored:
        """The counterpart of `store`."""
        ref = item.get(f"{name}_ref")
        if ref is not None:
            return BlobRef(str(ref), int(item[f"{name}_size"]))
        return self.unpack(name, item)

    async def load(self, value: Stored) -> bytes:
        """The bytes of a stored value. Raises LookupError when its blob is gone."""
        if isinstance(value, bytes):
            return value
        known = self._cache.get(value.key)
        if known is not None:
            return known
        raw = await self._blobs.get(value.key)
        if raw is None:
            raise LookupError(f"the value {value.key} of {value.size} bytes is gone; it has expired or was erased")
        content = zlib.decompress(raw)
        self._remember(value.key, content)
        return content

    def _remember(self, key: str, content: bytes) -> None:
        if self._cached_bytes + len(content) > _CACHED_BYTES:
            self._cache.clear()
            self._cached_bytes = 0
        self._cache[key] = content
        self._cached_bytes += len(content)
