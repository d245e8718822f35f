"""What an option of ``prefine trace`` may be, apart from whatever has to be loaded to obey it."""

from typing import Literal

Format = Literal["auto", "canonical", "mahimahi", "gnettrack", "cooked", "csv", "npz"]
Unit = Literal["bit/s", "kbit/s", "Mbit/s", "snr_db", "dbm", "gain_db", "gain"]
Gaps = Literal["hold", "outage", "error"]
