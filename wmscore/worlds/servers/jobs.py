"""Jobs of a videos API (create, poll, download), through the `openai` client."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from wmscore.extras import require
from wmscore.worlds.servers.errors import ServiceError, UnavailableError, without_secrets
from wmscore.worlds.servers.patience import Patience

__all__ = ["VideoJobs"]

T = TypeVar("T")

# Where nothing has been done yet, so that a request may be sent again even if it costs.
_REFUSED = (429, 503)
_NEVER_SENT = ("ConnectError", "ConnectTimeout", "PoolTimeout")
# Asking again never changes what these say.
_FINAL_CODES = ("insufficient_quota", "billing_hard_limit_reached")


class VideoJobs:
    """`POST /videos`, `GET /videos/{id}` and `GET /videos/{id}/content` of one server.

    The routes are asked for directly: `client.videos` of the package is deprecated with the Sora
    API, other servers go on speaking it. The key is read from the environment when it is needed,
    is kept nowhere else, and is cut out of every error message.
    """

    def __init__(
        self,
        *,
        base_url: str | None = None,
        api_key_env: str | None = "OPENAI_API_KEY",
        route: str = "/videos",
        request_timeout: float = 120.0,
    ) -> None:
        """Speak to a server.

        Args:
            base_url: such as `http://localhost:8091/v1`; by default that of the package.
            api_key_env: environment variable that holds the key; None for servers without keys.
            route: of the jobs.
            request_timeout: seconds that one request may take.

        Raises:
            ImportError: the package is not installed.
        """
        require("openai", "videos-api")  # told at once, and not by every row
        self.base_url = base_url
        self.api_key_env = api_key_env
        self.route = route
        self.request_timeout = request_timeout
        self._client: Any = None
        self._lock = threading.Lock()

    def create(self, fields: Mapping[str, object], image: bytes | None) -> dict[str, Any]:
        """Make a job.

        Args:
            fields: of the form.
            image: a PNG, sent as `input_reference`.

        Raises:
            UnavailableError: the server was not reached, or took no job (429, 503).
            ServiceError: it refused; or it is not known whether there is a job now, which may cost
                and is not made twice.
        """
        files = []
        if image is not None:
            files.append(("input_reference", ("first.png", image, "image/png")))
        options = {"headers": {"Content-Type": "multipart/form-data"}}
        return self._checked(
            self._send(
                f"POST {self.route}",
                lambda client: client.post(
                    self.route,
                    cast_to=object,
                    body={k: v if isinstance(v, str) else str(v) for k, v in fields.items()},
                    files=files,
                    options=options,
                ),
                once=True,
            )
        )

    def poll(self, job: str) -> dict[str, Any]:
        """How a job stands."""
        path = f"{self.route}/{job}"
        return self._checked(
            self._send(f"GET {path}", lambda client: client.get(path, cast_to=object))
        )

    def download(self, job: str) -> bytes:
        """The video of a finished job."""
        path = f"{self.route}/{job}/content"
        kind = require("openai", "videos-api").HttpxBinaryResponseContent
        options = {"headers": {"Accept": "application/binary"}}
        data: bytes = self._send(
            f"GET {path}",
            lambda client: client.get(path, cast_to=kind, options=options).read(),
        )
        return data

    def run(
        self,
        fields: Mapping[str, object],
        image: bytes | None,
        patience: Patience,
        poll_seconds: float,
    ) -> bytes:
        """Create a job, wait for its end, and download the video.

        Raises:
            UnavailableError: no job could be made yet.
            ServiceError: the job failed, or its answer did not come.
        """
        job = self.create(fields, image)
        while job["status"] in ("queued", "in_progress"):
            patience.wait(
                poll_seconds, f"job {job['id']} is {job['status']}{_percent(job.get('progress'))}"
            )
            found = self.poll_patiently(job["id"], patience)
            job = {**found, "id": job["id"]}
        if job["status"] != "completed":
            why = job.get("error") or {}
            told = why if isinstance(why, str) else f"{why.get('code')}: {why.get('message')}"
            raise ServiceError(
                f"job {job['id']}: expected status completed, got {job['status']}"
                + self._clean(f" ({told})" if why else "")
            )
        return patience.retry(lambda: self.download(job["id"]))

    def poll_patiently(self, job: str, patience: Patience) -> dict[str, Any]:
        """`poll`, again where the server is not reached."""
        return patience.retry(lambda: self.poll(job))

    def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    # ---- requests ------------------------------------------------------------------------

    def _key(self) -> str | None:
        if self.api_key_env is None:
            return None
        key = os.environ.get(self.api_key_env)
        if not key:
            raise ServiceError(
                f"environment variable {self.api_key_env}: expected the key of the service, got "
                "none (api_key_env=None for servers without keys)"
            )
        return key

    def _clean(self, text: str) -> str:
        secret = os.environ.get(self.api_key_env) if self.api_key_env else None
        return without_secrets(text, [secret])

    def _connect(self) -> Any:
        with self._lock:
            if self._client is None:
                self._client = require("openai", "videos-api").OpenAI(
                    api_key=self._key() or "none",
                    base_url=self.base_url,
                    timeout=self.request_timeout,
                    max_retries=0,  # `Patience` knows what may be sent twice
                )
            return self._client

    def _send(self, what: str, ask: Callable[[Any], T], *, once: bool = False) -> T:
        """One request; errors as ours, without the key in their text or in their context."""
        openai = require("openai", "videos-api")
        client = self._connect()
        failed: ServiceError
        try:
            return ask(client)
        except openai.APIStatusError as error:
            failed = self._status(what, error, once)
        except openai.APITimeoutError as error:
            failed = self._unsent(what, error, once, f"no answer in {self.request_timeout:g} s")
        except openai.APIConnectionError as error:
            failed = self._unsent(what, error, once, f"no connection ({error.__cause__})")
        except openai.OpenAIError as error:
            failed = ServiceError(self._clean(f"{what}: {error}"))
        raise failed

    def _status(self, what: str, error: Any, once: bool) -> ServiceError:
        code = error.status_code
        told = self._clean(f"{what}: HTTP {code}: {error.message}")
        again = code in _REFUSED if once else code in (408, 409, 429) or code >= 500
        if again and error.code not in _FINAL_CODES:
            return UnavailableError(told, wait=_seconds(error.response.headers.get("retry-after")))
        return ServiceError(told)

    def _unsent(self, what: str, error: Any, once: bool, told: str) -> ServiceError:
        told = self._clean(f"{what}: {told}")
        if not once or type(error.__cause__).__name__ in _NEVER_SENT:
            return UnavailableError(told)
        return ServiceError(f"{told}; a job may have been made, so it is not asked for again")

    def _checked(self, answer: object) -> dict[str, Any]:
        if not isinstance(answer, dict) or not answer.get("id") or "status" not in answer:
            said = self._clean(str(answer))[:200]
            raise ServiceError(f"{self.route}: expected a job with id and status, got {said!r}")
        return answer


def _percent(progress: object) -> str:
    return f" at {progress:g} %" if isinstance(progress, int | float) else ""


def _seconds(header: str | None) -> float | None:
    try:
        return None if header is None else max(float(header), 0.0)
    except ValueError:  # a date
        return None
