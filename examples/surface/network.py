"""The demo network: a full-resolution convolution and four residual blocks that each halve it."""

import torch
from torch import nn

CHANNELS = (8, 16, 32, 64, 96)
MEAN = (0.51, 0.50, 0.50)  # RGB, of pixel / 255
STD = (0.13, 0.12, 0.12)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch norm around a projected shortcut; halves the resolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.pool = nn.AvgPool2d(2)
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map N x inputs x H x W to N x outputs x H/2 x W/2, not negative."""
        y = self.relu(self.norm1(self.conv1(x)))
        return self.relu(self.norm2(self.conv2(y)) + self.shortcut(self.pool(x)))


class SurfaceNet(nn.Module):
    """Classify a surface; `block1` to `block5` end at 1, 1/2, 1/4, 1/8 and 1/16 of the resolution.

    Args:
        classes: Number of logits.
    """

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.block1 = nn.Sequential(
            nn.Conv2d(3, CHANNELS[0], 3, padding=1, bias=False), nn.BatchNorm2d(CHANNELS[0]), nn.ReLU()
        )
        self.block2 = ResidualBlock(CHANNELS[0], CHANNELS[1])
        self.block3 = ResidualBlock(CHANNELS[1], CHANNELS[2])
        self.block4 = ResidualBlock(CHANNELS[2], CHANNELS[3])
        self.block5 = ResidualBlock(CHANNELS[3], CHANNELS[4])
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(CHANNELS[4], classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map normalised RGB pictures (N x 3 x H x W, H and W multiples of 16) to logits (N x classes)."""
        x = self.block1(x)
        x = self.block2(x)
        x = self.block3(x)
        x = self.block4(x)
        x = self.block5(x)
        return self.fc(self.pool(x).flatten(1))
