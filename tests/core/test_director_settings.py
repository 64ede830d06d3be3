"""director/settings: what is wrong is said together with what to do."""

import pytest
from pydantic import ValidationError

from director.settings import DirectorSettings, words_of

KEYS = {"HALL_TICKET_KEY": "t" * 32, "HALL_PLATFORM_KEY": "p" * 32}


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in [name for name in os.environ if name.startswith("HALL_")]:
        monkeypatch.delenv(name)


def settings(monkeypatch: pytest.MonkeyPatch, **environment: str) -> DirectorSettings:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return DirectorSettings()


def test_a_demo_needs_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    demo = settings(monkeypatch, HALL_DEMO="1")
    assert demo.demo
    assert demo.origins == {"http://127.0.0.1:8000", "http://localhost:8000"}


@pytest.mark.parametrize(
    ("environment", "advice"),
    [
        ({}, "HALL_TICKET_KEY"),
        ({"HALL_TICKET_KEY": "t" * 32}, "HALL_PLATFORM_KEY"),
        ({**KEYS, "HALL_TICKET_KEY": "short"}, "32 characters"),
        ({"HALL_DEMO": "1", "HALL_DIRECTOR_HOST": "0.0.0.0"}, "HALL_DIRECTOR_HOST=127.0.0.1"),
        ({**KEYS, "HALL_PLATFORM_ALGORITHM": "none"}, "HALL_PLATFORM_ALGORITHM"),
        ({**KEYS, "HALL_DIRECTOR_URL": "http://a.example/path"}, "HALL_DIRECTOR_URL"),
        ({**KEYS, "HALL_ALLOWED_ORIGINS": "https://a.example, *"}, "HALL_ALLOWED_ORIGINS"),
        ({**KEYS, "HALL_LEASE_RENEW": "9"}, "out of order"),
        ({**KEYS, "HALL_REDIS_URL": "localhost:6379"}, "HALL_REDIS_URL begins with redis://"),
        ({**KEYS, "HALL_REDIS_URL": "redis+sentinel://a:26379"}, "a Sentinel URL is"),
        ({**KEYS, "HALL_TICKET_KEY": "change-me-" + "x" * 32}, "HALL_TICKET_KEY is still the example's"),
        ({**KEYS, "HALL_PLATFORM_KEY": "change-me-to-the-key"}, "HALL_PLATFORM_KEY is still the example's"),
        ({**KEYS, "HALL_ADMIN_TOKEN": "change-me-to-a-long-string"}, "HALL_ADMIN_TOKEN is still the example's"),
        ({**KEYS, "HALL_ADMIN_TOKEN": " 15-characters- "}, "HALL_ADMIN_TOKEN needs 16 characters at least, it has 14"),
        ({**KEYS, "HALL_ADMIN_TOKEN": "sixteen characters"}, "printable ASCII"),
        ({**KEYS, "HALL_ADMIN_TOKEN": "sechzehn-zeichen-\u00fc"}, "printable ASCII"),
        ({**KEYS, "HALL_TICKET_TTL": "0"}, "greater than 0"),
    ],
)
def test_what_cannot_work_is_refused_with_advice(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], advice: str
) -> None:
    with pytest.raises(ValidationError, match=advice):
        settings(monkeypatch, **environment)


def test_a_setting_that_is_wrong_is_named_as_people_set_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """It once said "Input should be a valid number", and left everybody to guess which."""
    with pytest.raises(ValidationError) as caught:
        settings(monkeypatch, HALL_DEMO="1", HALL_TICKET_TTL="soon", HALL_DIRECTOR_PORT="99999")
    port, ttl = sorted(words_of(caught.value).split("; "))
    assert port.startswith("HALL_DIRECTOR_PORT: Input should be less than")
    assert ttl.startswith("HALL_TICKET_TTL: Input should be a valid number")


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({**KEYS, "HALL_DIRECTOR_URL": "http://a.example/path"}, "HALL_DIRECTOR_URL takes origins"),
        ({}, "set HALL_TICKET_KEY to 32 characters"),
    ],
)
def test_advice_that_names_its_setting_is_not_told_twice(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], words: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        settings(monkeypatch, **environment)
    assert words_of(caught.value).startswith(words)


def test_allowed_origins_come_beside_the_director_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    allowed = settings(
        monkeypatch,
        **KEYS,
        HALL_DIRECTOR_URL="https://chat.example/",
        HALL_ALLOWED_ORIGINS=" https://lms.example/ ,,http://dev.example:3000",
    )
    assert allowed.origins == {"https://chat.example", "https://lms.example", "http://dev.example:3000"}


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = repr(settings(monkeypatch, **KEYS, HALL_ADMIN_TOKEN="the-adminsecret-of-all"))
    assert "tttt" not in shown
    assert "pppp" not in shown
    assert "adminsecret" not in shown


@pytest.mark.parametrize("spaced", ["the-operators-token\n", " the-operators-token "])
def test_what_surrounds_the_operators_token_does_not_count(monkeypatch: pytest.MonkeyPatch, spaced: str) -> None:
    """A file's last newline, say: no header could carry it."""
    assert settings(monkeypatch, **KEYS, HALL_ADMIN_TOKEN=spaced).admin_token == "the-operators-token"
    assert settings(monkeypatch, **KEYS, HALL_ADMIN_TOKEN=" ").admin_token == "", "nobody is an operator"


def test_timings_are_those_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings(monkeypatch, **KEYS, HALL_LEASE_EXPIRE="8").timings.expire == 8.0


def test_redis_may_be_a_server_or_a_sentinel_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for url in ("redis://a/0", "rediss://u:p@a:1/0", "unix:///run/redis", "redis+sentinel://a,b:1/hall"):
        assert settings(monkeypatch, HALL_DEMO="1", HALL_REDIS_URL=url).redis_url == url
