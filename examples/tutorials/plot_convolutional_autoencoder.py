"""
============================================================
A convolutional autoencoder: 16 numbers against heavy noise
============================================================

Noise with a mean of 0.5 and a standard deviation of 0.5, clipped to [0, 1], leaves little of a digit to
the eye. Two strided convolutions with 32 and 64 channels and a code of 16 numbers know enough about
digits to bring them back, also under noise that is stronger than any they were trained with.
"""

# %%
# The recipe
# ----------
# Convolutions want images: stacks of shape ``(n_samples, height, width)``. A
# :class:`~sk_denoise.ConvNetwork` takes them as they are. Its code is linear by default; the sigmoid at the
# end suits digits, which are mostly black and white.
import matplotlib.pyplot as plt

from sk_denoise import ConvNetwork, DenoisingAutoencoder, GaussianNoiser
from sk_denoise.datasets import load_handwritten
from sk_denoise.plots import DenoisingDisplay, NoiseRobustnessDisplay

data = load_handwritten()
epochs = 10 if data.name == "MNIST" else 60  # there are fewer digits
print(f"{data.name}: {len(data.train)} images of {data.train.shape[1:]}, {len(data.test)} to test on")

dae = DenoisingAutoencoder(
    ConvNetwork((32, 64), output_activation="sigmoid"),
    latent_dim=16,
    noise=GaussianNoiser(0.5, mean=0.5, clip=(0, 1)),
    batch_size=32,
    max_epochs=epochs,
    random_state=0,
).fit(data.train)

# %%
# Original, noisy, denoised
# -------------------------
# The last row is what is still wrong: red where the answer is too bright, blue where it is too dark.


def noiser(sigma):
    """Return noise N(0.5, sigma), clipped to [0, 1], in a draw that is always the same."""
    return GaussianNoiser(sigma, mean=0.5, clip=(0, 1), random_state=1)


display = DenoisingDisplay.from_estimator(
    dae, data.test, noiser=noiser(0.5), n_samples=9, labels=data.test_labels, limits=(0, 1)
)
plt.show()

# %%
# Stronger noise than it was trained with
# ---------------------------------------
# The same network, fitted once, meets noise from 0.1 to 1.25. Beside it one that was trained on a range of
# strengths: a pair for ``noise_factor`` draws one for each sample. Both are shown the same noise by
# :class:`~sk_denoise.plots.NoiseRobustnessDisplay`; the bands are standard errors.
wide = DenoisingAutoencoder(
    **{**dae.get_params(deep=False), "noise": GaussianNoiser((0.25, 1.0), mean=0.5, clip=(0, 1))}
).fit(data.train)

sigmas = [0.1, 0.25, 0.5, 0.75, 1.0, 1.25]
networks = {"trained at 0.5": dae, "trained at 0.25 to 1.0": wide}
robustness = NoiseRobustnessDisplay.from_estimators(
    networks, data.test, sigmas=sigmas, noiser=noiser(0.5), data_range=1, band="standard_error"
)
robustness.ax_.set_title("One network, noise that it was not trained with")
plt.show()

# %%
scores = {"noisy": robustness.noisy_scores["trained at 0.5"], **robustness.scores}
scores = {name: by_sample.mean(axis=1) for name, by_sample in scores.items()}
print(f"{'sigma':24}" + "".join(f"{sigma:7.2f}" for sigma in sigmas))
for name, row in scores.items():
    print(f"{name:24}" + "".join(f"{score:7.2f}" for score in row))

# %%
# What it makes of three of them:
for sigma in (0.5, 0.75, 1.0):
    display = DenoisingDisplay.from_estimator(
        dae, data.test, noiser=noiser(sigma), n_samples=9, limits=(0, 1), error=False
    )
    at = sigmas.index(sigma)
    display.figure_.suptitle(
        f"Trained at sigma 0.5, tested at {sigma}: {scores['noisy'][at]:.1f} dB before, "
        f"{scores['trained at 0.5'][at]:.1f} dB after"
    )
plt.show()

# %%
# What limits it
# --------------
# Sixteen numbers tell which digit it is and how it leans, and no more: that is what makes the network
# robust, and its images smooth. A wider code keeps more where the noise leaves more to keep: what it is
# worth on MNIST, ``python benchmarks/tutorials.py best`` measures. On data of your own, a search that is
# scored on the noise you expect can tell, see :ref:`sphx_glr_gallery_plot_honest_grid_search.py`.
