"""
==============================================
A dense autoencoder: 784-500-300-100 and back
==============================================

Six fully connected layers with rectifiers, a code of 100 numbers in the middle; noise of 0.2 that is
clipped to [0, 1]; Adam on the mean squared error, batches of 200, two passes over MNIST. A good first
denoiser, and a good place to ask what more passes would change.
"""

# %%
# The digits
# ----------
# :func:`~sk_denoise.datasets.load_handwritten` reads MNIST where you have a copy, and takes scikit-learn's
# digits, 8 x 8 pixels each, where you have none. The digits are fewer, so two passes over them would be 14
# steps: there the batches are smaller and the passes more.
import matplotlib.pyplot as plt
import numpy as np

from sk_denoise import DenoisingAutoencoder, DenseNetwork, GaussianNoiser
from sk_denoise.datasets import load_handwritten
from sk_denoise.metrics import psnr
from sk_denoise.plots import DenoisingDisplay

data = load_handwritten()
X_train, X_test = (images.reshape(len(images), -1) for images in (data.train, data.test))
batch_size, epochs = (200, 2) if data.name == "MNIST" else (32, 30)
print(f"{data.name}: {X_train.shape[0]} rows of {X_train.shape[1]} pixels, {len(X_test)} to test on")

# %%
# The network and the noise
# -------------------------
# The decoder mirrors the encoder, so the spec names the encoder's layers and ``latent_dim`` the code. The
# activation of the code is a choice of its own: rectified here, as the tutorial has it, linear by default.
# The sigmoid at the end suits digits, which are mostly black and white: it is worth 1.6 dB on MNIST.
# Every pass meets fresh noise; the tutorial draws it once.
noiser = GaussianNoiser(0.2, clip=(0, 1), random_state=0)
dae = DenoisingAutoencoder(
    DenseNetwork((500, 300), activation="relu", latent_activation="relu", output_activation="sigmoid"),
    latent_dim=100,
    noise=noiser,
    loss="mse",
    optimizer="adam",
    batch_size=batch_size,
    max_epochs=epochs,
    image_shape=data.train.shape[1:],
    random_state=0,
)

# %%
# Validation after each epoch takes the images that you name, corrupts them once, and records the PSNR:
dae.fit(X_train, X_val=X_test)
for epoch in sorted({1, epochs // 2, epochs}):
    print(
        f"epoch {epoch}: training loss {dae.loss_curve_[epoch - 1]:.4f}, "
        f"validation {dae.validation_scores_[epoch - 1]:.2f} dB"
    )

# %%
# Ten digits
# ----------
# The same noise that a test of any denoiser should meet: fixed, and unknown to the network.
X_noisy = np.clip(X_test + np.random.default_rng(1).normal(0, 0.2, X_test.shape), 0, 1).astype(np.float32)
before = psnr(X_test, X_noisy, data_range=1)
after = psnr(X_test, dae.predict(X_noisy), data_range=1)
print(f"noisy {before:.2f} dB, reconstructed {after:.2f} dB")

display = DenoisingDisplay.from_estimator(dae, X_test, X_noisy=X_noisy, labels=data.test_labels)
display.figure_.suptitle(f"Reconstructed after {epochs} epochs: {before:.1f} dB before, {after:.1f} dB after")
plt.show()

# %%
# What do more epochs change?
# ---------------------------
# Longer runs, each from the start, because the learning rate falls to zero over the length of a run:
lengths = [epochs * factor for factor in (1, 2, 5)]
curves = {}
for length in lengths:
    longer = DenoisingAutoencoder(**{**dae.get_params(deep=False), "max_epochs": length})
    curves[length] = longer.fit(X_train, X_val=X_test).validation_scores_
    print(f"{length:4d} epochs: {curves[length][-1]:.2f} dB")

fig, ax = plt.subplots(figsize=(7, 4), layout="constrained")
for length, curve in curves.items():
    ax.plot(range(1, length + 1), curve, ".-", label=f"{length} epochs: {curve[-1]:.1f} dB")
ax.axhline(before, color="0.6", linestyle="--")
ax.annotate("noisy", (lengths[-1], before), ha="right", va="bottom", color="0.4")
ax.set(
    xlabel="epoch",
    ylabel="PSNR on test digits in dB",
    title=f"{data.name}: what more epochs change",
    xscale="log",
)
ax.set_xticks([1, *lengths], labels=[1, *lengths])
ax.minorticks_off()
ax.legend(title="a run of", frameon=False)
ax.spines[["top", "right"]].set_visible(False)
plt.show()

# %%
# On MNIST every doubling still pays: with fresh noise in each batch, 60,000 digits are hard to learn by
# heart. On the 1,297 small digits the longest run ends below the shorter ones: the network, with 424,000
# weights, has begun to learn by heart, fresh noise or not. Remedies, in the order in which to try them: the
# default optimizer, which decays the weights; a smaller network; a search over ``max_epochs``. What does not
# help is to look at the training loss, which falls all the while.
first, last = longer.loss_curve_[0], longer.loss_curve_[-1]
print(f"training loss of the longest run: {first:.3f} at first, {last:.3f} at last")
