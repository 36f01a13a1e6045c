"""
=================================
A vibration record as it arrives
=================================

A damaged bearing strikes at each turn, and each strike rings for some milliseconds. In the noise of a machine
the strikes are hard to see. This example denoises the two channels of an accelerometer together, first
recorded signals, then a record that arrives in chunks.

The vibrations are synthetic: strikes of random strength that ring at the resonances of the housing, and noise
of the machine.
"""

# %%
# Two channels
# ------------
# Signals of several channels are arrays ``(n_signals, channels, length)``. A strike rings in both channels,
# at other frequencies and strengths. The noise of the channels is independent.
import matplotlib.pyplot as plt
import numpy as np
from scipy.signal import hilbert

from sk_denoise import GaussianNoiser, SignalDenoiser
from sk_denoise.plots import DenoisingDisplay

rng = np.random.default_rng(0)
RATE = 12_000  # Hz
SIGMA = 1.0


def draw_vibration(n_samples, strikes_per_second):
    """Return horizontal and vertical acceleration, (2, n_samples)."""
    time = np.arange(240) / RATE
    record = np.zeros((2, n_samples + time.size))
    start = rng.uniform(0, RATE / strikes_per_second)
    while start < n_samples:
        strength = rng.gamma(4, 0.25)
        for channel, (frequency, share) in enumerate(((2800, 1.0), (3600, 0.7))):
            ringing = np.exp(-time * rng.uniform(500, 700)) * np.sin(2 * np.pi * frequency * time)
            record[channel, int(start) : int(start) + time.size] += 2 * strength * share * ringing
        # Rollers slip by a percent.
        start += RATE / strikes_per_second * rng.normal(1, 0.01)
    return record[:, :n_samples]


clean = np.stack([draw_vibration(1024, rng.uniform(80, 160)) for _ in range(300)])
print(clean.shape)

# %%
# Training
# --------
# Both channels go through one network, so that a strike in one helps to find it in the other.
denoiser = SignalDenoiser(noise=GaussianNoiser(SIGMA), max_epochs=8, random_state=0).fit(clean)

test = np.stack([draw_vibration(1024, 107) for _ in range(50)])
noisy = test + rng.normal(0, SIGMA, test.shape)
denoised = denoiser.predict(noisy)
gain = 10 * np.log10(np.mean((noisy - test) ** 2) / np.mean((denoised - test) ** 2))
print(f"gain {gain:.1f} dB")

# %%
# Each channel has its rows:
DenoisingDisplay.from_predictions(
    test,
    noisy,
    denoised,
    kind="signals",
    sampling_rate=RATE,
    channel_names=("horizontal", "vertical"),
    n_samples=2,
)
plt.show()

# %%
# A record that arrives
# ---------------------
# ``predict_stream`` takes chunks of any length and yields denoised chunks. Its output is that of ``predict``
# for the whole record. It lags by ``delay_`` entries, which the network needs as context.
record = draw_vibration(5 * RATE, 107)
arriving = record + rng.normal(0, SIGMA, record.shape)
chunks = np.array_split(arriving, 50, axis=1)
stream = np.concatenate(list(denoiser.predict_stream(chunks)), axis=1)
(whole,) = denoiser.predict([arriving])
print(f"delay of {1000 * denoiser.delay_ / RATE:.0f} ms")
print(f"largest difference from predict {np.abs(stream - whole).max():.0e}")

# %%
# The rate of the strikes
# -----------------------
# The spectrum of the envelope shows how often the bearing strikes per second. The line at 107 Hz and its
# harmonics stand on a floor of noise, which the denoiser lowers.


def envelope_spectrum(signal):
    """Return frequencies and the spectrum of the envelope of a signal."""
    envelope = np.abs(hilbert(signal))
    spectrum = np.abs(np.fft.rfft(envelope - envelope.mean())) / signal.size
    return np.fft.rfftfreq(signal.size, 1 / RATE), spectrum


fig, axes = plt.subplots(2, 1, figsize=(8, 4.5), sharex=True, layout="constrained")
prominence = {}
for ax, (name, signal) in zip(axes, {"noisy": arriving, "denoised": stream}.items(), strict=True):
    frequency, spectrum = envelope_spectrum(signal[1])
    is_shown = frequency < 400
    ax.plot(frequency[is_shown], spectrum[is_shown], color="tab:blue", linewidth=1)
    ax.set_title(f"{name}, vertical channel", loc="left", fontsize="medium")
    ax.spines[["top", "right"]].set_visible(False)
    near = np.abs(frequency - 107) < 3
    prominence[name] = float(spectrum[near].max() / np.median(spectrum[is_shown]))
    print(f"{name:9} line at 107 Hz is {prominence[name]:.0f} times the floor")
axes[-1].set_xlabel("frequency of the envelope (Hz)")
plt.show()
