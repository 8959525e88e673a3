"""Screenshots: play the demonstration, and take the pictures of this folder in headless Chromium.

Chromium's own `--screenshot` takes a picture after a fixed time, loaded or not. Here a picture
is taken when the page shows what it must show, so the browser is driven by its DevTools
protocol, over a pipe: that needs no package and opens no port.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import click

from cdc_assets.errors import CdcError, ConfigurationError, LabError, ProofFailed
from cdc_assets.lab.cache import check_platform
from cdc_assets.lab.demo import Story, run_demo
from cdc_assets.lab.home import resolve_home
from cdc_assets.lab.lab import down
from cdc_assets.lab.processes import ProcessRecord, last_line, record_of, stop, wait_gone
from cdc_assets.lab.status import lab_status

DOCS = Path(__file__).resolve().parent
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
_ANSWER_SECONDS = 30.0
_PAGE_SECONDS = 90.0
_STILL_SECONDS = 2.0
_END_SECONDS = 5.0
_READ_FD, _WRITE_FD = 3, 4  # where Chromium looks for the pipe


@dataclass(frozen=True)
class Picture:
    """One page of the UI.

    Attributes:
        name: The file's name, without its ending.
        path: Of the page.
        size: Width and height in pixels.
        shows: Lines that the page must show, each with how often.
        acts: What to do on the complete page, as JavaScript.
    """

    name: str
    path: str
    size: tuple[int, int]
    shows: tuple[tuple[str, int], ...]
    acts: tuple[str, ...] = ()


_HIDE_NAVIGATION = "localStorage.setItem('dagster-nav-collapsed', 'true')"
_HIDE_SIDEBAR = "document.querySelector('button [aria-label=panel_show_right]').click()"
# On the empty part of the canvas, which fits the graph into it.
_DOUBLE_CLICK = """document.elementFromPoint(120, innerHeight - 20)
    .dispatchEvent(new MouseEvent('dblclick', {bubbles: true}))"""
PICTURES = (
    Picture(
        "asset-graph",
        "/asset-groups?expanded=global@global:shop,global@global:source,global@global:stats",
        (1500, 980),
        (("snapshot", 2), ("stream", 2), ("source_table", 1), ("target_table", 1), ("orders", 2),
         ("orders_by_product", 1), ("2 / 2 Passed", 1), ("1 / 1 Passed", 4)),
        (_HIDE_SIDEBAR, _DOUBLE_CLICK),
    ),
    Picture(
        "stream-asset",
        "/assets/shop/stream?view=overview",
        (1640, 1000),
        (("cdc/incarnation", 1), ("cdc/position", 1), ("cdc/job_url", 1), ("Passing", 1)),
    ),
)  # fmt: skip


class Page:
    """One tab of a browser that listens on a pipe.

    Args:
        to_browser: File descriptor to write to.
        from_browser: File descriptor to read from.
    """

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._to = to_browser
        self._from = from_browser
        self._read = b""
        self._last = 0
        self._session = ""
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        attached = self._ask("Target.attachToTarget", targetId=target, flatten=True)
        self._session = str(attached["sessionId"])
        self._ask("Page.enable")
        self._ask("Page.addScriptToEvaluateOnNewDocument", source=_HIDE_NAVIGATION)

    def open(self, url: str, size: tuple[int, int]) -> None:
        """Load a page in a window of this size."""
        width, height = size
        self._ask("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=False)  # fmt: skip
        self._ask("Page.navigate", url=url)

    def evaluate(self, expression: str) -> object:
        """Return the value of a JavaScript expression."""
        reply = self._ask("Runtime.evaluate", expression=expression, returnByValue=True)
        return cast("dict[str, object]", reply["result"]).get("value")

    def close(self) -> None:
        """End the browser."""
        self._session = ""
        self._ask("Browser.close")

    def picture(self) -> bytes:
        """Return what the window shows, as PNG."""
        return base64.b64decode(str(self._ask("Page.captureScreenshot", format="png")["data"]))

    def _ask(self, method: str, **params: object) -> dict[str, object]:
        self._last += 1
        call: dict[str, object] = {"id": self._last, "method": method, "params": params}
        if self._session:
            call["sessionId"] = self._session
        deadline = time.monotonic() + _ANSWER_SECONDS
        try:
            os.write(self._to, json.dumps(call).encode() + b"\0")
            while True:
                reply = cast("dict[str, object]", json.loads(self._message(deadline)))
                if reply.get("id") == self._last:
                    break
        except OSError as error:
            raise LabError(f"Chromium went away at {method}: {error.strerror}") from error
        if "result" not in reply:
            raise LabError(f"Chromium refused {method}: {reply.get('error')}")
        return cast("dict[str, object]", reply["result"])

    def _message(self, deadline: float) -> bytes:
        while b"\0" not in self._read:
            left = max(0.0, deadline - time.monotonic())
            if not select.select([self._from], [], [], left)[0]:
                raise LabError(f"Chromium did not answer within {_ANSWER_SECONDS:.0f} s")
            got = os.read(self._from, 1 << 16)
            if not got:
                raise LabError("Chromium ended")
            self._read += got
        message, _, self._read = self._read.partition(b"\0")
        return message


def find_chromium() -> str:
    """Return the path of a Chromium.

    Raises:
        ConfigurationError: There is none.
    """
    found = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if found is None:
        raise ConfigurationError(
            f"holds none of {', '.join(PROGRAMS)}",
            field="PATH",
            hint="Install Chromium, for example with 'apt-get install chromium'",
        )
    return found


@contextmanager
def chromium(program: str) -> Generator[Page]:
    """Start a headless Chromium with a profile of its own; both are gone afterwards.

    Raises:
        LabError: It does not start.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(
            prefix="chromium-", ignore_cleanup_errors=True)))  # fmt: skip
        theirs_in, ours_out = _pipe(stack)
        ours_in, theirs_out = _pipe(stack)
        log = folder / "log"
        record = _start(program, folder, log, (theirs_in, theirs_out))
        stack.callback(stop, [record])
        try:
            page = Page(ours_out, ours_in)
        except LabError as error:
            raise LabError(f"{program} does not start: {error}; {last_line(log)}") from error
        try:
            yield page
        finally:
            with suppress(LabError):
                page.close()
                wait_gone([record], _END_SECONDS)


def _pipe(stack: ExitStack) -> tuple[int, int]:
    """Return a pipe whose ends are none of the numbers that Chromium uses."""
    ends: list[int] = []
    for end in os.pipe():
        ends.append(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10))
        os.close(end)
        stack.callback(os.close, ends[-1])
    return ends[0], ends[1]


def _start(program: str, folder: Path, log: Path, pipe: tuple[int, int]) -> ProcessRecord:
    command = [program, "--headless=new", "--remote-debugging-pipe", "--no-first-run",
               "--disable-gpu", "--hide-scrollbars", "--lang=en-US",
               f"--user-data-dir={folder / 'profile'}"]  # fmt: skip
    if os.geteuid() == 0:
        command.append("--no-sandbox")  # Chromium refuses its sandbox to root
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    # subprocess cannot say which numbers the two ends shall have in the child.
    pid = os.posix_spawn(
        program,
        command,
        {**os.environ, "TZ": "UTC", "TMPDIR": str(folder)},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 1, str(log), flags, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
            (os.POSIX_SPAWN_DUP2, pipe[0], _READ_FD),
            (os.POSIX_SPAWN_DUP2, pipe[1], _WRITE_FD),
        ],
        setsid=True,  # Ctrl-C reaches this program, which stops the browser
    )
    record = record_of(pid)
    if record is None:
        raise LabError(f"{program} ended at once: {last_line(log)}")
    return record


def take(page: Page, url: str, picture: Picture) -> bytes:
    """Open a page, wait until it shows everything, and return its picture.

    Raises:
        LabError: It does not show it in time.
    """
    page.open(url + picture.path, picture.size)
    deadline = time.monotonic() + _PAGE_SECONDS
    _wait(page, picture, deadline)
    for act in picture.acts:
        page.evaluate(act)
        time.sleep(_STILL_SECONDS)
    while True:
        _wait(page, picture, deadline)
        time.sleep(_STILL_SECONDS)
        if not _missing(page, picture):
            return page.picture()


def _wait(page: Page, picture: Picture, deadline: float) -> None:
    missing = _missing(page, picture)
    while missing:
        if time.monotonic() > deadline:
            raise LabError(f"{picture.name}: {picture.path} does not show {missing!r} "
                           f"within {_PAGE_SECONDS:.0f} s")  # fmt: skip
        time.sleep(0.5)
        missing = _missing(page, picture)


def _missing(page: Page, picture: Picture) -> str:
    """Return a text that the page does not show yet, empty when it is complete."""
    lines = str(page.evaluate("document.body ? document.body.innerText : ''") or "").splitlines()
    shown = [line.strip() for line in lines]
    return next((text for text, times in picture.shows if shown.count(text) < times), "")


def take_all(program: str, url: str) -> dict[str, bytes]:
    """Take every picture; return them by name."""
    with chromium(program) as page:
        return {each.name: take(page, url, each) for each in PICTURES}


def play_and_take(program: str, home: Path, story: Story) -> None:
    """Play the demonstration, and write the pictures of what it leaves behind.

    Raises:
        CdcError: It failed; the pictures are as they were.
    """
    if not run_demo(home, "mariadb", DOCS.parent / "definitions.py", story=story):
        raise ProofFailed("source and target differ; no picture is taken")
    status = lab_status(home)
    url = status["endpoints"]["dagster"]["url"] if status else None
    story.head("Pictures")
    for name, content in take_all(program, url or "").items():
        (DOCS / f"{name}.png").write_bytes(content)
        story.tell(f"docs/{name}.png, {len(content) / 1000:.0f} kB")


def main() -> int:
    """Play, take the pictures, and stop everything, whatever happens."""
    home = resolve_home(None).with_name("screenshots")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        check_platform()
        program = find_chromium()
        down(home)
        try:
            play_and_take(program, home, Story())
        finally:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)  # what was started is stopped to the end
            down(home)
    except CdcError as error:
        click.echo(f"error: {error}", err=True)
        return error.exit_code
    except KeyboardInterrupt:
        click.echo("interrupted, everything is stopped", err=True)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
