"""Hazards of this field that the platform has met each have a test, found by the number in its name.

S are about security, R about reliability. The list only grows: a hazard that loses its last test fails here.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("core/tests", "sdk/tests", "plugins", "examples", "tests")

HAZARDS = {
    "s01": "no shell, anywhere",
    "s04": "a closed catalogue of orders, judged again where they are carried out",
    "s06": "a forged message in the queue runs nothing",
    "s07": "what one site can reach of the machine's sockets",
    "s08": "no data that is code",
    "s10": "planted links lead nowhere",
    "s11": "folders that are exchanged with links in the midst of the work",
    "s12": "hard links, FIFOs and devices hold nothing up and give nothing away",
    "s13": "owners and modes are changed of what was opened, never of what a name leads to",
    "s14": "root writes nothing where a site may",
    "s19": "one site's files are not read through nginx as another's",
    "s20": "one site's PHP sees nothing of another's",
    "s21": "what is rendered for nginx says what was meant, and nothing else",
    "s22": "no raw configuration from a site",
    "s23": "the test of a configuration writes nothing that a site has named",
    "s24": "a PHP pool cannot be made to run as somebody else",
    "s25": "PHP options from a closed list, with bounds",
    "s29": "what is not yours looks like nothing, and every operation names its permission",
    "s30": "identifiers of others inside a request",
    "s33": "fields that are not offered are refused",
    "s35": "nothing is open that was not meant to be",
    "s38": "sessions are made anew and end for good",
    "s40": "another origin cannot act for a signed-in person",
    "s44": "what was revoked ends, streams too",
    "s47": "addresses that a client claims",
    "s48": "answers do not tell who exists",
    "s59": "a domain has one form",
    "s60": "a domain has one owner, and so has what is above and below it",
    "s61": "reserved names",
    "s63": "unknown host names get no site",
    "s65": "a removed user leaves nothing, and its number is never given out again",
    "s66": "secrets show nowhere",
    "s67": "files of the platform are for their owner",
    "s68": "a site that takes all it gets does not take its neighbours' part",
    "s69": "a site that is full is stopped alone",
    "s70": "requests have limits",
    "s72": "units let programs do no more than they must",
    "s75": "plugins cannot leave their room",
    "r01": "killed at any step",
    "r02": "stopped between commit and doorbell",
    "r03": "a worker that dies in its work",
    "r04": "a full disk",
    "r05": "no inode left",
    "r06": "power lost while a file is written",
    "r07": "nothing is left over",
    "r08": "a configuration that the server refuses",
    "r09": "everything can be started from what is on disk",
    "r10": "no PHP at all, or one that cannot start",
    "r11": "one broken site concerns one site",
    "r12": "no failed request during a change",
    "r13": "a connection to the database is cut",
    "r14": "transactions that wait for each other",
    "r15": "a queue that lost everything",
    "r16": "a message that cannot be worked off",
    "r17": "two workers at one site",
    "r18": "deleted while it is made",
    "r30": "clocks that jump",
    "r31": "a reboot in the middle",
    "r33": "parts of different versions",
    "r34": "a version of PHP that was removed",
    "r37": "changed by hand",
    "r38": "a deletion that was cut off",
    "r39": "what was there before is not ours",
}


def covered() -> set[str]:
    names = [
        name
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("test_*.py")
        for name in re.findall(r"^(?:async )?def test_([sr]\d\d_\w+)", path.read_text(), re.MULTILINE)
    ]
    return {number for name in names for number in re.findall(r"(?:^|_)([sr]\d\d)(?=_)", name)}


@pytest.mark.parametrize("hazard", HAZARDS, ids=str)
def test_hazard_has_a_test(hazard: str) -> None:
    assert hazard in covered()
