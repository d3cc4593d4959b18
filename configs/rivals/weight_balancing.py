"""Weight balancing: CE with a tuned decay, then class-balanced CE with MaxNorm and strong decay.

Alshammari et al., Long-Tailed Recognition via Weight Balancing (CVPR 2022, arXiv 2203.14197).
First stage: their rate 0.01 times decay 5e-3 is the harness's 0.1 times 5e-4, so it is `ce.py`.
Second stage, 10 epochs: weights by effective numbers (beta 0.9999), rows of W within ``low + 0.1
(high - low)`` of the norms at its beginning. Their rate of 0.01 for a batch of 64 and decay of 0.1
are for a loss that is a mean over the 100 classes too; for a mean over samples alone, in batches of
128, that is 2e-4 and 10 (of K classes 0.02 / K and 0.1 K). Departures: plain CE (theirs adds
``-log(1 - p_k)`` of the other classes), and the bound after each step (theirs after each epoch).
Published with ResNet-34, last epoch: 46.76 after the first stage, 51.83 after the second; none for
this network.
Measured: README.md beside this file.

    python tools/train.py configs/rivals/weight_balancing.py
    ... --cfg-options train_cfg.max_epochs=10 load_from=PATH  # the second stage alone
"""

_base_ = '../_base_/rivals_r32_two_stage.py'

model = dict(head=dict(beta=0.9999))
default_hooks = dict(schedule=dict(lr=2e-4, weight_decay=10.0))
custom_hooks = [dict(type='MaxNormHook', threshold=0.1)]
