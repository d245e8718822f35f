"""What an option of the command line may be, apart from whatever has to be loaded to obey it."""

from typing import Literal

DEFAULT = "default"
"""The bundled scenario where none is named."""

TableFormat = Literal["csv", "parquet", "latex", "markdown"]
DeviceRows = Literal["all", "sample", "none"]
"""Which rows of devices.csv are kept."""

FigureFormat = Literal["svg", "pdf", "png"]
FigureWidth = Literal["column", "page"]
"""For which place in a paper a plot is drawn."""

TrackFormat = Literal["csv", "tensorboard", "mlflow"]
