"""
===========================================
Choosing the latent size, without the truth
===========================================

A bottleneck that is too narrow loses the data, and one that is too wide keeps the noise. How do you choose
its size if you have noisy rows alone? The distance to noisy rows cannot tell: it is smallest for a network
that does nothing. Stein's unbiased risk estimate (SURE) can.
"""

# %%
# Noisy digits
# ------------
# The clean digits serve to draw the truth beside the estimate.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV, ShuffleSplit

from sk_denoise import DenoisingAutoencoder, make_self_supervised_scorer
from sk_denoise.metrics import psnr

SIGMA = 0.5
clean = load_digits().data / 16
X = clean + np.random.default_rng(0).normal(0, SIGMA, clean.shape)

# %%
# The search
# ----------
# ``objective="recorrupt"`` learns from noisy rows of known noise. The scorer gets the same noise. It returns
# the expected PSNR of each candidate on rows that its fit has not seen.
sizes = [2, 4, 8, 16, 32, 64]
scorer = make_self_supervised_scorer("sure", noise=SIGMA, data_range=1)
# One split of the rows, the same for the search and for the truth.
split = ShuffleSplit(1, test_size=0.3, random_state=0)
dae = DenoisingAutoencoder(objective="recorrupt", noise=SIGMA, max_epochs=20, random_state=0)
search = GridSearchCV(dae, {"latent_dim": sizes}, scoring=scorer, cv=split).fit(X)
print("the search picks latent_dim =", search.best_params_["latent_dim"])

# %%
# PCA, a linear bottleneck, goes the same way. It has no ``predict``, and the scorer takes its way back,
# ``inverse_transform``. A second score, the distance to the noisy rows, is the one that misleads.


def distance(pca, X, y=None):
    """Return minus the mean squared distance of the output to noisy rows."""
    return -np.mean((pca.inverse_transform(pca.transform(X)) - X) ** 2)


scores = {"sure": scorer, "distance": distance}
pca_search = GridSearchCV(PCA(), {"n_components": sizes}, scoring=scores, cv=split, refit="sure").fit(X)
print("and for PCA n_components =", pca_search.best_params_["n_components"])

# %%
# The truth
# ---------
# The same fits, measured against the clean rows that a user would not have:
((train, test),) = split.split(X)
true_psnr, true_pca = [], []
for size in sizes:
    fitted = dae.set_params(latent_dim=size).fit(X[train])
    true_psnr.append(psnr(clean[test], fitted.predict(X[test]), data_range=1))
for size in sizes:
    pca = PCA(size).fit(X[train])
    true_pca.append(psnr(clean[test], pca.inverse_transform(pca.transform(X[test])), data_range=1))

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
expected = search.cv_results_["mean_test_score"]
curves = [
    ("autoencoder", "tab:blue", expected, true_psnr),
    ("PCA", "tab:orange", pca_search.cv_results_["mean_test_sure"], true_pca),
]
for name, color, estimate, truth in curves:
    left.plot(sizes, truth, "-", color=color, linewidth=5, alpha=0.3, label=f"{name}, truth")
    left.plot(sizes, estimate, "o-", color=color, markersize=4, label=f"{name}, expected")
    left.plot(sizes[int(np.argmax(estimate))], max(estimate), "*", color=color, markersize=15)
left.set(xlabel="latent size", ylabel="PSNR on held-out rows in dB", title="Expected and true quality")
left.legend(frameon=False, fontsize="small")
distances = -pca_search.cv_results_["mean_test_distance"]
right.plot(sizes, distances, "o-", color="tab:orange", markersize=4)
right.plot(sizes[int(np.argmin(distances))], distances.min(), "*", color="tab:orange", markersize=15)
right.axhline(SIGMA**2, color="black", linewidth=1, linestyle=":")
right.annotate("variance of the noise", (sizes[-1], SIGMA**2), ha="right", va="bottom", fontsize="small")
right.set(xlabel="latent size", ylabel="distance of PCA to noisy rows", title="The score that misleads")
for ax in (left, right):
    ax.set_xscale("log", base=2)
    ax.set_xticks(sizes, sizes)
    ax.spines[["top", "right"]].set_visible(False)
plt.show()

# %%
# The expected PSNR follows the truth, and its best candidate (star) is the best one, or hardly worse. The
# distance to the noisy rows falls on and on, to zero: PCA with all 64 components does nothing.
loss = max(true_psnr) - true_psnr[int(np.argmax(expected))]
print(f"the choice without truth costs {loss:.2f} dB")
