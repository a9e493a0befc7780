"""Every mistake in `invalid/` is told in exactly one line, the one that its file expects."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from config.validate import validate_file

HERE = Path(__file__).parent
CAMPUS = (HERE / "campus.yaml").read_text()
MISTAKES = sorted(HERE.glob("invalid/*.yaml"))


def spoiled(mistake: Path) -> tuple[str, list[str]]:
    """The campus with the mistake in it, and what must be told about it."""
    data = YAML(typ="safe").load(mistake)
    text = data.get("text", CAMPUS)
    for change in data.get("change", ()):
        assert change["from"] in text, f"{mistake.name} changes what campus.yaml does not say: {change['from']}"
        text = text.replace(change["from"], change["to"])
    return text, data["expect"]


def test_the_campus_has_no_mistake_so_that_each_file_adds_exactly_one() -> None:
    assert validate_file(HERE / "campus.yaml").findings == []


def test_there_are_at_least_a_hundred_mistakes() -> None:
    assert len(MISTAKES) >= 100


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda path: path.stem)
def test_a_mistake_is_reported_in_the_words_that_were_agreed_on(mistake: Path, tmp_path: Path) -> None:
    text, expected = spoiled(mistake)
    file = tmp_path / "campus.yaml"
    file.write_text(text)
    reported = [str(finding).replace(str(file), file.name) for finding in validate_file(file).findings]
    assert reported == expected
    assert all("\n" not in line for line in reported), "one mistake, one line"


def test_mistakes_in_different_sections_are_reported_together(tmp_path: Path) -> None:
    """Nobody should learn of the second mistake only after the first is corrected."""
    file = tmp_path / "campus.yaml"
    file.write_text(
        CAMPUS.replace("role: server", "role: sever")
        .replace("gateway: 10.50.0.1", "gateway: 10.50.0")
        .replace('start: "20:00"', 'start: "19:00"')
        .replace("channel:", "chanel:")
        .replace("metallb: 0.16.1", "metalb: 0.16.1")
    )
    reported = [finding.subject_text for finding in validate_file(file).findings]
    assert reported == [
        "network.gateway",
        "nodes[0].role",
        "calendar.periods[1]",
        "platform.monitoring.notifications.slack.chanel",
        "versions.metalb",
    ]


@pytest.mark.parametrize(
    "value",
    ["hunter2", "lyceum@pve!lyceum=01234567-89ab-cdef-0123-456789abcdef", "-----BEGIN RSA PRIVATE KEY-----"],
)
def test_the_value_of_a_secret_is_never_repeated(value: str, tmp_path: Path) -> None:
    file = tmp_path / "campus.yaml"
    file.write_text(CAMPUS.replace("  vlan: 50", f'  vlan: 50\n  password: "{value}"'))
    (finding,) = validate_file(file).findings
    assert value not in str(finding) + str(finding.as_json())


def test_a_long_ordinary_text_is_not_taken_for_a_secret(tmp_path: Path) -> None:
    """A seed has 64 hex digits, and they are random."""
    file = tmp_path / "campus.yaml"
    file.write_text(CAMPUS.replace("title: A campus", f"title: {'a' * 64}"))
    assert validate_file(file).findings == []


def test_two_sites_on_one_network_do_not_take_each_others_addresses(tmp_path: Path) -> None:
    (tmp_path / "campus.yaml").write_text(CAMPUS)
    (tmp_path / "annex.yaml").write_text(
        CAMPUS.replace("name: campus\n", "name: annex\n")
        .replace("pve-1.campus.edu", "pve-9.campus.edu")
        .replace("10.50.0.30", "10.50.0.130")
        .replace("10.50.0.5", "10.50.0.15")
        .replace("10.50.0.60", "10.50.0.160")
        .replace("10.50.0.[", "10.50.4.[")
        .replace("10.50.2.[", "10.50.5.[")
        .replace("10.50.3.[", "10.50.6.[")
        .replace("02:00:00:00:01", "02:00:00:00:02")
    )
    reported = [finding.rule for finding in validate_file(tmp_path / "annex.yaml").findings]
    assert "is also the address of gpu-1 of campus, on the same network" in reported[0]


def test_two_sites_on_different_vlans_may_have_the_same_addresses(tmp_path: Path) -> None:
    (tmp_path / "campus.yaml").write_text(CAMPUS)
    (tmp_path / "annex.yaml").write_text(
        CAMPUS.replace("name: campus\n", "name: annex\n").replace("vlan: 50", "vlan: 51").replace("pve-1.", "pve-9.")
    )
    assert validate_file(tmp_path / "annex.yaml").findings == []


def annex(text: str) -> str:
    """Another sound site: nothing in common with the campus but what a test leaves in common."""
    return (
        text.replace("name: campus\n", "name: annex\n")
        .replace("pve-1.campus.edu", "pve-9.campus.edu")
        .replace("vlan: 50", "vlan: 51")
    )


@pytest.mark.parametrize(
    ("common", "rule"),
    [
        (("pve-9.campus.edu", "pve-1.campus.edu"), "is also the pool of campus on the same Proxmox"),
        (("vlan: 51", "vlan: 50"), "of the Kubernetes API is also"),
        (("title: A campus", "title: A campus"), None),
    ],
)
def test_sites_that_share_a_proxmox_or_a_network_share_nothing_else(
    common: tuple[str, str], rule: str | None, tmp_path: Path
) -> None:
    (tmp_path / "campus.yaml").write_text(CAMPUS)
    (tmp_path / "annex.yaml").write_text(annex(CAMPUS).replace(*common))
    reported = [finding.rule for finding in validate_file(tmp_path / "annex.yaml").findings]
    assert bool(reported) == (rule is not None)
    if rule and rule.startswith("is also the pool"):
        assert rule in reported
        assert any("is also the VMID of" in line for line in reported), "numbers are unique across a Proxmox"
    elif rule:
        assert any("of campus, on the same network" in line for line in reported)


def test_a_broken_site_beside_it_does_not_make_a_sound_one_wrong(tmp_path: Path) -> None:
    (tmp_path / "campus.yaml").write_text(CAMPUS)
    (tmp_path / "broken.yaml").write_text("name: [")
    assert validate_file(tmp_path / "campus.yaml").findings == []
