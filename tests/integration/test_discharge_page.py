"""What a discharge plan leaves on the page: an overdue visit as an item, and each step in the record."""

from pathlib import Path

from cloud_bridge.access.model import Role
from tests.doubles.discharge_plans import DEFAULTS, plan
from tests.doubles.page_visitor import visitor


async def test_an_overdue_visit_of_somebody_without_a_home_is_an_item_in_both_languages(
    tmp_path: Path,
) -> None:
    async with visitor(tmp_path, filled=None) as one:
        one.desk.store.discharges.take(plan(), DEFAULTS, "hl7v2:HIS|HOSP", one.desk.now)
        one.desk.wake()
        one.later(hours=73)
        one.desk.wake()
        page = (await one.enter()).text
        assert "Patient 42" in page
        assert "No first visit by the family doctor within 72 hours of the discharge" in page
        assert "出院后 72 小时内家庭医生未完成首次随访" in (await one.enter("zh-Hans")).text
        (alert,) = [a for a in one.desk.store.alerts.open_alerts() if a.finding.rule == "FIRST-VISIT"]
        await one.acknowledge(alert.alert_id)
        seen = one.desk.store.alerts.alert(alert.alert_id)
        assert seen is not None
        assert seen.acknowledged_by == "nurse-7"


async def test_the_auditor_reads_what_a_plan_changed(tmp_path: Path) -> None:
    async with visitor(tmp_path, filled=None, accounts=True) as one:
        one.desk.store.discharges.take(plan(), DEFAULTS, "hl7v2:HIS|HOSP", one.desk.now)
        one.hire("auditor-1", Role.AUDITOR)
        await one.sign_in("auditor-1")
        page = (await one.http.get("/audit")).text
        assert "carried out a discharge plan" in page
        assert "programme hypertension joined" in page
        assert "hl7v2:HIS|HOSP" in page
