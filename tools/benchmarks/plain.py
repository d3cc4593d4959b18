"""The reference implementation: the BCE3S recipe as public code writes it, to measure against.

One image at a time through Pillow in worker processes, a natural and a partner loader, pageable
copies, NCHW float32, concatenated views, ``log(1 + exp)`` behind a clamp, a loop over the samples
that fill the bank, ``.item()`` on every loss of every step. It computes what our model computes
(tests/tools/benchmarks/test_benchmark_plain.py), and nothing here imports what it is compared with.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, WeightedRandomSampler
from torchvision import transforms

# ------------------------------------------------------------ augmentation, one image at a time
GREY = (128, 128, 128)
CLAMP, SGD_ARGUMENTS = 64.0, ('lr', 'momentum', 'weight_decay')


def affine(image: Image.Image, matrix: Sequence[float], resample: int) -> Image.Image:
    return image.transform(image.size, Image.AFFINE, matrix, resample, fillcolor=GREY)


def rotate(image: Image.Image, degrees: float) -> Image.Image:
    turned = image.convert('RGBA').rotate(degrees)
    ground = Image.new('RGBA', turned.size, (128,) * 4)
    return Image.composite(turned, ground, turned).convert(image.mode)


# Each takes an image and a strength m; signs are drawn in `AutoAugment`.
OPERATIONS: dict[str, Callable[[Image.Image, float], Image.Image]] = {
    'ShearX': lambda i, m: affine(i, (1, m, 0, 0, 1, 0), Image.BICUBIC),
    'ShearY': lambda i, m: affine(i, (1, 0, 0, m, 1, 0), Image.BICUBIC),
    'TranslateX': lambda i, m: affine(i, (1, 0, m * i.size[0], 0, 1, 0), Image.NEAREST),
    'TranslateY': lambda i, m: affine(i, (1, 0, 0, 0, 1, m * i.size[1]), Image.NEAREST),
    'Rotate': rotate,
    'Color': lambda i, m: ImageEnhance.Color(i).enhance(1 + m),
    'Contrast': lambda i, m: ImageEnhance.Contrast(i).enhance(1 + m),
    'Brightness': lambda i, m: ImageEnhance.Brightness(i).enhance(1 + m),
    'Sharpness': lambda i, m: ImageEnhance.Sharpness(i).enhance(1 + m),
    'Posterize': lambda i, m: ImageOps.posterize(i, int(m)),
    'Solarize': lambda i, m: ImageOps.solarize(i, m),
    'Invert': lambda i, _: ImageOps.invert(i),
    'AutoContrast': lambda i, _: ImageOps.autocontrast(i),
    'Equalize': lambda i, _: ImageOps.equalize(i),
}
SIGNED = {'ShearX', 'ShearY', 'TranslateX', 'TranslateY'}
SIGNED |= {'Color', 'Contrast', 'Brightness', 'Sharpness'}
TOP = dict(ShearX=0.3, ShearY=0.3, TranslateX=150 / 331, TranslateY=150 / 331, Rotate=30)
TOP |= dict(Color=0.9, Contrast=0.9, Brightness=0.9, Sharpness=0.9)
RANGES = {name: np.linspace(0, top, 10) for name, top in TOP.items()}  # at levels 0..9
RANGES['Posterize'] = np.round(np.linspace(8, 4, 10), 0).astype(int)
RANGES['Solarize'] = np.linspace(256, 0, 10)
# AutoAugment's policy for CIFAR-10 (arXiv 1805.09501): operation, probability, level; twice.
TABLE = """
Invert 0.1 7 Contrast 0.2 6; Rotate 0.7 2 TranslateX 0.3 9; Sharpness 0.8 1 Sharpness 0.9 3;
ShearY 0.5 8 TranslateY 0.7 9; AutoContrast 0.5 8 Equalize 0.9 2; ShearY 0.2 7 Posterize 0.3 7;
Color 0.4 3 Brightness 0.6 7; Sharpness 0.3 9 Brightness 0.7 9; Equalize 0.6 5 Equalize 0.5 1;
Contrast 0.6 7 Sharpness 0.6 5; Color 0.7 7 TranslateX 0.5 8; Equalize 0.3 7 AutoContrast 0.4 8;
TranslateY 0.4 3 Sharpness 0.2 6; Brightness 0.9 6 Color 0.2 8; Solarize 0.5 2 Invert 0.0 3;
Equalize 0.2 0 AutoContrast 0.6 0; Equalize 0.2 8 Equalize 0.6 4; Color 0.9 9 Equalize 0.6 6;
AutoContrast 0.8 4 Solarize 0.2 8; Brightness 0.1 3 Color 0.7 0;
Solarize 0.4 5 AutoContrast 0.9 3; TranslateY 0.9 9 TranslateY 0.7 9;
AutoContrast 0.9 2 Solarize 0.8 3; Equalize 0.8 8 Invert 0.1 3;
TranslateY 0.7 9 AutoContrast 0.9 1
"""
WORDS = [pair.split() for pair in TABLE.split(';')]
POLICY = [(a, float(p), int(n), b, float(q), int(m)) for a, p, n, b, q, m in WORDS]


class AutoAugment:
    """A random sub-policy of :data:`POLICY`: two operations, each with its own probability."""

    def __call__(self, image: Image.Image) -> Image.Image:
        name1, prob1, level1, name2, prob2, level2 = POLICY[random.randint(0, len(POLICY) - 1)]
        for name, prob, level in ((name1, prob1, level1), (name2, prob2, level2)):
            if random.random() < prob:
                strength = RANGES[name][level] if name in RANGES else 0
                if name in SIGNED:
                    strength = strength * random.choice([-1, 1])
                image = OPERATIONS[name](image, strength)
        return image


class Cutout:
    """A black square, clipped at the border, on an image tensor (C, H, W) (arXiv 1708.04552)."""

    def __init__(self, length: int = 16) -> None:
        self.length = length

    def __call__(self, image: Tensor) -> Tensor:
        height, width = image.shape[1:]
        mask = np.ones((height, width), np.float32)
        y, x = np.random.randint(height), np.random.randint(width)  # noqa: NPY002  (as it is done)
        top, bottom = np.clip([y - self.length // 2, y + self.length // 2], 0, height)
        left, right = np.clip([x - self.length // 2, x + self.length // 2], 0, width)
        mask[top:bottom, left:right] = 0
        return image * torch.from_numpy(mask).expand_as(image)


def pipeline(mean: Sequence[float], std: Sequence[float], size: int = 32) -> transforms.Compose:
    """A Pillow image -> a normalised float32 tensor (3, size, size)."""
    steps = [transforms.RandomCrop(size, padding=4), transforms.RandomHorizontalFlip()]
    steps += [AutoAugment(), transforms.ToTensor(), Cutout(16), transforms.Normalize(mean, std)]
    return transforms.Compose(steps)


class ImageDataset(Dataset):
    """images (N, H, W, 3) uint8 and labels; an item is one augmented image and its label."""

    def __init__(self, images: np.ndarray, labels: Sequence[int], transform: Callable) -> None:
        self.images, self.labels, self.transform = images, labels, transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), self.labels[index]


def loaders(dataset: ImageDataset, batch_size: int, workers: int, paired: bool) -> list[DataLoader]:
    """The natural loader; with ``paired`` also the partner's, with replacement (q = 0)."""
    options = dict(batch_size=batch_size, num_workers=workers, drop_last=True)
    natural = DataLoader(dataset, shuffle=True, **options)
    if not paired:
        return [natural]
    partner = WeightedRandomSampler(torch.ones(len(dataset)), len(dataset))
    return [natural, DataLoader(dataset, sampler=partner, **options)]


# ------------------------------------------------------------ mixing
def cutmix_box(height: int, width: int, lam: float) -> tuple[int, int, int, int]:
    """(top, bottom, left, right) of the clipped box."""
    cut_h, cut_w = int(height * np.sqrt(1 - lam)), int(width * np.sqrt(1 - lam))
    y, x = np.random.randint(height), np.random.randint(width)  # noqa: NPY002
    top, bottom = np.clip([y - cut_h // 2, y + cut_h // 2], 0, height)
    left, right = np.clip([x - cut_w // 2, x + cut_w // 2], 0, width)
    return int(top), int(bottom), int(left), int(right)


# ------------------------------------------------------------ losses
def softplus(z: Tensor) -> Tensor:
    return torch.log(1 + torch.exp(z))


def bce(logits: Tensor, targets: Tensor, classes: Tensor | None, soft_negatives: bool) -> Tensor:
    """Mean over the rows of the sum over ``classes`` (K,) bool of BCE with soft targets.

    ``soft_negatives`` False, as published: negatives only where the target is 0.
    """
    logits = torch.clamp(logits, -CLAMP, CLAMP)
    weights = 1 - targets if soft_negatives else (targets == 0).to(targets)
    loss = targets * softplus(-logits) + weights * softplus(logits)
    if classes is not None:
        loss = loss * classes
    return loss.sum(1).mean()


def sample_classes(labels: Tensor, num_classes: int, ratio: float) -> Tensor:
    """(K,) bool: the classes of the batch, filled up at random to ``int(K ratio)``."""
    present = sorted({label.item() for label in labels})
    others = [k for k in range(num_classes) if k not in present]
    chosen = present + random.sample(others, max(0, int(num_classes * ratio) - len(present)))
    mask = torch.zeros(num_classes, device=labels.device)
    for k in chosen:
        mask[k] = 1
    return mask.bool()


class PlainModel(nn.Module):
    """Backbone, pooling and the losses of ``method``: ``CE``, ``BCE`` (a linear classifier on one
    view) or ``BCE3S`` (three branches on the views origin, MixUp, CutMix).

    Args:
        backbone: images -> a tuple whose last entry is a feature map with ``dim`` channels.
        resample: r of the joint branch.
        soft_negatives, diagonal: False and True in the public implementation.
    """

    def __init__(
        self,
        backbone: nn.Module,
        dim: int,
        num_classes: int,
        method: str,
        resample: float = 0.4,
        soft_negatives: bool = True,
        diagonal: bool = False,
        projection_dim: int = 128,
    ) -> None:
        super().__init__()
        self.backbone, self.num_classes, self.method = backbone, num_classes, method
        self.resample, self.soft_negatives, self.diagonal = resample, soft_negatives, diagonal
        self.classifier = nn.Linear(dim, num_classes)
        if method == 'BCE3S':
            self.projector = nn.Sequential(
                nn.Linear(dim, dim), nn.ReLU(inplace=True), nn.Linear(dim, projection_dim)
            )
            self.register_buffer('bank', torch.zeros(num_classes, projection_dim))
            self.register_buffer('filled', torch.zeros(num_classes, dtype=torch.bool))

    def forward(self, images: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(self.backbone(images)[-1], 1).flatten(1)

    def losses(
        self,
        features: Tensor,
        labels: Tensor,
        partners: Tensor | None = None,
        lams: Sequence[float] = (1.0,),
        classes: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Features (V * B, d) of the views, whose own shares are ``lams`` -> weighted losses."""
        hot = F.one_hot(labels, self.num_classes).to(features)
        if self.method == 'CE':
            return dict(joint=F.cross_entropy(self.classifier(features), labels))
        if self.method == 'BCE':
            return dict(joint=bce(self.classifier(features), hot, None, self.soft_negatives))
        weight = F.normalize(self.classifier.weight, dim=1)
        logits = F.linear(features, weight, self.classifier.bias)
        projections = self.projector(features)
        other, size = F.one_hot(partners, self.num_classes).to(features), len(labels)
        joint, contrastive = 0, 0
        for view, lam in enumerate(lams):
            rows = slice(view * size, (view + 1) * size)
            targets = lam * hot + (1 - lam) * other
            sampled = classes if view == 0 else None
            joint = joint + bce(logits[rows], targets, sampled, self.soft_negatives) / len(lams)
            if view > 0:
                cosines = F.normalize(projections[rows], dim=1) @ F.normalize(self.bank, dim=1).T
                loss = bce(cosines, targets, self.filled.clone(), self.soft_negatives)
                contrastive = contrastive + loss
        same = torch.eye(self.num_classes, device=weight.device)
        cosines = weight @ weight.T
        terms = softplus(cosines) * (1 - same)
        if self.diagonal:
            terms = terms + softplus(-cosines) * same
        for i in range(size):
            self.bank[labels[i]] = projections[i].detach()
            self.filled[labels[i]] = True
        return dict(joint=joint, contrastive=0.1 * contrastive, uniformity=terms.sum(1).mean())


# ------------------------------------------------------------ training
class PlainTraining:
    """The training loop, a :meth:`step` at a time.

    Attributes:
        sums: of every loss, as the loop logs them.
        iterators: of the loaders.
    """

    def __init__(
        self, model: PlainModel, loaders: list[DataLoader], device: str, sgd: dict[str, Any]
    ) -> None:
        self.model, self.loaders, self.device = model.to(device).train(), loaders, device
        self.optimizer = torch.optim.SGD(model.parameters(), **sgd)
        self.iterators: list[Iterator] = [iter(loader) for loader in loaders]
        self.sums: dict[str, float] = {}

    def step(self) -> None:
        views, labels, rest = self.batch()
        losses = self.model.losses(self.model(views), labels, *rest)
        self.optimizer.zero_grad()
        sum(losses.values()).backward()
        self.optimizer.step()
        for name, loss in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + loss.item()

    def batch(self) -> tuple[Tensor, Tensor, tuple]:
        """The views, the labels, and what else the losses take."""
        (images, labels), *others = [self._next(k) for k in range(len(self.loaders))]
        images, labels = images.to(self.device), labels.to(self.device)
        if not others:
            return images, labels, ()
        partners, partner_labels = (tensor.to(self.device) for tensor in others[0])
        lam = np.random.beta(1.0, 1.0)  # noqa: NPY002
        mixup = lam * images + (1 - lam) * partners
        top, bottom, left, right = cutmix_box(*images.shape[2:], lam)
        cutmix = images.clone()
        cutmix[:, :, top:bottom, left:right] = partners[:, :, top:bottom, left:right]
        left_over = 1 - (bottom - top) * (right - left) / images[0, 0].numel()
        classes = sample_classes(labels, self.model.num_classes, self.model.resample)
        rest = (partner_labels, (1.0, lam, left_over), classes)
        return torch.cat([images, mixup, cutmix]), labels, rest

    def _next(self, k: int) -> Any:
        try:
            return next(self.iterators[k])
        except StopIteration:
            self.iterators[k] = iter(self.loaders[k])
            return next(self.iterators[k])
