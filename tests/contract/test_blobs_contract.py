"""What every blob store promises."""

import asyncio

import pytest

from .labs import BlobsLab


async def test_a_blob_comes_back_as_it_was_put(blobs_lab: BlobsLab) -> None:
    key = f"{blobs_lab.name()}/größe 1+2%/x"
    content = bytes(range(256)) * 1000
    await blobs_lab.blobs.put(key, content)
    assert await blobs_lab.blobs.get(key) == content
    await blobs_lab.blobs.put(key, content)
    assert await blobs_lab.blobs.get(key) == content


async def test_an_empty_blob_is_not_a_missing_one(blobs_lab: BlobsLab) -> None:
    key = blobs_lab.name()
    assert await blobs_lab.blobs.get(key) is None
    await blobs_lab.blobs.put(key, b"")
    assert await blobs_lab.blobs.get(key) == b""


async def test_a_prefix_is_deleted_and_nothing_beside_it(blobs_lab: BlobsLab) -> None:
    run = blobs_lab.name()
    kept = [f"{run}", f"{run}1/a", f"{run}.", f"x{run}/"]
    gone = [f"{run}/a", f"{run}/b/c", f"{run}/\U0001f680", f"{run}/%", f"{run}/_"]
    await asyncio.gather(*(blobs_lab.blobs.put(key, key.encode()) for key in kept + gone))
    assert await blobs_lab.blobs.delete_prefix(f"{run}/") == len(gone)
    assert await blobs_lab.blobs.delete_prefix(f"{run}/") == 0
    assert [await blobs_lab.blobs.get(key) for key in kept] == [key.encode() for key in kept]
    assert [await blobs_lab.blobs.get(key) for key in gone] == [None] * len(gone)


@pytest.mark.parametrize("key", ["", "x" * 1025, "é" * 513, "\ud800", "a\x00b"])
async def test_a_key_that_s3_would_not_take_is_refused(blobs_lab: BlobsLab, key: str) -> None:
    with pytest.raises(ValueError, match=r"blob key|needs a prefix"):
        await blobs_lab.blobs.put(key, b"")
    with pytest.raises(ValueError, match=r"blob key|needs a prefix"):
        await blobs_lab.blobs.get(key)
    with pytest.raises(ValueError, match=r"blob key|needs a prefix"):
        await blobs_lab.blobs.delete_prefix(key)
