"""Registry: every entry loads, and amounts and networks match their classes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sk_denoise import _registry
from sk_denoise._registry import LazyTable, RegistryEntry, load_entry

TABLES = {
    name: table for name, table in vars(_registry).items() if name.isupper() and isinstance(table, dict)
}
ENTRIES = {
    f"{table}: {name}": entry
    for table, entries in TABLES.items()
    for name, entry in entries.items()
    if isinstance(entry, RegistryEntry)
}


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
def test_every_location_exists(entry):
    assert load_entry(entry).__name__ == entry.name


@pytest.mark.parametrize("name", _registry.NOISES)
def test_an_amount_is_a_parameter_and_the_slider_stays_in_its_range(name):
    noise = _registry.NOISES[name]
    if noise.amount is not None:
        size = noise.amount.unit.size
        amount = noise.amount.slider_start * size
        noiser = load_entry(noise)(**{noise.amount.parameter: amount}, **noise.fixed_parameters)
        assert getattr(noiser, noise.amount.parameter) == amount
        assert size <= amount <= noise.amount.slider_max * size <= noise.amount.max_value


@pytest.mark.parametrize("name", _registry.NETWORKS)
def test_a_network_is_for_the_estimator_that_it_names(name):
    assert load_entry(_registry.NETWORKS[name]).meant_for == _registry.NETWORKS[name].estimator


@pytest.mark.slow
def test_a_table_loads_the_used_entries_only():
    code = (
        "import sys\n"
        "from sk_denoise._registry import NETWORKS, NOISES, OPTIMIZERS, LazyTable\n"
        "noisers = LazyTable(NOISES)\n"
        "assert 'swap' in noisers and 'swop' not in noisers and len(noisers) == len(list(noisers))\n"
        "assert 'GaussianNoiser' in repr(noisers)\n"
        "assert not {'torch', 'numpy', 'sklearn'} & set(sys.modules)\n"
        "noisers['swap']\n"
        "assert 'sk_denoise.noise._replacing' in sys.modules\n"
        "assert 'sk_denoise.networks.dense' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_an_unknown_name_is_a_key_error_as_with_a_dict():
    with pytest.raises(KeyError):
        LazyTable(_registry.NOISES)["swop"]
