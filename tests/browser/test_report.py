"""The report in a browser: what it asks for, links and folds, what fits, paper, contrast, structure."""

import io
import json
import re
import urllib.request
from itertools import pairwise

import pypdf
import pytest

WIDTHS = (400, 1400)
LANDMARKS = "header, main > .scroll, .facts, nav, section"


def test_it_asks_for_itself_alone_and_says_nothing(address, opened, server):
    before = len(server.asked())
    found = opened(address)
    assert found.said == []
    assert found.asked == [address]
    if address.startswith("http"):
        assert server.asked()[before:] == ["/index.html"]


def test_links_inside_the_page_lead_somewhere(address, opened):
    page = opened(address).page
    links = page.locator("a[href^='#']")
    assert links.count() > 8
    for link in links.all():
        target = link.get_attribute("href")[1:]
        page.evaluate("() => scrollTo(0, 0)")
        if "skip" in (link.get_attribute("class") or ""):
            link.focus()
            page.keyboard.press("Enter")
        else:
            link.click()
        place = page.evaluate("id => document.getElementById(id)?.getBoundingClientRect().toJSON()", target)
        assert place is not None, target
        assert -1 <= place["top"] < 900, (target, place)
        assert place["height"] > 0
        assert page.url.endswith("#" + target)


def test_links_to_files_have_files(report, shared, server):
    names = shared.evaluate("() => [...document.querySelectorAll('a[href]')].map(a => a.getAttribute('href'))")
    files = {name for name in names if not name.startswith("#")}
    assert files
    for name in files:
        assert not re.match(r"[a-z]+:|/", name), name
        assert (report / urllib.request.unquote(name)).is_file(), name
        with urllib.request.urlopen(server.address + name) as answer:  # noqa: S310
            assert answer.status == 200


def test_a_link_to_a_file_opens_it(address, opened):
    found = opened(address)
    page = found.page
    page.locator("a[href='report.json']").click()
    page.wait_for_load_state("networkidle")
    # What shows a JSON file is the browser's own page, and looks for an icon.
    found.said[:] = [line for line in found.said if not line.endswith("favicon.ico")]
    assert page.url.endswith("report.json")
    assert json.loads(page.locator("body").inner_text())["statements"]


# Folds are closed, then opened from the outside in by what a click does to a summary; how much each one shows.
FOLDS = """() => {
  const folds = [...document.querySelectorAll('details')];
  folds.forEach(d => { d.open = false });
  return folds.map(d => {
    d.querySelector('summary').click();
    const below = d.getBoundingClientRect().height - d.querySelector('summary').getBoundingClientRect().height;
    return [d.open, below > 10, d.checkVisibility()];
  });
}"""


def test_every_fold_opens(address, opened):
    page = opened(address).page
    found = page.evaluate(FOLDS)
    assert len(found) > 100
    assert all(all(row) for row in found)


@pytest.mark.parametrize("way", ["mouse", "Enter", "Space"])
def test_folds_of_every_kind_open_and_close_by_hand(way, report, opened):
    page = opened((report / "index.html").as_uri(), height=700).page
    page.evaluate("() => document.querySelectorAll('details').forEach(d => { d.open = false })")
    for kind in ("details.derivation", "details.step", ".variants details"):
        fold = page.locator(kind).first
        summary = fold.locator("> summary")
        for state in (True, False, True):
            if way == "mouse":
                summary.click()
            else:
                summary.focus()
                page.keyboard.press(way)
            assert fold.evaluate("d => d.open") is state
        assert fold.locator("math, p, code").first.is_visible()


# Elements outside of the page that are in no container that scrolls, and containers that a keyboard cannot scroll.
OUTSIDE = """() => {
  const width = document.documentElement.clientWidth, found = [];
  const scrolls = e => ['auto', 'scroll'].includes(getComputedStyle(e).overflowX);
  for (const e of document.body.querySelectorAll('*')) {
    if (e.closest('.skip') || !e.checkVisibility()) continue;
    const box = e.getBoundingClientRect();
    let up = e.parentElement;
    while (up && !scrolls(up)) up = up.parentElement;
    if (!up && box.width > 0 && (box.right > width + 1 || box.left < -1))
      found.push([e.tagName, e.className, box.left, box.right, e.textContent.slice(0, 60)]);
    if (scrolls(e) && e.scrollWidth > e.clientWidth + 1 && e.tabIndex < 0) found.push(['no tabindex', e.outerHTML.slice(0, 80)]);
  }
  return [document.documentElement.scrollWidth - width, found.slice(0, 5)];
}"""


@pytest.mark.parametrize("width", [320, *WIDTHS])
def test_nothing_overflows(width, address, opened):
    page = opened(address, width=width, height=800).unfold()
    assert page.evaluate(OUTSIDE) == [0, []]


def test_what_is_wider_than_its_place_scrolls_to_its_end(address, opened):
    page = opened(address, width=400).unfold()
    left = page.evaluate("""() => [...document.querySelectorAll('.formula, .scroll')].filter(e => {
      if (e.scrollWidth <= e.clientWidth) return false;
      e.scrollLeft = 1e6;
      const inner = e.firstElementChild.getBoundingClientRect(), box = e.getBoundingClientRect();
      const begins = (e.scrollLeft = 0, e.firstElementChild.getBoundingClientRect().left);
      return inner.right > box.right + 1 || begins < box.left - 1;
    }).map(e => e.textContent.slice(0, 80))""")
    assert left == []


def test_the_summary_is_seen_without_scrolling(address, opened):
    page = opened(address, width=1366, height=768).page
    for selector in ("h1", "header .verdict", ".matrix", ".strength", ".facts"):
        box = page.locator(selector).bounding_box()
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= 768, selector
    rows = page.locator("main table >> nth=0").locator("tbody tr")
    assert rows.count() == 7


def test_the_matrix_has_whole_titles(shared, report):
    statements = json.loads((report / "report.json").read_text())["statements"]
    shown = shared.locator(".matrix .title").all_inner_texts()
    assert shown == [statement["title"] for statement in statements]


def test_landmarks_stand_one_below_the_other(address, opened, report):
    """The picture as a structure: the same landmarks in the same order at every width, none over another."""
    statements = [s["slug"] for s in json.loads((report / "report.json").read_text())["statements"]]
    seen = []
    for width in WIDTHS:
        page = opened(address, width=width).page
        boxes = page.evaluate(
            """s => [...document.querySelectorAll(s)].map(e => {
              const b = e.getBoundingClientRect();
              return [e.getAttribute('aria-labelledby') || e.className || e.tagName, b.top, b.bottom, b.left, b.right];
            })""",
            LANDMARKS,
        )
        for (_, top, bottom, left, right), (_, following, *_) in zip(
            boxes, [*boxes[1:], ["", float("inf")]], strict=True
        ):
            assert bottom > top
            assert bottom <= following + 1
            assert 0 <= left < right <= width
        seen.append([name for name, *_ in boxes])
    assert seen[0] == seen[1]
    assert [name for name in seen[0] if name in statements] == statements
    assert seen[0][0] == "HEADER"


def test_the_parts_of_a_statement_are_in_order(shared):
    sections = shared.locator("section:has(> .verdict)").all()
    assert len(sections) == 7
    for section in sections:
        titles = section.locator("h3").all_inner_texts()
        order = ["Statement", "Assumptions", "Evidence", "Derivation", "Figures", "Mutants"]
        assert [title for title in titles if title in order] == order
        tops = section.evaluate("s => [...s.querySelectorAll('h2, h3')].map(e => e.getBoundingClientRect().top)")
        assert tops == sorted(tops)


# Every element with text of its own: contrast of its colour with the nearest background that is not transparent.
CONTRAST = """() => {
  const numbers = c => c.match(/[\\d.]+/g).map(Number);
  const light = c => { const v = numbers(c).slice(0, 3).map(x => x / 255).map(x => x <= .04045 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4);
    return .2126 * v[0] + .7152 * v[1] + .0722 * v[2]; };
  const low = [];
  let count = 0;
  for (const e of document.body.querySelectorAll('*')) {
    if (e.closest('svg') || ![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
    let up = e, back = 'rgba(0, 0, 0, 0)';
    while (up && (numbers(back)[3] ?? 1) === 0) { back = getComputedStyle(up).backgroundColor; up = up.parentElement; }
    if ((numbers(back)[3] ?? 1) === 0) back = 'rgb(255, 255, 255)';
    const [a, b] = [light(getComputedStyle(e).color), light(back)].sort((x, y) => y - x);
    count += 1;
    if ((a + .05) / (b + .05) < 4.5) low.push([e.tagName, e.className, getComputedStyle(e).color, back, e.textContent.slice(0, 40)]);
  }
  return [count, light(getComputedStyle(document.documentElement).backgroundColor), low.slice(0, 5)];
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(scheme, report, opened):
    page = opened((report / "index.html").as_uri(), color_scheme=scheme).unfold()
    count, background, low = page.evaluate(CONTRAST)
    assert count > 500
    assert (background < 0.1) == (scheme == "dark")
    assert low == []


def nodes_of(page):
    """The accessibility tree: what a screen reader is told."""
    session = page.context.new_cdp_session(page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    return [
        {
            "role": node["role"]["value"],
            "name": node.get("name", {}).get("value", ""),
            **{p["name"]: p["value"].get("value") for p in node.get("properties", [])},
        }
        for node in nodes
        if not node["ignored"]
    ]


def test_what_a_screen_reader_is_told(shared):
    nodes = nodes_of(shared)
    levels = [node["level"] for node in nodes if node["role"] == "heading"]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    for role in ("heading", "link", "img", "image", "figure", "region", "navigation", "DisclosureTriangle"):
        unnamed = [node for node in nodes if node["role"] == role and not node["name"].strip()]
        assert unnamed == [], role
    assert [node["role"] for node in nodes].count("main") == 1
    assert shared.locator("html").get_attribute("lang") == "en"
    assert shared.title()
    drawings = shared.locator("figure svg").count()
    assert len([node for node in nodes if node["role"] in ("img", "image")]) >= drawings
    headless = shared.evaluate(
        "() => [...document.querySelectorAll('table')].filter(t => !t.querySelector('thead th')).length"
    )
    assert headless == 0


def test_a_keyboard_reaches_the_statements(report, opened):
    page = opened((report / "index.html").as_uri()).page
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.getAttribute('href')") == "#statements"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.closest('nav') !== null")


@pytest.fixture(scope="module")
def printed(browser, report):
    """The page on A4, folds as a reader has left them, and the sheets: width, text, horizontal places of the text."""
    page = browser.new_page(viewport={"width": 717, "height": 1000})  # A4 less the margins of a print dialogue
    page.goto((report / "index.html").as_uri())
    pdf = page.pdf(format="A4", margin=dict.fromkeys(("top", "bottom", "left", "right"), "10mm"))
    page.emulate_media(media="print")
    sheets = []
    for sheet in pypdf.PdfReader(io.BytesIO(pdf)).pages:
        places = []
        text = sheet.extract_text(
            visitor_text=lambda text, cm, tm, font, size, held=places: (
                held.append(cm[0] * tm[4] + cm[4]) if text.strip() else None
            )
        )
        sheets.append((float(sheet.mediabox.width), text, places))
    yield page, sheets
    page.close()


def test_paper_has_what_is_folded(printed):
    page, sheets = printed
    text = re.sub(r"\s+", "", "".join(text for _, text, _ in sheets))
    folded = page.evaluate("() => [...document.querySelectorAll('details.step > p')].map(e => e.textContent)")
    assert len(folded) > 50
    assert text.count("Decidedby") >= len([line for line in folded if "Decided by" in line])
    for title in page.evaluate("() => [...document.querySelectorAll('h2')].map(e => e.textContent)"):
        assert re.sub(r"\s+", "", title) in text


def test_paper_has_instances_only_where_they_are_open(printed):
    """They are in files that are named beside them."""
    page, _ = printed
    shown = """() => [...document.querySelectorAll('.variants details')].map(e => e.checkVisibility())"""
    assert len(page.evaluate(shown)) > 20
    assert not any(page.evaluate(shown))
    page.locator(".variants details").first.evaluate("d => { d.open = true }")
    assert sum(page.evaluate(shown)) == 1
    page.locator(".variants details").first.evaluate("d => { d.open = false }")


def test_paper_has_whole_formulas(printed):
    """Every formula is laid out, none is wider than the paper, none is cut at the edge of a container."""
    page, _ = printed
    found = page.evaluate("""() => [...document.querySelectorAll('.formula')].map(f => {
      const m = f.querySelector('math').getBoundingClientRect(), box = f.getBoundingClientRect();
      return {text: f.textContent.slice(0, 60), height: m.height, over: m.right - box.right, left: m.left - box.left,
        cut: getComputedStyle(f).overflowX !== 'visible' && f.scrollWidth > f.clientWidth,
        page: Math.max(...[...f.querySelectorAll('*')].map(e => e.getBoundingClientRect().right)) - document.documentElement.clientWidth};
    })""")
    assert len(found) > 100
    bad = [
        row
        for row in found
        if row["height"] < 5 or row["over"] > 1 or row["left"] < -1 or row["cut"] or row["page"] > 1
    ]
    assert bad == []


def test_paper_is_not_overrun(printed):
    page, sheets = printed
    assert page.evaluate("() => document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    wide = page.evaluate("""() => [...document.querySelectorAll('table, figure, svg, pre, code, p')].filter(
      e => e.getBoundingClientRect().right > document.documentElement.clientWidth + 1).map(e => e.outerHTML.slice(0, 90))""")
    assert wide == []
    for paper, _, places in sheets:
        assert all(0 <= x <= paper for x in places)
