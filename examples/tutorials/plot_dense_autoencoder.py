"""
==============================================
A dense autoencoder: 784-500-300-100 and back
==============================================

This denoiser has six fully connected layers with rectifiers, and a latent code of 100 numbers. It is trained
with Adam on the mean squared error, under noise of 0.2 that is clipped to [0, 1], in batches of 200, for two
epochs on MNIST. It is a good first denoiser. This example also shows you the effect of more epochs.
"""

# %%
# The digits
# ----------
# :func:`~sk_denoise.datasets.load_handwritten` reads MNIST if you have a copy, and otherwise takes
# scikit-learn's digits of 8 x 8 pixels. These are fewer, and two epochs would be 14 steps. So there the
# batches are smaller, and the epochs more.
import matplotlib.pyplot as plt
import numpy as np

from sk_denoise import DenoisingAutoencoder, DenseNetwork, GaussianNoiser
from sk_denoise.datasets import load_handwritten
from sk_denoise.metrics import psnr
from sk_denoise.plots import DenoisingDisplay

data = load_handwritten()
X_train, X_test = (images.reshape(len(images), -1) for images in (data.train, data.test))
batch_size, epochs = (200, 2) if data.name == "MNIST" else (32, 30)
print(f"{data.name}: {X_train.shape[0]} rows of {X_train.shape[1]} pixels, {len(X_test)} test rows")

# %%
# The network and the noise
# -------------------------
# The decoder mirrors the encoder, so you only give the layers of the encoder, and the size of the latent code
# as ``latent_dim``. The code is rectified here, as in the tutorial; by default it is linear. The sigmoid at
# the output suits digits, which are mostly black and white: it gains 1.6 dB on MNIST.
#
# Every epoch has fresh noise. The tutorial draws it once.
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
# Give ``X_val`` to record the PSNR on validation images after each epoch. They are corrupted once:
dae.fit(X_train, X_val=X_test)
for epoch in sorted({1, epochs // 2, epochs}):
    print(
        f"epoch {epoch}: training loss {dae.loss_curve_[epoch - 1]:.4f}, "
        f"validation {dae.validation_scores_[epoch - 1]:.2f} dB"
    )

# %%
# Ten digits
# ----------
# A test needs fixed noise that was not used in training.
X_noisy = np.clip(X_test + np.random.default_rng(1).normal(0, 0.2, X_test.shape), 0, 1).astype(np.float32)
before = psnr(X_test, X_noisy, data_range=1)
after = psnr(X_test, dae.predict(X_noisy), data_range=1)
print(f"noisy {before:.2f} dB, reconstructed {after:.2f} dB")

display = DenoisingDisplay.from_estimator(dae, X_test, X_noisy=X_noisy, labels=data.test_labels)
display.figure_.suptitle(f"Reconstructed after {epochs} epochs: {before:.1f} dB before, {after:.1f} dB after")
plt.show()

# %%
# The effect of more epochs
# -------------------------
# Each longer training starts anew, because the learning rate falls to zero over the length of a training:
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
    title=f"{data.name}: the effect of more epochs",
    xscale="log",
)
ax.set_xticks([1, *lengths], labels=[1, *lengths])
ax.minorticks_off()
ax.legend(title="training for", frameon=False)
ax.spines[["top", "right"]].set_visible(False)
plt.show()

# %%
# On MNIST every doubling still helps: with fresh noise in each batch, a network hardly overfits to 60,000
# digits. On the 1,297 small digits the longest training ends below the shorter ones. The network has 424,000
# weights, and begins to overfit in spite of fresh noise. Try these remedies, in this order:
#
# - the default optimizer, which decays the weights;
# - a smaller network;
# - a search over ``max_epochs``.
#
# The training loss does not show the overfitting, because it keeps falling:
first, last = longer.loss_curve_[0], longer.loss_curve_[-1]
print(f"training loss of the longest training: {first:.3f} at first, {last:.3f} at last")
