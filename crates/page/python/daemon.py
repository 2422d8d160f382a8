"""Uses the page of a daemon in a browser, as people do. Arguments: Chromium, URL, token, a ticket, a folder for pictures or nothing."""

import sys

from browser import check, fits_phone, opened, picture, rows_of, until

CHROMIUM, URL, TOKEN, TICKET, PICTURES = sys.argv[1:6]
PATIENCE = 60_000


def main():
    with opened(CHROMIUM, URL, TOKEN) as page:
        page.get_by_text("Connected", exact=True).wait_for(timeout=PATIENCE)
        # Names of strangers are text.
        page.locator("#contents-table .cell", has_text="<img src=x onerror=alert(1)>").first.wait_for(timeout=PATIENCE)
        check(page.locator("main img").count() == 0, "a name became markup")

        # A download by its ticket, with the keyboard alone.
        page.get_by_label("Ticket").focus()
        page.keyboard.insert_text(TICKET)
        page.keyboard.press("Enter")
        page.locator("#answer", has_text="Done").wait_for(timeout=PATIENCE)
        big = page.locator("#contents-table [role=row]", has_text="big.bin")
        big.first.wait_for(timeout=PATIENCE)

        # A row by the keyboard: the content is looked at closely.
        page.locator("#filter").fill("big")
        until(page, "document.querySelectorAll('#contents-table .scroll .row:not([hidden])').length === 1", PATIENCE)
        page.locator("#contents-table [role=grid]").focus()
        page.keyboard.press("ArrowDown")
        check(page.locator("#contents-table [role=grid]").get_attribute("aria-activedescendant") is not None, "no active row")
        page.keyboard.press("Enter")
        page.locator("#close-title", has_text="big.bin").wait_for(timeout=PATIENCE)
        page.locator("#peers-table .scroll .row").first.wait_for(timeout=PATIENCE)
        until(page, "document.getElementById('map').getAttribute('aria-label').includes('parts are complete')", PATIENCE)
        page.locator("#filter").fill("")

        # Steering: paused, resumed, limited.
        page.get_by_role("button", name="Pause", exact=True).click()
        page.locator("#close-state", has_text="paused").wait_for(timeout=PATIENCE)
        page.get_by_role("button", name="Resume", exact=True).click()
        until(page, "!document.getElementById('close-state').textContent.startsWith('paused')", PATIENCE)
        page.get_by_label("Receive at most").fill("8")
        page.get_by_label("Receive at most").press("Enter")
        page.locator("#totals", has_text="8.0 MiB/s").wait_for(timeout=PATIENCE)
        page.get_by_label("Receive at most").fill("much")
        page.get_by_label("Receive at most").press("Enter")
        page.locator("#answer[data-bad]", has_text="much is no rate").wait_for(timeout=PATIENCE)
        page.get_by_label("Receive at most").fill("")

        # A limit that is left empty stays, and only "none" is none.
        page.get_by_label("Send at most").fill("5")
        page.get_by_label("Send at most").press("Enter")
        page.locator("#totals", has_text="↓ 8.0 MiB/s, ↑ 5.0 MiB/s").wait_for(timeout=PATIENCE)
        page.get_by_label("Send at most").press("Enter")
        page.locator("#answer", has_text="Nothing was changed").wait_for(timeout=PATIENCE)
        page.get_by_label("Send at most").fill("none")
        page.get_by_label("Send at most").press("Enter")
        page.locator("#totals", has_text="↓ 8.0 MiB/s, ↑ none").wait_for(timeout=PATIENCE)

        # A tab that is not seen keeps no connection from others.
        page.evaluate("""() => {
            window.closings = 0;
            const close = EventSource.prototype.close;
            EventSource.prototype.close = function () { window.closings += 1; close.call(this); };
            window.behind = true;
            Object.defineProperty(document, "hidden", { get: () => window.behind });
            document.dispatchEvent(new Event("visibilitychange"));
        }""")
        check(page.evaluate("window.closings") == 2, "a page that is not seen looks on")
        page.evaluate("""() => {
            document.getElementById("state").textContent = "";
            window.behind = false;
            document.dispatchEvent(new Event("visibilitychange"));
        }""")
        page.get_by_text("Connected", exact=True).wait_for(timeout=PATIENCE)

        page.get_by_label("Ticket").fill("nonsense")
        page.get_by_role("button", name="Download", exact=True).click()
        page.locator("#answer[data-bad]").wait_for(timeout=PATIENCE)

        if PICTURES:
            page.wait_for_timeout(6000)
            page.get_by_label("Ticket").fill("")
            picture(page, PICTURES, "page-daemon", dark=False)
        removed_unseen(page)
        long_tables(page)
        fits_phone(page)
        if PICTURES:
            picture(page, PICTURES, "page-phone", dark=True)


def removed_unseen(page):
    """A content that is looked at closely, and is removed while the page is not seen, is left."""
    page.evaluate("""async () => {
        window.behind = true;
        document.dispatchEvent(new Event("visibilitychange"));
        const number = String(document.querySelector("#contents-table .row[aria-selected=true]").dataset.key);
        const asked = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ which: { these: [number] } }) };
        await fetch("/api/v1/remove", asked);
        window.behind = false;
        document.dispatchEvent(new Event("visibilitychange"));
    }""")
    page.locator("#close").wait_for(state="hidden", timeout=PATIENCE)
    page.get_by_text("Connected", exact=True).wait_for(timeout=PATIENCE)


def long_tables(page):
    """Ten thousand rows are as many elements as a screen has."""
    page.evaluate("""() => {
        const box = document.createElement("div");
        box.id = "long";
        document.querySelector("main").prepend(box);
        window.long = new Table(box, "Long", contentColumns(), () => {});
        const row = (number) => ({ number, name: `content ${number}`, content: "", state: "sharing", reason: "", size: number,
            have: number % 100, pieces: 100, rate: 0, peers: 0, hashed: [0, 0] });
        for (let number = 0; number < 10000; number += 1) window.long.set(number, row(number));
        window.long.arrange([...Array(10000).keys()]);
    }""")
    until(page, "document.querySelector('#long [role=grid]').getAttribute('aria-rowcount') === '10001'", PATIENCE)
    check(page.locator("#long .row").count() < 60, "too many elements")
    page.locator("#long [role=grid]").focus()
    page.keyboard.press("End")
    page.locator("#long .cell", has_text="content 9999").wait_for(timeout=PATIENCE)
    check("9999" in rows_of(page, "#long")[-1], "the last row is not seen")
    page.locator("#long .head button", has_text="Size").click()
    page.locator("#long [role=grid]").focus()
    page.keyboard.press("Home")
    until(page, "document.querySelector('#long .row.active')?.textContent.includes('content 9999')", PATIENCE)
    page.evaluate("document.getElementById('long').remove()")


main()
