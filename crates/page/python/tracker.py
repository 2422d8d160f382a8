"""Looks at the page of a tracker in a browser. Arguments: Chromium, URL, how many peers get the content, a folder for pictures or nothing."""

import sys

from browser import check, fits_phone, opened, picture, rows_of, until

CHROMIUM, URL, PEERS, PICTURES = sys.argv[1:5]
PATIENCE = 120_000


def main():
    with opened(CHROMIUM, URL, None) as page:
        page.locator("#contents-table .cell", has_text="crowd.bin").first.wait_for(timeout=PATIENCE)
        page.locator("#contents-table [role=grid]").focus()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        page.locator("#close-title", has_text="crowd.bin").wait_for(timeout=PATIENCE)
        page.locator("#peers-table .scroll .row").first.wait_for(timeout=PATIENCE)
        # Whoever started this lets the crowd begin now.
        print("looking", flush=True)
        # All of the crowd is there, and somebody sends.
        until(page, f"document.querySelectorAll('#peers-table .scroll .row').length >= Math.min({PEERS}, 10)", PATIENCE)
        page.locator("#flows span", has_text="→").first.wait_for(timeout=PATIENCE)
        until(page, "/best possible/.test(document.getElementById('verdict').textContent)", PATIENCE)
        label = page.locator("#crowd-chart").get_attribute("aria-label")
        check("best possible" in label, "the chart is not said in words")
        # Whoever knows the links says so.
        page.get_by_label("Uplink of a peer").fill("25")
        page.get_by_label("Uplink of a peer").press("Enter")
        page.locator("#verdict", has_text="with uplinks of").wait_for(timeout=PATIENCE)
        if PICTURES:
            page.wait_for_timeout(9000)
            picture(page, PICTURES, "page-tracker", dark=False)
        until(page, "/had it after/.test(document.getElementById('verdict').textContent)", PATIENCE)
        check(any("100%" in row for row in rows_of(page, "#peers-table")), "nobody is complete")
        many_peers(page)
        fits_phone(page)


def many_peers(page):
    """Five thousand peers that all change are as many elements as a screen has."""
    page.evaluate("""() => {
        const box = document.createElement("div");
        box.id = "many";
        document.querySelector("main").prepend(box);
        const many = new Table(box, "Many", peerColumns("From"), null);
        for (const share of [10, 20, 30]) {
            for (let number = 0; number < 5000; number += 1) {
                const called = `10.0.${number >> 8}.${number & 255}:9000`;
                many.set(number, { called, site: "10.0.0.0/24", has: `${share}%`, share, down: share, up: number, about: "" });
            }
        }
    }""")
    until(page, "document.querySelector('#many [role=grid]').getAttribute('aria-rowcount') === '5001'", PATIENCE)
    check(page.locator("#many .row").count() < 60, "too many elements")
    check("30%" in rows_of(page, "#many")[0], "the last change is not shown")
    page.evaluate("document.getElementById('many').remove()")


main()
