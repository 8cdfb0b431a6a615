"""A real browser: JupyterLab, notebook 00, a slider moved by the keyboard, a map pressed."""

import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = "00_start_here.ipynb"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER),
        reason="no chromium and chromedriver here: apt-get install chromium chromium-driver",
    ),
]

SETTINGS = {
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/docmanager-extension/plugin": {"autosave": False},
}
KERNEL_IDLE = """return window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel
    ?.status === 'idle'"""
RUN_ALL = """const done = arguments[0];
    window.jupyterapp.commands.execute('notebook:run-all-cells').then(() => done(true));"""
ERRORS = """return [...document.querySelectorAll(
    '.jp-RenderedText[data-mime-type="application/vnd.jupyter.stderr"], ' +
    '.jp-RenderedText[data-mime-type="application/vnd.jupyter.error"]')].map(e => e.innerText)"""
PICTURE = "return document.querySelector('.lvmlab-panel img')?.src"
WATCH = """window.lvmlabWaits = []; let pressed = 0;
    document.addEventListener('keydown', () => { pressed = performance.now() }, true);
    document.querySelector('.lvmlab-panel img').addEventListener(
        'load', () => window.lvmlabWaits.push(performance.now() - pressed))"""
WAITS = "return window.lvmlabWaits.length >= 15 && window.lvmlabWaits"
FOCUS = """const handle = document.querySelector('.lvmlab-panel .noUi-handle');
    handle.scrollIntoView({block: 'center'}); handle.focus();
    return document.activeElement === handle"""
MAP = """import numpy as np
from lvmlab.widgets import latent_walk
latent_walk(np.random.default_rng(0).normal(size=(40, 2)), lambda z: np.tanh(z[:, :, None]) / 2)"""
TOUCHED = "return [...document.querySelectorAll('.lvmlab-panel img')].at(-1)"


@pytest.fixture
def server(tmp_path):
    """A JupyterLab with no history of its own, on a copy of the notebooks."""
    work = tmp_path / "work"
    shutil.copytree(ROOT / "notebooks", work)
    page = nbformat.read(work / NOTEBOOK, as_version=4)
    page.cells.append(nbformat.v4.new_code_cell(MAP))
    nbformat.write(page, work / NOTEBOOK)
    names = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    names += ("JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR", "MPLCONFIGDIR")
    folders = {name: str(tmp_path / name.lower()) for name in names}
    for plugin, values in SETTINGS.items():
        file = Path(folders["JUPYTERLAB_SETTINGS_DIR"]) / f"{plugin}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(16)
    options = [
        "--no-browser",
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={token}",
        f"--ServerApp.root_dir={work}",
        "--ServerApp.terminals_enabled=False",
        "--LabApp.expose_app_in_browser=True",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.news_url=",
    ]
    if os.geteuid() == 0:
        options.append("--allow-root")
    log = (tmp_path / "server.log").open("w")
    process = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", *options],
        env=os.environ | folders | {"LVMLAB_PRESET": "smoke"},
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    try:
        address = f"http://127.0.0.1:{port}"
        wait(lambda: answers(f"{address}/api/status?token={token}"), 60, "the server's answer")
        yield f"{address}/lab/tree/{NOTEBOOK}?reset&token={token}"
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()


@pytest.fixture
def browser(tmp_path):
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (
        *("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run"),
        *("disable-background-networking", "disable-component-update", "disable-sync"),
        *("disable-dev-shm-usage", "window-size=1280,1400", f"user-data-dir={tmp_path / 'user'}"),
    ):
        options.add_argument(f"--{flag}")
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    driver.set_script_timeout(180)
    yield driver
    driver.quit()


def test_a_slider_moves_a_picture_and_a_press_decodes_a_place(server, browser, tmp_path):
    from selenium.webdriver import ActionChains, Keys

    shots = Path(os.environ.get("LVMLAB_SCREENSHOTS", tmp_path))
    shots.mkdir(parents=True, exist_ok=True)
    browser.get(server)
    try:
        wait(lambda: browser.execute_script(KERNEL_IDLE), 60, "an idle kernel")
        browser.execute_async_script(RUN_ALL)
        before = wait(lambda: browser.execute_script(PICTURE), 30, "the picture of a panel")
        assert browser.execute_script(ERRORS) == []
        assert browser.execute_script(FOCUS)
        browser.execute_script(WATCH)
        for key in [Keys.ARROW_RIGHT] * 8 + [Keys.ARROW_LEFT] * 12:
            ActionChains(browser).send_keys(key).perform()
            before = wait(lambda old=before: changed(browser, old), 20, "a new picture", 0.01)
        waits = sorted(wait(lambda: browser.execute_script(WAITS), 20, "pictures to be loaded"))
        print(f"from key to new picture: median {waits[len(waits) // 2]:.0f} ms of {len(waits)}")
        touched = browser.execute_script(TOUCHED)
        browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", touched)
        assert "t = 0.50" in touched.get_attribute("alt")
        left, down = -touched.size["width"] // 4, touched.size["height"] // 8  # inside the map
        ActionChains(browser).move_to_element_with_offset(touched, left, down).click().perform()
        wait(lambda: "; pressed" in touched.get_attribute("alt"), 20, "the place to be decoded")
        assert browser.execute_script(ERRORS) == []
    finally:
        browser.save_screenshot(str(shots / "notebook_00.png"))


def changed(browser, before):
    now = browser.execute_script(PICTURE)
    return now if now and now != before else None


def wait(question, seconds, what, pause=0.05):
    """The first true answer, or a failure that names what was waited for."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if answer := question():
            return answer
        time.sleep(pause)
    pytest.fail(f"waited {seconds} s in vain for {what}")


def answers(address):
    with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=2) as reply:
        return reply.status == 200
    return False
