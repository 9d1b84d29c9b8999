"""sealyard_host.cpu_lists, the one parser of CPU lists on hosts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sealyard_host import cpu_lists

from tests.unit import sysfs_tree


@given(st.frozensets(st.integers(min_value=0, max_value=8191)))
def test_round_trip(cpus: frozenset[int]) -> None:
    assert cpu_lists.parse(sysfs_tree.cpu_list(cpus)) == sorted(cpus)


@given(st.text())
def test_a_text_is_a_list_or_is_refused(text: str) -> None:
    try:
        cpus = cpu_lists.parse(text)
    except ValueError as error:
        assert "no list of CPUs" in str(error)
    else:
        assert cpus == sorted(set(cpus)) and all(each in "0123456789,-" or each.isspace() for each in text)


@pytest.mark.parametrize(
    ("text", "cpus"), [("", []), ("\n", []), ("3", [3]), ("0-2,8\n", [0, 1, 2, 8]), ("4,1-4", [1, 2, 3, 4])]
)
def test_as_the_kernel_writes_it(text: str, cpus: list[int]) -> None:
    assert cpu_lists.parse(text) == cpus


@pytest.mark.parametrize(
    "text", ["a", "3-", "-3", "3-1", "1,,2", "1;2", "0x1", "1-2-3", "²", "٣", "0-99999999999", "all", "1 2"]
)
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no list of CPUs"):
        cpu_lists.parse(text)


def test_allowed_cpus_of_a_process() -> None:
    assert cpu_lists.allowed("Name:\tsh\nCpus_allowed:\tff\nCpus_allowed_list:\t0-7\n") == "0-7"
    assert cpu_lists.allowed("Name:\tsh\n") == ""
