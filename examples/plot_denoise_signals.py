"""
=================================================
Heartbeats: an electrocardiogram under real noise
=================================================

Electrodes move, muscles tremble, and the baseline wanders with each breath. Such noise is not white, and no
formula describes it. But you can record it: let the electrodes run without a heart between them, and mix the
records into clean signals. A network learns to tell the two apart.

The signals and the noise of this example are synthetic. With your data, ``heartbeats`` and ``records`` are
arrays that you load. For electrocardiograms, the MIT-BIH Noise Stress Test Database has records of noise.
"""

# %%
# Clean heartbeats
# ----------------
# Each signal has 8 seconds at 250 Hz, in millivolts, with P wave, QRS complex and T wave. Heart rate, heights
# and widths differ from signal to signal.
import matplotlib.pyplot as plt
import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.signal import butter, sosfilt, sosfiltfilt

from sk_denoise import RecordedNoiser, SignalDenoiser
from sk_denoise.plots import DenoisingDisplay

rng = np.random.default_rng(0)
RATE = 250
seconds = np.arange(8 * RATE) / RATE


def draw_heartbeats(n_signals):
    """Return simulated electrocardiograms, (n_signals, 2000)."""
    signals = np.zeros((n_signals, seconds.size))
    for signal in signals:
        period, width = rng.uniform(0.6, 1.1), rng.uniform(0.9, 1.3)
        waves = {  # height, time after the R peak and width of each wave
            "P": (rng.uniform(0.05, 0.2), -0.19 * np.sqrt(period), 0.025),
            "Q": (-rng.uniform(0.02, 0.15), -0.03, 0.010),
            "R": (rng.uniform(0.6, 1.4), 0.0, 0.012),
            "S": (-rng.uniform(0.05, 0.4), 0.032, 0.012),
            "T": (rng.uniform(0.1, 0.4), 0.28 * np.sqrt(period), 0.05),
        }
        beat = -rng.uniform(0, period)
        while beat < seconds[-1] + 1:
            for height, delay, spread in waves.values():
                signal += height * np.exp(-0.5 * ((seconds - beat - delay) / (width * spread)) ** 2)
            beat += period * rng.normal(1, 0.04)
    return signals


heartbeats = draw_heartbeats(200)

# %%
# Records of noise
# ----------------
# Three kinds of noise share each record of a minute: wander of the baseline, motion of the electrodes in
# bursts, and muscles. The records of the test are other ones than those of the training.


def draw_records(n_records):
    """Return simulated records of noise, (n_records, 15000)."""
    records = np.zeros((n_records, 60 * RATE))
    for record in records:
        for low, high, is_burst in ((0.05, 0.5, False), (1, 10, True), (20, 90, True)):
            edges = np.array([low, high]) * rng.uniform(0.7, 1.4, 2)
            band = butter(2, edges, "bandpass", fs=RATE, output="sos")
            part = sosfilt(band, rng.normal(size=record.size))
            if is_burst:
                activity = gaussian_filter1d(rng.normal(size=record.size), RATE * rng.uniform(0.4, 1.2))
                part *= 0.1 + np.clip(activity / activity.std(), 0, None)
            record += rng.uniform(0.2, 1) * part / part.std()
    return records


records, other_records = draw_records(20), draw_records(20)

# %%
# Training
# --------
# :class:`~sk_denoise.RecordedNoiser` adds random parts of the records, at a ratio of signal to noise that is
# drawn for each window. :class:`~sk_denoise.SignalDenoiser` draws new noise for each batch. By default it
# trains four times as long as here.
denoiser = SignalDenoiser(
    noise=RecordedNoiser(records, snr=(0, 15), power="data"), max_epochs=5, random_state=0
)
denoiser.fit(heartbeats)

# %%
# Beside a filter
# ---------------
# The usual filter keeps .5 to 40 Hz. Electrodes move in this band too, and a filter cannot tell them from
# the heart.
X = draw_heartbeats(40)
noiser = RecordedNoiser(other_records, snr=5, random_state=0)
X_noisy = np.asarray(noiser.fit_transform(X))
band = butter(2, (0.5, 40), "bandpass", fs=RATE, output="sos")
outputs = {
    "noisy": X_noisy,
    "band-pass filter": sosfiltfilt(band, X_noisy, axis=1),
    "SignalDenoiser": denoiser.predict(X_noisy),
}
centered = X - X.mean(axis=1, keepdims=True)
gains = {}
for name, output in outputs.items():
    error = np.sum((output - X) ** 2, axis=1)
    distance = 100 * np.sqrt(error / np.sum(centered**2, axis=1)).mean()
    gains[name] = float(np.mean(10 * np.log10(np.sum((X_noisy - X) ** 2, axis=1) / error)))
    print(f"{name:18} PRD {distance:4.0f} %, gain {gains[name]:4.1f} dB")

# %%
# PRD is the root mean squared error as a percentage of the deviation of the signal. The filter also shifts
# the line between the beats, as its output has a mean of zero. That counts as an error, too.
#
# The display has a time axis if you give the sampling rate:
DenoisingDisplay.from_predictions(
    X[:2, : 4 * RATE],
    X_noisy[:2, : 4 * RATE],
    outputs["SignalDenoiser"][:2, : 4 * RATE],
    kind="signals",
    sampling_rate=RATE,
    labels=["first patient", "second patient"],
)
plt.show()

# %%
# Any length
# ----------
# The network takes recordings of any length, also many of different lengths in a list.
minute = np.concatenate(draw_heartbeats(8))
shapes = [denoised.shape for denoised in denoiser.predict([minute, X_noisy[0, :777]])]
print(shapes)

# %%
# A network has one risk: where the noise hides the heart, it draws the beat that is most likely. A beat of a
# kind that it never saw may come out as one of those that it saw. Where that matters, look at
# ``X_noisy - X_denoised``: it should look like the records of noise, and nothing else.
