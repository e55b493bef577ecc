"""Train the three models of this audit and write them beside this file.

The audit does not need this script: the files that it wrote are here. Run it to see that they can
be made again: ``python train_models.py``. They were written with scikit-learn 1.9.1 and skops
0.16.0 on one thread.
"""

from pathlib import Path
from zipfile import ZIP_DEFLATED

import skops.io
from sklearn.datasets import load_diabetes
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_absolute_error
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

HERE = Path(__file__).parent
MODELS = {
    "ridge": make_pipeline(StandardScaler(), Ridge(alpha=10.0)),
    "boosting": HistGradientBoostingRegressor(
        max_iter=60, max_leaf_nodes=6, learning_rate=0.05, min_samples_leaf=15, random_state=0
    ),
    "mlp": make_pipeline(
        StandardScaler(),
        MLPRegressor(
            hidden_layer_sizes=(16,),
            learning_rate_init=0.01,
            early_stopping=True,
            max_iter=2000,
            random_state=0,
        ),
    ),
}


def main() -> None:
    """Write ridge.skops, boosting.skops and mlp.skops."""
    data = load_diabetes()
    x_train, x_test, y_train, y_test = train_test_split(
        data.data, data.target, test_size=0.3, random_state=0
    )
    for name, model in MODELS.items():
        model.fit(x_train, y_train)
        skops.io.dump(model, HERE / f"{name}.skops", compression=ZIP_DEFLATED)
        error = mean_absolute_error(y_test, model.predict(x_test))
        print(f"{name}: R² {model.score(x_test, y_test):.4f}, mean absolute error {error:.2f}")


if __name__ == "__main__":
    main()
