"""Run the code cells of a notebook in one namespace and keep what they print and draw.

python tools/run_notebook.py notebooks/action_response.ipynb    # without Jupyter
"""

from __future__ import annotations

import argparse
import ast
import base64
import contextlib
import io
import json
from pathlib import Path
from typing import Any

__all__ = ["code_cells", "run_cells", "run_notebook"]


def code_cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    """The cells that hold code, in order."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def run_cells(notebook: dict[str, Any], names: dict[str, Any], *, where: str) -> None:
    """Execute all code cells; their outputs are replaced by new ones.

    Args:
        notebook: as JSON has it.
        names: the namespace of the cells.
        where: for messages of errors.
    """
    from matplotlib import pyplot

    for number, cell in enumerate(code_cells(notebook), start=1):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            last = _execute("".join(cell["source"]), names, f"{where}, cell {number}")
        cell["execution_count"], cell["outputs"] = number, []
        if printed.getvalue():
            text = printed.getvalue().splitlines(keepends=True)
            cell["outputs"].append({"output_type": "stream", "name": "stdout", "text": text})
        figures: list[Any] = [*map(pyplot.figure, pyplot.get_fignums())]
        if hasattr(last, "savefig"):
            figures.append(last)
        for figure in figures:
            image = io.BytesIO()
            figure.savefig(image, format="png", dpi=80, bbox_inches="tight", metadata={})
            data = {"image/png": base64.b64encode(image.getvalue()).decode() + "\n"}
            cell["outputs"].append({"output_type": "display_data", "data": data, "metadata": {}})
        pyplot.close("all")


def _execute(source: str, names: dict[str, Any], where: str) -> object:
    """Run a cell; the value of the expression that it ends with, which Jupyter shows, or None."""
    body = ast.parse(source, where)
    last = body.body[-1] if body.body else None
    if not isinstance(last, ast.Expr):
        exec(compile(body, where, "exec"), names)
        return None
    exec(compile(ast.Module(body.body[:-1], []), where, "exec"), names)
    return eval(compile(ast.Expression(last.value), where, "eval"), names)


def run_notebook(path: Path) -> None:
    """Execute a notebook in place."""
    import matplotlib

    matplotlib.use("Agg")
    notebook = json.loads(path.read_text(encoding="utf-8"))
    run_cells(notebook, {"__name__": "__main__"}, where=path.name)
    text = json.dumps(notebook, indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("notebook", type=Path)
    run_notebook(parser.parse_args().notebook)
