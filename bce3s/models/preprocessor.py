"""What enters the network: uint8 batch -> augment -> normalise -> views and targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace

import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor
from torch.nn import functional as F

from bce3s.augmentation.draws import at_least
from bce3s.devices import upload
from bce3s.errors import BCE3SError
from bce3s.models.share import Share
from bce3s.models.targets import Targets
from bce3s.randomness import Clock
from bce3s.registry import BATCH_AUGMENTS, MODELS, TRANSFORMS


@MODELS.register_module()
class LongTailedPreprocessor(BaseDataPreprocessor):
    """Augments a whole batch on the training device and lays its views out for the backbone.

    In training a batch becomes the views (V * B, C, H, W), view-major: the batch itself ("origin")
    and one view per entry of ``mix``; and one :class:`Targets`. With ``mix`` the loader must pair
    every batch with a partner batch (``PairedBatchSampler``). With ``batch_mix`` the only view is
    the batch mixed with itself in reverse order (the global batch, where several ranks share it).
    Images are augmented once, before mixing. With ``views`` in place of ``mix`` every view is
    augmented by itself, and its partners too. While the classifier alone is fine-tuned there are
    the origin and the views of ``finetune_mix``, and nothing is smoothed; in evaluation images are
    only normalised.

    Args:
        mean, std: per channel, in units of [0, 1]; three of them make three channels of a grey one.
        augment: configs of batched augmentations (registry TRANSFORMS), applied in this order to
            uint8 images; each is ``op(images, u)`` with ``op.draws`` uniforms an image.
        mix: configs of :class:`PairedMixUp` / :class:`PairedCutMix`.
        mix_alpha: of ``lambda ~ Beta(alpha, alpha)``, drawn once a batch for all views.
        batch_mix: config of :class:`MixUpOrCutMix`, or None; not together with ``mix``.
        views: of each view's name a dict of its ``augment`` (default: the one above), drawn anew
            for it, and of its ``mix``, one config as above, or None; all of one size. Not together
            with the other two.
        finetune_mix: what takes the place of ``mix``, ``batch_mix`` and ``views`` while the
            classifier alone is fine-tuned.
        label_smoothing: s in [0, 1): each target is ``(1 - s) onehot + s / K``, before mixing.
        pad: black pixels on each side, before anything else, in evaluation too.
        batch_augments: mmpretrain's classifier passes it; must be None.
    """

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        augment: Sequence[dict] = (),
        mix: Sequence[dict] = (),
        mix_alpha: float = 1.0,
        batch_mix: dict | None = None,
        views: Mapping[str, Mapping] | None = None,
        finetune_mix: Sequence[dict] = (),
        label_smoothing: float = 0.0,
        pad: int = 0,
        batch_augments: None = None,
    ) -> None:
        super().__init__(non_blocking=True)
        if batch_augments is not None:
            raise BCE3SError(
                "LongTailedPreprocessor: 'train_cfg' of the model is not used here; give "
                "'augment' and 'mix' to the data_preprocessor instead."
            )
        if bool(mix) + bool(batch_mix) + bool(views) > 1:
            raise BCE3SError(
                "LongTailedPreprocessor: 'mix' mixes with a partner batch, 'batch_mix' within the "
                "batch, and 'views' are augmented one by one: give one of them."
            )
        if not 0 <= label_smoothing < 1:
            raise BCE3SError(
                f'LongTailedPreprocessor: label_smoothing must be in [0, 1), not {label_smoothing}.'
            )
        at_least(self, 'pad', pad, 0)
        self.register_buffer('mean', 255 * torch.tensor(mean).view(-1, 1, 1), False)
        self.register_buffer('std', 255 * torch.tensor(std).view(-1, 1, 1), False)
        self.augment = [TRANSFORMS.build(dict(cfg)) for cfg in augment]
        self.mix = [BATCH_AUGMENTS.build(dict(cfg)) for cfg in mix]
        self.views = {name: self._view(name, **view) for name, view in (views or {}).items()}
        self.finetune_mix = [BATCH_AUGMENTS.build(dict(cfg)) for cfg in finetune_mix]
        self.mix_alpha = mix_alpha
        self.batch_mix = BATCH_AUGMENTS.build(dict(batch_mix)) if batch_mix else None
        self.label_smoothing, self.pad = label_smoothing, pad
        self.clock = Clock()
        self.sizes: tuple[int, ...] | None = None  # each rank's samples of the next batch, if known
        self.finetuning = False

    def _view(
        self, name: str, augment: Sequence[dict] | None = None, mix: dict | None = None, **other
    ) -> SimpleNamespace:
        if other:
            raise BCE3SError(
                f"LongTailedPreprocessor: view {name!r} takes 'augment' and 'mix', not {other}."
            )
        return SimpleNamespace(
            augment=self.augment
            if augment is None
            else [TRANSFORMS.build(dict(a)) for a in augment],
            mix=BATCH_AUGMENTS.build(dict(mix)) if mix else None,
        )

    @property
    def paired(self) -> bool:
        """Whether a training batch must hold a partner for each sample, in its second half."""
        mixed_views = any(view.mix for view in self.views.values())
        return bool(self.mix or self.finetune_mix or mixed_views)

    def forward(self, data: dict, training: bool = False) -> dict:
        """``dict(inputs, data_samples)`` of a loader -> the same keys for the model.

        ``inputs`` is uint8 (B, C, H, W), or features (B, d) of a frozen network, which are not
        augmented; (2 B, ...) when paired; ``data_samples`` is a dict with
        ``labels`` (and ``indices``) of the same length. In training ``data_samples`` becomes a
        :class:`Targets`. Where this rank has no sample of a small last batch, the loader's one
        image is a stand-in: it becomes views for the network to see, and no target.
        """
        images = upload(data['inputs'], self.device)
        if self.pad and images.dim() == 4:
            images = F.pad(images, [self.pad] * 4)
        samples = {k: upload(v, self.device) for k, v in data['data_samples'].items()}
        if not training:
            return dict(inputs=self.normalize(images), data_samples=samples)
        labels, size = samples['labels'], len(images) // (2 if self.paired else 1)
        mixing = bool(self._mixes)
        if not mixing:
            images = images[:size]
        share = Share.of(labels[:size], self.sizes)
        partners = labels[size : size + share.own] if mixing else None
        labels = labels[: share.own]
        all_labels = share.gather(labels)
        if self.views and not self.finetuning:
            views, names, lam = self._separately(images, size, share)
        elif mixing:
            views, names, lam = self._mix(self.normalize(self._augment(images, share, 2)), size)
        elif self.batch_mix is not None and not self.finetuning:
            views, names, lam = self._mix_within(self._augment(images, share), share)
            partners = share.take(all_labels.flip(0))
        else:
            views = self.normalize(self._augment(images, share))
            names, lam = ('origin',), self._shares([1.0], views)
        targets = Targets(
            labels=labels,
            views=names,
            lam=lam,
            partners=partners,
            all_labels=all_labels,
            share=share,
            clock=self.clock,
            label_smoothing=0.0 if self.finetuning else self.label_smoothing,
        )
        return dict(inputs=views, data_samples=targets)

    def normalize(self, images: Tensor) -> Tensor:
        """``(image / 255 - mean) / std`` per channel; features (B, d) of a frozen network stay."""
        if images.dim() == 2:
            return images
        images = images.expand(-1, len(self.mean), -1, -1)  # grey ones may become coloured
        # in place: two temporaries fewer
        return images.to(self.mean.dtype, copy=True).sub_(self.mean).div_(self.std)

    def _augment(
        self,
        images: Tensor,
        share: Share,
        streams: int = 1,
        ops: Sequence | None = None,
        stream: str = 'augmentation',
    ) -> Tensor:
        """``streams``: 2 where the partners stand behind the batch; ``stream``: of the draws."""
        ops = self.augment if ops is None else ops
        draws = [op.draws for op in ops]
        shape = (streams, share.total, sum(draws))
        u = torch.rand(shape, generator=self.clock.generator(stream))
        u = (share.take(u, dim=1) if share.own else u[:, :1]).flatten(0, 1)
        for op, columns in zip(ops, u.split(draws, dim=1), strict=True):
            images = op(images, columns)
        return images

    def _separately(
        self, images: Tensor, size: int, share: Share
    ) -> tuple[Tensor, tuple[str, ...], Tensor]:
        """Each of ``views``, from images (B, ...), or (2 B, ...) with their partners."""
        rng = self.clock.numpy('mixing')
        lam = rng.beta(self.mix_alpha, self.mix_alpha)
        views, lams = [], []
        for name, view in self.views.items():
            shown, streams = (images, 2) if view.mix else (images[:size], 1)
            shown = self._augment(shown, share, streams, view.augment, f'augmentation of {name}')
            shown, own = self.normalize(shown), 1.0
            if view.mix:
                shown, own = view.mix(shown[:size], shown[size:], lam, rng)
            views.append(shown)
            lams.append(own)
        return torch.cat(views), tuple(self.views), self._shares(lams, views[0])

    @property
    def _mixes(self) -> list:
        if self.finetuning:
            return self.finetune_mix
        return self.mix or [view.mix for view in self.views.values() if view.mix]

    def _mix(self, images: Tensor, size: int) -> tuple[Tensor, tuple[str, ...], Tensor]:
        rng = self.clock.numpy('mixing')
        lam = rng.beta(self.mix_alpha, self.mix_alpha)
        views, names, lams = [images[:size]], ['origin'], [1.0]
        for mix in self._mixes:
            view, own = mix(images[:size], images[size:], lam, rng)
            views.append(view)
            names.append(mix.name)
            lams.append(own)
        return torch.cat(views), tuple(names), self._shares(lams, images)

    def _mix_within(self, images: Tensor, share: Share) -> tuple[Tensor, tuple[str, ...], Tensor]:
        partners = share.mirrored(images[: share.own])  # uint8: a quarter of the bytes
        partners = self.normalize(partners if share.own else images)
        rng = self.clock.numpy('mixing within the batch')
        mixed, own = self.batch_mix(self.normalize(images), partners, rng)
        return mixed, (self.batch_mix.name,), self._shares([own], mixed)

    @staticmethod
    def _shares(lams: list[float], images: Tensor) -> Tensor:
        return upload(torch.tensor(lams, dtype=images.dtype), images.device)
