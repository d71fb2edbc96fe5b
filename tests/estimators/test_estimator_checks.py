"""scikit-learn's own checks of estimators, all of them."""

import importlib.util

import pytest
from sklearn.utils.estimator_checks import check_estimator

from ntkjax.sklearn import NTKSVC, NNGPRegressor, NTKClassifier, NTKFeatures, NTKRegressor

#: This one needs an environment variable before SciPy is imported, and is of arrays on devices.
NEVER_RUN = {"check_array_api_input"}
#: These skip where pandas, of the extra `test`, is absent.
OF_PANDAS = {
    "check_classifier_data_not_an_array",
    "check_dataframe_column_names_consistency",
    "check_regressor_data_not_an_array",
    "check_sample_weights_pandas_series",
}


@pytest.mark.parametrize(
    "estimator",
    [NTKRegressor, NTKClassifier, NTKSVC, NNGPRegressor, NTKFeatures],
    ids=lambda kind: kind.__name__,
)
def test_check_estimator_passes(estimator):
    results = check_estimator(estimator(depth=1), on_skip=None)
    statuses = {result["status"] for result in results}
    assert statuses <= {"passed", "skipped"}
    skipped = {result["check_name"] for result in results if result["status"] == "skipped"}
    has_pandas = importlib.util.find_spec("pandas") is not None
    assert skipped <= NEVER_RUN | (set() if has_pandas else OF_PANDAS)
    assert len(results) > 40
