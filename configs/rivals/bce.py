"""BCE: binary cross-entropy, a sigmoid a class.

"BCE vs. CE in Deep Feature Learning" (ICML 2025) and BCE3S (AAAI 2026) without its other branches.
No figure for this network is published.
Measured: README.md beside this file.

    python tools/train.py configs/rivals/bce.py
"""

_base_ = '../_base_/rivals_r32.py'

model = dict(head=dict(joint=dict(type='BCEJoint')))
