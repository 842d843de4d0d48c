"""One real Chromium for all tests of a process: to start one takes longer than most of such tests."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from selenium import webdriver

CHROMIUM: Final = shutil.which("chromium")
DRIVER: Final = shutil.which("chromedriver")
WIDE: Final = (1280, 1000)
PHONE: Final = (360, 740)


@contextmanager
def chromium(folder: Path) -> Iterator[webdriver.Chrome]:
    """A browser with its profile in `folder`, that reaches loopback only."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    arguments = ["--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--lang=en"]
    if os.geteuid() == 0:
        arguments.append("--no-sandbox")
    for argument in (*arguments, f"--user-data-dir={folder}/profile"):
        options.add_argument(argument)
    # Nothing but loopback: any other name does not resolve.
    options.add_argument("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost")
    browser = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    try:
        yield browser
    finally:
        browser.quit()


def as_new(browser: webdriver.Chrome) -> webdriver.Chrome:
    """Return it as somebody finds it who never used it: no page, cookie, stored page or line in its log."""
    browser.get("about:blank")
    for command in ("Network.clearBrowserCookies", "Network.clearBrowserCache"):
        browser.execute_cdp_cmd(command, {})
    browser.set_window_size(*WIDE)
    browser.get_log("browser")
    assert len(browser.window_handles) == 1
    return browser
