"""
==============================
Denoising before a classifier
==============================

When does a denoiser help a classifier? It does when the input is much noisier than what the classifier
was trained on, and the classifier cannot be trained again. It helps little or not at all under weak noise,
where the classifier can be trained on noisy data itself, and on clean tables. This example shows all four.
"""

# %%
# A frozen classifier
# -------------------
# A support vector machine learns scikit-learn's digits as they are. Then its input becomes noisy.
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
# :func:`~sk_denoise.make_robustness_scorer` asks how well a classifier or pipeline predicts from noisy
# input: it corrupts the test digits several times over, and takes the mean accuracy.
levels = [0.15, 0.25, 0.35, 0.5, 0.65]
scorers = {
    level: make_robustness_scorer(GaussianNoiser(level, random_state=0), n_copies=3) for level in levels
}


def accuracies(classifier):
    """Return the accuracy on clean test digits, and on noisy ones at each level."""
    clean = classifier.score(X_test, y_test)
    return [clean, *(scorer(classifier, X_test, y_test) for scorer in scorers.values())]


# %%
# A denoiser in front
# -------------------
# One denoiser serves noise of any strength up to 0.65: a pair as ``noise_factor`` draws a strength for each
# digit. It sees no labels, and the classifier stays as it is. ``Pipeline`` takes fitted steps, so nothing
# has to be fitted again.
dae = DenoisingAutoencoder(noise=GaussianNoiser((0, 0.65)), max_epochs=60, random_state=0).fit(X_train)
restored = Pipeline([("dae", dae), ("svm", svm)])

# %%
# Training on noise instead
# -------------------------
# Who can train the classifier again has another way: to show it noisy digits. Here are four copies of each,
# under noise of all strengths; the pixels of a copy share one strength, as above.
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
# Under strong noise the frozen classifier fails, and the denoiser brings much of its accuracy back. Under
# weak noise there is little to win. And a classifier that may learn from noisy digits needs no denoiser: it
# does about as well without. So a denoiser is for classifiers that are given: bought, certified, shared
# between sources of data, or too expensive to train again.
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
# Noiser, denoiser and classifier also make one pipeline. In ``fit(X, y)`` with labels y, the autoencoder
# learns from fresh noise, and the classifier from denoised noisy digits, which is what it will meet. A linear
# classifier has more to win than a support vector machine: what it cannot express, the denoiser can.
#
# The comparison is by cross-validation, on clean folds and on noise of 0.5. In the second line the classifier
# alone is trained on noise.
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
# Where the data are what they are, denoising them changes little at best. Published comparisons on tables go
# both ways. Here, on measurements of breast tumours, the differences are no larger than what the folds
# differ by.
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
