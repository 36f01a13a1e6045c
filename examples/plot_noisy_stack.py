"""
=======================================
A noisy stack: images of one microscope
=======================================

You have a stack of noisy images of one kind, and no clean one. The pretrained network knows photos, and your
microscope shows something else. This example compares the pretrained network as it is, a small network that
learns from the stack alone, and pretrained weights that learn on from the stack. Then it finds the best one
without the truth.
"""

# %%
# Nuclei under a microscope
# -------------------------
# The images are simulated, with bright spots inside of the nuclei, as stains of DNA show them. Each image is
# recorded once. The clean images serve to measure the results.
import matplotlib.pyplot as plt
import numpy as np
from scipy.ndimage import gaussian_filter

from sk_denoise import FoldedUNetNetwork, ImageDenoiser
from sk_denoise.metrics import estimate_quality, psnr
from sk_denoise.restoration import load_pretrained

rng = np.random.default_rng(0)
SIDE = 128


def draw_nuclei(n_nuclei=14):
    """Return an image of nuclei with bright spots, (128, 128)."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    image = np.full((SIDE, SIDE), 0.06)
    for _ in range(n_nuclei):
        row, column = rng.uniform(0, SIDE, 2)
        height, width = rng.uniform(6, 13, 2)
        angle, brightness = rng.uniform(0, np.pi), rng.uniform(0.2, 0.5)
        across = (columns - column) * np.cos(angle) + (rows - row) * np.sin(angle)
        down = (rows - row) * np.cos(angle) - (columns - column) * np.sin(angle)
        radius = np.hypot(across / width, down / height)
        body = 1 / (1 + np.exp(12 * (radius - 1)))
        texture = gaussian_filter(rng.normal(size=image.shape), 1.2)
        image += brightness * body * (1 + 0.9 * texture) * (1 - 0.4 * np.exp(-((radius / 0.4) ** 2)))
        image += 0.35 * brightness * np.exp(-(((radius - 1) / 0.09) ** 2))
        for a, b in rng.uniform(-0.6, 0.6, (4, 2)):
            image += 0.6 * body * np.exp(-((across - a * width) ** 2 + (down - b * height) ** 2) / 2.4)
    return gaussian_filter(image, 0.7).clip(0, 1)


clean = np.stack([draw_nuclei() for _ in range(24)])
noisy = (clean + rng.normal(0, 0.15, clean.shape)).astype(np.float32)
learned, held_out = slice(0, 16), slice(16, 24)

# %%
# Three denoisers
# ---------------
# ``objective="neighbours"`` learns each pixel from the one beside it, and needs no noise level. Pretrained
# weights learn on by ``objective="recorrupt"``, with the noise level of the camera. Measure it on images of
# one unchanging scene; an estimate that is 3 % too high would cost the whole gain here.
small = FoldedUNetNetwork((24, 40), blocks=(1, 1))
from_stack = ImageDenoiser(
    small,
    objective="neighbours",
    patch_size=48,
    patches_per_image=8,
    batch_size=16,
    max_epochs=40,
    random_state=0,
).fit(noisy[learned])

pretrained = load_pretrained("gray", random_state=0)
taught_on = load_pretrained("gray", random_state=0).set_params(objective="recorrupt", noise=0.15)
taught_on.set_params(patch_size=48, patches_per_image=8, batch_size=16, max_epochs=6, warm_start=True)
taught_on.fit(noisy[learned])

# %%
# Which one is best?
# ------------------
# The expected PSNR on images that no fit has seen ranks them without the truth, which stands beside it.
denoisers = {
    "pretrained": pretrained,
    "learned from the stack": from_stack,
    "pretrained, taught on": taught_on,
}
images, labels = {"noisy": noisy[held_out]}, {"noisy": "noisy"}
for name, denoiser in denoisers.items():
    quality = estimate_quality(denoiser, noisy[held_out], noise=0.15, data_range=1, n_probes=1)
    images[name] = denoiser.predict(noisy[held_out])
    true_psnr = psnr(clean[held_out], images[name], data_range=1)
    labels[name] = f"{name}\nexpected {quality.psnr:.1f} dB, true {true_psnr:.1f} dB"
    print(labels[name].replace("\n", ": "))
images["clean"], labels["clean"] = clean[held_out], "clean"

# %%
fig, axes = plt.subplots(2, 5, figsize=(12, 5.6), layout="constrained")
for (above, below), (name, stack) in zip(axes.T, images.items(), strict=True):
    above.imshow(stack[4], cmap="gray", vmin=0, vmax=1)
    below.imshow(stack[4, 40:88, 40:88], cmap="gray", vmin=0, vmax=1)
    above.set_title(labels[name], fontsize="small")
    for ax in (above, below):
        ax.set_axis_off()
plt.show()

# %%
# The pretrained network smears the spots inside of the nuclei: photos have no such things. Sixteen noisy
# images are enough to teach it to keep more of them. A network that begins from nothing needs more images
# and time.
