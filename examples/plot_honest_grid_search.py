"""
====================================
An honest grid search over the noise
====================================

How strong should the training noise be? ``GridSearchCV`` can choose it for you, if all candidates are scored
on the same noise. If each candidate is scored on its training noise, the weakest noise always wins, because
its test is the easiest.
"""

# %%
# The candidates
# --------------
# The pipeline learns to denoise scikit-learn's digits. The search tries six noise levels. Fifteen epochs are
# fewer than the default, and enough to rank the candidates.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from sk_denoise import DenoisingAutoencoder, GaussianNoiser, make_denoising_scorer
from sk_denoise.metrics import psnr

X = load_digits().data[:1200] / 16

pipe = Pipeline(
    [
        ("noise", GaussianNoiser()),
        ("dae", DenoisingAutoencoder(max_epochs=15, random_state=0)),
    ]
)
factors = [0.05, 0.15, 0.25, 0.4, 0.6, 0.8]
grid = {"noise__noise_factor": factors}

# %%
# The trap
# --------
# This scorer looks reasonable. It corrupts the validation fold with the training noise of the candidate, and
# compares the prediction with the clean fold. So every candidate has a test of its own.


def score_on_training_noise(pipeline, X, y=None):
    """Return the PSNR under the training noise of the candidate."""
    sigma = pipeline["noise"].noise_factor
    X_noisy = X + np.random.default_rng(0).normal(0, sigma, X.shape)
    return psnr(X, pipeline.predict(X_noisy), data_range=1)


# %%
# The remedy
# ----------
# Give :func:`~sk_denoise.make_denoising_scorer` the noise that you want to remove. It corrupts the validation
# fold with one fixed draw of this noise, the same for every candidate. Here one search computes three scores:
# with the scorer above, and for noise of 0.25 and 0.6.
scoring = {
    "own": score_on_training_noise,
    "0.25": make_denoising_scorer(GaussianNoiser(0.25, random_state=0), data_range=1),
    "0.6": make_denoising_scorer(GaussianNoiser(0.6, random_state=0), data_range=1),
}
search = GridSearchCV(pipe, grid, scoring=scoring, cv=3, refit="0.25").fit(X)

# %%
# The choice of each scorer
# -------------------------
curves = {name: search.cv_results_[f"mean_test_{name}"] for name in scoring}
chosen = {name: factors[int(np.argmax(curve))] for name, curve in curves.items()}

print("noise_factor   " + "  ".join(f"{factor:5.2f}" for factor in factors))
for name, curve in curves.items():
    label = "training noise" if name == "own" else f"noise {name}"
    print(f"{label:14} " + "  ".join(f"{score:5.2f}" for score in curve) + f"   best: {chosen[name]}")

# %%
# Scored on training noise, the weakest noise wins. On noise of 0.25 or 0.6 this choice is decibels behind the
# best one:
for name in ("0.25", "0.6"):
    loss = curves[name].max() - curves[name][factors.index(chosen["own"])]
    print(f"at noise {name}, the choice of the first scorer costs {loss:.1f} dB")

# %%
# For each fixed noise, the best training noise has about the same level. If you do not know the level, give
# the noiser a range: ``GaussianNoiser((0, 0.6))`` draws a noise level for each sample.
fig, ax = plt.subplots(figsize=(7, 4), layout="constrained")
styles = {
    "own": ("0.5", "training noise"),
    "0.25": ("tab:blue", "noise 0.25"),
    "0.6": ("tab:orange", "noise 0.6"),
}
for name, (color, label) in styles.items():
    ax.plot(factors, curves[name], "o-", color=color, markersize=4, label=label)
    ax.plot(chosen[name], curves[name].max(), "*", color=color, markersize=15)
ax.plot([], [], "*", color="black", markersize=11, label="the choice")
ax.set(
    xlabel="noise_factor of the training noise",
    ylabel="PSNR on validation folds in dB",
    title="A search over noise must be scored on fixed noise",
)
ax.spines[["top", "right"]].set_visible(False)
ax.legend(title="scored on", frameon=False)
plt.show()

# %%
# Denoise with the search
# -----------------------
# With ``refit="0.25"``, the search fits the best pipeline for noise of 0.25 to all data. Then ``predict``
# denoises, as with any fitted pipeline. You can add other parameters to the grid, such as
# ``dae__latent_dim``.
print(search.best_params_)
print("predictions of shape", search.predict(X).shape)
