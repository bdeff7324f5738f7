"""The report in a real browser: drawn in light and dark, and no wider than a narrow window."""

import re
import shutil
import subprocess

import pytest

from dragoman.explanation.report.page import as_html

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
ASK = """<script>
  const root = document.documentElement;
  const open = [...document.querySelectorAll("details")].map((one) => (one.open = true)).length;
  const paper = getComputedStyle(document.body).backgroundColor;
  document.body.setAttribute("data-found", [root.scrollWidth, innerWidth, open, paper].join(";"));
</script>"""


def browse(folder, html, *options):
    path = folder / "page.html"
    path.write_text(html, "utf-8")
    common = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]
    command = [BROWSER, *common, *options, path.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


@pytest.mark.parametrize(("kind", "scheme"), [("text", "light"), ("series", "dark"), ("speech", "dark")])
def test_it_fits_a_narrow_window_and_follows_the_scheme(findings, tmp_path, kind, scheme):
    html = as_html(findings(kind))
    asking = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", html)
    assert asking != html
    options = ["--window-size=500,800", f"--blink-settings=preferredColorScheme={int(scheme == 'light')}"]
    done = browse(tmp_path, asking.replace("</body>", ASK + "</body>"), "--dump-dom", *options)
    width, window, folded, paper = re.search(r'data-found="([^"]*)"', done)[1].split(";")
    assert int(width) <= int(window)
    assert int(folded) > 1
    assert (sum(map(int, re.findall(r"\d+", paper)[:3])) > 600) == (scheme == "light")


def test_it_is_drawn(findings, tmp_path):
    picture = tmp_path / "page.png"
    browse(tmp_path, as_html(findings("text")), f"--screenshot={picture}", "--window-size=1200,2000")
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 50_000, "an empty page is smaller"
