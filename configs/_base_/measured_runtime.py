"""`default_runtime.py`, and the measures of the features after every epoch.

``measures``  WORK_DIR/measures.json: accuracy, uniform accuracy, neural collapse, compactness,
              distinctiveness, decision scores and bias, of training and test set
"""

_base_ = './default_runtime.py'

default_hooks = dict(measures=dict(type='FeatureMeasuresHook'))
