"""How the numbers are computed: arrays (NumPy, torch or lists) -> numbers, without MMEngine.

>>> from bce3s.evaluation import auroc, evaluate
>>> evaluate([0, 0, 1, 2], [0, 1, 1, 0], class_counts=[500, 50, 5])['all']
50.0
>>> auroc(known=[2.0, 1.0], unknown=[0.0, 1.0])
87.5
"""

from bce3s.evaluation.accuracy import (
    evaluate,
    macro_f1,
    per_class_accuracy,
    per_class_means,
    split_accuracy,
    split_means,
)
from bce3s.evaluation.calibration import (
    Probabilities,
    Sigmoid,
    Softmax,
    expected_calibration_error,
    reliability,
)
from bce3s.evaluation.classifier_angles import angles_by_split, cosines
from bce3s.evaluation.confusion import confusion_matrix, frequent_confusions, split_flow
from bce3s.evaluation.decision_scores import alpha
from bce3s.evaluation.disturbance import disturbed_accuracy
from bce3s.evaluation.features import (
    compactness,
    distinctiveness,
    measure,
    measure_batches,
    nc1,
    nc4,
    score_statistics,
)
from bce3s.evaluation.label_suspects import label_suspects
from bce3s.evaluation.multi_label import (
    average_precision,
    evaluate_multi_label,
    f1_thresholds,
    measure_decisions,
    micro_average_precision,
    rankings,
)
from bce3s.evaluation.neural_collapse import class_means, nc2, nc3
from bce3s.evaluation.open_set import aupr, auroc, evaluate_open_set, fpr_at_tpr, oscr
from bce3s.evaluation.posthoc import LogitAdjustment, TauNormalization, Temperature
from bce3s.evaluation.rejection import measure_rejection, rejected
from bce3s.evaluation.retrieval import (
    evaluate_retrieval,
    nearest_class_mean,
    neighbours,
    retrieval_figures,
)
from bce3s.evaluation.uniform_accuracy import uniform_accuracy

__all__ = [
    'LogitAdjustment',
    'Probabilities',
    'Sigmoid',
    'Softmax',
    'TauNormalization',
    'Temperature',
    'alpha',
    'angles_by_split',
    'aupr',
    'auroc',
    'average_precision',
    'class_means',
    'compactness',
    'confusion_matrix',
    'cosines',
    'distinctiveness',
    'disturbed_accuracy',
    'evaluate',
    'evaluate_multi_label',
    'evaluate_open_set',
    'evaluate_retrieval',
    'expected_calibration_error',
    'f1_thresholds',
    'fpr_at_tpr',
    'frequent_confusions',
    'label_suspects',
    'macro_f1',
    'measure',
    'measure_batches',
    'measure_decisions',
    'measure_rejection',
    'micro_average_precision',
    'nc1',
    'nc2',
    'nc3',
    'nc4',
    'nearest_class_mean',
    'neighbours',
    'oscr',
    'per_class_accuracy',
    'per_class_means',
    'rankings',
    'rejected',
    'reliability',
    'retrieval_figures',
    'score_statistics',
    'split_accuracy',
    'split_flow',
    'split_means',
    'uniform_accuracy',
]
