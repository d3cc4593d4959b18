"""The names that configs know the plain classes of this package by: the registry's own copy of
nothing, for it registers the very classes that a loop without MMEngine imports.
"""

from bce3s import samplers
from bce3s.registry import DATA_SAMPLERS

for sampler in (
    samplers.NaturalSampler,
    samplers.PowerSampler,
    samplers.ProgressiveSampler,
    samplers.EffectiveNumberSampler,
    samplers.GlobalBatchSampler,
    samplers.PairedBatchSampler,
):
    DATA_SAMPLERS.register_module(module=sampler)
