"""
=====================================================
A noisy table before a classifier, without clean rows
=====================================================

All rows of your table are noisy, and only a few have a label. The rows without a label still show what rows
look like. This example estimates the noise of the table, learns to denoise from all noisy rows, and trains a
classifier on the few denoised rows with a label.
"""

# %%
# A table with noise in every row
# -------------------------------
# The rows are digits of 8 x 8 pixels, so that you can look at them; the methods see a table of 64 columns.
# The noise has a standard deviation of 0.4.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression

from sk_denoise import WienerMixtureDenoiser
from sk_denoise.noise import estimate_row_noise

clean, y = load_digits(return_X_y=True)
clean = clean / 16
X = clean + np.random.default_rng(0).normal(0, 0.4, clean.shape)
n_train = 1297

# %%
# The noise level
# ---------------
# Digits vary in some directions of the 64-dimensional space, and the noise in all of them. The directions
# without digits show its level. Columns that have nothing in common would give an error in place of a number.
sigma = estimate_row_noise(X[:n_train], kind="table")
print(f"noise 0.40, estimated {sigma:.2f}")

# %%
# Denoise
# -------
# The mixture learns groups of rows, from noisy rows alone. PCA keeps the number of components that is best
# for the clean rows, which you would not know.
mixture = WienerMixtureDenoiser(noise=sigma, n_components=20, n_init=4, random_state=0).fit(X[:n_train])


def project(n_components):
    """Return all rows after a projection on principal components of the noisy rows."""
    pca = PCA(n_components).fit(X[:n_train])
    return pca.inverse_transform(pca.transform(X))


best = min(range(5, 40, 5), key=lambda n: np.mean((project(n) - clean) ** 2))
tables = {"noisy": X, f"PCA, {best} components": project(best), "mixture": mixture.predict(X)}

# %%
# Classify with few labels
# ------------------------
# The classifier sees some labels, in ten draws for each number. The test rows are noisy too, and denoised in
# the same way.
counts = [20, 50, 100, 200, 500, 1000]
rng = np.random.default_rng(0)
draws = {count: [rng.choice(n_train, count, replace=False) for _ in range(10)] for count in counts}
accuracy = {}
for name, rows in tables.items():
    accuracy[name] = [
        np.mean(
            [
                LogisticRegression(C=0.3, max_iter=500)
                .fit(rows[draw], y[draw])
                .score(rows[n_train:], y[n_train:])
                for draw in draws[count]
            ]
        )
        for count in counts
    ]
    print(f"{name:20}", "  ".join(f"{share:.2f}" for share in accuracy[name]))

# %%
fig = plt.figure(figsize=(9, 4.2), layout="constrained")
images, plot = fig.subfigures(1, 2, width_ratios=[1, 1.15])
shown = {"clean": clean, **tables}
axes = images.subplots(len(shown), 5)
for row, (name, rows) in zip(axes, shown.items(), strict=True):
    for number, ax in enumerate(row):
        ax.imshow(rows[n_train + number].reshape(8, 8), cmap="gray_r", vmin=-0.3, vmax=1.1)
        ax.set(xticks=[], yticks=[])
    row[0].set_ylabel(name.replace(", ", "\n"), rotation=0, ha="right", va="center")
ax = plot.subplots()
for (name, shares), color in zip(accuracy.items(), ("0.5", "tab:orange", "tab:blue"), strict=True):
    ax.plot(counts, shares, "o-", color=color, markersize=4, label=name)
ax.set_xscale("log")
ax.set_xticks(counts, counts)
ax.minorticks_off()
ax.set(xlabel="rows with a label", ylabel="accuracy on noisy test rows")
ax.spines[["top", "right"]].set_visible(False)
ax.legend(frameon=False)
plt.show()

# %%
# A hundred labels with denoised rows are worth a thousand without. Labels are costly, and noisy rows without
# a label are often free. PCA helps with few labels only: it removes what tells the digits apart.
