"""The pages in a real browser: nothing is requested or fails; one can search, sort, open a row, read and print."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pandas as pd
import pytest

import fastlrp as fl

browsers = [path for path in map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome")) if path]
if not browsers:
    pytest.skip(
        "no Chromium is installed (apt install chromium), so that pages are not looked at", allow_module_level=True
    )
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is absent: pip install playwright")


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browsers[0], args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(browser):
    """Open a page; what it asks for, says and fails at is collected, and must be nothing but itself."""
    contexts = []

    def opened(path, **options):
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        heard = []
        page.on("request", lambda request: heard.append(request.url))
        page.on("console", lambda message: heard.append(message.text))
        page.on("pageerror", lambda error: heard.append(str(error)))
        page.on("dialog", lambda dialog: heard.append(dialog.message))
        page.goto(path.as_uri())
        page.heard = heard
        return page

    yield opened
    for context in contexts:
        for page in context.pages:
            assert [said for said in page.heard if not said.startswith("file://")] == []
            assert len(page.heard) == 1
        context.close()


def cells(page, k):
    return page.locator(f"#browse > .wide > table > tbody > tr > :nth-child({k})").all_inner_texts()


def numbers(texts):
    return [float(text.replace("\N{MINUS SIGN}", "-").replace(",", "")) for text in texts]


def test_search_sort_and_open_a_row(opened, volatility):
    page = opened(volatility)
    assert page.title() == "What volatility.h5 predicts, and why"
    assert len(cells(page, 1)) == 20
    assert numbers(cells(page, 2)) == [*range(1, 21)]
    heads = page.locator("#browse thead button")
    heads.nth(3).click()  # the feature that matters most
    found = numbers(cells(page, 4))
    assert found == sorted(found, reverse=True)
    heads.nth(3).click()
    assert numbers(cells(page, 4)) == found[::-1]
    assert page.locator("#browse th[aria-sort]").get_attribute("aria-sort") == "ascending"
    heads.nth(0).click()
    assert cells(page, 1) == sorted(cells(page, 1))
    page.locator("#find").fill("m")
    assert cells(page, 1) == ["AMD", "JPM", "MRK", "MSFT", "WMT", "XOM"]
    assert page.get_by_role("status").inner_text() == "1 to 6 of 6"
    page.locator("#find").fill("rrc")
    page.get_by_role("button", name="RRC").click()
    rows = page.locator("#browse .why tbody tr").all_inner_texts()
    assert rows[0].startswith("mean prediction")
    assert rows[1].startswith("retvol\t100")
    parts = numbers([row.split("\t")[2] for row in rows])
    assert sum(parts[:-1]) == pytest.approx(parts[-1], rel=0, abs=5e-4 * len(parts))
    page.get_by_role("button", name="RRC").click()
    assert page.locator("#browse .why").count() == 0
    page.locator("#find").fill("nobody")
    assert page.get_by_role("status").inner_text() == "none found"


def test_five_thousand_hostile_stocks(opened, crowded):
    page = opened(crowded)
    assert page.title().startswith("</script>")
    assert page.get_by_role("status").inner_text() == "1 to 25 of 5,000"
    page.get_by_role("button", name="Next").click()
    assert numbers(cells(page, 2)) == [*range(26, 51)]
    page.locator("#find").fill("<b>04999")
    assert cells(page, 1) == ["stock <b>04999</b>"]
    page.locator("#browse tbody button").click()
    assert "others" in page.locator("#browse .why").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pictures_are_there_in_light_and_dark(opened, volatility, scheme):
    page = opened(volatility, color_scheme=scheme)
    boxes = [picture.bounding_box() for picture in page.locator("figure svg").all()]
    assert len(boxes) == 11
    assert all(box["width"] > 500 and box["height"] > 150 for box in boxes)
    shades = page.evaluate(
        "() => [document.body, document.querySelector('svg text'), document.querySelector('section')].map((part, k) =>"
        " getComputedStyle(part)[k === 1 ? 'fill' : 'backgroundColor'])"
    )
    ground, ink, paper = (sum(map(int, re.findall(r"\d+", shade)[:3])) for shade in shades)
    assert (
        (ground > 700 and paper > 700 and ink < 350)
        if scheme == "light"
        else (ground < 120 and paper < 150 and ink > 450)
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(opened, volatility, scheme):
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="axe is absent: pip install axe-playwright-python"
    )
    page = opened(volatility, color_scheme=scheme, bypass_csp=True)
    page.locator("#browse tbody button").first.click()
    page.locator("summary").first.click()
    every = {} if scheme == "light" else {"runOnly": ["color-contrast"]}  # the rest is the same in the dark
    found = axe.Axe().run(page, options=every).response
    assert len(found["passes"]) > (10 if scheme == "light" else 0)
    assert [(fault["id"], fault["impact"]) for fault in found["violations"]] == []


@pytest.mark.parametrize("which", ["volatility", "crowded"])
def test_a_phone_scrolls_down_alone(opened, request, which):
    page = opened(request.getfixturevalue(which), viewport={"width": 360, "height": 740})
    page.locator("#browse tbody button").first.click()
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert page.locator("#browse .why table").bounding_box()["width"] < 340


def test_it_reads_without_scripts_and_on_paper(opened, volatility):
    page = opened(volatility, java_script_enabled=False)
    table = page.locator("#latest .plain table")
    assert table.is_visible()
    assert table.locator("tbody tr").count() == 20
    assert not page.locator("#browse").is_visible()
    page = opened(volatility)
    assert not page.locator("#latest .plain table").is_visible()
    page.emulate_media(media="print")
    assert page.locator("#latest .plain table").is_visible()
    assert not page.locator("#browse").is_visible()
    assert page.locator("figure svg").first.is_visible()
    assert page.pdf(format="A4").startswith(b"%PDF")


def test_long_names_do_not_widen_the_page(opened, tmp_path, rng):
    index = pd.MultiIndex.from_product([pd.period_range("2020-01", periods=4, freq="M"), ["A" * 200, "B"]])
    X = pd.DataFrame(rng.normal(size=(8, 3)).astype(np.float32), index, ["x" * 300, "b", "c"])
    layers = [fl.LSTM(rng.normal(size=(3, 16)), np.zeros((4, 16)), np.zeros(16)), fl.Dense(rng.normal(size=(4, 1)))]
    fl.report(fl.Network(layers, steps=2), X, tmp_path / "page.html")
    for width in (375, 1100):
        page = opened(tmp_path / "page.html", viewport={"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") == width
