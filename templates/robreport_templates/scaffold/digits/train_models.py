"""Train the three models of this audit and write them beside this file.

The audit does not need this script: the files it wrote are here. Run it to see that they can be
made again: ``python train_models.py``.
"""

from pathlib import Path

import skops.io
from nets import train
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.tree import DecisionTreeClassifier

HERE = Path(__file__).parent


def main() -> None:
    """Write cnn.safetensors, tree.skops and logistic.skops."""
    digits = load_digits()
    x_train, x_test, y_train, y_test = train_test_split(
        digits.data / 16.0, digits.target, test_size=0.3, random_state=0, stratify=digits.target
    )
    module = train(x_train.reshape(-1, 1, 8, 8), y_train, seed=0)
    save_file(module.state_dict(), HERE / "cnn.safetensors")
    tree = DecisionTreeClassifier(max_depth=8, random_state=0).fit(x_train, y_train)
    skops.io.dump(tree, HERE / "tree.skops")
    logistic = LogisticRegression(max_iter=500, random_state=0).fit(x_train, y_train)
    skops.io.dump(logistic, HERE / "logistic.skops")
    for name, model in (("tree", tree), ("logistic", logistic)):
        print(f"{name}: {model.score(x_test, y_test):.4f} of the test digits right")


if __name__ == "__main__":
    main()
