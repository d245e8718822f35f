"""A small vision transformer (Dosovitskiy et al., 2021): an image is a sequence of patches that look at each other.

Written out in linear layers, so that adapters find them, and in operations whose second derivatives torch knows, so
that the curvature of its loss can be measured.
"""

import math

import torch
from torch import Tensor, nn

WIDTH = 32
HEADS = 4
LAYERS = 2
EXPANSION = 2
"""Width of the hidden layer after attention, in widths."""

MOST_PATCHES = 64
"""Attention costs the square of the number of patches: larger images have larger patches."""


class Attention(nn.Module):
    """Multi-head self-attention (Vaswani et al., 2017), (n, patches, width) to the same shape."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """What each patch gathers from all patches."""
        query, key, value = (self._heads(layer(x)) for layer in (self.query, self.key, self.value))
        weights = torch.softmax(query @ key.transpose(-2, -1) / math.sqrt(WIDTH // HEADS), dim=-1)
        gathered: Tensor = self.out((weights @ value).transpose(1, 2).flatten(2))
        return gathered

    @staticmethod
    def _heads(x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:2], HEADS, WIDTH // HEADS).transpose(1, 2)


class Block(nn.Module):
    """Attention, then a perceptron of each patch, both on normalised input and added to what came in."""

    def __init__(self) -> None:
        super().__init__()
        self.attention_norm, self.mlp_norm = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attention = Attention()
        self.widen, self.narrow = nn.Linear(WIDTH, EXPANSION * WIDTH), nn.Linear(EXPANSION * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """(n, patches, width) to the same shape."""
        x = x + self.attention(self.attention_norm(x))
        result: Tensor = x + self.narrow(nn.functional.gelu(self.widen(self.mlp_norm(x))))
        return result


class VisionTransformer(nn.Module):
    """Patches of (channels, height, width) images, embedded with their places, two blocks, the mean, a linear head."""

    def __init__(self, shape: tuple[int, int, int], outputs: int) -> None:
        super().__init__()
        channels, height, width = shape
        side = _patch_side(height, width)
        patches = -(-height // side) * -(-width // side)
        self.cut = nn.Unfold(side, stride=side, padding=0)
        self.pad = (0, -width % side, 0, -height % side)
        self.embed = nn.Linear(channels * side * side, WIDTH)
        # A blank patch is its place alone: at the usual 0.02 norms would divide by next to nothing, and L be 30-fold.
        self.place = nn.Parameter(torch.randn(patches, WIDTH))
        self.blocks = nn.Sequential(*(Block() for _ in range(LAYERS)))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(n, channels, height, width) to (n, outputs)."""
        patches = self.cut(nn.functional.pad(x, self.pad)).transpose(1, 2)
        seen = self.norm(self.blocks(self.embed(patches) + self.place))
        answer: Tensor = self.head(seen.mean(dim=1))
        return answer


def _patch_side(height: int, width: int) -> int:
    """Pixels of a patch's side: 2, or as many as keep the sequence short."""
    side = 2
    while -(-height // side) * -(-width // side) > MOST_PATCHES:
        side += 1
    return side
