"""A small driver of headless Chromium: the DevTools protocol over a pipe, with nothing but the standard library."""

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
         "--disable-sync", "--disable-component-update", "--disable-dev-shm-usage", "--no-default-browser-check",
         "--hide-scrollbars", "--force-color-profile=srgb", "--remote-debugging-pipe")
PATIENCE = 30  # seconds for one answer


def find_chromium():
    """The command of a Chromium, or None."""
    return os.environ.get("CHROMIUM") or next((path for name in NAMES if (path := shutil.which(name))), None)


class Chromium:
    """One browser with one page; used in a `with` statement. `problems` are the errors that the page reported."""

    def __init__(self, width=1500, height=950):
        self.problems = []
        self.requests = []
        self._number = 0
        self._buffer = b""
        self._profile = tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        command_read, self._write = os.pipe()
        self._read, answer_write = os.pipe()
        # The browser reads commands at descriptor 3 and answers at 4; a shell puts ours there, whatever their numbers.
        script = f'exec "$@" 3<&{command_read} 4>&{answer_write}'
        self._process = subprocess.Popen(
            ["bash", "-c", script, "chromium", find_chromium(), *FLAGS, f"--window-size={width},{height}",
             f"--user-data-dir={self._profile.name}", "about:blank"],
            pass_fds=(command_read, answer_write), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(command_read)
        os.close(answer_write)
        self._session = None
        targets = self.send("Target.getTargets")["targetInfos"]
        page = next(t["targetId"] for t in targets if t["type"] == "page")
        self._session = self.send("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in "Page", "Runtime", "Log", "Network":
            self.send(f"{domain}.enable")
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        try:
            self._session = None
            self.send("Browser.close")
            self._process.wait(10)
        except (OSError, TimeoutError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        finally:
            os.close(self._write)
            os.close(self._read)
            self._profile.cleanup()

    def send(self, method, **params):
        """The result of a command; raises RuntimeError where the browser refuses it."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        number = self._number
        while True:
            answer = self._receive()
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]

    def _receive(self):
        deadline = time.monotonic() + PATIENCE
        while b"\0" not in self._buffer:
            if not select.select([self._read], [], [], max(0, deadline - time.monotonic()))[0]:
                raise TimeoutError("Chromium does not answer")
            part = os.read(self._read, 1 << 20)
            if not part:
                raise OSError("Chromium has ended")
            self._buffer += part
        text, _, self._buffer = self._buffer.partition(b"\0")
        message = json.loads(text)
        self._note(message.get("method"), message.get("params", {}))
        return message

    def _note(self, method, params):
        if method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.problems.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.problems.append(" ".join(str(a.get("value", a.get("description"))) for a in params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.problems.append(params["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])

    def open(self, path, fragment=""):
        """Load a file and wait until its scripts are done; the seconds it took, as the page counts them."""
        self.send("Page.navigate", url=f"{path.resolve().as_uri()}{fragment}")
        self.wait("document.documentElement?.dataset.ready === 'true'")
        return self.run("performance.now()") / 1000

    def run(self, expression):
        """The value of a JavaScript expression; a promise is awaited."""
        result = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(f"{expression}: {result['exceptionDetails'].get('exception', {}).get('description')}")
        return result["result"].get("value")

    def wait(self, condition):
        """Until a JavaScript condition holds."""
        deadline = time.monotonic() + PATIENCE
        while not self.run(f"Boolean({condition})"):
            if time.monotonic() > deadline:
                raise TimeoutError(f"never came true: {condition} {self.problems}")
            time.sleep(0.02)

    def place(self, selector):
        """A point on the first element that a CSS selector finds: its middle, or near its left end if it is long.

        Waits until the element is there for the mouse, too, which it may not be yet when it has just been scrolled to.
        """
        element = f"document.querySelector({json.dumps(selector)})"
        point = f"(r => [r.x + Math.min(r.width / 2, 60), r.y + r.height / 2])({element}.getBoundingClientRect())"
        self.wait(f"{element}.contains(document.elementFromPoint(...{point}))")
        return self.run(point)

    def mouse(self, kind, x, y, **more):
        """One event of the mouse: mouseMoved, mousePressed, mouseReleased or mouseWheel."""
        self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)
        self.settle()

    def hover(self, selector):
        """Move the mouse onto an element."""
        self.mouse("mouseMoved", *self.place(selector))

    def click(self, selector, count=1):
        """Click on an element."""
        x, y = self.place(selector)
        self.mouse("mouseMoved", x, y)
        for n in range(1, count + 1):
            for kind in "mousePressed", "mouseReleased":
                self.mouse(kind, x, y, button="left", clickCount=n)

    def key(self, key, text=None):
        """Press and let go a key."""
        more = {"text": text if text is not None else key} if len(key) == 1 else {}
        self.send("Input.dispatchKeyEvent", type="keyDown", key=key, **more)
        self.send("Input.dispatchKeyEvent", type="keyUp", key=key)
        self.settle()

    def settle(self):
        """Let the page draw twice, so that what an event began has happened."""
        self.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def screenshot(self, path):
        """What the page looks like, as a PNG file."""
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"]))
        return path
