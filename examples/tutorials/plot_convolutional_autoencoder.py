"""
============================================================
A convolutional autoencoder: 16 numbers against heavy noise
============================================================

This example restores digits from noise so strong that you can hardly see them: its mean and its standard
deviation are 0.5, and noisy pixels are clipped to [0, 1]. The network has two strided convolutions with 32
and 64 channels, and a latent code of 16 numbers. It also works under stronger noise than that of the
training.
"""

# %%
# The recipe
# ----------
# :class:`~sk_denoise.ConvNetwork` takes images: stacks of shape ``(n_samples, height, width)``. Its latent
# code is linear by default. The sigmoid at the output suits digits, which are mostly black and white.
import matplotlib.pyplot as plt

from sk_denoise import ConvNetwork, DenoisingAutoencoder, GaussianNoiser
from sk_denoise.datasets import load_handwritten
from sk_denoise.plots import DenoisingDisplay, NoiseRobustnessDisplay

data = load_handwritten()
# scikit-learn has fewer digits than MNIST, so each epoch has fewer batches.
epochs = 10 if data.name == "MNIST" else 60
print(f"{data.name}: {len(data.train)} images of {data.train.shape[1:]}, {len(data.test)} test images")

dae = DenoisingAutoencoder(
    ConvNetwork((32, 64), output_activation="sigmoid"),
    latent_dim=16,
    noise=GaussianNoiser(0.5, mean=0.5, clip=(0, 1)),
    batch_size=32,
    max_epochs=epochs,
    random_state=0,
).fit(data.train)

# %%
# Clean, noisy, denoised
# ----------------------
# The last row is the remaining error: red is too bright, blue is too dark.


def noiser(sigma):
    """Return a noiser of mean 0.5, clipped to [0, 1], with a fixed seed."""
    return GaussianNoiser(sigma, mean=0.5, clip=(0, 1), random_state=1)


display = DenoisingDisplay.from_estimator(
    dae, data.test, noiser=noiser(0.5), n_samples=9, labels=data.test_labels, limits=(0, 1)
)
plt.show()

# %%
# Stronger noise than in training
# -------------------------------
# :class:`~sk_denoise.plots.NoiseRobustnessDisplay` evaluates the same network under noise from 0.1 to 1.25.
# For comparison, a second network is trained on a range of noise levels: with a pair as ``noise_factor``,
# each sample gets a random noise level. The bands are standard errors.
wide = DenoisingAutoencoder(
    **{**dae.get_params(deep=False), "noise": GaussianNoiser((0.25, 1.0), mean=0.5, clip=(0, 1))}
).fit(data.train)

sigmas = [0.1, 0.25, 0.5, 0.75, 1.0, 1.25]
networks = {"trained at 0.5": dae, "trained at 0.25 to 1.0": wide}
robustness = NoiseRobustnessDisplay.from_estimators(
    networks, data.test, sigmas=sigmas, noiser=noiser(0.5), data_range=1, band="standard_error"
)
robustness.ax_.set_title("Noise levels beyond those of the training")
plt.show()

# %%
scores = {"noisy": robustness.noisy_scores["trained at 0.5"], **robustness.scores}
scores = {name: by_sample.mean(axis=1) for name, by_sample in scores.items()}
print(f"{'sigma':24}" + "".join(f"{sigma:7.2f}" for sigma in sigmas))
for name, row in scores.items():
    print(f"{name:24}" + "".join(f"{score:7.2f}" for score in row))

# %%
# The first network at three noise levels:
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
# Larger latent codes
# -------------------
# Sixteen numbers describe the class of a digit and its slant, and little else. So the network is robust, and
# its images are smooth. Under weaker noise, a larger latent code keeps more detail. The command ``python
# benchmarks/tutorials.py best`` measures the gain on MNIST. For your own data, use a search that is scored on
# the expected noise, see :ref:`sphx_glr_gallery_plot_honest_grid_search.py`.
