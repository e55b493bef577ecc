"""Train the models of this audit on Adult's training file and write them beside this file.

The audits do not need this script: the files that it wrote are here. Run it to see that they can
be made again: ``python train_models.py PATH/TO/tabular``. They were written with scikit-learn
1.9.1, skops 0.16.0 and xgboost 3.2.0 on one thread; without xgboost, the other two are made.
"""

import sys
from pathlib import Path
from zipfile import ZIP_DEFLATED

import pandas as pd
import skops.io
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

HERE = Path(__file__).parent
DATA = HERE.parents[2] / "shared" / "data" / "tabular"
NAMES = (
    "age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation",
    "relationship", "race", "sex", "capital-gain", "capital-loss", "hours-per-week",
    "native-country", "income",
)  # fmt: skip
# A sampling weight describes the census, and `education` is `education-num` in words.
DROPPED = ["fnlwgt", "education"]
CATEGORICAL = [
    "workclass", "marital-status", "occupation", "relationship", "race", "sex", "native-country",
]  # fmt: skip
NUMBERS = ["age", "education-num", "capital-gain", "capital-loss", "hours-per-week"]


def read(path: Path) -> tuple[pd.DataFrame, pd.Series]:
    """Return the inputs of one of Adult's files, NaN where it has a question mark, and labels."""
    table = pd.read_csv(path, names=NAMES, skipinitialspace=True, na_values="?")
    return table.drop(columns=[*DROPPED, "income"]), table["income"].str.rstrip(".")


def coded(x: pd.DataFrame, categories: dict[str, list[str]]) -> pd.DataFrame:
    """Return the inputs as the audit counts them: a category is its place among the sorted ones."""
    codes = {
        name: pd.Categorical(x[name], words).codes.astype(float)
        for name, words in categories.items()
    }
    table = x.assign(**codes).astype(float)
    return table.mask(table < 0)  # how pandas codes what is missing


def logistic(x: pd.DataFrame, y: pd.Series) -> Pipeline:
    """Fit a linear model to one-hot categories and scaled numbers; a missing one is a category."""
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), CATEGORICAL), (StandardScaler(), NUMBERS)
    )
    return make_pipeline(columns, LogisticRegression(C=1.0, max_iter=1000)).fit(x, y)


def boosted(x: pd.DataFrame, y: pd.Series) -> HistGradientBoostingClassifier:
    """Fit gradient-boosted trees that split codes as the categories they are."""
    trees = HistGradientBoostingClassifier(
        max_iter=80, max_leaf_nodes=15, categorical_features=CATEGORICAL, random_state=0
    )
    return trees.fit(x, y)


def main() -> None:
    """Write logistic.skops, boosted.skops and, where xgboost is installed, xgboost.ubj."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else DATA
    x, y = read(folder / "adult-train.csv.xz")
    x_test, y_test = read(folder / "adult-test.csv.xz")
    categories = {name: sorted(x[name].dropna().unique()) for name in CATEGORICAL}
    codes, codes_test = coded(x, categories), coded(x_test, categories)

    linear, trees = logistic(x, y), boosted(codes, y)
    for name, model in (("logistic", linear), ("boosted", trees)):
        skops.io.dump(model, HERE / f"{name}.skops", compression=ZIP_DEFLATED)
    print(f"logistic: {linear.score(x_test, y_test):.4f} of the test records right")
    print(f"boosted: {trees.score(codes_test, y_test):.4f}")
    try:
        from xgboost import XGBClassifier
    except ImportError:
        print("xgboost is not installed: its model is left as it is")
        return
    kinds = ["c" if name in CATEGORICAL else "q" for name in codes]
    other = XGBClassifier(
        n_estimators=80, max_depth=4, learning_rate=0.2, feature_types=kinds,
        enable_categorical=True, tree_method="hist", n_jobs=1, random_state=0,
    )  # fmt: skip
    other.fit(codes, y == ">50K")
    other.save_model(HERE / "xgboost.ubj")
    print(f"xgboost: {other.score(codes_test, y_test == '>50K'):.4f}")


if __name__ == "__main__":
    main()
