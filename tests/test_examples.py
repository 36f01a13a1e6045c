"""Each example runs, draws, and shows what its text claims."""

from __future__ import annotations

import runpy
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import skimage

from sk_denoise.metrics import psnr

plt.switch_backend("Agg")

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def run(monkeypatch):
    """Return a function that runs an example and returns its variables and the sizes of its images."""
    monkeypatch.delenv("SK_DENOISE_DATA", raising=False)

    def run_example(name):
        shown = []

        def show():
            shown.extend(len(plt.figure(number).axes) for number in plt.get_fignums())
            for number in plt.get_fignums():
                assert not is_cut(plt.figure(number))
            plt.close("all")

        plt.close("all")
        monkeypatch.setattr(plt, "show", show)
        variables = runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        assert plt.get_fignums() == [], "an image was drawn after the last plt.show()"
        return variables, shown

    return run_example


def is_cut(figure):
    """Return whether the edge of the figure cuts something that is drawn."""
    figure.canvas.draw()
    drawn, whole = figure.get_tightbbox(), figure.bbox_inches
    return drawn.x0 < whole.x0 or drawn.y0 < whole.y0 or drawn.x1 > whole.x1 or drawn.y1 > whole.y1


def test_every_example_has_a_test():
    tested = {
        "plot_literal_pipeline.py",
        "plot_honest_grid_search.py",
        "plot_denoise_before_classifier.py",
        "plot_denoise_signals.py",
        "plot_displays.py",
        "plot_noisy_stack.py",
        "plot_noisy_table.py",
        "plot_raman_spectra.py",
        "plot_search_without_truth.py",
        "plot_spectra_without_truth.py",
        "plot_uncertainty.py",
        "plot_vibration_record.py",
        "photos/plot_1_noise_on_all_of_it.py",
        "photos/plot_2_noise_on_a_part.py",
        "photos/plot_3_noise_on_pixels.py",
        "photos/plot_4_comparison.py",
        "photos/plot_5_image_denoiser.py",
        "tutorials/plot_dense_autoencoder.py",
        "tutorials/plot_convolutional_autoencoder.py",
        "tutorials/plot_cross_entropy_autoencoder.py",
    }
    assert {path.relative_to(EXAMPLES).as_posix() for path in EXAMPLES.rglob("*.py")} == tested


@pytest.mark.slow
def test_literal_pipeline(run):
    found, shown = run("plot_literal_pipeline.py")
    assert shown == [40, 1]
    quality = found["quality"]
    # The noise of pairs is drawn anew, too.
    assert quality["pipeline"] > quality["one frozen draw"] - 0.1
    assert quality["pipeline"] > quality["noisy target"] + 1
    assert quality["noisy target"] > quality["noisy"]
    assert quality["pipeline"] > quality["noisy"] + 3
    for other in ("same", "alone"):
        np.testing.assert_array_equal(
            found[other].predict(found["X_noisy"]), found["pipe"].predict(found["X_noisy"])
        )
    assert found["alone"].target_source_ == "X"


@pytest.mark.slow
def test_honest_grid_search(run):
    found, shown = run("plot_honest_grid_search.py")
    assert shown == [1]
    assert found["chosen"] == {"own": min(found["factors"]), "0.25": 0.25, "0.6": 0.6}
    for name in ("0.25", "0.6"):
        curve = found["curves"][name]
        assert curve[found["factors"].index(found["chosen"]["own"])] < curve.max() - 1.5


@pytest.mark.slow
def test_denoise_before_classifier(run):
    found, shown = run("plot_denoise_before_classifier.py")
    assert shown == [1, 2]
    levels = [0.0, *found["levels"]]
    accuracy = {name: dict(zip(levels, curve, strict=True)) for name, curve in found["curves"].items()}
    frozen, restored, trained = accuracy.values()
    assert frozen[0.5] < 0.5
    assert restored[0.5] > frozen[0.5] + 0.3
    for level in (0.0, 0.15):
        assert abs(restored[level] - frozen[level]) < 0.03
    for level in levels:
        assert abs(restored[level] - trained[level]) < 0.08
    linear = found["linear"]
    assert linear["noiser, denoiser, classifier"]["noise 0.5"] > linear["classifier"]["noise 0.5"]
    assert abs(linear["noiser, denoiser, classifier"]["clean"] - linear["classifier"]["clean"]) < 0.03
    means = [scores.mean() for scores in found["table"].values()]
    assert max(means) - min(means) < 0.03


@pytest.mark.slow
def test_denoise_signals(run):
    found, shown = run("plot_denoise_signals.py")
    assert shown == [6]
    noisy, filtered, denoised = found["gains"].values()
    assert noisy == 0
    assert denoised > max(0, filtered) + 6
    assert found["shapes"] == [(16_000,), (777,)]


@pytest.mark.slow
def test_raman_spectra(run):
    found, shown = run("plot_raman_spectra.py")
    assert shown == [6, 1]
    filtered, denoised = found["errors"].values()
    assert denoised < 0.8 * filtered


@pytest.mark.slow
def test_vibration_record(run):
    found, shown = run("plot_vibration_record.py")
    assert shown == [12, 2]
    assert found["gain"] > 6
    np.testing.assert_allclose(found["stream"], found["whole"], atol=1e-5)
    assert found["prominence"]["denoised"] > 1.5 * found["prominence"]["noisy"]


@pytest.mark.slow
def test_spectra_without_truth(run):
    found, shown = run("plot_spectra_without_truth.py")
    assert shown == [4]
    assert abs(found["sigma"] - 0.35) < 0.01
    noisy, trap, filtered, mixture = found["left"].values()
    assert mixture < 0.85 * filtered < filtered < trap < noisy
    low, high = found["quality"].interval
    assert low - 0.3 < found["true_psnr"] < high + 0.3


@pytest.mark.slow
def test_noisy_table(run):
    found, shown = run("plot_noisy_table.py")
    assert shown == [21]
    assert abs(found["sigma"] - 0.4) < 0.03
    noisy, _, mixture = (np.array(shares) for shares in found["accuracy"].values())
    assert (mixture > noisy + 0.03).all()
    assert mixture[found["counts"].index(100)] > noisy[-1] - 0.03


@pytest.mark.slow
def test_noisy_stack(run):
    found, shown = run("plot_noisy_stack.py")
    assert shown == [10]
    quality = {name: psnr(found["clean"][16:], x, data_range=1) for name, x in found["images"].items()}
    assert quality["pretrained, taught on"] > quality["pretrained"] + 0.15
    assert quality["learned from the stack"] > quality["noisy"] + 10


@pytest.mark.slow
def test_search_without_truth(run):
    found, shown = run("plot_search_without_truth.py")
    assert shown == [2]
    assert found["loss"] < 0.1
    assert np.abs(found["expected"] - found["true_psnr"]).max() < 0.3
    assert np.argmin(found["distances"]) == len(found["sizes"]) - 1


@pytest.mark.slow
def test_uncertainty(run):
    found, shown = run("plot_uncertainty.py")
    assert shown == [32, 1]
    assert 0.92 < np.mean(found["error"] <= 1.96 * found["std"]) < 0.97
    members = [member.score(found["noisy"], found["clean"]) for member in found["ensemble"].estimators_]
    assert found["ensemble"].score(found["noisy"], found["clean"]) > max(members)
    assert found["actual_errors"][-1] > 1.05 * found["actual_errors"][0]


@pytest.mark.slow
def test_displays(run):
    found, shown = run("plot_displays.py")
    assert shown == [40, 10, 2, 1, 2]
    table = found["table"]
    assert (table.loc["code of 32"] > table.drop("code of 32")).all(axis=None)
    strengths = found["robustness"].sigmas.tolist()
    wide, narrow, wiener = (scores.mean(axis=1) for scores in found["robustness"].scores.values())
    noisy = found["robustness"].noisy_scores["code of 32"].mean(axis=1)
    assert noisy[0] > wide[0] > wiener[0] > narrow[0]
    assert (noisy < wide)[strengths.index(0.15) :].all()
    assert (wide - wiener)[0] < (wide - wiener)[-1] - 1
    assert narrow[-1] > wiener[-1]
    assert table.loc["code of 32", "noise 0.25"] == pytest.approx(wide[strengths.index(0.25)], abs=0.01)


@pytest.mark.slow
def test_photos_under_noise_on_all_of_it(run):
    found, shown = run("photos/plot_1_noise_on_all_of_it.py")
    assert shown == [24, 9]
    for (noisy, similarity), (restored, similarity_restored) in found["quality"].values():
        assert restored > noisy + 9
        assert similarity_restored > similarity + 0.4


@pytest.mark.slow
def test_photos_under_noise_on_a_part(run):
    found, shown = run("photos/plot_2_noise_on_a_part.py")
    assert shown == [32]
    assert all(found["quality"][name] > found["quality"]["noisy"] + 8 for name in found["daes"])
    alike, emphasised = (found["errors"][name] for name in found["daes"])
    assert emphasised[0] < alike[0] < found["errors"]["noisy"][0] / 4  # inside
    assert emphasised[1] > alike[1]  # outside


@pytest.mark.slow
def test_photos_under_noise_on_pixels(run):
    found, shown = run("photos/plot_3_noise_on_pixels.py")
    assert shown == [36, 1]
    noisy, median, *networks = found["quality"].values()
    assert median > max(networks)  # as the text says
    assert min(networks) > noisy + 8
    assert found["quality"]["absolute error"] == max(networks)


@pytest.mark.slow
def test_photos_compared(run):
    found, shown = run("photos/plot_4_comparison.py")
    assert shown == [24]
    table = found["table"]
    assert table.shape == (6, 3)
    assert (table.loc[["dense", "conv", "pooling"]] > table.loc["noisy"] + 3).all(axis=None)
    for name in table.columns:
        assert table.loc["pooling", name] > table.loc[["dense", "conv"], name].max() + 2
    on_all, on_part, on_pixels = (table[name] for name in table.columns)
    assert min(on_all[["pooling", "non-local means"]]) > on_all.drop(["pooling", "non-local means"]).max() + 2
    assert on_part.idxmax() == "pooling"
    assert on_part["non-local means"] < on_part["noisy"] + 0.1
    assert on_pixels.idxmax() == "median filter"


@pytest.mark.slow
def test_photos_of_any_size(run):
    found, shown = run("photos/plot_5_image_denoiser.py")
    assert shown == [16, 4, 6]
    weak, strong = (found["table"][name] for name in found["levels"])
    for by_method in (weak, strong):
        assert by_method.drop("noisy").min() > by_method["noisy"] + 3
        assert by_method["known sigma"] > by_method["blind"]
        assert abs(by_method["estimated sigma"] - by_method["known sigma"]) < 0.2
        assert by_method.idxmax() == "pretrained"
    assert weak["known sigma"] - weak["blind"] > strong["known sigma"] - strong["blind"] + 0.2
    assert weak["non-local means"] > weak["known sigma"] + 0.2
    assert strong["non-local means"] < strong["known sigma"] - 0.1

    too_little, right, too_much = (
        psnr(found["camera"][None], image[None], data_range=1) for image in found["by_sigma"].values()
    )
    assert right > too_little + 1.5
    assert right > too_much + 0.8

    uneven = found["uneven"]
    assert uneven.idxmax() == "pretrained, sigma map"
    assert 0 < uneven["sigma map"] - uneven["blind"] < 1
    assert uneven["blind"] > uneven[["average sigma", "non-local means, average sigma"]].max() + 1
    assert uneven["estimated sigma"] < uneven["average sigma"] - 2


@pytest.mark.slow
def test_dense_autoencoder(run):
    found, shown = run("tutorials/plot_dense_autoencoder.py")
    assert shown == [40, 1]
    assert found["after"] > found["before"] + 2.5
    assert found["dae"].validation_scores_[-1] > found["dae"].validation_scores_[0] + 3
    losses = found["longer"].loss_curve_
    assert losses[-1] < losses[len(losses) // 2] < losses[0]
    at_last = [found["curves"][length][-1] for length in found["lengths"]]
    assert at_last[-1] < max(at_last) - 0.1


@pytest.mark.slow
def test_convolutional_autoencoder(run):
    found, shown = run("tutorials/plot_convolutional_autoencoder.py")
    assert shown == [36, 1, 27, 27, 27]
    noisy, at_half, at_all = (
        dict(zip(found["sigmas"], row, strict=True)) for row in found["scores"].values()
    )
    for sigma in (0.5, 0.75, 1.0):
        assert at_half[sigma] > noisy[sigma] + 6
    assert at_half[0.5] > at_all[0.5]
    assert at_all[1.0] > at_half[1.0]


@pytest.mark.slow
def test_cross_entropy_autoencoder(run, tmp_path):
    found, shown = run("tutorials/plot_cross_entropy_autoencoder.py")
    assert shown == [32, 32, 1, 16, 16]
    noisy = psnr(found["X_test"], found["X_noisy"], data_range=1)
    right, wrong = found["after"].values()
    assert right > noisy + 4
    assert wrong < noisy
    quality = [
        psnr(image[None], found["denoise"](dae, found["corrupt"](image, 0.1))[None], data_range=1)
        for dae in found["medical"].values()
        for image in found["test"].values()
    ]
    recipe, defaults = quality[:4], quality[4:]
    assert all(after > 20.9 for after in recipe)  # 20.0 to 20.8 before
    assert all(better > after for better, after in zip(defaults, recipe, strict=True))

    load_folder = found["load_folder"]
    with pytest.raises(ValueError, match="holds no image"):
        load_folder(tmp_path)
    for name, image in {"a.png": skimage.data.coins(), "b.jpg": skimage.data.retina()}.items():
        skimage.io.imsave(tmp_path / name, image)
    rows = load_folder(tmp_path)
    assert rows.shape == (2, 64 * 64)
    assert rows.dtype == np.float32
    assert rows.min() >= 0
    assert rows.max() <= 1
