"""A browser, and what is asked of every page in it."""

import contextlib
import pathlib
import sys
import time

from playwright.sync_api import sync_playwright

WIDE = {"width": 1180, "height": 900}
PHONE = {"width": 360, "height": 740}


def check(is_so, what):
    if not is_so:
        sys.exit(f"wrong: {what}")


@contextlib.contextmanager
def opened(chromium, url, token):
    """A page, with the token as its password. Whatever a script complains of is an error, and so is a refusal of the policy."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        password = {"username": "me", "password": token} if token else None
        context = browser.new_context(http_credentials=password, viewport=WIDE)
        page = context.new_page()
        complaints = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(f"a dialog: {dialog.message}"))
        # What is refused on purpose is said in the console, too.
        page.on("console", lambda said: complaints.append(said.text) if "Content Security" in said.text else None)
        page.goto(url)
        yield page
        context.close()
        browser.close()
        check(not complaints, complaints)


def until(page, expression, patience):
    """Waits until this is true in the page. Playwright's own way makes code of text there, which the page's policy refuses."""
    end = time.monotonic() + patience / 1000
    while not page.evaluate(expression):
        check(time.monotonic() < end, f"it never came true: {expression}")
        page.wait_for_timeout(100)


def rows_of(page, table):
    """The rows of a table that are seen, from the top."""
    return page.evaluate(
        """(table) => [...document.querySelectorAll(`${table} .scroll .row:not([hidden])`)]
            .sort((one, other) => one.getAttribute("aria-rowindex") - other.getAttribute("aria-rowindex"))
            .map((row) => row.textContent)""",
        table,
    )


def fits_phone(page):
    """On a phone nothing is wider than the screen, dark or light."""
    page.set_viewport_size(PHONE)
    for scheme in ["light", "dark"]:
        page.emulate_media(color_scheme=scheme)
        page.wait_for_timeout(100)
        wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        check(wide <= 0, f"{wide} pixels too wide for a phone")
    page.evaluate("window.scrollTo(0, 0)")


def picture(page, folder, name, dark):
    page.emulate_media(color_scheme="dark" if dark else "light")
    page.wait_for_timeout(300)
    page.screenshot(path=pathlib.Path(folder) / f"{name}.png")
