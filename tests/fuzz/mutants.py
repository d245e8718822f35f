"""Damaged files: a seeded mutator of bytes, which knows a little of how text and binary formats break."""

from collections.abc import Iterator, Sequence
from random import Random

TOKENS = (
    b"", b"\0", b"\xff", b"\xff" * 8, b"\n", b"\r", b"\t", b",", b"=", b"-", b"nan", b"inf", b"-inf", b"1e400", b"-1",
    b"0", b"1e-320", b"9" * 400, b"99999999999999999999", b"[" * 200, b"{" * 200, b"'", b'"', b"\x1b[31m", b"[/x]",
    b"\xe2\x80\xa8", b"../../", b"x" * 5000, b"true", b"null", b"[]", b"{}", b"1_000", b"0x10", b"\xc0\x80",
    b"# end_s: nan\n", b"9" * 5000, b"[" * 5000,
)  # fmt: skip


def mutants(originals: Sequence[bytes], count: int, seed: int) -> Iterator[bytes]:
    """``count`` damaged versions of ``originals``, the same for the same ``seed``."""
    random = Random(seed)  # noqa: S311  # damage, not secrets
    for _ in range(count):
        data = bytearray(random.choice(originals))
        for _ in range(random.choice((1, 1, 1, 2, 3, 8))):
            _damage(data, random)
        yield bytes(data)


def _damage(data: bytearray, random: Random) -> None:
    at = random.randrange(len(data) + 1)
    end = min(len(data), at + random.choice((1, 2, 4, 16, 200)))
    kind = random.randrange(7)
    if kind == 0 and data:
        data[min(at, len(data) - 1)] ^= 1 << random.randrange(8)
    elif kind == 1:
        del data[at:end]
    elif kind == 2:
        del data[at:]
    elif kind == 3:
        data[at:at] = random.choice(TOKENS)
    elif kind == 4:
        data[at:end] = random.choice(TOKENS)
    elif kind == 5:
        data[at:at] = data[at:end]
    else:
        data[at:end] = bytes(random.randrange(256) for _ in range(end - at))
