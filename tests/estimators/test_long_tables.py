"""Tables of any length: memory maps, Arrow batches, predictions in files."""

from __future__ import annotations

import decimal
import warnings

import numpy as np
import pytest

from sk_denoise import DenoisingAutoencoder, DenseNetwork, GaussianNoiser, TableEncoder
from sk_denoise._long_rows import predict_to_file

# As few rows and entries as a table has that is read in blocks
ROWS, COLUMNS = 2**19, 2**6


def small(**parameters):
    options = {"max_epochs": 1, "random_state": 0, **parameters}
    return DenoisingAutoencoder(DenseNetwork((8,)), latent_dim=4, **options)


@pytest.fixture(scope="module")
def counts():
    """Return small integers of rank 1, sorted by their first column, with a column that is rarely 1."""
    rng = np.random.default_rng(0)
    score = np.sort(rng.normal(size=(ROWS, 1)).astype(np.float32), axis=0)
    rows = np.rint(20 * score * np.ones(COLUMNS, np.float32)).astype(np.float32)
    rows[:, -1] = 0
    rows[12_345, -1] = 1
    return rows


def as_map(folder, array, **options):
    path = folder / "rows.npy"
    stored = np.lib.format.open_memmap(path, "w+", options.pop("dtype", array.dtype), array.shape, **options)
    stored[:] = array
    stored.flush()
    return np.load(path, mmap_mode="r")


@pytest.fixture(scope="module")
def fitted(counts):
    return small(batch_size=4096, noise=5.0).fit(counts)


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "fortran_order"), [(">f4", False), ("f2", True)])
def test_a_memory_map_of_any_type_and_order_gives_the_bits_of_the_array(
    counts, fitted, tmp_path, dtype, fortran_order
):
    rows = as_map(tmp_path, np.clip(counts, -127, 127), dtype=dtype, fortran_order=fortran_order)
    dae = small(batch_size=4096, noise=5.0).fit(rows)
    np.testing.assert_array_equal(dae.predict(counts[:100]), fitted.predict(counts[:100]))


@pytest.mark.slow
def test_a_column_that_varies_in_one_row_is_no_constant_column(counts, fitted):
    assert fitted._preparation_.target_scaler.spread[-1] > 0
    assert fitted.data_range_ == counts.max() - counts.min()


@pytest.mark.slow
def test_pairs_learn_with_weights_and_early_stopping(counts, tmp_path):
    noisy = counts + np.random.default_rng(1).normal(0, 5, counts.shape).astype(np.float32)
    weight = np.ones(ROWS)
    weight[:1000] = 0
    dae = small(batch_size=4096, early_stopping=True, max_epochs=2)
    dae.fit(as_map(tmp_path, noisy), X_clean=counts, sample_weight=weight)
    few = slice(2000, None, 1000)
    left = np.square(dae.predict(noisy[few]) - counts[few]).mean()
    assert left < 0.5 * np.square(noisy[few] - counts[few]).mean()
    assert dae.target_source_ == "X_clean"
    assert len(dae.validation_scores_) == 2


@pytest.mark.slow
def test_gaps_in_a_memory_map_are_masked_or_refused(counts, tmp_path):
    gappy = counts.copy()
    gappy[-1, ::3] = np.nan
    rows = as_map(tmp_path, gappy)
    dae = small(batch_size=4096, noise=5.0, missing="mask").fit(rows)
    assert np.isfinite(dae.predict(rows[-10:])).all()
    with pytest.raises(ValueError, match=r"X contains NaN.*missing="):
        small().fit(rows)


def test_a_memory_map_of_records_is_refused(tmp_path):
    records = np.zeros(100, [("a", "f4"), ("b", "f4")])
    np.save(tmp_path / "records.npy", records)
    with pytest.raises(ValueError, match="structured"):
        small().fit(np.load(tmp_path / "records.npy", mmap_mode="r"))


def correlated(n=600):
    rng = np.random.default_rng(0)
    return (rng.normal(size=(n, 1)) * [1, 2, 3] + 0.1 * rng.normal(size=(n, 3))).astype(np.float32)


@pytest.fixture
def table():
    pa = pytest.importorskip("pyarrow")
    return pa.table(dict(zip("abc", correlated().T, strict=True)))


def test_arrow_tables_and_batches_are_frames(table):
    dae = small().fit(table)
    (batch,) = table.to_batches()
    assert list(dae.feature_names_in_) == ["a", "b", "c"]
    np.testing.assert_array_equal(dae.predict(batch), dae.predict(table.to_pandas()))
    assert dae.predict(batch).dtype == np.float32
    assert dae.partial_fit(batch.slice(0, 1)).n_iter_ == 2


def test_batches_with_other_columns_or_no_rows_are_refused(table):
    dae = small().partial_fit(table)
    with pytest.raises(ValueError, match="same order"):
        dae.partial_fit(table.select(["b", "a", "c"]))
    with pytest.raises(ValueError, match="now missing"):
        dae.partial_fit(table.select(["a", "b"]))
    with pytest.raises(ValueError, match="0 sample"):
        dae.partial_fit(table.slice(0, 0))


def test_nulls_are_gaps_and_change_no_type(table):
    import pyarrow as pa

    whole = table.append_column("n", pa.array(range(600)))
    gappy = table.append_column("n", pa.array([None, *range(599)]))
    dae = small(missing="mask").partial_fit(whole).partial_fit(gappy)
    assert {dae.predict(part).dtype for part in (whole, gappy)} == {np.dtype(np.float64)}
    with pytest.raises(ValueError, match=r"NaN.*missing="):
        small().fit(gappy)


@pytest.mark.parametrize("values", [[decimal.Decimal("1.5")] * 600, ["x", "y"] * 300])
def test_columns_without_plain_numbers_are_named(table, values):
    import pyarrow as pa

    column = pa.array(values)
    column = column.dictionary_encode() if isinstance(values[0], str) else column
    with pytest.raises(ValueError, match=r"'odd' \(d.*TableEncoder"):
        small().fit(table.append_column("odd", column))


def test_long_integers_of_a_table_warn(table):
    import pyarrow as pa

    with pytest.warns(UserWarning, match="'key' holds integers beyond"):
        small().fit(table.append_column("key", pa.array(np.arange(600) + 2**60)))


def test_an_encoder_reads_categories_of_arrow(table):
    import pyarrow as pa

    words = table.append_column("word", pa.array(["x", "y"] * 300).dictionary_encode())
    assert TableEncoder().fit_transform(words).shape == (600, 5)


@pytest.mark.parametrize("name", ["denoised.npy", "denoised.parquet"])
def test_predictions_in_a_file_equal_those_in_memory(table, tmp_path, name):
    dae = small().fit(table)
    expected = dae.predict(table)
    for X in (table, table.to_pandas(), table.to_batches(max_chunksize=70), iter(table.to_batches())):
        result = predict_to_file(dae, X, tmp_path / name, batch_rows=64)
        if name.endswith(".parquet"):
            import pyarrow.parquet as pq

            written = pq.read_table(result)
            assert written.column_names == ["a", "b", "c"]
            result = np.column_stack([column.to_numpy() for column in written.columns])
        np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)
        assert result.dtype == expected.dtype
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_predictions_of_images_and_latent_vectors_go_to_files(tmp_path):
    images = np.random.default_rng(0).random((50, 6, 6), dtype=np.float32)
    dae = small(noise=GaussianNoiser(0.1)).fit(images)
    path = tmp_path / "a.npy"
    np.testing.assert_allclose(predict_to_file(dae, images, path), dae.predict(images), rtol=1e-5, atol=1e-6)
    dae.set_params(output="latent")
    assert predict_to_file(dae, images, path, method="transform", batch_rows=7).shape == (50, 4)
    with pytest.raises(ValueError, match="rows of a table"):
        predict_to_file(dae, images, tmp_path / "a.parquet")


def test_a_failed_call_leaves_the_earlier_file(tmp_path):
    rows = correlated()
    dae = small().fit(rows)
    predict_to_file(dae, rows[:10], tmp_path / "a.npy")
    with pytest.raises(ValueError, match="2 features"):
        predict_to_file(dae, [rows, rows[:, :2]], tmp_path / "a.npy")
    with pytest.raises(ValueError, match="no rows"):
        predict_to_file(dae, [rows[:0]], tmp_path / "a.npy")
    with pytest.raises(ValueError, match="float64"):
        predict_to_file(dae, [rows, rows.astype(np.float64)], tmp_path / "a.npy")
    with pytest.raises(ValueError, match=r"\.npy or \.parquet"):
        predict_to_file(dae, rows, tmp_path / "a.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]
    assert len(np.load(tmp_path / "a.npy")) == 10


def test_a_read_only_array_is_left_alone(tmp_path):
    rows = correlated()
    np.save(tmp_path / "rows.npy", rows)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small().fit(np.load(tmp_path / "rows.npy", mmap_mode="r"))
    np.testing.assert_array_equal(np.load(tmp_path / "rows.npy"), rows)
