"""Child registries of mmpretrain's, scope ``bce3s``.

Each names the modules that hold its components, so they are imported the first time a config asks
for one: a config needs ``default_scope = 'bce3s'`` and no ``custom_imports``. What is not found
here is looked up in mmpretrain, then in MMEngine. A component that shared its name with one of
mmpretrain's would shadow it inside mmpretrain's own modules, so ours have names of their own.
"""

from mmengine.registry import FUNCTIONS, Registry
from mmpretrain import registry as _parent

# MMEngine looks collate functions up at its root, so those of ours are registered there.
__all__ = [
    'BATCH_AUGMENTS',
    'DATASETS',
    'DATA_SAMPLERS',
    'FUNCTIONS',
    'HOOKS',
    'METRICS',
    'MODELS',
    'MODEL_WRAPPERS',
    'OPTIMIZERS',
    'OPTIM_WRAPPERS',
    'OPTIM_WRAPPER_CONSTRUCTORS',
    'TRANSFORMS',
    'VISBACKENDS',
    'VISUALIZERS',
    'WEIGHT_INITIALIZERS',
]


def _child(name: str, parent: Registry, *locations: str) -> Registry:
    return Registry(name, parent=parent, scope='bce3s', locations=list(locations))


DATASETS = _child(
    'dataset',
    _parent.DATASETS,
    'mmpretrain.datasets',
    'bce3s.datasets.image_folder',
    'bce3s.datasets.image_list',
    'bce3s.own_data.images',
    'bce3s.own_data.later',
    'bce3s.registered',
)
DATA_SAMPLERS = _child('data sampler', _parent.DATA_SAMPLERS, 'bce3s.registered')
TRANSFORMS = _child('transform', _parent.TRANSFORMS, 'bce3s.registered')
BATCH_AUGMENTS = _child('batch augment', _parent.BATCH_AUGMENTS, 'bce3s.registered')
MODELS = _child(
    'model',
    _parent.MODELS,
    'mmpretrain.models',
    'bce3s.registered',
    'bce3s.models.backbones.cifar_resnet',
    'bce3s.models.backbones.mae_vit',
    'bce3s.models.backbones.timm_backbone',
    'bce3s.models.centred',
    'bce3s.models.classifier',
    'bce3s.models.data_parallel',
    'bce3s.models.preprocessor',
)
HOOKS = _child('hook', _parent.HOOKS, 'bce3s.engine')
METRICS = _child('metric', _parent.METRICS, 'bce3s.engine.metric')
OPTIMIZERS = _child('optimizer', _parent.OPTIMIZERS, 'mmpretrain.engine', 'bce3s.engine.lazy_sgd')
# Nothing of ours in these; without them MMEngine would warn that the scope is missing.
OPTIM_WRAPPERS = _child('optim_wrapper', _parent.OPTIM_WRAPPERS, 'mmpretrain.engine')
OPTIM_WRAPPER_CONSTRUCTORS = _child(
    'optimizer wrapper constructor',
    _parent.OPTIM_WRAPPER_CONSTRUCTORS,
    'mmpretrain.engine',
    'bce3s.engine.layer_rates',
)
MODEL_WRAPPERS = _child('model_wrapper', _parent.MODEL_WRAPPERS, 'mmpretrain.models')
WEIGHT_INITIALIZERS = _child('weight initializer', _parent.WEIGHT_INITIALIZERS, 'mmpretrain.models')
VISUALIZERS = _child('visualizer', _parent.VISUALIZERS, 'mmpretrain.visualization')
VISBACKENDS = _child('vis_backend', _parent.VISBACKENDS, 'mmpretrain.visualization')
