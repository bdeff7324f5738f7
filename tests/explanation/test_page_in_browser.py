"""The page in a real browser: it is drawn, answers keys, reads in light and dark and when narrow."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from pages import Page, explained

from dragoman.explanation.page.page import as_html

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
SCHEMES = {"dark": 0, "light": 1}
DESKTOP, NARROW = (1280, 900), (500, 800)
"""Chromium without a window is no narrower."""

ASKS = {
    "width": "[document.documentElement.scrollWidth, innerWidth]",
    "paper": "getComputedStyle(document.body).backgroundColor",
    "faint": """
        (() => {
          const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
          const over = (top, under) => {
            const alpha = top.length > 3 ? top[3] : 1;
            return [0, 1, 2].map((i) => top[i] * alpha + under[i] * (1 - alpha));
          };
          const behind = (node) => {
            const layers = [];
            for (let at = node; at; at = at.parentElement)
              layers.push(rgb(getComputedStyle(at).backgroundColor));
            return layers.reverse().reduce((under, layer) => over(layer, under), [255, 255, 255]);
          };
          const light = (colour) => {
            const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
            const part = colour.map((v) => linear(v / 255));
            return 0.2126 * part[0] + 0.7152 * part[1] + 0.0722 * part[2];
          };
          const found = [];
          document.querySelectorAll("main *").forEach((node) => {
            const own = [...node.childNodes].some((one) => one.nodeType === 3 && one.textContent.trim());
            if (!own || !node.getClientRects().length || node.closest("title")) return;
            const style = getComputedStyle(node);
            const ground = behind(node.closest("svg") || node);
            const ink = over(rgb(node.closest("svg") ? style.fill : style.color), ground);
            const [dim, bright] = [light(ink), light(ground)].sort((a, b) => a - b);
            const ratio = (bright + 0.05) / (dim + 0.05);
            if (ratio < 4.5) found.push([node.tagName, node.textContent.slice(0, 20), ratio]);
          });
          return found;
        })()""",
}
KEYS = """
  const here = () => document.activeElement;
  const press = (key) => here().dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  const table = document.querySelector(".method:not([hidden]) table.heat");
  const cells = [...table.tBodies[0].rows].map((row) => [...row.cells].slice(1));
"""


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """Open a page and ask it: each question is JavaScript, each answer what JSON makes of its value."""
    folder = tmp_path_factory.mktemp("browser")

    def ask(html, questions, setup="", size=DESKTOP, scheme="light"):
        pairs = ",".join(f"{json.dumps(name)}: () => ({question})" for name, question in questions.items())
        script = f"""<script>{{
          const questions = {{{pairs}}};
          {setup}
          const found = Object.fromEntries(Object.entries(questions).map(([name, ask]) => [name, ask()]));
          document.body.setAttribute("data-found", JSON.stringify(found));
        }}</script>"""
        path = folder / "page.html"
        path.write_text(html.replace("</body>", script + "</body>"), "utf-8")
        options = [
            f"--window-size={size[0]},{size[1]}",
            f"--blink-settings=preferredColorScheme={SCHEMES[scheme]}",
        ]
        done = _browse(folder, path, "--dump-dom", "--enable-logging=stderr", *options)
        messages = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
        assert not messages, messages
        (body,) = Page(done.stdout).all("body")
        return json.loads(body.attributes["data-found"])

    return ask


def _browse(folder, path, *options):
    common = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]
    return subprocess.run(
        [BROWSER, *common, *options, path.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )


@pytest.fixture(scope="module")
def text(made, speech_made, series_made):
    return explained("text", made, speech_made, series_made)


@pytest.mark.parametrize(
    ("kind", "scheme"), [("text", "light"), ("text", "dark"), ("speech", "dark"), ("series", "light")]
)
def test_all_text_can_be_read_and_nothing_is_wider_than_a_narrow_window(
    asked, made, speech_made, series_made, kind, scheme
):
    html = as_html(explained(kind, made, speech_made, series_made, trust=True))
    found = asked(html, ASKS, size=NARROW, scheme=scheme)
    assert found["faint"] == []
    wide, window = found["width"]
    assert wide <= window
    brightness = sum(map(int, re.findall(r"\d+", found["paper"])[:3]))
    assert (brightness > 600) == (scheme == "light")


def test_one_method_at_a_time_by_click_and_by_arrow(asked, text):
    setup = """
      const methods = [...document.querySelectorAll(".method")];
      const shown = () => methods.filter((one) => !one.hidden).map((one) => one.dataset.method);
      const tabs = [...document.querySelectorAll("[role=tab]")];
      const states = [shown()];
      tabs[2].click();
      states.push(shown());
      tabs[2].focus();
      tabs[2].dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight", bubbles: true }));
      states.push(shown());
    """
    found = asked(as_html(text), {"states": "states", "tabs": "tabs.map((tab) => tab.tabIndex)"}, setup)
    methods = [one.method for one in text.attributions]
    assert found["states"] == [[methods[0]], [methods[2]], [methods[3]]]
    assert found["tabs"] == [0 if place == 3 else -1 for place in range(len(methods))]


def test_arrows_walk_over_the_weights_and_say_where_one_is(asked, text):
    setup = (
        KEYS
        + """
      const path = [];
      cells[0][0].focus();
      for (const key of ["ArrowRight", "ArrowDown", "End", "ArrowRight", "Home", "ArrowUp", "ArrowUp"]) {
        press(key);
        path.push([here().parentElement.sectionRowIndex, here().cellIndex - 1]);
      }
      cells[1][2].focus();
      const places = [...document.querySelectorAll(".place")];
    """
    )
    questions = {
        "path": "path",
        "told": 'document.getElementById("detail").textContent',
        "stops": 'table.querySelectorAll("[tabindex=\\"0\\"]").length',
        "lit": 'places.filter((one) => one.classList.contains("lit")).length',
        "strengths": 'places.map((one) => one.style.getPropertyValue("--w"))',
    }
    found = asked(as_html(text), questions, setup)
    last = len(text.subject.places) - 1
    assert found["path"] == [[0, 1], [1, 1], [1, last], [1, last], [1, 0], [0, 0], [0, 0]]
    assert found["stops"] == 1
    piece, place = text.subject.pieces[1], text.subject.places[2]
    weight = text.attributions[0].weights_TS[1, 2]
    assert found["told"].startswith(f"“{piece}” from “{place.label}”: {100 * weight:.0f}")
    assert found["lit"] == len(text.subject.places)
    row_S = text.attributions[0].weights_TS[1] / text.attributions[0].weights_TS.max()
    assert list(map(float, found["strengths"])) == pytest.approx(row_S.tolist(), abs=0.006)


def test_a_step_of_the_answer_shades_the_source(asked, text):
    setup = """
      const pieces = [...document.querySelectorAll(".piece")];
      pieces[0].focus();
      pieces[0].dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight", bubbles: true }));
    """
    questions = {
        "pressed": 'pieces.map((one) => one.getAttribute("aria-pressed"))',
        "told": 'document.getElementById("detail").textContent',
        "top": '[...document.querySelectorAll(".place")].findIndex((one) => one.classList.contains("top"))',
    }
    found = asked(as_html(text), questions, setup)
    assert found["pressed"] == [str(step == 1).lower() for step in range(len(text.subject.pieces))]
    weights_S = text.attributions[0].weights_TS[1]
    assert found["top"] == int(weights_S.argmax())
    assert found["told"].startswith(f"“{text.subject.pieces[1]}” comes from ")


def test_a_head_is_seen_large_and_the_mean_comes_back(asked, text):
    setup = (
        KEYS
        + """
      const read = () => cells.map((row) => row.map((cell) => cell.textContent));
      const before = read();
      const button = document.querySelectorAll(".part button")[3];
      button.click(); const large = read(), caption = table.caption.textContent;
      button.click(); const after = read();
    """
    )
    questions = {name: name for name in ("before", "large", "caption", "after")}
    found = asked(as_html(text), questions, setup)
    weights_TS = text.parts[3].weights_TS
    assert found["large"] != found["before"]
    assert [[int(cell) for cell in row] for row in found["large"]] == [
        pytest.approx(row, abs=0.56) for row in (100 * weights_TS).tolist()
    ]
    assert text.parts[3].part in found["caption"]
    assert found["after"] == found["before"]


def test_without_its_script_the_page_shows_every_method(asked, text):
    html = re.sub(r"<script>.*?</script>", "", as_html(text), flags=re.DOTALL)
    question = '[...document.querySelectorAll(".method")].filter((one) => one.getClientRects().length).length'
    assert asked(html, {"shown": question})["shown"] == len(text.attributions)


def test_it_can_be_drawn(text, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(as_html(text), "utf-8")
    _browse(tmp_path, path, f"--screenshot={tmp_path / 'page.png'}", "--window-size=1280,900")
    assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "page.png").stat().st_size > 20_000
