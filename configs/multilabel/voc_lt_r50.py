"""BCE3S in two stages, 30 + 10 epochs: VOC-LT, ResNet-50 pretrained on ImageNet.

Network, batch, rate and decay as in Wu et al. (ECCV 2020), whose published training has 8 epochs of
class-aware sampling, steps in the rate, and the Distribution-Balanced loss; branches, views and
stages are ours, all labels being compared in every step. torchvision's weights (98 MB) are
downloaded when training begins.

Expected mAP: not published for BCE3S; 78.94 for the Distribution-Balanced loss.
Not measured yet.

    python tools/train.py configs/multilabel/voc_lt_r50.py
    B="--cfg-options train_dataloader.batch_size"
    tools/dist_train.sh configs/multilabel/voc_lt_r50.py 4 $B=8

Both have a global batch of 32; another one wants ``--auto-scale-lr``.
"""

_base_ = [
    '../_base_/datasets/voc_lt.py',
    '../_base_/models/bce3s_r50.py',
    '../_base_/schedules/sgd_90e_two_stage.py',
]

train_cfg = dict(max_epochs=40, finetune_epochs=10)
train_dataloader = dict(batch_size=32, batch_sampler=dict(type='PairedBatchSampler'))
auto_scale_lr = dict(base_batch_size=32)
model = dict(
    backbone=dict(init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50')),
    head=dict(num_classes=20, joint=dict(resample=1.0)),
)
optim_wrapper = dict(optimizer=dict(lr=0.02, weight_decay=1e-4))
default_hooks = dict(schedule=dict(_delete_=True, type='TwoStageHook', lr=2e-4, warmup_epochs=3))
