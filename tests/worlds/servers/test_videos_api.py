"""The videos API through the real `openai` package, against a server on this machine."""

from __future__ import annotations

import io
import json
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest
import torch

pytest.importorskip("openai")
pytest.importorskip("av")
pytest.importorskip("PIL")

from tests.worlds.servers.videos_server import FPS, Answer, Job, VideosServer, moving, mp4, serving
from wmscore.testing import check_world_model, sprite_items
from wmscore.timeline import Conversion, Timeline
from wmscore.worlds import Item, SpriteWorld, WorldModel
from wmscore.worlds.servers import RowsFailedError, ServerModel, ServiceError, videos_model

SIZE, HORIZON = (48, 64), 6
KEY = "sk-test-0123456789"


@pytest.fixture(scope="module")
def items() -> list[Item]:
    made = sprite_items(2, HORIZON, world=SpriteWorld(height=SIZE[0], width=SIZE[1]))
    made = [replace(i, actions=i.actions.repeat(2)) for i in made]
    return [
        replace(item, prompt=f"scene {item.scenario}.{item.branch}", fps=float(FPS))
        for item in made
    ]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[VideosServer]:
    monkeypatch.setenv("WMSCORE_TEST_KEY", KEY)
    clips: dict[tuple[bytes | None, str], bytes] = {}

    def clip(job: Job) -> bytes:
        key = (job.image, job.fields.get("seed", ""))
        if key not in clips:
            frames = moving(job.image, 4 * FPS, SIZE, 1 + int(job.fields.get("seed", 0)))
            clips[key] = mp4(frames)
        return clips[key]

    with serving(VideosServer(clip=clip)) as state:
        yield state


@pytest.fixture
def ask(server: VideosServer) -> Iterator[Callable[..., ServerModel]]:
    with ExitStack() as stack:

        def model(**options: Any) -> ServerModel:
            made = videos_model(
                **{
                    "base_url": server.url,
                    "model": "tiny-video",
                    "fps": float(FPS),
                    "frame_size": SIZE,
                    "api_key_env": "WMSCORE_TEST_KEY",
                    "poll_seconds": 0.01,
                    "timeout": 20.0,
                    **options,
                }
            )
            made._patience["first_wait"] = 0.01
            stack.callback(made.service.jobs.close)  # type: ignore[attr-defined]
            return made

        yield model


def test_requests_and_answers(server, ask, items):
    model = ask()
    assert isinstance(model, WorldModel)
    rollouts = model.rollout(items, HORIZON)
    for i, item in enumerate(items):
        assert torch.equal(rollouts.frames[i, 0], item.frame)
        wanted = torch.stack([item.frame.roll(t, 2) for t in range(1, HORIZON + 1)])
        gap = (rollouts.frames[i, 1:].float() - wanted.float()).abs()
        assert gap.mean() < 4
    assert bool(rollouts.valid.all())
    assert rollouts.model == "tiny-video"
    by_prompt = {job.fields["prompt"]: job for job in server.jobs.values()}
    assert set(by_prompt) == {item.prompt for item in items}
    job = by_prompt["scene 1.0"]
    assert job.fields == {
        "model": "tiny-video",
        "prompt": "scene 1.0",
        "size": "64x48",
        "seconds": "4",
    }
    assert job.key == f"Bearer {KEY}"
    from PIL import Image

    with Image.open(io.BytesIO(job.image)) as picture:
        pixels = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
    assert torch.equal(pixels.view(*SIZE, 3).permute(2, 0, 1), items[2].frame)
    assert model.codec["codec"] == "h264"
    assert model.codec["lossy"] is True
    assert any("actions" in loss for loss in model.conversion_losses)
    assert KEY not in repr(vars(model)) + repr(vars(model.service)) + repr(vars(model.service.jobs))


def test_contract(server, ask, items):
    report = check_world_model(ask(seed_field="seed"), items[:2], 4)
    report.raise_on_failure()
    seen = {row.property: row for row in report.rows}
    assert seen["seedable"].promised
    assert report.action_effect == 0
    assert not seen["action effect"].promised


def test_the_shortest_length_that_reaches(ask, items):
    service = ask().service
    for horizon, seconds in ((1, 4), (4 * FPS - 1, 4), (4 * FPS, 8), (12 * FPS - 1, 12)):
        assert service.form(items[0], horizon)["seconds"] == seconds
    with pytest.raises(ValueError, match="offers at most 12 s"):
        service.form(items[0], 12 * FPS)


def test_fields_of_other_servers(ask, items):
    service = ask(
        seconds=None,
        frames_field="num_frames",
        multiple=(4, 1),
        seed_field="seed",
        fields={"guidance_scale": 6},
    ).service
    form = service.form(replace(items[0], seed=7), HORIZON)
    assert form["num_frames"] == 9  # 4 n + 1 that holds 7
    assert (form["fps"], form["seed"], form["guidance_scale"]) == ("8", 7, 6)
    with pytest.raises(ValueError, match=r"seed: the service takes 0\.\.2\^31-1, got -1"):
        service.form(replace(items[0], seed=-1), HORIZON)
    with pytest.raises(ValueError, match="is at 10 frames per second, model 'tiny-video' takes 8"):
        service.form(replace(items[0], fps=10.0), HORIZON)
    with pytest.raises(ValueError, match="prompt: scenario 'sprites-0' has none"):
        service.form(replace(items[0], prompt=None), HORIZON)


def test_actions_as_words(server, ask, items):
    def words(timeline: Timeline) -> Conversion[str]:
        return Conversion(", ".join(timeline.words()))

    model = ask(converter=words)
    assert model.capabilities.actions == "text"
    model.rollout(items[1:2], 3)
    (job,) = server.jobs.values()
    assert job.fields["prompt"] == "scene 0.1 noop, noop, noop"


def test_without_the_image_a_clip_follows_the_prompt(server, ask, items):
    model = ask(image=False)
    assert not model.capabilities.starts_from_frame
    rollouts = model.rollout(items[:1], HORIZON)
    (job,) = server.jobs.values()
    assert job.image is None
    wanted = moving(None, HORIZON, SIZE)
    assert (rollouts.frames[0, 1:].float() - wanted.float()).abs().mean() < 4
    assert any("initial frame" in loss for loss in model.conversion_losses)


def test_a_short_clip_is_a_row_that_ends(server, ask, items):
    server.clip = lambda job: mp4(moving(job.image, 4, SIZE))
    rollouts = ask().rollout(items[:1], HORIZON)
    assert rollouts.valid[0].tolist() == [True] * 4 + [False] * 3
    assert torch.equal(rollouts.frames[0, 6], rollouts.frames[0, 3])


@pytest.mark.parametrize(
    ("clip", "message"),
    [
        (lambda job: mp4(moving(job.image, 40, SIZE))[:-900], "readable"),
        (lambda job: b"<html>gone</html>", "17 bytes.*cannot be opened"),
        (lambda job: mp4(moving(None, 40, (32, 64))), r"expected a clip of 48x64 .*, got 32x64"),
        (lambda job: mp4(moving(job.image, 40, SIZE), 10), "expected a clip of 8 fps, got 10 fps"),
        (lambda job: mp4(moving(None, 40, SIZE)), "begins with another frame than the one sent"),
    ],
    ids=["truncated", "no video", "wrong size", "wrong rate", "another picture"],
)
def test_bad_clips_are_errors_of_their_row(server, ask, items, clip, message):
    good = server.clip
    server.clip = lambda job: clip(job) if job.fields["prompt"] == "scene 0.1" else good(job)
    with pytest.raises(RowsFailedError, match=message) as caught:
        ask().rollout(items, HORIZON)
    assert list(caught.value.rows) == [1]
    assert isinstance(caught.value.rows[1], ServiceError)
    assert "1 of 4 rows: scenario 'sprites-0', seed 0, branch 1" in str(caught.value)
    assert "/tmp" not in str(caught.value)


def test_another_rate_is_resampled_only_if_asked(server, ask, items):
    server.clip = lambda job: mp4(moving(job.image, 40, SIZE), 2 * FPS)
    rollouts = ask(resample=True).rollout(items[:1], HORIZON)
    wanted = torch.stack([items[0].frame.roll(2 * t, 2) for t in range(1, HORIZON + 1)])
    assert (rollouts.frames[0, 1:].float() - wanted.float()).abs().mean() < 4


def test_a_failed_job_and_a_stuck_one(server, ask, items):
    server.status = {"scene 0.0": "failed", "scene 1.1": "in_progress", "scene 1.0": "expired"}
    with pytest.raises(RowsFailedError) as caught:
        ask(timeout=3.0).rollout(items, HORIZON)
    rows = caught.value.rows
    assert sorted(rows) == [0, 2, 3]
    assert "got failed (moderation_blocked: not this one)" in str(rows[0])
    assert "expected status completed, got expired" in str(rows[2])
    assert "is in_progress at 50 %: no answer within the timeout of 3 s" in str(rows[3])
    assert server.asked["POST /v1/videos scene 0.0"] == 1  # a failure is not tried again


def test_answered_rows_are_not_paid_for_twice(server, ask, items):
    server.status = {"scene 0.1": "failed"}
    model = ask()
    with pytest.raises(RowsFailedError):
        model.rollout(items, HORIZON)
    assert len(server.jobs) == 4
    for i in (0, 2, 3):
        assert torch.equal(model.rollout([items[i]], HORIZON).frames[0, 0], items[i].frame)
    assert len(server.jobs) == 4
    with pytest.raises(RowsFailedError):
        model.rollout([items[1]], HORIZON)
    model.rollout([items[0]], HORIZON)  # taken already: asked anew
    assert len(server.jobs) == 6


def _http(code: int, error: object = None, **headers: str) -> Answer:
    return code, {"error": error or {"message": f"no ({KEY})", "code": "nope"}}, headers


@pytest.mark.parametrize("what", ["POST /v1/videos", "GET job", "GET content"])
def test_transport_errors_are_tried_again(server, ask, items, what):
    server.before = lambda asked, count, fields: (
        _http(503, **{"retry-after": "0.05"}) if asked == what and count < 3 else None
    )
    start = time.monotonic()
    ask().rollout(items[:1], HORIZON)
    assert len(server.jobs) == 1
    assert time.monotonic() - start >= 0.1  # as long as the service asked


def test_attempts_end(server, ask, items):
    server.before = lambda asked, count, fields: _http(503) if "POST" in asked else None
    with pytest.raises(RowsFailedError, match=r"HTTP 503: .* \(asked 3 times\)"):
        ask(attempts=3).rollout(items[:1], HORIZON)
    assert server.asked["POST /v1/videos scene 0.0"] == 3


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (400, None),
        (401, {"message": f"Incorrect API key provided: {KEY}", "code": "invalid_api_key"}),
        (404, None),
        (422, None),
        (500, None),
        (429, {"message": "pay first", "code": "insufficient_quota"}),
    ],
)
def test_refusals_are_final_and_tell_no_key(server, ask, items, code, error):
    server.before = lambda asked, count, fields: (
        _http(code, error) if fields["prompt"] == "scene 1.0" else None
    )
    model = ask()
    with pytest.raises(RowsFailedError, match=f"HTTP {code}") as caught:
        model.rollout(items, HORIZON)
    assert list(caught.value.rows) == [2]
    assert server.asked["POST /v1/videos scene 1.0"] == 1
    told = "".join(traceback.format_exception(caught.value.rows[2]))
    assert KEY not in told
    assert "***" in told or code == 429


def test_a_job_that_may_exist_is_not_made_twice(server, ask, items):
    server.before = lambda asked, count, fields: (0, None, {}) if "POST" in asked else None
    with pytest.raises(RowsFailedError, match="a job may have been made"):
        ask().rollout(items[:1], HORIZON)
    assert server.asked["POST /v1/videos scene 0.0"] == 1


def test_a_lost_look_is_repeated(server, ask, items):
    server.before = lambda asked, count, fields: (
        (0, None, {}) if "GET" in asked and count == 1 else None
    )
    ask().rollout(items[:1], HORIZON)
    assert len(server.jobs) == 1


def test_a_slow_request_times_out(server, ask, items):
    gone = threading.Event()
    server.before = lambda asked, count, fields: gone.wait(5) and None
    try:
        with pytest.raises(RowsFailedError, match=r"no answer in 0\.2 s; a job may have been made"):
            ask(request_timeout=0.2).rollout(items[:1], HORIZON)
    finally:
        gone.set()


def test_nobody_there(ask, items):
    model = ask(base_url="http://127.0.0.1:9/v1", attempts=2)
    with pytest.raises(RowsFailedError, match=r"no connection .* \(asked 2 times\)"):
        model.rollout(items[:1], HORIZON)


def test_answers_that_are_no_jobs(server, ask, items):
    server.before = lambda asked, count, fields: (200, {"data": []}, {})
    with pytest.raises(RowsFailedError, match="expected a job with id and status"):
        ask().rollout(items[:1], HORIZON)


def test_the_key_comes_from_the_environment(ask, items, monkeypatch):
    monkeypatch.delenv("WMSCORE_TEST_KEY")
    with pytest.raises(RowsFailedError, match="environment variable WMSCORE_TEST_KEY: expected"):
        ask().rollout(items[:1], HORIZON)
    ask(api_key_env=None).rollout(items[:1], HORIZON)


def test_frames_of_another_size_are_refused(server, ask, items):
    other = replace(items[0], frame=torch.zeros(3, 10, 10, dtype=torch.uint8))
    with pytest.raises(RowsFailedError, match=r"takes frames uint8 \[3, 48, 64\].*FitSize"):
        ask().rollout([other], HORIZON)
    assert not server.jobs


def test_a_clip_of_half_the_rate(server, ask, items):
    """Half the panel's rate: every frame is shown twice, the last one for as long as any."""
    server.clip = lambda job: mp4(moving(job.image, 4, SIZE), FPS / 2)
    rollouts = ask(resample=True).rollout(items[:1], 10)
    shifts = [items[0].frame.roll(t // 2, 2).float() for t in range(1, 8)]
    assert rollouts.valid[0].tolist() == [True] * 8 + [False] * 3
    assert (rollouts.frames[0, 1:8].float() - torch.stack(shifts)).abs().mean() < 4


def test_plain_values_reach_it(ask, items, server):
    """What a command line can say."""
    options = {
        "model": "tiny-video",
        "fps": 8,
        "frame_size": [48, 64],
        "base_url": server.url,
        "api_key_env": None,
        "seconds": None,
        "frames_field": "num_frames",
        "multiple": [4, 1],
        "seed_field": "seed",
        "poll_seconds": 0.01,
        "fields": {"guidance_scale": 6.5},
    }
    model = ask(**json.loads(json.dumps(options)))
    model.rollout(items[:1], HORIZON)
    (job,) = server.jobs.values()
    assert (job.fields["num_frames"], job.fields["guidance_scale"]) == ("9", "6.5")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seconds": ()}, "seconds: expected some lengths"),
        ({"frames_field": "num_frames"}, "seconds: expected some lengths, or None beside"),
        ({"multiple": (0, 1)}, "multiple"),
        ({"poll_seconds": 0}, "poll_seconds"),
        ({"workers": 0}, "workers"),
        ({"attempts": 0}, "attempts"),
        ({"timeout": -1.0}, "timeout"),
    ],
)
def test_bad_options(ask, options, message):
    with pytest.raises(ValueError, match=message):
        ask(**options)
