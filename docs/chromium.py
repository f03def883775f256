"""A Chromium without a window, told what to do over a pipe: the DevTools protocol, and no library for it."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from select import select
from typing import Any

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
QUIET = ("--headless", "--disable-gpu", "--disable-background-networking", "--no-first-run", "--mute-audio")
PATIENCE = 60  # seconds until what does not happen is an error; nothing is measured by it
BETWEEN_LOOKS = 0.05  # seconds


def installed() -> str | None:
    """The program, or None where there is none."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


class Tab:
    """The one page of a browser, and what it said and asked for.

    Attributes:
        errors: of its console, exceptions that nobody caught and refusals by its policy included.
        requests: every address that it asked for, `data:` and `blob:` left out.
    """

    def __init__(self, send: int, receive: int):
        self._send, self._receive, self._rest, self._number = send, receive, b"", 0
        self._session: str | None = None
        self._answers: dict[int, Any] = {}
        self.errors: list[str] = []
        self.requests: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "DOM"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> Any:
        """Call a method of the protocol; its result."""
        self._number += 1
        number = self._number
        message = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._send, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + PATIENCE
        while number not in self._answers:
            self._listen(deadline)
        answer = self._answers.pop(number)
        if "error" in answer:
            raise AssertionError(f"{method}: {answer['error']}")
        return answer["result"]

    def _listen(self, deadline: float) -> None:
        ready, _, _ = select([self._receive], [], [], max(0, deadline - time.monotonic()))
        if not ready:
            raise AssertionError("the browser does not answer")
        part = os.read(self._receive, 1 << 20)
        if not part:
            raise AssertionError("the browser has ended")
        *messages, self._rest = (self._rest + part).split(b"\0")
        for message in map(json.loads, messages):
            if "id" in message:
                self._answers[message["id"]] = message
            else:
                self._note(message["method"], message["params"])

    def _note(self, event: str, what: dict[str, Any]) -> None:
        if event == "Runtime.exceptionThrown":
            details = what["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description", details["text"]))
        elif event == "Runtime.consoleAPICalled" and what["type"] in ("error", "assert", "warning"):
            self.errors.append(" ".join(str(part.get("value", "")) for part in what["args"]))
        elif event == "Log.entryAdded" and what["entry"]["level"] in ("error", "warning"):
            self.errors.append(f"{what['entry']['text']} {what['entry'].get('url', '')}".strip())
        elif event == "Network.requestWillBeSent":
            address = what["request"]["url"]
            if not address.startswith(("data:", "blob:")):
                self.requests.append(address)

    # -------------------- what a person does and sees

    def open(self, address: str) -> None:
        """Load a page from anew."""
        self.call("Page.navigate", url=address)
        self.until(f"document.readyState === 'complete' && location.href === {json.dumps(address)}")

    def run(self, script: str) -> Any:
        """The value of a script's expression, promises awaited."""
        said = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in said:
            raise AssertionError(f"{script}: {said['exceptionDetails']}")
        return said["result"].get("value")

    def until(self, condition: str) -> Any:
        """Wait until an expression is true; its value."""
        deadline = time.monotonic() + PATIENCE
        while True:
            if value := self.run(condition):
                return value
            if time.monotonic() > deadline:
                raise AssertionError(f"never true: {condition}\nerrors: {self.errors}\n{self.text('body')}")
            time.sleep(BETWEEN_LOOKS)

    def text(self, selector: str) -> str:
        """What of an element can be read."""
        return self.run(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''")

    def click(self, selector: str) -> None:
        """Press where an element is, as a mouse does."""
        where = self.run(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); "
            "e.scrollIntoView({block: 'center'}); const b = e.getBoundingClientRect(); "
            "return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call(
                "Input.dispatchMouseEvent", type=kind, x=where[0], y=where[1], button="left", clickCount=1
            )

    def press(self, key: str) -> None:
        """Press a key: `Tab`, `Enter`, `ArrowLeft`."""
        text = {"Enter": "\r"}.get(key)
        codes = {"Tab": 9, "Enter": 13, "ArrowLeft": 37, "ArrowRight": 39}
        more = {"key": key, "code": key, "windowsVirtualKeyCode": codes[key]}
        self.call("Input.dispatchKeyEvent", type="keyDown", **more, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **more)

    def choose(self, path: Path, selector: str = "input[type=file]") -> None:
        """Choose a file, as in the dialog that the browser opens."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", files=[str(path)], nodeId=node)

    def screen(self, width: int, height: int, *, dark: bool = False, still: bool = True) -> None:
        """Make the window so large, and say what the person prefers."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        features = {
            "prefers-color-scheme": "dark" if dark else "light",
            "prefers-reduced-motion": "reduce" if still else "no-preference",
        }
        self.call("Emulation.setScrollbarsHidden", hidden=True)
        self.call(
            "Emulation.setEmulatedMedia", features=[{"name": n, "value": v} for n, v in features.items()]
        )

    def picture(self, *, whole: bool = True) -> bytes:
        """The page as PNG, also what is below the window, or what is in it alone."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return base64.b64decode(shot["data"])


# Chromium reads commands from 3 and writes answers to 4; a process is only given its first three.
MOVED = ("sh", "-c", 'exec "$@" 3<&0 4>&1 </dev/null >/dev/null', "sh")


@contextmanager
def opened(program: str, profile: Path) -> Iterator[Tab]:
    """A browser with a profile of its own, which ends with the block."""
    own = [f"--user-data-dir={profile}", "--remote-debugging-pipe"]
    if os.geteuid() == 0:
        own.append("--no-sandbox")  # Chromium has none for root
    pipe = subprocess.PIPE
    command = [*MOVED, program, *QUIET, *own]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL) as process:
        try:
            yield Tab(process.stdin.fileno(), process.stdout.fileno())
        finally:
            process.kill()
