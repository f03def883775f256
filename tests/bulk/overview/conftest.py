"""Lines of a run, and a browser that is told what to do, by the pipe that Chromium has for that."""

import base64
import json
import os
import shutil
import subprocess
import time
from contextlib import contextmanager
from functools import cache
from importlib import resources

import jsonschema
import pytest

import sise_rt
from sise_rt.errors import ImageError, NoEvidence
from sise_rt.explanation import Explanation

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
QUIET = ("--headless", "--disable-gpu", "--disable-background-networking", "--no-first-run")
LONGEST = 60  # seconds that something may take


@pytest.fixture(scope="session")
def explainer():
    """The demo's."""
    return sise_rt.load(str(resources.files("sise_rt") / "demo" / "surface.sise"), "cpu")


@pytest.fixture(scope="session")
def explanation(explainer) -> Explanation:
    """Of the demo's picture."""
    return explainer.explain(str(resources.files("sise_rt") / "demo" / "surface.png"), method="grad-cam")


@pytest.fixture(scope="session")
def line(explanation):
    """A function that gives a line of the results, as of a run; what is given stands in place of its own."""
    from sise_rt.bulk.items import Item, Outcome
    from sise_rt.bulk.lines import lines_of, result_schema

    validator = jsonschema.Draft202012Validator(result_schema())
    errors = {"no evidence": NoEvidence("nothing speaks for it"), "failed": ImageError("torn")}

    @cache
    def of(status):
        outcome = Outcome(
            Item("id", b"", "stem"),
            explained={}
            if status in ("failed", "skipped")
            else {"grad-cam": [errors.get(status, explanation)]},
            error=errors["failed"] if status == "failed" else None,
            reason="the model is right" if status == "skipped" else None,
        )
        return lines_of(outcome)[0]

    def made(id, status="done", **further):
        values = of(status) | {"id": id} | further
        if further:
            validator.validate(values)
        return values

    return made


class Tab:
    """A tab of the browser.

    Attributes:
        complaints: what was written to the console, and errors that nobody caught.
    """

    def __init__(self, orders, answers):
        self._orders, self._answers, self._count, self._rest = orders, answers, 0, b""
        self.complaints = []
        self._session = None
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.ask(f"{domain}.enable")
        self.look(1280, 900)

    def ask(self, method, **parameters):
        self._count += 1
        order = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            order["sessionId"] = self._session
        self._orders.write(json.dumps(order).encode() + b"\0")
        self._orders.flush()
        while True:
            answer = self._next()
            if answer.get("id") == self._count:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]
            self._hear(answer)

    def _next(self):
        while b"\0" not in self._rest:
            self._rest += os.read(self._answers, 1 << 20)
        answer, _, self._rest = self._rest.partition(b"\0")
        return json.loads(answer)

    def _hear(self, event):
        told = event.get("params", {})
        if event["method"] == "Runtime.exceptionThrown":
            self.complaints.append(told["exceptionDetails"]["exception"].get("description", ""))
        elif event["method"] == "Runtime.consoleAPICalled":
            self.complaints.append(str(told["args"]))
        elif event["method"] == "Log.entryAdded":
            self.complaints.append(told["entry"]["text"])

    def open(self, address):
        """Go to a page from an empty one, as another `#` alone would not load it."""
        for where in ("about:blank", address):
            self.ask("Page.navigate", url=where)
            self.until("document.readyState === 'complete'")

    def run(self, script):
        """The value of an expression."""
        result = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def until(self, script):
        """Wait until an expression holds."""
        end = time.monotonic() + LONGEST
        while not self.run(script):
            assert time.monotonic() < end, f"{script} never held"
            time.sleep(0.05)

    def press(self, key, text=""):
        """Press and let go of a key."""
        for kind in ("keyDown", "keyUp"):
            self.ask(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key, text=text if kind == "keyDown" else ""
            )

    def look(self, width, height, *, dark=False):
        """Have a window of that size, on a light or dark desk."""
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])

    def shoot(self, path):
        """A picture of the window."""
        path.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"]))

    def printed(self):
        """The page on paper, as PDF."""
        return base64.b64decode(self.ask("Page.printToPDF", preferCSSPageSize=True)["data"])


@contextmanager
def opened(profile):
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip(f"none of {', '.join(BROWSERS)} is installed")
    own = ["--remote-debugging-pipe", f"--user-data-dir={profile}"]
    if os.geteuid() == 0:
        own.append("--no-sandbox")  # Chromium has none for root
    (theirs, orders), (answers, ours) = os.pipe(), os.pipe()

    def connect():  # Chromium takes orders at 3, and answers at 4
        first, second = os.dup(theirs), os.dup(ours)
        os.dup2(first, 3)
        os.dup2(second, 4)

    process = subprocess.Popen(
        [program, *QUIET, *own],
        preexec_fn=connect,
        close_fds=False,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs)
    os.close(ours)
    try:
        with os.fdopen(orders, "wb") as stream:
            yield Tab(stream, answers)
    finally:
        process.kill()
        process.wait()
        os.close(answers)


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    """A tab of a browser."""
    with opened(tmp_path_factory.mktemp("profile")) as tab:
        yield tab
