"""A real run's report, opened in Debian's Chromium: from its file, and from `python -m http.server` on loopback.

BROWSER_REPORT=FOLDER takes the report of an earlier run in place of a new one.
"""

import os
import re
import shutil
import subprocess
import sys
import urllib.parse
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def report(tmp_path_factory):
    """The folder of the report of `python -m verify`."""
    if "BROWSER_REPORT" in os.environ:
        return Path(os.environ["BROWSER_REPORT"]).resolve()
    folder = tmp_path_factory.mktemp("run")
    command = [sys.executable, "-m", "verify", "--report", "report"]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=1800)
    assert result.returncode == 0, result.stdout + result.stderr
    return folder / "report"


@pytest.fixture(scope="session")
def browser():
    """Chromium, without which there is nothing to test: no skip."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.fail(f"no browser: one of {', '.join(NAMES)} must be installed (apt-get install chromium)")
    with sync_playwright() as playwright:
        # The sandbox of Chromium does not start for root, as whom containers run.
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@dataclass
class Server:
    """`python -m http.server`, and the file into which it writes what it was asked for."""

    address: str
    log: Path

    def asked(self):
        return re.findall(r'"GET (\S+) ', self.log.read_text())


@pytest.fixture(scope="session")
def server(report, tmp_path_factory):
    log = tmp_path_factory.mktemp("server") / "log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(report)],
            stdout=subprocess.PIPE, stderr=file, text=True,
        )  # fmt: skip
        port = re.search(r"port (\d+)", process.stdout.readline())[1]
        yield Server(f"http://127.0.0.1:{port}/", log)
        process.terminate()
        process.wait(30)
        process.stdout.close()


@pytest.fixture(scope="session", params=["file", "http"])
def address(request, report):
    """Where the page is: both ways of opening it."""
    if request.param == "file":
        return (report / "index.html").as_uri()
    return request.getfixturevalue("server").address + "index.html"


@dataclass
class Opened:
    """A page with all that it said and asked for."""

    page: Page
    said: list = field(default_factory=list)
    asked: list = field(default_factory=list)

    def unfold(self):
        """Open every fold without clicking it."""
        self.page.evaluate("() => document.querySelectorAll('details').forEach(d => { d.open = true })")
        return self.page


@contextmanager
def fresh_profiles(browser):
    """Open an address in a fresh profile; at the end nothing may have gone wrong."""
    contexts = []
    pages = []

    def go(address, width=1400, height=900, **options):
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        found = Opened(context.new_page())
        pages.append(found)
        found.page.on("console", lambda message: found.said.append(f"{message.text} {message.location['url']}"))
        found.page.on("pageerror", lambda error: found.said.append(str(error)))
        found.page.on("dialog", lambda dialog: (found.said.append(dialog.message), dialog.dismiss()))
        found.page.on("request", lambda request: found.asked.append(urllib.parse.unquote(request.url)))
        found.page.goto(address)
        # A silent network alone does not tell that a long page has been read to its end.
        found.page.wait_for_load_state("networkidle")
        return found

    yield go
    for context in contexts:
        context.close()
    assert [page.said for page in pages if page.said] == []


@pytest.fixture
def opened(browser):
    """Open an address for one test."""
    with fresh_profiles(browser) as go:
        yield go


@pytest.fixture(scope="module")
def opened_once(browser):
    """Open an address for all tests of a file, which must leave the page as it is."""
    with fresh_profiles(browser) as go:
        yield go


@pytest.fixture(scope="session")
def shared(browser, report):
    """One page at 1400 pixels with every fold open, for tests that only look."""
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.goto((report / "index.html").as_uri())
    page.evaluate("() => document.querySelectorAll('details').forEach(d => { d.open = true })")
    yield page
    page.close()
