"""Into how many parts, and of what size, a large object is divided. Pure arithmetic within S3's limits."""

from __future__ import annotations

MIB = 1024 * 1024


# S3's limits ("Amazon S3 multipart upload limits" in its User Guide).
MOST_PARTS = 10_000


SMALLEST_PART = 5 * MIB


LARGEST_PART = 5 * 1024 * MIB


LARGEST_OBJECT = 5 * 1024 * 1024 * MIB


def upload_part_size(size: int, preferred: int = 16 * MIB) -> int:
    """Bytes of each part but the last of a multipart upload of ``size`` bytes.

    ``preferred``, or as much more (in whole MiB) as keeps the number of parts within S3's 10,000. Raises
    ``ValueError`` for what S3 cannot hold: more than 5 TiB, parts under 5 MiB or over 5 GiB.
    """
    if not 0 <= size <= LARGEST_OBJECT:
        raise ValueError(f"{size} bytes: an object holds at most 5 TiB")
    if not SMALLEST_PART <= preferred <= LARGEST_PART:
        raise ValueError(f"part_size={preferred}: expected 5 MiB to 5 GiB")
    least = -(-size // MOST_PARTS)
    return max(preferred, -(-least // MIB) * MIB)


def growing_part_size(number: int, first: int = 16 * MIB, most: int = MOST_PARTS) -> int:
    """Bytes of part ``number`` (from 0) of an upload whose length nobody knows yet.

    In whole MiB: ``first``, and from part to part as much more as lets ``most`` of them (2,500 at least) hold the 5 TiB
    of the largest object: 0.1 MiB where S3's 10,000 are allowed. So parts begin small and no part is ever larger than
    its place asks for (1.1 GiB the last of 10,000). Raises ``ValueError`` for a part that would be one too many.
    """
    if not 0 <= number < most:
        raise ValueError(f"part {number}: an upload has at most {most}")
    more = number * 2 * LARGEST_OBJECT // (most * (most - 1))  # all of them together are the largest object
    return min(LARGEST_PART, -(-(first + more) // MIB) * MIB)


def part_count(size: int, part: int) -> int:
    """How many parts of ``part`` bytes make ``size`` bytes; an empty object is one empty part."""
    return max(1, -(-size // part))


def likely_part_sizes(size: int, count: int) -> list[int]:
    """Part sizes with which an upload of ``size`` bytes has ``count`` parts, most likely first; see ``etag-parts``.

    Ours first, then whole MiB as uploaders use them (powers of two, multiples of 5, the rest), then what Amazon's
    SDKs do with very large files. At most eight; empty if there is none.
    """
    if count < 1 or size < count:
        return []
    if count == 1:
        return [size]
    lowest = -(-size // count)
    highest = (size - 1) // (count - 1)
    whole = range(-(-lowest // MIB), highest // MIB + 1)
    ours = upload_part_size(min(size, LARGEST_OBJECT)) // MIB
    ranked = sorted(whole[:10_000], key=lambda n: (n != ours, n & (n - 1) != 0, n % 5 != 0, n))
    found = [n * MIB for n in ranked[:8]]
    return found or [lowest]
