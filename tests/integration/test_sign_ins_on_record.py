"""Who signed in, who did not, when and by which way, in the chained record; and no secret word in it."""

from pathlib import Path

from cloud_bridge.access.model import Action, Role
from cloud_bridge.access.oidc import Local
from cloud_bridge.api.hospital_sign_in import BACK
from cloud_bridge.api.tries import TRIES
from tests.doubles.api_caller import calling
from tests.doubles.oidc_browser import INACTIVE, STALE, UNKNOWN, WEAK, browser
from tests.doubles.oidc_provider import OidcProvider
from tests.doubles.page_visitor import HOST, PASSWORD, Visitor, credentials, visitor

LOCAL, HOSPITAL = "password and code", "the hospital's provider"
NOT_RIGHT = f"{LOCAL}: not right, or the account is locked or off"
Said = tuple[str, str, bool, str]


def said(one: Visitor) -> list[Said]:
    entries = one.desk.store.access.entries(action=Action.SIGN_IN)
    return [(e.account, e.role, e.allowed, e.reason) for e, _ in entries]


async def test_each_sign_in_and_each_failure_is_an_entry(tmp_path: Path) -> None:
    async with visitor(tmp_path, filled=None, accounts=True) as one:
        one.hire("n1", Role.NURSE)
        one.hire("off", Role.NURSE)
        one.desk.store.access.set_active("off", active=False, now=one.desk.now)
        await one.sign_in("n1")
        for name, changes in (
            ("n1", {"password": "wrong"}),
            ("n1", {"code": "000000"}),
            ("off", {}),
            (PASSWORD, {"password": ""}),  # typed into the wrong field
            ("n" * 300, {}),
        ):
            await one.sign_in(name, **changes)
        assert said(one) == [
            ("n1", "nurse", True, LOCAL),
            ("n1", "nurse", False, NOT_RIGHT),
            ("n1", "nurse", False, NOT_RIGHT),
            ("off", "nurse", False, NOT_RIGHT),
            ("", "nobody", False, NOT_RIGHT),
            ("", "nobody", False, NOT_RIGHT),
        ]
        entries = [e for e, _ in one.desk.store.access.entries(action=Action.SIGN_IN)]
        assert {e.at for e in entries} == {one.desk.now}
        assert entries[0].policies == ("everybody-signs-in",)
        kept = str(one.desk.table("audit"))
        assert [w for w in (PASSWORD, credentials().secret, one.code()) if w in kept] == []
        assert one.desk.store.access.broken_at() is None


async def test_guesses_write_no_more_than_may_be_made(tmp_path: Path) -> None:
    async with visitor(tmp_path, filled=None, accounts=True) as one:
        for number in range(TRIES + 5):
            await one.sign_in(f"guess-{number}", code="1")
        assert len(said(one)) == TRIES


async def test_a_policy_that_says_no_keeps_out_who_has_the_right_words(tmp_path: Path) -> None:
    async with visitor(tmp_path, filled=None, accounts=True, policies="") as one:
        one.hire("n1", Role.NURSE)
        assert (await one.sign_in("n1")).status_code == 403
        assert said(one) == [("n1", "nurse", False, LOCAL)]


async def test_the_auditor_sees_them_and_the_patient_has_nothing_to_do_with_them(tmp_path: Path) -> None:
    async with visitor(tmp_path, filled=None, accounts=True) as one:
        one.hire("p1", Role.PATIENT, "home", "patient-1")
        one.hire("a1", Role.AUDITOR)
        await one.sign_in("p1", code="000000")
        await one.sign_in("p1")
        assert "signed in" not in (await one.http.get("/mine")).text
        one.later(seconds=60)
        await one.sign_in("a1")
        page = (await one.http.get("/audit")).text
        assert page.count("<td>signed in</td>") == 3
        assert "not right, or the account is locked or off" in page
        asks = calling(one, "a2", Role.AUDITOR)
        found = await asks.items("/audit", action="sign_in")
        assert [(e["account"], e["allowed"]) for e in found] == [("a1", True), ("p1", True), ("p1", False)]
        await one.sign_in("somebody", code="1")
        page = (await one.http.get("/audit", headers={"accept-language": "zh-CN"})).text
        assert "未知人员" in page
        assert "<td>登录</td>" in page


async def test_by_the_hospitals_provider_too(tmp_path: Path, hospital: OidcProvider) -> None:
    async with browser(tmp_path, hospital, local=Local.ADMINISTRATORS) as one:
        await one.enters()
        hospital.said = {"amr": ["pwd"]}
        await one.is_refused(WEAK)
        hospital.said = {"sub": "somebody-else"}
        await one.is_refused(UNKNOWN)
        hospital.said = {}
        one.page.desk.store.access.set_active("n1", active=False, now=one.page.desk.now)
        await one.is_refused(INACTIVE)
        one.page.desk.store.access.set_active("n1", active=True, now=one.page.desk.now)
        await one.page.sign_in("n1")  # the right words, where only administrators have local accounts
        assert said(one.page) == [
            ("n1", "nurse", True, HOSPITAL),
            ("", "nobody", False, f"{HOSPITAL}: weak"),
            ("", "nobody", False, f"{HOSPITAL}: unknown, subject somebody-else"),
            ("n1", "nurse", False, f"{HOSPITAL}: inactive"),
            ("n1", "nurse", False, f"{LOCAL}: only administrators, others at the hospital's provider"),
        ]


async def test_what_nobody_began_here_writes_nothing_and_the_rest_is_bounded(
    tmp_path: Path, hospital: OidcProvider
) -> None:
    async with browser(tmp_path, hospital) as one:
        for _ in range(3):
            one.says(await one.back(f"http://{HOST}{BACK}?state=x&code=y"), STALE)
        assert said(one.page) == []
        hospital.said = {"amr": ["pwd"]}
        for _ in range(TRIES + 2):
            await one.is_refused(WEAK)
        assert len(said(one.page)) == TRIES
        hospital.said = {}
        assert (await one.sign_in()).status_code == 200
