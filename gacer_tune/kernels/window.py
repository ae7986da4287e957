"""Where the taps of a window that slides over an image fall: what conv-like rules know of padding."""

from __future__ import annotations

from dataclasses import dataclass

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Columns:
    """`tiles` tiles of `count` output columns each, from `start` on; clipped: some of their taps leave the image."""

    start: int
    count: int
    tiles: int
    clipped: bool


@dataclass(frozen=True, slots=True)
class Window:
    """All pairs are (rows, columns) or (height, width); pad is (top, left)."""

    size: Pair
    stride: Pair
    pad: Pair
    dilation: Pair
    image: Pair
    out: Pair

    @property
    def clipped_rows(self) -> bool:
        """True when some window rows fall outside the image."""
        reach = (self.out[0] - 1) * self.stride[0] + (self.size[0] - 1) * self.dilation[0] - self.pad[0]
        return self.pad[0] > 0 or reach >= self.image[0]

    def clipped(self, column: int, count: int) -> bool:
        """True when some of the windows of output columns [column, column + count) leave the image sideways."""
        left = column * self.stride[1] - self.pad[1]
        right = left + (count - 1) * self.stride[1] + (self.size[1] - 1) * self.dilation[1]
        return left < 0 or right >= self.image[1]

    @property
    def clipped_columns(self) -> bool:
        return self.clipped(0, self.out[1])

    def inside(self, column: int, count: int, tap: int) -> list[int]:
        """Which of the output columns [column, column + count) have window column `tap` in the image."""
        first = column * self.stride[1] + tap * self.dilation[1] - self.pad[1]
        return [i for i in range(count) if 0 <= first + i * self.stride[1] < self.image[1]]

    def columns(self, count: int) -> list[Columns]:
        """Cut the output columns into tiles of `count`; neighbours that are not clipped count as one run."""
        found: list[Columns] = []
        for start in range(0, self.out[1], count):
            width = min(count, self.out[1] - start)
            clipped = self.clipped(start, width)
            before = found[-1] if found else None
            if before is not None and not clipped and not before.clipped and before.count == width:
                found[-1] = Columns(before.start, width, before.tiles + 1, False)
            else:
                found.append(Columns(start, width, 1, clipped))
        return found
