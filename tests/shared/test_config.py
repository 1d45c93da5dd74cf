"""Bad settings end the process at start with one line; every setting is documented."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

from shared.config import Settings, load_partners, load_settings
from shared.errors import BadConfiguration
from shared.migrate import service_names

ROOT = Path(__file__).resolve().parents[2]


def test_every_setting_of_every_service_is_in_the_operators_manual() -> None:
    manual = (ROOT / "docs/operations.md").read_text()
    for name in service_names():
        settings: type[Settings] = importlib.import_module(f"services.{name}.__main__").SERVICE.settings
        for field, description in settings.model_fields.items():
            assert f"`ORDERMESH_{field.upper()}`" in manual, f"{name}: {field} is missing in docs/operations.md"
            assert description.description, f"{name}: {field} does not say what it means"


def test_wrong_settings_are_told_all_at_once_by_the_names_that_people_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "AMQP_URL"):
        monkeypatch.delenv(f"ORDERMESH_{name}", raising=False)
    monkeypatch.setenv("ORDERMESH_OPERATOR_TOKEN", "short")
    monkeypatch.setenv("ORDERMESH_BATCH_MESSAGES", "many")
    with pytest.raises(BadConfiguration) as raised:
        load_settings(Settings)
    line = str(raised.value)
    assert "\n" not in line
    for name in ("ORDERMESH_DATABASE_URL", "ORDERMESH_AMQP_URL", "ORDERMESH_OPERATOR_TOKEN", "ORDERMESH_BATCH_MESSAGES"):
        assert name in line


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("{", "is no JSON"),
        (json.dumps({"channels": [{"code": "Not A Code", "base_url": "http://x"}]}), "channels.0.code"),
        (json.dumps({"channel": []}), "channel"),
    ],
)
def test_a_wrong_partners_file_is_named_with_the_field(tmp_path: Path, content: str, named: str) -> None:
    file = tmp_path / "partners.json"
    file.write_text(content)
    with pytest.raises(BadConfiguration, match=named):
        load_partners(file)


def test_a_missing_partners_file_is_told_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(BadConfiguration, match=r"cannot read .*nowhere\.json"):
        load_partners(tmp_path / "nowhere.json")
