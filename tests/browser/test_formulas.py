"""MathML is laid out: numerators stand above denominators, rows below rows, scripts where scripts belong."""

import pytest

BOX = "const box = e => e.getBoundingClientRect();"


@pytest.fixture(scope="module")
def page(address, opened_once):
    return opened_once(address).unfold()


def wrong(page, selector, condition):
    """How many elements there are, and those for which a condition on `e` and its children `c` does not hold."""
    return page.evaluate(
        f"""s => {{ {BOX} const all = [...document.querySelectorAll(s)];
        return [all.length, all.filter(e => {{ const c = [...e.children]; return !({condition}); }}).map(
          e => e.outerHTML.slice(0, 200)).slice(0, 3)]; }}""",
        selector,
    )


def laid_out(page, selector, condition, at_least):
    count, bad = wrong(page, selector, condition)
    assert count >= at_least, (selector, count)
    assert bad == [], (selector, bad)


def test_every_formula_has_a_size(page):
    laid_out(page, "math", "box(e).width > 3 && box(e).height > 5", 200)
    laid_out(page, ".formula", "e.querySelectorAll('math').length === 1", 200)
    laid_out(page, "math mi, math mn", "e.textContent === '' || box(e).width > 0", 1000)


def test_a_fraction_is_higher_than_its_parts(page):
    laid_out(
        page, "mfrac", "c.length === 2 && box(e).height > box(c[0]).height && box(e).height > box(c[1]).height", 20
    )
    laid_out(page, "mfrac", "box(c[0]).bottom <= box(c[1]).top + 1", 20)


def test_rows_stand_below_rows(page):
    laid_out(page, "mtable", "c.length > 0 && c.every((r, k) => k === 0 || box(r).top >= box(c[k - 1]).bottom - 1)", 20)
    laid_out(page, "mtr", "c.every((d, k) => k === 0 || box(d).left >= box(c[k - 1]).right - 1)", 20)
    laid_out(page, "mtd", "c.every(x => box(x).right <= box(e).right + 1 && box(x).left >= box(e).left - 1)", 20)


def test_scripts_are_where_they_belong(page):
    middle = "const m = e => (box(e).top + box(e).bottom) / 2;"
    laid_out(page, "msup", f"(() => {{ {middle} return m(c[1]) < m(c[0]); }})()", 20)
    laid_out(page, "msub", f"(() => {{ {middle} return m(c[1]) > m(c[0]); }})()", 100)
    laid_out(page, "msubsup", f"(() => {{ {middle} return m(c[2]) < m(c[1]); }})()", 5)
    laid_out(page, "mover", "box(c[1]).top <= box(c[0]).top + 1", 5)


def test_brackets_grow_with_what_they_hold(page):
    """A bracket beside a fraction is as high as it, but for one whose size is given."""
    condition = """(() => { const row = e.parentElement, f = row.querySelector(':scope > mfrac');
      return !f || box(e).height >= 0.6 * box(f).height; })()"""
    laid_out(page, "math mo[stretchy='true'][fence='true']:not([maxsize])", condition, 1)


def test_no_formula_is_left_in_tex(page):
    count, bad = wrong(page, "math", "!/[\\\\\\\\{}]|merror/.test(e.textContent.replace(/[{}]/g, ''))")
    assert count > 200
    assert bad == []
    assert page.locator("merror").count() == 0


def test_letters_can_be_read(page):
    """The smallest letter of a formula, a script in a fraction in a script, still has seven pixels."""
    laid_out(page, "math mi, math mn", "parseFloat(getComputedStyle(e).fontSize) >= 7", 1000)
