"""The programs in `examples/` that share nothing but a file run, and do what they say: tests/shared has the others."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from areole.testing import assert_valid
from examples import count_words, read_through, thumbnails


def test_eight_threads_load_each_price_once_and_read_no_old_one(capsys: pytest.CaptureFixture[str]) -> None:
    read_through.main()
    assert capsys.readouterr().out.splitlines() == [
        "8 threads asked for 20 prices: 20 queries; all read {2000}",
        "80 changes by 8 threads: 0 old prices were read after a change",
    ]


def test_a_price_that_is_missing_is_asked_for_again(tmp_path: Path) -> None:
    prices = read_through.Prices(str(tmp_path / "shop.db"))
    for _ in range(2):
        with pytest.raises(KeyError):
            prices.cents["nothing"]
    assert prices.queries == ["nothing", "nothing"]
    assert prices.raise_price("product 3") == prices.cents["product 3"] == 101
    assert_valid(prices.cents)


def test_thumbnails_are_made_once_and_keep_to_their_limit(capsys: pytest.CaptureFixture[str]) -> None:
    thumbnails.main()
    first, second = capsys.readouterr().out.splitlines()
    assert first == "3 pictures, asked for 36 times by 4 threads: 3 made"
    used = int(second.partition(": ")[2].partition(" of")[0].replace(",", ""))
    assert 0 < used <= thumbnails.LIMIT and ", 0 were evicted" not in second


def test_a_picture_that_has_changed_gets_another_thumbnail(tmp_path: Path) -> None:
    path, made = tmp_path / "picture.ppm", thumbnails.Thumbnails()
    thumbnails.make_picture(path, side=4, red=1)
    assert made.get(path, 2) == made.get(path, 2) == b"P6 2 2 255\n" + bytes((1, 0, 0, 1, 2, 0, 1, 0, 2, 1, 2, 2))
    thumbnails.make_picture(path, side=4, red=2)
    os.utime(path, ns=(1, 1))
    assert made.get(path, 1) == b"P6 1 1 255\n" + bytes((2, 0, 0))
    assert made.made == 2
    assert_valid(made.cache)


def test_a_second_run_of_the_command_reads_only_what_has_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [tmp_path / "a.txt", tmp_path / "b.txt"]
    for path in files:
        path.write_text("one two three")

    def run(*options: str) -> str:
        count_words.main([*map(str, files), "--store", f"sqlite:///{tmp_path}/words.db", *options])
        return capsys.readouterr().out.splitlines()[-1].strip()

    assert run() == "6 in all; 2 of 2 files were read, the others were known"
    assert run() == "6 in all; 0 of 2 files were read, the others were known"
    files[1].write_text("four")
    assert run() == "4 in all; 1 of 2 files were read, the others were known"
    assert run("--forget") == "4 in all; 2 of 2 files were read, the others were known"


@pytest.fixture
def flask_app(monkeypatch: pytest.MonkeyPatch) -> Any:
    pytest.importorskip("flask")
    monkeypatch.delitem(sys.modules, "examples.flask_app", raising=False)
    return importlib.import_module("examples.flask_app")


def test_the_pages_of_the_flask_application_are_rendered_again_after_a_change(flask_app: Any) -> None:
    client = flask_app.app.test_client()
    for _ in range(2):
        assert "Cacti" in client.get("/").text and "by Ada" in client.get("/articles/1").text
        assert "by Grace" in client.get("/articles/2").text
    assert flask_app.RENDERED == ["front", "article 1", "article 2"]
    assert client.get("/articles/9").status_code == 404
    assert client.put("/articles/1", data={"title": "Aloe", "author": "Bo"}).status_code == 204
    assert "Aloe" in client.get("/").text and "by Bo" in client.get("/articles/1").text
    assert "by Grace" in client.get("/articles/2").text
    assert flask_app.RENDERED == ["front", "article 1", "article 2", "article 9", "front", "article 1"]
    assert client.get("/stats").json["articles"] == 2
    assert_valid(flask_app.article_page.cache)
    assert_valid(flask_app.front_page.cache)
