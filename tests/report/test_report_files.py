"""The report against the files that it renders: same numbers, nothing followed, nothing lost."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.made_scores import made_panel, made_scores
from tests.report.folders import causes, folder_of, ladder, rollouts, trace_of
from wmscore.evidence import write_report
from wmscore.evidence.report.frames import pictures
from wmscore.evidence.report.markup import clean, data_block, h, join, name_of
from wmscore.evidence.report.numbers import number
from wmscore.evidence.report.postmortem import markdown, section_of
from wmscore.evidence.report.reading import read_evidence
from wmscore.evidence.report.verdict import verdict
from wmscore.files import sha256_file
from wmscore.functional import Reason
from wmscore.rollouts import RECONSTRUCTION, TEACHER_FORCED

ROLES = {"truth": "truth", "frozen": "floor"}


class Text(HTMLParser):
    """What a page says, and whether its elements are closed in order."""

    VOID = frozenset({"meta", "img", "input", "br", "hr", "line", "path", "rect"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    panel = made_panel(scenarios=6, seeds=2, horizon=12)
    good = made_scores(panel, torch.full((6, 2), 12), model="truth")
    one = made_scores(panel, torch.arange(12).reshape(6, 2), model="one", by=1)
    companion = made_scores(panel, torch.full((6, 2), 9), model="one" + TEACHER_FORCED)
    fault = torch.zeros(6, 2, dtype=torch.uint8)
    fault[5, 1] = int(Reason.SHORT)
    other = made_scores(panel, torch.full((6, 2), 3), model="other", fault=fault)
    frozen = made_scores(panel, torch.zeros(6, 2, dtype=torch.int64), model="frozen")
    return folder_of(
        tmp_path_factory.mktemp("files") / "evidence",
        [good, one, companion, other, frozen],
        roles=ROLES,
        traces=[trace_of(one, 0, 1, "identity_persistence 0.20 < 0.9 from step 1 on")],
        fetch=lambda model, s, seed: rollouts(panel, model, s, seed),
        extra={"stress.json": ladder(["truth", "one", "frozen"])},
    )


@pytest.fixture(scope="module")
def page(folder: Path) -> Text:
    return Text(write_report(folder).read_text(encoding="utf-8"))


def test_the_page_is_well_formed_and_needs_nothing_else(page: Text) -> None:
    for tag, attributes in page.tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            assert name != "style"
            if name in ("src", "srcset", "data", "poster", "action"):
                assert (value or "").startswith("data:"), (tag, value)
            if name == "href":
                assert not re.match(r"[a-z]+:|//", value or ""), value
    assert "link" not in {tag for tag, _ in page.tags}
    (policy,) = (a["content"] for t, a in page.tags if a.get("http-equiv"))
    assert policy is not None
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy


def test_the_numbers_are_those_of_the_postmortem(folder: Path, page: Text) -> None:
    text = (folder / "postmortem.md").read_text(encoding="utf-8")
    table = [line for line in text.splitlines() if line.startswith("| ")]
    rows = {cells[0]: cells for line in table[2:7] if (cells := line.strip("| ").split(" | "))}
    models = read_evidence(folder).rolled
    assert list(rows)[:4] == [model.name for model in models]
    for model in models:
        cells = rows[model.name]
        found = model.horizon
        assert cells[2].split(" ")[0] == f"{found.mean:.1f}"
        assert cells[3] == model.median
        assert cells[4] == f"{model.never}/{model.rows}"
        for cell, axis in zip(cells[6:9], model.axes.values(), strict=True):
            assert axis is not None
            assert cell.startswith(f"{axis.middle:.2f} [{axis.low:.2f}, {axis.high:.2f}]")
            assert f"[{number(axis.low)}, {number(axis.high)}]" in page.text


def test_the_verdict_is_two_sentences(folder: Path) -> None:
    one, two = (re.sub("<[^>]+>", "", part) for part in verdict(read_evidence(folder)))
    assert re.match(r"one stays usable longest, for 5\.5 of 12 steps on average \(95", one)
    assert "other" in one
    assert two.startswith(
        "It first fails in identity persistence at step 1 of scene-0, seed 0; the cause is"
    )
    assert one.endswith(".")
    assert two.endswith(".")


def test_companions_are_no_models_under_test(folder: Path) -> None:
    found = read_evidence(folder)
    assert [m.name for m in found.judged] == ["one", "other"]
    assert found.models[-1].role == "one-step"
    assert found.looks["one" + TEACHER_FORCED] == "c0 companion one-step"


def test_companions_have_no_horizon_and_need_no_labels(tmp_path: Path) -> None:
    """What starts anew from true frames does not last, and label maps are not asked of it."""
    panel = made_panel(scenarios=2, seeds=2, horizon=6)
    lost, short = torch.full((2, 2), int(Reason.NO_LABELS), dtype=torch.uint8), Reason.SHORT
    some = lost.clone()
    some[0, 0] = int(short)
    ends = torch.full((2, 2), 3)
    results = [
        made_scores(panel, ends, model="one"),
        made_scores(panel, ends, model="one" + TEACHER_FORCED, fault=lost),
        made_scores(panel, ends, model="one" + RECONSTRUCTION, fault=some),
    ]
    folder = folder_of(tmp_path / "e", results)
    text = (folder / "postmortem.md").read_text(encoding="utf-8")
    assert not [line for line in text.splitlines() if line.startswith("| one (")]
    assert "no_labels" not in text.split("## Not defined")[0]
    assert "lacks" not in text
    assert (
        "`one (teacher-forced)`, `one (reconstruction)` (evaluation fault: short x1). They" in text
    )
    found = Text(write_report(folder).read_text(encoding="utf-8"))
    assert "1 row of 1 model could not be evaluated" in found.text
    for name, fields in (("Summary of all models", 1), ("Rollouts ended by each axis", 1)):
        part = found.text.split(name)[1].split("Median usable")[0].split("Drift by axis")[0]
        assert part.count("one ") >= fields
        assert "teacher-forced" not in part
    # Alone they are all that there is to show.
    alone = folder_of(tmp_path / "alone", results[1:2])
    assert "| one (teacher-forced) |" in (alone / "postmortem.md").read_text(encoding="utf-8")
    assert "one (teacher-forced)" in Text(write_report(alone).read_text(encoding="utf-8")).text


def test_faults_are_told(page: Text) -> None:
    assert "1 row of 1 model could not be evaluated" in page.text
    assert Reason.SHORT.description in page.text


def test_curves_of_the_page_are_those_of_the_files(folder: Path, page: Text) -> None:
    text = (folder / "report.html").read_text(encoding="utf-8")
    blocks = re.findall(r'<script type="application/json" class="data">(.*?)</script>', text)
    survival = read_evidence(folder).survival
    first = json.loads(blocks[0])
    rolled = {name for name in survival if not name.endswith(TEACHER_FORCED)}
    assert {line["name"] for line in first["lines"]} == rolled
    for line in first["lines"]:
        assert line["y"] == pytest.approx(survival[line["name"]].middle, rel=1e-4)


def test_the_area_under_a_curve_is_the_mean_horizon(folder: Path, page: Text) -> None:
    assert "The area under a curve is the mean usable horizon." in page.text
    text = (folder / "report.html").read_text(encoding="utf-8")
    figure = text.split("Share of rollouts still usable", 1)[1].split("</figure>")[0]
    models = read_evidence(folder).rolled
    paths = re.findall(r'<g class="series[^"]*" data-m="(\d+)">.*?d="([^"]*)" class="line"', figure)
    assert len(paths) == len(models)
    for key, path in paths:
        area, at, level = 0.0, 0.0, 0.0
        for kind, a, b in re.findall(r"([MVH])(-?[\d.]+) ?([\d.]+)?", path):
            if kind == "H":
                area += (float(a) - at) * level
                at = float(a)
            else:
                level = 1 - float(b if kind == "M" else a) / 300
        assert area * 12 / 1000 == pytest.approx(models[int(key)].horizon.mean, abs=0.02)


def test_ladders_and_what_was_left_out(page: Text) -> None:
    assert "Actuator delay" in page.text
    assert "Loses a third of its horizon at the second rung." in page.text
    assert "exposure, severity 4: the truth does not change" in page.text


def test_the_same_folder_gives_the_same_bytes(folder: Path) -> None:
    first = write_report(folder).read_bytes()
    assert write_report(folder).read_bytes() == first


def test_the_checksum_of_the_report_is_kept(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "e"))
    path = write_report(copy)
    sums = json.loads((copy / "checksums.json").read_text())
    assert sums["report.html"] == sha256_file(path)
    assert all(sha256_file(copy / name) == value for name, value in sums.items())
    (copy / "checksums.json").unlink()
    write_report(copy)
    assert not (copy / "checksums.json").exists()


def test_a_changed_folder_says_so(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "e"))
    with (copy / "postmortem.md").open("a") as file:
        file.write("All is well.\n")
    (copy / "notes.txt").write_text("mine")
    (copy / "stress.json").unlink()
    text = Text(write_report(copy).read_text()).text
    assert "This folder is not the one that was written" in text
    for name in ("postmortem.md", "notes.txt", "stress.json"):
        assert name in text
    sums = json.loads((copy / "checksums.json").read_text())
    assert sums["postmortem.md"] != sha256_file(copy / "postmortem.md")  # it hides no change


def test_links_lead_nowhere(folder: Path, tmp_path: Path) -> None:
    """A link in somebody's folder must not put this machine's files into a page that is sent on."""
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key.mp4").write_bytes(b"\0\0\0\x18ftypTOP-SECRET")
    (secret / "post.md").write_text("TOP-SECRET")
    copy = Path(shutil.copytree(folder, tmp_path / "e"))
    (video,) = (copy / "traces").glob("*.mp4")
    video.unlink()
    video.symlink_to(secret / "key.mp4")
    (copy / "postmortem.md").unlink()
    (copy / "postmortem.md").symlink_to(secret / "post.md")
    text = write_report(copy).read_text()
    assert "TOP-SECRET" not in text
    assert "data:video" not in text
    (copy / "traces" / "more").symlink_to(secret)
    assert "TOP-SECRET" not in write_report(copy).read_text()
    assert not any("more/" in name for name in read_evidence(copy).files)


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("stress.json", b"{", r"stress\.json: expected JSON"),
        ("stress.json", b"[1]", r"stress\.json: expected a JSON object, got list"),
        ("comparison.json", b"\xff", r"comparison\.json: expected JSON"),
        ("attribution.json", b"[" * 100_000, r"attribution\.json: expected JSON"),
        ("curves.csv", b"a,b\n1,2\n", r"curves\.csv: expected the CSV file"),
        ("survival.csv", b"model,usable,usable_low,usable_high\nm,x,1,1\n", r"survival\.csv: exp"),
        ("scores/00.safetensors", b"cut", r"00\.safetensors: expected a wmscore scores file"),
        ("traces/x.safetensors", b"cut", r"x\.safetensors: expected a wmscore trace file"),
    ],
)
def test_broken_files_are_named(
    folder: Path, tmp_path: Path, name: str, content: bytes, error: str
) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "e"))
    before = write_report(copy).read_bytes()
    (copy / name).write_bytes(content)
    with pytest.raises(ValueError, match=error):
        write_report(copy)
    assert (copy / "report.html").read_bytes() == before


@pytest.mark.parametrize(
    "data",
    [
        {"models": []},
        {"models": {"one": None, "unknown": {"rungs": [{"stressor": "x"}]}}},
        {"models": {"one": {"rungs": [{}, 3], "clean": [], "stressors": [], "first_break": 1}}},
        {"models": {"one": {"rungs": [{"stressor": "x", "severity": "high"}], "why": 3}}},
    ],
)
def test_strange_json_is_no_reason_to_stop(folder: Path, tmp_path: Path, data: object) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "e"))
    (copy / "stress.json").write_text(json.dumps(data))
    strange = {"models": {"one": {"cause": 3, "for": {"a": 1}, "settles": [[1]], "rows": [2]}}}
    (copy / "attribution.json").write_text(json.dumps(strange))
    Text(write_report(copy).read_text())


def test_nothing_but_anchors_or_faults(tmp_path: Path) -> None:
    panel = made_panel(scenarios=2, seeds=1, horizon=6)
    truth = made_scores(panel, [[6], [6]], model="truth")
    path = folder_of(tmp_path / "anchors", [truth], roles={"truth": "truth"})
    assert "there is no model to judge" in Text(write_report(path).read_text()).text
    fault = torch.full((2, 1), int(Reason.MISSING), dtype=torch.uint8)
    lost = made_scores(panel, [[6], [6]], model="lost", fault=fault)
    lost.axes["perceptual_drift"].values.fill_(torch.nan)
    path = folder_of(tmp_path / "lost", [lost])
    text = Text(write_report(path).read_text()).text
    assert "lost has no usable horizon that could be determined." in text
    assert "2 rows of 1 model could not be evaluated" in text


def test_no_folder_and_no_scores(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is no evidence folder"):
        write_report(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"expected scores/\*\.safetensors, found none"):
        write_report(tmp_path)


def test_another_panel_among_the_scores_is_refused(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "e"))
    panel = made_panel(scenarios=6, seeds=2, horizon=11)
    made_scores(panel, torch.full((6, 2), 3)).save(copy / "scores" / "09.safetensors")
    with pytest.raises(ValueError, match=r"09\.safetensors: expected scores on panel"):
        write_report(copy)


# ---- size --------------------------------------------------------------------------------


def noise(steps: int, height: int, width: int) -> dict[str, torch.Tensor]:
    frames = torch.randint(0, 256, (steps + 1, 3, height, width), dtype=torch.uint8)
    return {"frames": frames, "reference": frames.flip(0)}


@pytest.mark.parametrize("budget", [300_000, 60_000, 5_000])
def test_pictures_keep_to_their_budget(budget: int) -> None:
    """Noise is the worst that there is to compress."""
    found = pictures(noise(30, 240, 320), 20, budget)
    assert found.size <= budget or len(found.steps) == 1
    assert 20 in found.steps
    assert found.steps == list(range(found.steps[0], found.steps[-1] + 1))
    if len(found.steps) < 31:
        assert f"Steps {found.steps[0]} to {found.steps[-1]} of 30 are shown" in found.note


def test_pictures_of_a_long_rollout_lie_around_the_step() -> None:
    frames = torch.zeros(401, 3, 8, 8, dtype=torch.uint8)
    found = pictures({"frames": frames}, 200, 10**6)
    assert (found.steps[0], found.steps[-1]) == (176, 248)
    assert found.reference is None


def test_small_pictures_lose_nothing() -> None:
    frames = torch.zeros(2, 3, 48, 64, dtype=torch.uint8)
    frames[1, 0, 10:20, 10:20] = 255
    found = pictures({"frames": frames}, 1, 10**6)
    data = base64.b64decode(found.generated[1].split(",")[1])
    with Image.open(io.BytesIO(data)) as image:
        pixels = torch.from_numpy(np.array(image.convert("RGB")))
    assert torch.equal(pixels.permute(2, 0, 1), frames[1])


@pytest.mark.parametrize(
    "tensors",
    [
        {},
        {"frames": torch.zeros(3, 8, 8)},
        {"frames": torch.zeros(0, 3, 8, 8)},
        {"frames": torch.zeros(3, 3, 8, 8), "reference": torch.zeros(2, 3, 8, 8)},
    ],
)
def test_pictures_of_no_trace(tensors: dict[str, torch.Tensor]) -> None:
    with pytest.raises(ValueError, match=r"(frames|reference): expected"):
        pictures(tensors, 1, 1000)


# ---- markup ------------------------------------------------------------------------------


def test_only_own_markup_is_markup() -> None:
    assert h("p", "a < b & c", h("br"), title='"x" <y>') == (
        '<p title="&quot;x&quot; &lt;y&gt;">a &lt; b &amp; c<br></p>'
    )
    assert join(["<b>", h("b", "x"), None]) == "&lt;b&gt;<b>x</b>"
    assert h("p", hidden=True, id=None, open=False) == "<p hidden></p>"
    assert clean("a\x00b\u202ec\ud800") == "a\ufffdb\ufffdc\ufffd"
    assert name_of("x").encode("utf-8") == b'<bdi class="name">x</bdi>'
    assert data_block({"name": "</script><!--"}).count("<") == 2


def test_markdown_of_the_postmortem() -> None:
    text = (
        "## model\n\n- **Bold:** of `code <b>`.\n  goes on\n  - inner\n    - innermost\n"
        "- second\n\n"
        "| a | b |\n| --- | --- |\n| 1 | <i> |\n\nA paragraph.\n\n## other\n\n- no\n"
    )
    found = str(markdown(section_of(text, "model")))
    assert "<strong>Bold:</strong> of <code>code &lt;b&gt;</code>. goes on<ul><li>inner" in found
    assert "innermost" in found
    assert found.count("<ul>") == 3
    assert "&lt;i&gt;" in found
    assert "<i>" not in found
    assert "<p>A paragraph.</p>" in found
    assert "no</li>" not in found
    assert section_of(text, "nobody") == ""


@pytest.mark.parametrize(
    "text", ["- \n- ", "|", "||\n|", "```\nopen", "#", "  - deep first\n- then", "-x\n#\n`", "**"]
)
def test_markdown_takes_anything(text: str) -> None:
    Text(str(markdown(text)))


def test_causes_stand_in_their_cards(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "e"))
    (copy / "attribution.json").write_text(json.dumps(causes(["one"])))
    text = Text(write_report(copy).read_text()).text
    for words in (
        "cause control",
        "The evidence for it is weak",
        "For the responses are 2 steps late",
        "Against one-step predictions hold 0.98",
        "Not measured no reconstruction was given",
        "What would settle it wmscore replay",
        "control ×5, none ×1",
    ):
        assert words in text, words
