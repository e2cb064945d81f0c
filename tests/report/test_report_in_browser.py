"""The report as a reader sees it: a real browser, phone and desktop, light and dark."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.made_scores import made_panel, made_scores
from tests.report.folders import HOSTILE, folder_of
from tests.report.pages import CLIPPED, CONTRAST, OVERLAPS, PHONE, WIDE, opened
from wmscore.evidence import write_report

INK = "rgb(26, 27, 30)"
KEPT = "localStorage.getItem('wmscore-theme')"
SECTIONS = "summary failures survival drift actions stress film undefined provenance".split()


@pytest.mark.parametrize("size", [PHONE, WIDE, (360, 740)])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_whole(browser: Any, demo_report: Path, size: Any, scheme: str) -> None:
    with opened(browser, demo_report, size=size, scheme=scheme) as found:
        assert found.run("[...document.querySelectorAll('section')].map(s => s.id)") == SECTIONS
        assert found.run("document.documentElement.scrollWidth") == size[0]
        plots = found.run(
            "[...document.querySelectorAll('.plot > svg')].filter(s => s.checkVisibility())"
            ".map(s => { const b = s.getBoundingClientRect(); return [b.width, b.height]; })"
        )
        assert len(plots) >= 8
        assert all(width > 180 and height > 120 for width, height in plots)
        drawn = found.run(
            "[...document.querySelectorAll('.series .line')].filter(s => s.checkVisibility() "
            "&& s.getAttribute('d')).every(s => s.getBoundingClientRect().width > 100)"
        )
        assert drawn
        assert found.run(CLIPPED) == []
        assert found.run(OVERLAPS) == []
        found.run("document.querySelectorAll('details').forEach(d => { d.open = true; })")
        assert found.run("document.documentElement.scrollWidth") == size[0]
        assert found.run(CLIPPED) == []
        contrast = found.run(CONTRAST)
        assert contrast["count"] > 300
        assert contrast["low"] == []
        assert found.said == []
        assert found.asked == []


def test_the_theme_can_be_chosen(browser: Any, demo_report: Path) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    with opened(browser, demo_report, scheme="dark") as found:
        dark = found.run(ground)
        found.page.click("#theme")
        light = found.run(ground)
        assert found.page.get_attribute("#theme", "aria-label") == "Theme: light"
        assert light != dark
        assert found.run(KEPT) == "light"
        found.page.click("#theme")
        assert found.run(ground) == dark
        assert found.run(KEPT) == "dark"
        found.page.emulate_media(media="print")
        assert found.run(ground) == "rgb(255, 255, 255)"
        # When storage reaches the next page is a browser's own affair: the page finds it filled.
        found.page.add_init_script("localStorage.setItem('wmscore-theme', 'light');")
        found.page.emulate_media(media="screen")
        found.page.reload()
        assert found.run(ground) == light
        assert found.page.get_attribute("#theme", "aria-label") == "Theme: light"


def test_the_keyboard_reaches_everything(browser: Any, demo_report: Path) -> None:
    with opened(browser, demo_report) as found:
        page = found.page
        page.keyboard.press("Tab")
        assert found.run("document.activeElement.className") == "skip"
        assert found.run("document.activeElement.getBoundingClientRect().top") >= 0
        reached, hidden = [], []
        for _ in range(400):
            page.keyboard.press("Tab")
            name, outline, shown = found.run(
                "(() => { const e = document.activeElement; const s = getComputedStyle(e);"
                "return [e.tagName + '.' + e.className, s.outlineStyle, e.checkVisibility()]; })()"
            )
            if name.startswith("BODY"):
                break
            reached.append(name)
            if outline == "none" or not shown:
                hidden.append(name)
        assert hidden == []
        kinds = " ".join(reached)
        for wanted in (
            "BUTTON.play",
            "INPUT.seek",
            "DIV.step",
            "DIV.plot",
            "DIV.scroll",
            "SUMMARY.",
        ):
            assert wanted in kinds, wanted
        # One stop for a whole filmstrip.
        assert (
            sum(name.startswith("DIV.step") for name in reached) == page.locator(".strip").count()
        )


def test_the_filmstrip_steps(browser: Any, demo_report: Path) -> None:
    with opened(browser, demo_report) as found:
        page, film = found.page, found.page.locator(".film").first
        failure = int(film.get_attribute("data-failure"))
        now = film.locator(".now")
        assert now.inner_text().startswith(f"Step {failure} of 16")
        assert "the failure starts here" in now.inner_text()
        frame = film.locator("img.frame[data-side=generated]").first
        before = frame.get_attribute("src")
        film.locator(".step[aria-selected=true]").focus()
        top = found.run("scrollY")
        page.keyboard.press("ArrowRight")
        assert now.inner_text().startswith(f"Step {failure + 1} of 16")
        assert found.run("document.activeElement.dataset.step") == str(failure + 1)
        assert frame.get_attribute("src") != before
        page.keyboard.press("End")
        assert now.inner_text().startswith("Step 16 of 16")
        page.keyboard.press("ArrowRight")
        assert now.inner_text().startswith("Step 16 of 16")
        page.keyboard.press("Home")
        assert now.inner_text().startswith("Step 0 of 16")
        assert found.run("scrollY") == top  # the strip scrolls, not the page
        film.locator(".failure").click()
        assert now.inner_text().startswith(f"Step {failure} of 16")
        assert frame.get_attribute("src") == before
        film.locator(".seek").focus()
        page.keyboard.press("ArrowRight")
        assert now.inner_text().startswith(f"Step {failure + 1} of 16")
        assert film.locator(".seek").input_value() == str(failure + 1)
        loaded = "[...document.querySelectorAll('.thumb, .screen img:not([hidden])')]"
        assert found.run(f"{loaded}.every(i => i.complete && i.naturalWidth > 0)")
        shown = film.locator(".screen .over:not([hidden])")
        assert shown.count() > 0
        film.locator(".outlines").uncheck()
        assert not shown.first.is_visible()


def test_frames_and_video_play(browser: Any, demo_report: Path) -> None:
    with opened(browser, demo_report) as found:
        film = found.page.locator(".film").first
        film.locator(".play").click()
        steps = set()
        for _ in range(12):
            steps.add(film.locator(".seek").input_value())
            found.page.wait_for_timeout(60)
        assert len(steps) >= 3
        film.locator(".play").click()
        assert film.locator(".play").inner_text() == "Play"
        film.locator(".files > summary").click()
        state = found.run(
            """async () => {
              const video = document.querySelector("video");
              if (video.error) return { error: video.error.message };
              await video.play();
              const first = video.currentTime;
              await new Promise((done) => setTimeout(done, 500));
              const moved = video.currentTime - first;
              return { ready: video.readyState, moved, width: video.videoWidth, error: null };
            }"""
        )
        assert state["error"] is None
        assert state["ready"] >= 2
        assert state["moved"] > 0.1
        assert state["width"] >= 96  # reference and generated side by side
        assert found.said == []


def test_tables_sort_and_filter(browser: Any, demo_report: Path) -> None:
    names = (
        "[...document.querySelectorAll('.summary tbody tr:not(.hidden) bdi')]"
        ".map(e => e.textContent)"
    )
    with opened(browser, demo_report) as found:
        head = found.page.locator(".summary thead th").nth(1)
        ranked = found.run(names)
        head.locator("button").click()
        assert head.get_attribute("aria-sort") == "descending"
        values = (
            "[...document.querySelectorAll('.summary tbody tr td:nth-child(2)')]"
            ".map(e => +e.dataset.key)"
        )
        down = found.run(values)
        assert down == sorted(down, reverse=True)
        head.locator("button").click()
        assert head.get_attribute("aria-sort") == "ascending"
        assert found.run(values) == sorted(down)
        first = found.page.locator(".summary thead th").nth(0)
        first.locator("button").click()
        assert head.get_attribute("aria-sort") is None
        assert found.run(names) == sorted(ranked)
        box = found.page.locator("input.filter").first
        box.fill("floor frozen")
        assert found.run(names) == ["frozen"]
        assert found.page.locator(".filters output").first.inner_text() == f"1 of {len(ranked)}"
        box.fill("")
        assert sorted(found.run(names)) == sorted(ranked)


def test_plots_tell_their_values(browser: Any, demo_report: Path) -> None:
    with opened(browser, demo_report) as found:
        page, tip = found.page, found.page.locator("#tip")
        plot = page.locator("#survival .plot")
        plot.focus()
        page.keyboard.press("Home")
        assert tip.is_visible()
        assert "step 0" in tip.inner_text()
        page.keyboard.press("ArrowRight")
        assert "step 1" in tip.inner_text()
        # The tip says what the table behind the plot says.
        cells = page.locator("#survival .numbers tbody tr").nth(1).locator("td")
        heads = page.locator("#survival .numbers thead th").all_text_contents()[1:]
        table = {h: c.split(" ")[0] for h, c in zip(heads, cells.all_text_contents(), strict=True)}
        for line in tip.locator("div").all():
            parts = line.locator("span").all_text_contents()
            assert float(parts[2]) == pytest.approx(float(table[parts[1]]), abs=6e-4)
        page.keyboard.press("Escape")
        assert not tip.is_visible()
        box = plot.bounding_box()
        page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 100)
        assert tip.is_visible()
        edge = tip.bounding_box()
        assert edge["x"] >= 0
        assert edge["x"] + edge["width"] <= WIDE[0]
        page.mouse.move(2, 2)
        assert not tip.is_visible()


def test_legends_hide_models_everywhere(browser: Any, demo_report: Path) -> None:
    with opened(browser, demo_report) as found:
        chip = found.page.locator("#survival .legend button").nth(1)
        key = chip.get_attribute("data-toggle")
        lines = (
            f"[...document.querySelectorAll('.series[data-m=\"{key}\"]')]"
            ".filter(e => getComputedStyle(e).display !== 'none').length"
        )
        before = found.run(lines)
        assert before >= 4
        chip.click()
        assert found.run(lines) == 0
        for other in found.page.locator(f"[data-toggle='{key}']").all():
            assert other.get_attribute("aria-pressed") == "false"
        found.page.locator("#survival .plot").focus()
        found.page.keyboard.press("Home")
        assert chip.locator("bdi").inner_text() not in found.page.locator("#tip").inner_text()
        chip.click()
        assert found.run(lines) == before


def test_without_script_everything_can_be_read(browser: Any, demo_report: Path) -> None:
    with opened(browser, demo_report, script=False) as found:
        assert found.page.locator(".strip img.thumb").first.is_visible()
        assert found.page.locator(".plot svg").first.is_visible()
        assert not found.page.locator(".controls").first.is_visible()
        assert not found.page.locator("#theme").is_visible()


def test_headings_captions_and_names(browser: Any, demo_report: Path) -> None:
    with opened(browser, demo_report) as found:
        levels = found.run(
            "[...document.querySelectorAll('h1,h2,h3,h4')].filter(e => e.checkVisibility())"
            ".map(e => +e.tagName[1])"
        )
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(b - a <= 1 for a, b in pairwise(levels))
        assert found.run("[...document.images].every(i => i.hasAttribute('alt'))")
        assert found.run("[...document.querySelectorAll('table')].every(t => t.caption)")
        assert found.run(
            "[...document.querySelectorAll('svg')].every(s => s.closest('[aria-hidden]') || "
            "s.parentElement.closest('svg') || s.getAttribute('aria-label'))"
        )
        nameless = found.run(
            "[...document.querySelectorAll('button, input, a, summary, video')].filter(e => "
            "!(e.textContent.trim() || e.getAttribute('aria-label') || e.closest('label')))"
            ".map(e => e.outerHTML.slice(0, 80))"
        )
        assert nameless == []
        assert found.run("document.documentElement.lang") == "en"
        ids = found.run("[...document.querySelectorAll('[id]')].map(e => e.id)")
        assert len(ids) == len(set(ids))
        broken = found.run(
            "[...document.querySelectorAll('a[href^=\"#\"]')].filter(a => "
            "!document.getElementById(a.getAttribute('href').slice(1))).length"
        )
        assert broken == 0


@pytest.mark.parametrize("size", [PHONE, WIDE])
def test_hostile_words_stay_words(browser: Any, hostile_report: Path, size: Any) -> None:
    with opened(browser, hostile_report, size=size) as found:
        page = found.page
        found.run("document.querySelectorAll('details').forEach(d => { d.open = true; })")
        for plot in page.locator("section .plot").all()[:3]:
            plot.focus()
            page.keyboard.press("Home")  # names go into the tip, too
        page.wait_for_timeout(50)
        assert found.run("typeof window.pwned") == "undefined"
        assert found.said == []
        assert found.asked == []
        kinds = found.run("[...document.scripts].map(s => s.type || 'code')")
        assert kinds.count("code") == 1
        assert set(kinds) == {"code", "application/json"}
        assert found.run("document.querySelectorAll('[onerror], [onload], [onclick]').length") == 0
        hrefs = found.run("[...document.querySelectorAll('a')].map(a => a.protocol)")
        assert set(hrefs) == {"file:"}
        text = page.locator("main").inner_text()
        for words in HOSTILE[:5]:
            assert words in text
        assert "\u202e" not in text
        assert found.run("document.documentElement.scrollWidth") == size[0]
        assert found.run(CLIPPED) == []


def test_the_policy_stops_what_escaping_would_miss(
    browser: Any, hostile_report: Path, tmp_path: Path
) -> None:
    """A script, a style or a picture that got in is neither run nor asked for."""
    text = hostile_report.read_text(encoding="utf-8")
    inside = (
        "<script>window.pwned = 1</script><img src=x onerror='window.pwned = 2'>"
        "<img src='https://example.invalid/a.png'><p id=bad style='color: red'>red</p>"
    )
    path = tmp_path / "report.html"
    path.write_text(text.replace("<main", f"{inside}<main", 1), encoding="utf-8")
    with opened(browser, path) as found:
        found.page.wait_for_timeout(50)
        assert found.run("typeof window.pwned") == "undefined"
        assert len(found.asked) == 2
        assert sorted(found.asked) == sorted(found.blocked)  # refused before it left the page
        assert found.run("getComputedStyle(document.getElementById('bad')).color") == INK
        assert sum("Content Security Policy" in text for text in found.said) >= 3


@pytest.mark.parametrize("size", [(360, 740), WIDE])
def test_many_models_and_scenarios(browser: Any, large_report: Path, size: Any) -> None:
    with opened(browser, large_report, size=size) as found:
        assert found.page.locator(".summary tbody tr").count() == 20
        assert found.run("document.documentElement.scrollWidth") == size[0]
        assert found.run(CLIPPED) == []
        assert found.run(OVERLAPS) == []
        found.page.locator("#summary details > summary").click()
        rows = "document.querySelectorAll('#summary details tbody tr:not(.hidden)').length"
        assert found.run(rows) == 300
        found.page.locator("#summary details input.filter").fill("scene-299")
        assert found.run(rows) == 1
        # So many bands would hide the lines: they show with the model under the pointer.
        assert found.page.locator("#survival .band").first.is_hidden()
        assert found.said == []


def test_one_row_of_one_model(browser: Any, tmp_path: Path) -> None:
    panel = made_panel(scenarios=1, seeds=1, horizon=6)
    path = write_report(folder_of(tmp_path / "e", [made_scores(panel, [[3]], model="only")]))
    with opened(browser, path, size=PHONE) as found:
        assert "only stays usable for 3.0 of 6 steps" in found.page.locator("#verdict").inner_text()
        assert "The folder has no traces." in found.page.locator("#film").inner_text()
        assert found.run("document.documentElement.scrollWidth") == PHONE[0]
        assert found.run(CLIPPED) == []
        assert found.said == []


def test_it_prints(browser: Any, demo_report: Path, tmp_path: Path) -> None:
    with opened(browser, demo_report, size=(760, 1000)) as found:  # an A4 sheet within margins
        found.page.emulate_media(media="print")
        assert found.run("document.documentElement.scrollWidth") == 760
        assert not found.page.locator("nav").is_visible()
        assert found.page.locator(".strip .step.failing").first.is_visible()
        data = found.page.pdf(path=str(tmp_path / "report.pdf"), format="A4", print_background=True)
        assert data[:5] == b"%PDF-"
        assert 3 <= data.count(b"/Type /Page\n") <= 40
