"""CE: softmax cross-entropy.

Published under close conditions (200 epochs, crop and flip, LDAM's subset, steps instead of a
cosine): 39.1 as OpenLT cites it, 40.3 as it ran it again.
Measured: README.md beside this file.

    python tools/train.py configs/rivals/ce.py
"""

_base_ = '../_base_/rivals_r32.py'
