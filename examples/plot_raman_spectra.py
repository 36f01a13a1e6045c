"""
==============================
Raman spectra under a baseline
==============================

A Raman spectrum has narrow peaks on a broad baseline, which comes from fluorescence. Noise covers both. This
example removes noise and baseline in one step: pairs of raw spectra and of their peaks teach a network to
keep the peaks alone.

The spectra are synthetic: peaks at random places, on random smooth baselines. So the network learns what a
peak is, and no list of substances. With spectra of a few known substances, the gain would be larger.
"""

# %%
# Spectra in pairs
# ----------------
# Peaks are Lorentzian. The noise has two parts: shot noise, which grows with the baseline, and the noise of
# the detector.
import matplotlib.pyplot as plt
import numpy as np
from scipy.signal import savgol_filter
from scipy.sparse import diags
from scipy.sparse.linalg import spsolve

from sk_denoise import SignalDenoiser
from sk_denoise.plots import DenoisingDisplay

rng = np.random.default_rng(0)
wavenumbers = np.linspace(400, 1800, 512)


def draw_spectra(n_spectra):
    """Return raw spectra and their peaks, (n_spectra, 512) each, in thousands of counts."""
    peaks = np.zeros((n_spectra, wavenumbers.size))
    for spectrum in peaks:
        for _ in range(rng.integers(5, 15)):
            center, width = rng.uniform(400, 1800), rng.uniform(4, 15)
            spectrum += rng.gamma(2, 0.4) / (1 + ((wavenumbers - center) / width) ** 2)
    place = np.linspace(-1, 1, wavenumbers.size)
    bends = rng.normal(0, (0.4, 0.3, 0.2), (n_spectra, 3))
    baseline = rng.uniform(0.5, 3, (n_spectra, 1)) * np.exp(bends @ np.stack([place, place**2, place**3]))
    counts = 1000 * (peaks + baseline)
    noisy = (rng.poisson(counts) + rng.normal(0, 50, counts.shape)) / 1000
    return noisy, peaks


raw, peaks = draw_spectra(2000)

# %%
# Training on pairs
# -----------------
# ``X_clean`` is the clean side. Here it has no baseline, so that the network learns to remove it.
denoiser = SignalDenoiser(max_epochs=3, random_state=0).fit(raw, X_clean=peaks)

# %%
# Beside the usual steps
# ----------------------
# The usual steps are a Savitzky-Golay filter, and a baseline by asymmetric least squares: a smooth line below
# most values. Window and smoothness are the best of a grid for 40 training spectra.
size = wavenumbers.size
curvature = diags([1.0, -2.0, 1.0], [0, 1, 2], shape=(size - 2, size))
penalty = (curvature.T @ curvature).tocsc()


def fit_baseline(spectrum, smoothness):
    """Return a smooth line below the peaks of a spectrum."""
    weights = np.ones(size)
    for _ in range(8):
        line = spsolve((diags(weights) + smoothness * penalty).tocsc(), weights * spectrum)
        weights = np.where(spectrum > line, 0.01, 0.99)
    return line


def smooth_and_subtract(spectra, window, smoothness):
    """Return smoothed spectra without their baselines."""
    smooth = savgol_filter(spectra, window, 2, axis=1)
    return np.array([spectrum - fit_baseline(spectrum, smoothness) for spectrum in smooth])


def compute_error(output, truth):
    """Return the root mean squared error."""
    return float(np.sqrt(np.mean((output - truth) ** 2)))


settings = [(window, smoothness) for window in (5, 7, 9) for smoothness in (1e3, 1e4, 1e5)]
best = min(settings, key=lambda setting: compute_error(smooth_and_subtract(raw[:40], *setting), peaks[:40]))
raw_test, peaks_test = draw_spectra(100)
outputs = {
    f"window of {best[0]}, smoothness {best[1]:.0e}": smooth_and_subtract(raw_test, *best),
    "SignalDenoiser": denoiser.predict(raw_test),
}
errors = {name: compute_error(output, peaks_test) for name, output in outputs.items()}
for name, error in errors.items():
    print(f"{name:32} root mean squared error {1000 * error:3.0f} counts")

# %%
# The display takes the wavenumbers as coordinates. Here the clean line is the one of the peaks, and the raw
# spectrum lies above it by its baseline.
DenoisingDisplay.from_predictions(
    peaks_test[:2],
    raw_test[:2],
    outputs["SignalDenoiser"][:2],
    kind="signals",
    x=wavenumbers,
    x_label="wavenumber (1/cm)",
    labels=["spectrum 1", "spectrum 2"],
)
plt.show()

# %%
# A closer look at the weak peaks:
fig, ax = plt.subplots(figsize=(8, 3.5), layout="constrained")
ax.plot(wavenumbers, peaks_test[0], color="0.75", linewidth=4, label="peaks")
for (name, output), color in zip(outputs.items(), ("tab:orange", "tab:blue"), strict=True):
    ax.plot(wavenumbers, output[0], color=color, linewidth=1, label=name)
ax.set(xlabel="wavenumber (1/cm)", ylabel="thousand counts")
ax.spines[["top", "right"]].set_visible(False)
ax.legend(frameon=False)
plt.show()

# %%
# The network has seen Lorentzian peaks on smooth baselines. Peaks of another shape, or spikes of cosmic rays,
# need training spectra that have them. Broad bands are the hard case for any method: nothing in a single
# spectrum tells a broad band from a baseline.
