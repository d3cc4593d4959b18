"""The decays of the unconstrained-features model."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bce3s.errors import BCE3SError


@dataclass(frozen=True)
class Decays:
    """``lambda_W``, ``lambda_H``, ``lambda_b`` of Eq. 3 ("BCE vs. CE in Deep Feature Learning").

    They multiply half the squared norms of W, of H (summed over the samples) and of b. In training
    with batches of B, ``lambda_H / 2`` times the sum over the batch is in expectation the full sum
    with ``lambda_H B / N``; the model sees ``n lambda_H`` only, so ``n = B / K`` describes it.

    Raises:
        BCE3SError: lambda_W or lambda_H not above 0, or lambda_b below 0.
    """

    weight: float
    feature: float
    bias: float

    def __post_init__(self) -> None:
        for name, value in (('lambda_W', self.weight), ('lambda_H', self.feature)):
            if not 0 < value < math.inf:
                raise BCE3SError(
                    f'{name} is {value}: the minimum exists only with {name} above 0; give a '
                    'positive decay.'
                )
        if not 0 <= self.bias < math.inf:
            raise BCE3SError(f'lambda_b is {self.bias}: give 0 or a positive decay.')

    @classmethod
    def equal(cls, value: float) -> Decays:
        """All three the same, as in the paper's settings 1 and 2 (5e-4)."""
        return cls(value, value, value)


def price(samples: float, decays: Decays) -> float:
    """``sqrt(n lambda_W lambda_H)``: what one unit of a score costs, per singular direction.

    Products ``W H = Z`` are cheapest at ``sqrt(lambda_W lambda_H)`` times the nuclear norm of Z
    (``closed_form``); n equal columns a class make it this.

    Args:
        samples: n, samples per class; need not be whole (batches of 128 of 10 classes: 12.8).

    Raises:
        BCE3SError: n not above 0.
    """
    if not 0 < samples < math.inf:
        raise BCE3SError(f'{samples} samples per class: give a number above 0.')
    return math.sqrt(samples * decays.weight * decays.feature)


def check_classes(classes: int) -> None:
    """Raises BCE3SError for fewer than two classes."""
    if classes < 2:
        raise BCE3SError(f'{classes} classes: the model needs at least 2; give more classes.')


def check_no_collapse(classes: int, samples: float, decays: Decays) -> None:
    """Raises BCE3SError where the decays are so large that all classes fall together.

    The limit, for CE and BCE alike and whatever lambda_b is: ``sqrt(n lambda_W lambda_H) < 1 / K``
    (equal decays: each below ``1 / (K sqrt(n))``). See ``closed_form``.
    """
    cost = price(samples, decays)
    if cost * classes >= 1:
        raise BCE3SError(
            f'sqrt(n lambda_W lambda_H) = {cost:.3g} is not below 1/K = {1 / classes:.3g}: the '
            'minimum does not tell the classes apart (all features equal). Give smaller decays or '
            'fewer samples.'
        )
