"""Blobs over an S3 bucket."""

from __future__ import annotations

from typing import Any, Final

from milepost_engine.adapters.limits import check_blob_key, check_blob_prefix

from .calls import AwsRefused, Caller

__all__ = ["S3Blobs"]

_MISSING: Final = frozenset({"NoSuchKey", "404"})


class S3Blobs:
    """Implements the Blobs port over a bucket, or the part of it under `prefix`.

    The caller needs s3:ListBucket besides the object permissions: without it S3 answers AccessDenied when a key is
    missing. Raises AwsRefused and AwsUnreachable.
    """

    def __init__(self, caller: Caller, bucket: str, prefix: str = "") -> None:
        self._caller = caller
        self._bucket = bucket
        self._prefix = prefix

    async def put(self, key: str, content: bytes) -> None:
        """Writes the blob; writing the same content again changes nothing."""
        request = {"Bucket": self._bucket, "Key": self._key(key), "Body": content}
        await self._caller.call("PutObject", request, repeatable=True)

    async def get(self, key: str) -> bytes | None:
        """The blob, or None."""
        request = {"Bucket": self._bucket, "Key": self._key(key)}
        try:
            answer = await self._caller.call("GetObject", request, repeatable=True)
        except AwsRefused as refusal:
            if refusal.code in _MISSING:
                return None
            raise
        body: bytes = answer["Body"]
        return body

    async def delete_prefix(self, prefix: str) -> int:
        """Deletes every blob whose key begins with the prefix, a thousand per call."""
        check_blob_prefix(prefix)
        request: dict[str, Any] = {"Bucket": self._bucket, "Prefix": self._prefix + prefix}
        deleted = 0
        while True:
            page = await self._caller.call("ListObjectsV2", request, repeatable=True)
            keys = [{"Key": found["Key"]} for found in page.get("Contents", ())]
            if keys:
                await self._delete(keys)
                deleted += len(keys)
            if not page.get("IsTruncated"):
                return deleted
            request["ContinuationToken"] = page["NextContinuationToken"]

    async def _delete(self, keys: list[dict[str, str]]) -> None:
        request = {"Bucket": self._bucket, "Delete": {"Objects": keys, "Quiet": True}}
        answer = await self._caller.call("DeleteObjects", request, repeatable=True)
        if failures := answer.get("Errors"):
            first = failures[0]
            message = f"{len(failures)} of {len(keys)} blobs were not deleted, first {first.get('Key')}"
            message = f"{message}: {first.get('Message', '')}"
            raise AwsRefused("DeleteObjects", first.get("Code", "Unknown"), message, 200, answer)

    def _key(self, key: str) -> str:
        check_blob_key(key)
        full = self._prefix + key
        check_blob_key(full)
        return full
