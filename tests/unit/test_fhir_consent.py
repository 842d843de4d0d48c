"""Consents as FHIR R4: out and in again they are the same, and what cannot be kept exactly is refused."""

import copy
import datetime as dt
import json
from dataclasses import replace
from itertools import product
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from fhir.resources.R4B.consent import Consent as FhirConsent
from hypothesis import given
from hypothesis import strategies as st

from cloud_bridge.access.consent import Consent
from cloud_bridge.access.model import DataType, Role
from cloud_bridge.access.texts import MOST_BYTES, UTF8, Text, wordings
from cloud_bridge.connectors.base import Identifier
from cloud_bridge.connectors.fhir_consent import (
    DATA,
    NAMED,
    ROLE,
    Known,
    consent_resource,
    resources,
    statements,
)
from wire_format.errors import Rejected

pytestmark = pytest.mark.no_cover  # about consents as FHIR, which have no floor

WHO = Identifier("https://hospital.example/id/patient", "42")
NOW = dt.datetime(2026, 11, 25, 9, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
KNOWN = Known(lambda who: "patient-1" if who == WHO else None, ZoneInfo("Asia/Shanghai"), NOW)
ONE = Consent(
    UUID(int=7),
    "patient-1",
    "organization:clinic",
    DataType.BLOOD_PRESSURE,
    "2026-1",
    NOW - DAY,
    NOW + DAY,
    "daughter",
    NOW - DAY,
)

moments = st.integers(0, 10**15).map(lambda us: NOW - 2000 * DAY + dt.timedelta(microseconds=us))
words = st.text("abcXYZ 0123-社区", min_size=1, max_size=12).filter(lambda text: text.strip() == text)
consents = st.builds(
    Consent,
    st.uuids(),
    st.just("patient-1"),
    st.sampled_from([role.value for role in Role]) | words.map(lambda name: f"organization:{name}"),
    st.sampled_from(DataType),
    words,
    moments,
    st.none() | moments,
    words,
    moments,
)


texts = st.lists(
    st.builds(
        Text,
        st.sampled_from(["", "en", "zh-Hans"]),
        st.sampled_from([UTF8, "application/pdf"]),
        st.binary(min_size=1),
    ),
    max_size=3,
    unique=True,
)


@given(consents, st.none() | moments, words, texts)
def test_out_and_in_again_it_is_the_same(
    one: Consent, withdrawn_at: dt.datetime | None, by: str, agreed: list[Text]
) -> None:
    one = replace(one, texts=wordings(agreed))
    if withdrawn_at is not None:
        one = replace(one, withdrawn_at=withdrawn_at, withdrawn_by=by)
    resource = consent_resource(one, WHO, NOW, agreed)
    FhirConsent.model_validate(copy.deepcopy(resource))
    (said,) = statements(json.loads(json.dumps(resource)), KNOWN)
    assert said.consent == one
    assert said.texts == tuple(agreed)
    assert not said.void


def test_a_resource_says_whether_it_holds() -> None:
    assert consent_resource(ONE, WHO, NOW)["status"] == "active"
    assert consent_resource(replace(ONE, valid_from=NOW + DAY), WHO, NOW)["status"] == "active"
    assert consent_resource(ONE, WHO, NOW + DAY)["status"] == "inactive"
    withdrawn = replace(ONE, withdrawn_at=NOW, withdrawn_by="p-1")
    assert consent_resource(withdrawn, WHO, NOW)["status"] == "inactive"
    assert consent_resource(withdrawn, WHO, NOW)["provision"]["period"]["end"] == (NOW + DAY).isoformat()


def theirs(**changes: Any) -> dict[str, Any]:
    """A Consent of another system: two recipients, two kinds of data, whole days."""
    resource = consent_resource(ONE, WHO, NOW)
    resource["identifier"] = [{"system": "https://clinic.example/consent", "value": "7-v2"}]
    provision = resource["provision"]
    provision["period"] = {"start": "2026-11-01", "end": "2026-11-30"}
    provision["code"] = [
        {"coding": [{"system": "http://loinc.org", "code": "85354-9"}]},
        {"coding": [{"system": DATA, "code": "glucose"}, {"system": "http://loinc.org", "code": "2339-0"}]},
    ]
    nurse = {"identifier": {"system": ROLE, "value": "nurse"}}
    provision["actor"].append({"role": provision["actor"][0]["role"], "reference": nurse})
    resource["meta"], resource["id"] = {"versionId": "3"}, "x"
    return resource | changes


def test_several_recipients_and_kinds_are_a_consent_each() -> None:
    said = statements(theirs(), KNOWN)
    pairs = product(("organization:clinic", "nurse"), (DataType.BLOOD_PRESSURE, DataType.GLUCOSE))
    assert {(one.consent.to, one.consent.data) for one in said} == set(pairs)
    assert len({one.consent.consent_id for one in said}) == 4
    assert said == statements(theirs(), KNOWN)
    # A day begins in the hospital's zone, and the last day is part of the period.
    first = said[0].consent
    assert first.valid_from == dt.datetime(2026, 10, 31, 16, tzinfo=dt.UTC)
    assert first.valid_until == dt.datetime(2026, 11, 30, 16, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("status", "end", "withdrawn_at", "void"),
    [
        ("inactive", "2026-11-30", NOW, False),
        ("inactive", "2026-11-24", None, False),
        ("rejected", "2026-11-30", NOW, True),
        ("entered-in-error", "2026-11-30", NOW, True),
    ],
)
def test_a_status_ends_it(status: str, end: str, withdrawn_at: dt.datetime | None, void: bool) -> None:
    resource = theirs(status=status)
    resource["provision"]["period"]["end"] = end
    for said in statements(resource, KNOWN):
        assert (said.consent.withdrawn_at, said.void) == (withdrawn_at, void)


def test_without_a_word_the_patient_gave_it_from_that_day_on() -> None:
    resource = theirs()
    del resource["performer"], resource["provision"]["period"]
    one = statements(resource, KNOWN)[0].consent
    assert (one.given_by, one.valid_from, one.valid_until) == ("patient-1", ONE.given_at, None)
    resource["performer"] = [{"reference": "Patient/9"}]
    assert statements(resource, KNOWN)[0].consent.given_by == "Patient/9"


REFUSED: list[tuple[tuple[str | int, ...], Any, str]] = [
    (("provision", "provision"), [{"type": "deny"}], r"provision\.provision: Extra inputs"),
    (("provision", "type"), "deny", "permit"),
    (("provision", "securityLabel"), [{"code": "R"}], "securityLabel"),
    (("provision", "dataPeriod"), {"start": "2026"}, "dataPeriod"),
    (("provision", "class"), [{"code": "Observation"}], "class"),
    (("provision", "purpose", 0, "code"), "HRESCH", "purpose must be TREAT"),
    (("provision", "purpose", 0, "system"), "urn:x", "purpose must be TREAT"),
    (("provision", "code", 0, "coding", 0, "code"), "29463-7", "29463-7 is not one kind of data as a whole"),
    (("provision", "code", 1, "coding", 0, "code"), "gossip", "2339-0, gossip is not one kind"),
    (("provision", "code", 1, "coding", 1, "code"), "85354-9", "not one kind"),
    (("provision", "code", 1, "coding"), [], "a code of another system"),
    (("provision", "code"), [], "provision.code"),
    (("provision", "actor"), [], "provision.actor"),
    (
        ("provision", "actor", 0, "reference"),
        {"reference": "Organization/1"},
        "provision.actor must be identified",
    ),
    (("provision", "actor", 1, "reference", "identifier", "value"), "cook", "'cook' is nobody"),
    (("provision", "actor", 0, "role", "coding", 0, "code"), "CST", "role must be IRCP"),
    (("provision", "period", "start"), "2026", "start must be a date and a time with its zone"),
    (("provision", "period", "start"), "2026-02-30", "start is no day"),
    (("provision", "period", "end"), "2026-11-30T10:00:00", "end must be a date and a time"),
    (("provision", "period", "end"), "9999-12-31", "end is no day"),
    (("modifierExtension",), [{"url": "urn:x"}], "modifierExtension"),
    (("implicitRules",), "urn:x", "implicitRules"),
    (("extension",), [{"url": "urn:x"}], "extension"),
    (("extension",), [{"url": "urn:kiteline:withdrawal", "extension": [{"url": "at"}]}], "it is active"),
    (("verification",), [{"verified": False}], "verification"),
    (("scope", "coding", 0, "code"), "research", "scope must be patient-privacy"),
    (("policyRule", "coding", 0, "code"), "OPTOUT", "policyRule must be OPTIN"),
    (("status",), "draft", "status"),
    (("patient",), {"reference": "Patient/1"}, "must be enrolled"),
    (("patient", "identifier", "value"), "43", "must be enrolled"),
    (("dateTime",), "2026-11-01", "dateTime must be a date and a time"),
    (("identifier",), [{"system": "urn:kiteline:consent", "value": str(UUID(int=7))}], "of one consent each"),
    (("identifier",), [{"system": "urn:kiteline:consent", "value": "x"}], "of one consent each"),
    (("identifier",), [], "identifier"),
    (("resourceType",), "Patient", "resourceType"),
]


@pytest.mark.parametrize(("where", "what", "said"), REFUSED)
def test_what_cannot_be_kept_exactly_is_refused(where: tuple[str | int, ...], what: Any, said: str) -> None:
    resource = json.loads(json.dumps(theirs()))
    part: Any = resource
    for step in where[:-1]:
        part = part[step]
    part[where[-1]] = what
    with pytest.raises(Rejected, match=said):
        statements(resource, KNOWN)


AGREED = {
    "title": "2026-1",
    "contentType": "application/pdf",
    "language": "de",
    "data": "JVBE\nRg==",
    "size": 4,
    "hash": "ObbXPv82STugZ05IJVqdgXJLRSE=",
}


def test_a_foreign_text_is_kept_and_one_that_is_only_pointed_to_is_not() -> None:
    resource = theirs(
        sourceAttachment=AGREED | {"creation": "2026-11-01", "url": "https://clinic.example/1.pdf"}
    )
    for said in statements(resource, KNOWN):
        assert said.texts == (Text("de", "application/pdf", b"%PDF"),)
        assert said.consent.texts == wordings(said.texts)
    elsewhere = {"title": "1", "url": "https://clinic.example/1.pdf", "hash": AGREED["hash"], "size": 4}
    for said in statements(theirs(sourceAttachment=elsewhere), KNOWN):
        assert (said.texts, said.consent.texts) == ((), ())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"data": "JVBF"}, "another size or hash"),
        ({"size": 5}, "another size or hash"),
        ({"hash": "AAAA"}, "another size or hash"),
        ({"data": "J"}, "no base64"),
        ({"data": "é==="}, "no base64"),
        ({"contentType": None}, "no contentType"),
        ({"data": "A" * (2 * MOST_BYTES)}, "longer than 1 MiB"),
        ({"_data": {"extension": []}}, "Extra inputs"),
    ],
)
def test_a_text_that_is_not_what_it_says_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(Rejected, match=said):
        statements(theirs(sourceAttachment=AGREED | change), KNOWN)


leaves = st.none() | st.booleans() | st.text(max_size=5) | st.integers()
documents = st.recursive(leaves, lambda one: st.lists(one) | st.dictionaries(st.text(max_size=9), one))


@given(documents)
def test_whatever_a_file_holds_it_is_refused_in_words(document: Any) -> None:
    (found,) = resources(document)
    with pytest.raises(Rejected):
        statements(found, KNOWN)


def test_a_bundle_is_its_resources() -> None:
    assert resources({"resourceType": "Bundle", "entry": [{"resource": 1}, {"resource": 2}]}) == [1, 2]
    assert resources({"resourceType": "Bundle"}) == []
    for entries in ({}, [1], [{}]):
        with pytest.raises(Rejected, match="Bundle cannot be read"):
            resources({"resourceType": "Bundle", "entry": entries})


def test_an_organization_is_named_as_it_is() -> None:
    (actor,) = consent_resource(replace(ONE, to="organization:社区 一"), WHO, NOW)["provision"]["actor"]
    assert actor["reference"]["identifier"] == {"system": NAMED, "value": "社区 一"}
