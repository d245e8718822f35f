"""A regression: miles per gallon of cars (Quinlan's Auto MPG, UCI; in mlxtend), American ones as general data.

The task is the European and Japanese cars of the same years, lighter and thriftier: a real shift. Features are
cylinders, displacement, horsepower, weight, acceleration and model year; features and target are standardised by the
general data. A sample's source is its model year.
"""

import numpy as np

from prefine.models.data.samples import DataPair, Samples

YEAR, ORIGIN = 5, 6
AMERICAN = 1
HELD_OUT = 3


def american_to_imported() -> DataPair:
    """245 general cars, 98 for the task, every third imported car (49) held out."""
    from mlxtend.data import autompg_data  # reads text

    table, mpg = autompg_data()
    american = table[:, ORIGIN] == AMERICAN
    features = table[:, : YEAR + 1]
    mean, deviation = features[american].mean(axis=0), features[american].std(axis=0)
    x = ((features - mean) / deviation).astype(np.float32)
    y = ((mpg - mpg[american].mean()) / mpg[american].std()).astype(np.float32)
    cars = Samples(x, y, table[:, YEAR].astype(np.int64))
    imported = np.flatnonzero(~american)
    held_out = np.arange(len(imported)) % HELD_OUT == HELD_OUT - 1
    return DataPair(
        name="auto mpg, american to imported",
        kind="regression",
        outputs=1,
        general=cars.take(np.flatnonzero(american)),
        task=cars.take(imported[~held_out]),
        test=cars.take(imported[held_out]),
    )
