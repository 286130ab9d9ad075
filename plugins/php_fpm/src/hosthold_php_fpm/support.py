"""Until when the PHP project mends security holes of each version.

Sources: https://www.php.net/supported-versions.php and https://www.php.net/eol.php, read on 25 November 2026. A
distribution may go on for longer; the setting `ends` says so.
"""

from __future__ import annotations

from datetime import date

ENDS = {
    "5.6": date(2018, 12, 31),
    "7.0": date(2019, 1, 10),
    "7.1": date(2019, 12, 1),
    "7.2": date(2020, 11, 30),
    "7.3": date(2021, 12, 6),
    "7.4": date(2022, 11, 28),
    "8.0": date(2023, 11, 26),
    "8.1": date(2025, 12, 31),
    "8.2": date(2026, 12, 31),
    "8.3": date(2027, 12, 31),
    "8.4": date(2028, 12, 31),
    "8.5": date(2029, 12, 31),
}
