"""
====================================
An honest grid search over the noise
====================================

How strong should the noise of the training be? ``GridSearchCV`` can tell, if it is asked the right
question. Scored on the noise that it was trained with, the candidate with the weakest noise wins, whatever
the task: its exam is the easiest. Scored on one fixed noise, the candidate that suits this noise wins.
"""

# %%
# The candidates
# --------------
# A pipeline that learns to denoise scikit-learn's digits, with six strengths of noise. (Fifteen epochs are
# fewer than the default, and enough to tell the candidates apart.)
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
# This scorer looks reasonable. It corrupts the validation fold in the way that the candidate was trained
# for, and compares the prediction with the clean fold. So each candidate is examined on its own noise.


def on_own_noise(pipeline, X, y=None):
    """Return the PSNR under the noise that the candidate itself was trained with."""
    sigma = pipeline["noise"].noise_factor
    X_noisy = X + np.random.default_rng(0).normal(0, sigma, X.shape)
    return psnr(X, pipeline.predict(X_noisy), data_range=1)


# %%
# The way out
# -----------
# :func:`~sk_denoise.make_denoising_scorer` takes the noise that the denoiser is *for*, and
# corrupts the validation fold with one fixed draw of it, the same for every candidate. We ask for two such
# noises, of strength 0.25 and 0.6, and take all three scores in one search.
scoring = {
    "own": on_own_noise,
    "0.25": make_denoising_scorer(GaussianNoiser(0.25, random_state=0), data_range=1),
    "0.6": make_denoising_scorer(GaussianNoiser(0.6, random_state=0), data_range=1),
}
search = GridSearchCV(pipe, grid, scoring=scoring, cv=3, refit="0.25").fit(X)

# %%
# What each scorer chooses
# ------------------------
curves = {name: search.cv_results_[f"mean_test_{name}"] for name in scoring}
chosen = {name: factors[int(np.argmax(curve))] for name, curve in curves.items()}

print("noise_factor   " + "  ".join(f"{factor:5.2f}" for factor in factors))
for name, curve in curves.items():
    label = "own noise" if name == "own" else f"noise {name}"
    print(f"{label:13}  " + "  ".join(f"{score:5.2f}" for score in curve) + f"   best: {chosen[name]}")

# %%
# On its own noise the weakest wins. As a denoiser for noise of 0.25 or 0.6 it is decibels behind the best:
for name in ("0.25", "0.6"):
    loss = curves[name].max() - curves[name][factors.index(chosen["own"])]
    print(f"at noise {name}, the choice of the first scorer costs {loss:.1f} dB")

# %%
# Each fixed noise is served best by training noise of about its own strength. Where the strength is not
# known, give the noiser a range: ``GaussianNoiser((0, 0.6))`` draws a strength for each sample.
fig, ax = plt.subplots(figsize=(7, 4), layout="constrained")
styles = {"own": ("0.5", "own noise"), "0.25": ("tab:blue", "noise 0.25"), "0.6": ("tab:orange", "noise 0.6")}
for name, (color, label) in styles.items():
    ax.plot(factors, curves[name], "o-", color=color, markersize=4, label=label)
    ax.plot(chosen[name], curves[name].max(), "*", color=color, markersize=15)
ax.plot([], [], "*", color="black", markersize=11, label="the choice")
ax.set(
    xlabel="noise_factor of the training",
    ylabel="PSNR on validation folds in dB",
    title="A search over noise must be scored on fixed noise",
)
ax.spines[["top", "right"]].set_visible(False)
ax.legend(title="scored on", frameon=False)
plt.show()

# %%
# The search is a denoiser
# ------------------------
# With ``refit="0.25"`` the search was fitted again to all data, with the choice for noise of 0.25, and
# denoises like any fitted pipeline. Other parameters, such as ``dae__latent_dim``, go into the same grid.
print(search.best_params_)
print("predictions of shape", search.predict(X).shape)
