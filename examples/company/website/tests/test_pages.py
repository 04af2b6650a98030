"""The pages over HTTP, with the services behind them answering, refusing or away."""

import subprocess
import sys

import httpx
import pytest

from .conftest import NOTICE, Upstream, environment, serving

ACCOUNT = {"email": "ann@example.com", "name": "Ann", "region": "US-CA"}
PAGES = ("/", "/register", "/privacy", "/choices")


@pytest.mark.promise(82)
def test_the_home_page_shows_the_notice_and_links_to_the_policy(site: str, upstream: Upstream) -> None:
    page = httpx.get(site).text
    assert NOTICE["headline"] in page
    assert f'href="{NOTICE["url"]}"' in page
    assert f'href="{upstream.url}/consent/policy"' in page


def test_the_notice_stays_when_consent_is_away_and_goes_when_there_is_none(site: str, upstream: Upstream) -> None:
    httpx.get(site)
    upstream.answers["/consent/v1/notice"] = (503, {})
    assert str(NOTICE["headline"]) in httpx.get(site).text
    upstream.answers["/consent/v1/notice"] = (204, None)
    assert str(NOTICE["headline"]) not in httpx.get(site).text


@pytest.mark.parametrize(
    "bad",
    [
        NOTICE | {"until": "2020-01-01T00:00:00Z"},
        NOTICE | {"url": "javascript:alert(1)"},
        {"version": 2},
        [],
    ],
)
def test_a_notice_that_is_over_or_broken_is_not_shown(site: str, upstream: Upstream, bad: object) -> None:
    upstream.answers["/consent/v1/notice"] = (204, None)
    httpx.get(site)
    upstream.answers["/consent/v1/notice"] = (200, bad)
    page = httpx.get(site)
    assert page.status_code == 200
    assert 'class="notice"' not in page.text


@pytest.mark.parametrize("path", [*PAGES, "/nothing"])
def test_every_page_has_the_headers_and_sets_no_cookie(site: str, upstream: Upstream, path: str) -> None:
    answer = httpx.get(site + path)
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "set-cookie" not in answer.headers
    assert "<script" not in answer.text
    assert " style=" not in answer.text


@pytest.mark.promise(50)
def test_registering_records_the_choice_with_the_words_beside_it(site: str, upstream: Upstream) -> None:
    answer = httpx.post(f"{site}/register", data=ACCOUNT | {"third_party": "yes", "once": "x"})
    assert answer.status_code == 200
    assert upstream.bodies("/accounts/v1/customers") == [ACCOUNT | {"offers": True}]
    [choice] = upstream.bodies("/consent/v1/choices")
    assert choice.pop("text") in httpx.get(f"{site}/register").text
    assert choice == {
        "subject": "account/a1",
        "purpose": "third_party_marketing",
        "choice": "granted",
        "channel": "website",
    }


@pytest.mark.promise(43)
def test_an_unticked_box_is_a_recorded_refusal_and_no_offers_one_of_its_own(site: str, upstream: Upstream) -> None:
    httpx.post(f"{site}/register", data=ACCOUNT | {"no_offers": "yes"})
    made = [(body["purpose"], body["choice"]) for body in upstream.bodies("/consent/v1/choices")]
    assert made == [("third_party_marketing", "refused"), ("own_marketing", "refused")]
    assert upstream.bodies("/accounts/v1/customers")[0]["offers"] is False


def test_an_address_that_has_an_account_gets_the_same_answer_and_keeps_its_choices(
    site: str, upstream: Upstream
) -> None:
    new = httpx.post(f"{site}/register", data=ACCOUNT)
    upstream.asked.clear()
    upstream.answers["/accounts/v1/customers"] = (409, {})
    known = httpx.post(f"{site}/register", data=ACCOUNT)
    assert (known.status_code, known.text) == (new.status_code, new.text)
    assert upstream.bodies("/consent/v1/choices") == []


def test_consent_away_is_said_and_the_account_stands(site: str, upstream: Upstream) -> None:
    upstream.answers["/consent/v1/choices"] = (503, {})
    answer = httpx.post(f"{site}/register", data=ACCOUNT | {"third_party": "yes"})
    assert answer.status_code == 200
    assert "could not record your choices" in answer.text


@pytest.mark.promise(67)
def test_a_deletion_request_is_handed_to_dsr_once_per_form(site: str, upstream: Upstream) -> None:
    once = "0190a1b2-0000-7000-8000-000000000000"
    for _ in range(2):
        answer = httpx.post(f"{site}/privacy", data={"email": " ann@example.com ", "once": once})
        assert answer.status_code == 202
        assert "ann@" not in answer.text
    sent = [(body, headers) for path, body, headers in upstream.asked if path == "/dsr/v1/requests"]
    assert [body for body, _ in sent] == [{"type": "delete", "email": "ann@example.com"}] * 2
    assert len({headers["idempotency-key"] for _, headers in sent}) == 1
    assert {headers["authorization"] for _, headers in sent} == {"Bearer a-token"}


@pytest.mark.promise(59)
@pytest.mark.parametrize("path", ["/register", "/choices", "/privacy"])
def test_a_used_number_with_another_address_is_another_form(site: str, upstream: Upstream, path: str) -> None:
    once = {"once": "0190a1b2-0000-7000-8000-000000000001", "third_party_marketing": "yes"}
    for email in ("ann@example.com", "bob@example.com"):
        httpx.post(site + path, data=ACCOUNT | once | {"email": email})
    asked = [(body["email"], headers["idempotency-key"]) for _, body, headers in upstream.asked if "email" in body]
    assert len(asked) == len(set(asked)) == len({key for _, key in asked}) == 2


@pytest.mark.promise(59)
@pytest.mark.parametrize("consent", [204, 503])
@pytest.mark.parametrize(
    ("path", "asked", "unknown"),
    [("/register", "/accounts/v1/customers", 409), ("/choices", "/accounts/v1/customers/find", 404)],
)
def test_neither_time_nor_what_is_away_tells_whether_an_address_is_known(
    site: str, upstream: Upstream, path: str, asked: str, unknown: int, consent: int
) -> None:
    answers = []
    for status in (upstream.answers[asked][0], unknown):
        upstream.answers |= {
            "/consent/v1/choices": (201 if consent == 204 else consent, {}),
            asked: (status, {"id": "a1"}),
        }
        upstream.answers["/consent/v1/notice"] = (consent, {})
        answers.append(httpx.post(site + path, data=ACCOUNT | {"third_party_marketing": "yes"}))
    assert len({(answer.status_code, answer.text) for answer in answers}) == 1
    assert all(answer.elapsed.total_seconds() >= 0.5 for answer in answers)


def test_the_token_is_asked_for_the_called_service(site: str, upstream: Upstream) -> None:
    upstream.answers["/dsr/v1/requests"] = (401, {})
    httpx.post(f"{site}/privacy", data={"email": "ann@example.com"})  # forgets the token
    upstream.reset()
    assert httpx.post(f"{site}/privacy", data={"email": "ann@example.com"}).status_code == 202
    [asked] = upstream.bodies("/issuer/token")
    assert asked == {"form": "grant_type=client_credentials&audience=dsr"}


@pytest.mark.promise(59)
def test_withdrawing_gets_the_same_answer_for_every_address(site: str, upstream: Upstream) -> None:
    fields = {"email": "ann@example.com", "third_party_marketing": "yes"}
    known = httpx.post(f"{site}/choices", data=fields)
    [choice] = upstream.bodies("/consent/v1/choices")
    assert (choice["subject"], choice["choice"]) == ("account/a1", "withdrawn")
    upstream.answers["/consent/v1/choices"] = (410, {})  # it is being deleted, and consent has done its part
    leaving = httpx.post(f"{site}/choices", data=fields)
    upstream.answers["/accounts/v1/customers/find"] = (404, {})
    unknown = httpx.post(f"{site}/choices", data=fields)
    assert len({(each.status_code, each.text) for each in (known, leaving, unknown)}) == 1


@pytest.mark.promise(50)
def test_a_forged_choice_grants_nothing_for_the_page_only_withdraws(site: str, upstream: Upstream) -> None:
    address = {"email": "ann@example.com"}
    forged = {"choice": "granted", "third_party": "yes", "purpose": "targeted_advertising", "subject": "account/b1"}
    assert httpx.post(f"{site}/choices", data=address | forged).status_code == 422
    assert upstream.asked == []
    stop = {"third_party_marketing": "granted", "own_marketing": "granted"}
    assert httpx.post(f"{site}/choices", data=address | forged | stop).status_code == 200
    assert upstream.bodies("/accounts/v1/customers/a1") == [{"offers": False}]
    made = [(body["subject"], body["purpose"], body["choice"]) for body in upstream.bodies("/consent/v1/choices")]
    assert made == [
        ("account/a1", "third_party_marketing", "withdrawn"),
        ("account/a1", "own_marketing", "withdrawn"),
    ]


@pytest.mark.promise(60)
def test_no_more_offers_ends_the_mailings_and_is_recorded(site: str, upstream: Upstream) -> None:
    assert httpx.post(f"{site}/choices", data={"email": "ann@example.com", "own_marketing": "yes"}).status_code == 200
    assert upstream.bodies("/accounts/v1/customers/a1") == [{"offers": False}]
    [choice] = upstream.bodies("/consent/v1/choices")
    assert (choice["purpose"], choice["choice"]) == ("own_marketing", "withdrawn")


@pytest.mark.parametrize(
    ("path", "fields", "shown"),
    [
        ("/register", ACCOUNT | {"email": "zzz<b>"}, "Type your e-mail address"),
        ("/register", ACCOUNT | {"name": ""}, "Type your name"),
        ("/register", ACCOUNT | {"region": "Zed"}, "Choose where you live"),
        ("/privacy", {"email": "zzz@nowhere"}, "Type your e-mail address"),
        ("/privacy", {}, "Type your e-mail address"),
        ("/choices", {"email": "zzz@example.com"}, "Tick at least one"),
    ],
)
def test_a_wrong_field_is_named_and_never_repeated(
    site: str, upstream: Upstream, path: str, fields: dict[str, str], shown: str
) -> None:
    answer = httpx.post(site + path, data=fields)
    assert answer.status_code == 422
    assert shown in answer.text
    assert 'role="alert"' in answer.text
    assert "zzz" not in answer.text
    assert upstream.asked == []


@pytest.mark.parametrize(
    ("path", "upstream_path"),
    [
        ("/register", "/accounts/v1/customers"),
        ("/privacy", "/dsr/v1/requests"),
        ("/choices", "/accounts/v1/customers/find"),
    ],
)
@pytest.mark.parametrize(("status", "shown"), [(503, 503), (500, 503), (403, 503), (422, 422)])
def test_a_service_that_is_away_or_refuses(
    site: str, upstream: Upstream, path: str, upstream_path: str, status: int, shown: int
) -> None:
    upstream.answers[upstream_path] = (status, {})
    answer = httpx.post(site + path, data=ACCOUNT | {"third_party_marketing": "yes"})
    assert answer.status_code == shown
    assert "ann@" not in answer.text


def test_an_oversized_or_undecodable_form_is_refused(site: str, upstream: Upstream) -> None:
    assert httpx.post(f"{site}/privacy", content=b"email=" + b"a" * 20_000).status_code == 413
    assert httpx.post(f"{site}/privacy", content=b"email=\xff").status_code == 400
    assert upstream.asked == []


def test_the_home_page_stands_while_everything_else_is_away() -> None:
    with serving(Upstream(url="http://127.0.0.1:9")) as site:
        page = httpx.get(site)
        assert page.status_code == 200
        assert 'class="notice"' not in page.text
        assert httpx.post(f"{site}/privacy", data=ACCOUNT).status_code == 503


def test_all_faults_of_the_settings_are_told_at_once(upstream: Upstream) -> None:
    env = environment(upstream, 1) | {"SERVICE_URLS": "{}", "COMPANY": "nowhere.toml", "ISSUER": ""}
    run = subprocess.run([sys.executable, "-m", "website"], env=env, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    for fault in ("ISSUER is not set", "names no dsr", "COMPANY is not a file"):
        assert fault in run.stderr
