"""BCE3S with ResNeXt-50 (32 groups of width 4, 23.0 M parameters, 2,048 features).

The rest as in bce3s_r50.py.
"""

_base_ = './bce3s_r50.py'

model = dict(
    backbone=dict(_delete_=True, type='ResNeXt', depth=50, groups=32, width_per_group=4),
)
