"""Trains a small neural network to read handwritten digits; an ordinary script that knows next to nothing of fetchml.

It runs alike as `python train.py --lr 0.01` and as `fetchml queue train.py --lr 0.01`.
"""

import argparse
import os
from pathlib import Path

import joblib
import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import ConfusionMatrixDisplay, accuracy_score, log_loss
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

try:
    from fetchml import log_metric
except ImportError:  # plain Python, without fetchml installed

    def log_metric(name, value, step=None):
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lr", type=float, default=0.003, help="learning rate")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    results = Path(os.environ.get("FETCHML_RESULTS", "results"))
    results.mkdir(exist_ok=True)

    table = np.loadtxt("digits.csv", delimiter=",", skiprows=1)
    pixels, digits = table[:, :64] / 16, table[:, 64].astype(int)
    x_train, x_test, y_train, y_test = train_test_split(
        pixels, digits, test_size=0.25, random_state=arguments.seed, stratify=digits
    )
    model = MLPClassifier((32,), learning_rate_init=arguments.lr, random_state=arguments.seed)
    print(f"{len(x_train)} digits to learn from, {len(x_test)} to be tested on, learning rate {arguments.lr}")

    for epoch in range(1, arguments.epochs + 1):
        model.partial_fit(x_train, y_train, classes=range(10))
        loss = log_loss(y_test, model.predict_proba(x_test))
        accuracy = accuracy_score(y_test, model.predict(x_test))
        print(f"epoch {epoch:2d}  loss {loss:.4f}  accuracy {accuracy:.4f}")
        log_metric("loss", loss, step=epoch)
        log_metric("accuracy", accuracy, step=epoch)

    joblib.dump(model, results / "model.joblib")
    figure = Figure(figsize=(6, 6))
    axes = figure.subplots()
    ConfusionMatrixDisplay.from_predictions(y_test, model.predict(x_test), ax=axes, colorbar=False)
    axes.set_title(f"learning rate {arguments.lr}: {accuracy:.1%} right")
    figure.savefig(results / "confusion.png", dpi=120, bbox_inches="tight")
    print(f"wrote {results / 'model.joblib'} and {results / 'confusion.png'}")


if __name__ == "__main__":
    main()
