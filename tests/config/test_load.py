"""What is read from the files that a site names."""

from pathlib import Path

from config.load import load_site, read_named_files


def test_a_ca_is_read_where_its_file_exists(tmp_path: Path) -> None:
    site = load_site("lab").model_copy(update={"ca_file": Path("ca.pem")})
    assert "ca-file" not in read_named_files(site, tmp_path)

    (tmp_path / "ca.pem").write_text("a CA")
    assert read_named_files(site, tmp_path)["ca-file"] == "a CA"
