"""BCE3S with ViT-B/16 (85.8 M parameters, 768 features): not published, offered here.

The features are the mean of the patch tokens, normalised (as LiVT, arXiv 2212.02015, has it), so
the head sees vectors of about the norm sqrt(768). For images of another size set
``model.backbone.img_size`` too. The rest as in bce3s_r50.py.
"""

_base_ = './bce3s_r50.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='VisionTransformer',
        arch='base',
        img_size=224,
        patch_size=16,
        drop_path_rate=0.1,
        out_type='avg_featmap',
        final_norm=False,
    ),
    neck=None,
    head=dict(in_channels=768),
)
