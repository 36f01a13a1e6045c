"""
==============================
Denoising before a classifier
==============================

When does a denoiser help a classifier? It helps if the input is much noisier than the training data of the
classifier, and you cannot train the classifier again. It helps little or not at all

- under weak noise,
- if you can train the classifier on noisy data,
- on clean tables.

This example shows all four cases.
"""

# %%
# A frozen classifier
# -------------------
# A support vector machine is trained on scikit-learn's digits. Later its input is noisy.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score, cross_validate, train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from sk_denoise import DenoisingAutoencoder, GaussianNoiser, make_robustness_scorer

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X / 16, y, test_size=500, stratify=y, random_state=0)

svm = SVC().fit(X_train, y_train)
print(f"accuracy on clean digits: {svm.score(X_test, y_test):.3f}")

# %%
# :func:`~sk_denoise.make_robustness_scorer` measures the accuracy of a classifier or pipeline on noisy input.
# It corrupts the test digits several times and returns the mean accuracy.
levels = [0.15, 0.25, 0.35, 0.5, 0.65]
scorers = {
    level: make_robustness_scorer(GaussianNoiser(level, random_state=0), n_copies=3) for level in levels
}


def accuracies(classifier):
    """Return the accuracy on clean test digits, and on noisy ones at each level."""
    clean = classifier.score(X_test, y_test)
    return [clean, *(scorer(classifier, X_test, y_test) for scorer in scorers.values())]


# %%
# A denoiser before the classifier
# --------------------------------
# One denoiser covers all noise levels up to 0.65: with a pair as ``noise_factor``, each digit gets a random
# noise level from this range. Training needs no labels, and the classifier stays unchanged. ``Pipeline``
# accepts fitted steps, so you do not fit anything again.
dae = DenoisingAutoencoder(noise=GaussianNoiser((0, 0.65)), max_epochs=60, random_state=0).fit(X_train)
restored = Pipeline([("dae", dae), ("svm", svm)])

# %%
# A classifier trained on noisy digits
# ------------------------------------
# If you can train the classifier again, you can train it on noisy digits. Here it gets six copies of each
# digit. Each copy has its own noise level, as above.
rng = np.random.default_rng(0)
copies = [
    X_train + rng.uniform(0, 0.65, (len(X_train), 1)) * rng.normal(size=X_train.shape) for _ in range(6)
]
trained_on_noise = SVC().fit(np.concatenate(copies), np.tile(y_train, len(copies)))

curves = {
    "frozen": accuracies(svm),
    "frozen, behind the denoiser": accuracies(restored),
    "trained on noisy digits": accuracies(trained_on_noise),
}
print(f"{'noise':28}" + "".join(f"{level:7}" for level in [0.0, *levels]))
for name, curve in curves.items():
    print(f"{name:28}" + "".join(f"{accuracy:7.3f}" for accuracy in curve))

# %%
# Under strong noise the frozen classifier fails, and the denoiser restores much of its accuracy. Under weak
# noise there is little to gain. A classifier that is trained on noisy digits does about as well without a
# denoiser.
#
# So use a denoiser for classifiers that you cannot change: they are bought, certified, shared between data
# sources, or too expensive to train again.
fig, ax = plt.subplots(figsize=(7, 4), layout="constrained")
for (name, curve), style in zip(curves.items(), ["o-", "o-", "o--"], strict=True):
    ax.plot([0.0, *levels], curve, style, markersize=4, label=name)
ax.set(xlabel="noise of the test digits", ylabel="accuracy", ylim=(0, 1.03))
ax.set_title("A support vector machine on noisy digits")
ax.spines[["top", "right"]].set_visible(False)
ax.legend(loc="lower left", frameon=False)
plt.show()

# %%
# One pipeline, trained as a whole
# --------------------------------
# You can put noiser, denoiser and classifier into one pipeline and call ``fit(X, y)`` with labels y. The
# autoencoder is trained with fresh noise. The classifier is trained on denoised digits, as it gets them in
# ``predict``. A linear classifier gains more than a support vector machine, because the denoiser adds the
# nonlinear part.
#
# Cross-validation compares three pipelines, on clean folds and under noise of 0.5. In the second one the
# classifier alone is trained on noisy digits.
classifier = LogisticRegression(max_iter=1000)
noiser = GaussianNoiser(0.5, random_state=0)
dae = DenoisingAutoencoder(max_epochs=30, random_state=0)
steps = {
    "classifier": [("clf", classifier)],
    "noiser, classifier": [("noise", noiser), ("clf", classifier)],
    "noiser, denoiser, classifier": [("noise", noiser), ("dae", dae), ("clf", classifier)],
}
scoring = {"clean": "accuracy", "noise 0.5": scorers[0.5]}
linear = {}
print(f"{'logistic regression':30} clean  noise 0.5")
for name, pipeline in steps.items():
    folds = cross_validate(Pipeline(pipeline), X_train, y_train, cv=3, scoring=scoring)
    linear[name] = {condition: folds[f"test_{condition}"].mean() for condition in scoring}
    print(f"{name:30} {linear[name]['clean']:5.3f}  {linear[name]['noise 0.5']:9.3f}")

# %%
# Not for clean tables
# --------------------
# On clean data, denoising changes little at best. Published comparisons on tables have mixed results. Here,
# on measurements of breast tumours, the differences between the pipelines are no larger than those between
# folds.
X_table, y_table = load_breast_cancer(return_X_y=True)
candidates = {
    "raw": [],
    "denoised": [DenoisingAutoencoder(max_epochs=25, random_state=0)],
    "latent": [DenoisingAutoencoder(latent_dim=8, output="latent", max_epochs=25, random_state=0)],
}
table = {}
for name, middle in candidates.items():
    pipeline = make_pipeline(StandardScaler(), *middle, LogisticRegression(max_iter=1000))
    table[name] = cross_val_score(pipeline, X_table, y_table, cv=5)
    print(f"{name:9} {table[name].mean():.3f} +- {table[name].std():.3f}")

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained", width_ratios=[3, 2])
rows = np.arange(len(linear))
for shift, condition, color in [(-0.2, "clean", "0.75"), (0.2, "noise 0.5", "tab:blue")]:
    scores = [accuracy[condition] for accuracy in linear.values()]
    bars = left.barh(rows + shift, scores, 0.38, color=color, label=condition)
    left.bar_label(bars, fmt="%.2f", padding=3)
left.set_yticks(rows, linear)
left.invert_yaxis()
left.set(
    title="Digits, logistic regression", xlabel="accuracy", xlim=(0, 1.12), xticks=np.arange(0, 1.1, 0.2)
)
left.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2)

means, spreads = ([measure(scores) for scores in table.values()] for measure in (np.mean, np.std))
right.errorbar(list(table), means, spreads, fmt="o", capsize=4)
right.set(title="Breast tumours, clean", ylabel="accuracy over 5 folds", ylim=(0.9, 1.0))
right.margins(x=0.25)
for ax in (left, right):
    ax.spines[["top", "right"]].set_visible(False)
plt.show()
