import pytest

from syncd.sources.engage_inbox.hooks import key_of


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("Lapsed Trials", "lapsed_trials"),
        ("  VIP (EU) / 2026 ", "vip_eu_2026"),
        ("already_a_key", "already_a_key"),
        ("Käufer & Freunde", "käufer_freunde"),
        ("__", ""),
        ("!?", ""),
    ],
)
def test_the_key_of_an_announced_audience_is_its_name_in_snake_case(name, key):
    assert key_of(name) == key
