"""What the documents say is true: links resolve, commands exist, names are registered."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from cluster.__main__ import app as machines
from sweeps.cli import app
from sweeps.registries import registries
from sweeps.spec import load_spec

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    path for path in ROOT.rglob("*.md") if not any(part.startswith(".") for part in path.parts[len(ROOT.parts) :])
)
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    """Contents of the fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.M | re.S)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_local_links_and_pictures_exist(document: Path):
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text(encoding="utf-8"))
    missing = [t for t in targets if "://" not in t and not (document.parent / t).exists()]
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_exists_with_its_options(document: Path):
    text = "\n".join(blocks(document.read_text(encoding="utf-8"), "(?:sh|bash|console)?"))
    for program, its in (("sweeps", app), ("python -m cluster", machines)):
        commands = typer.main.get_command(its).commands  # type: ignore[attr-defined]
        for words in re.findall(rf"(?:^|[$/(] ?){program} ((?:[^#|&;)\s]+ ?)+)", text, flags=re.M):
            name, *arguments = words.split()
            assert name in commands, f"{document.name}: {program} {name}"
            options = {
                flag
                for parameter in commands[name].params
                for flag in (*parameter.opts, *parameter.secondary_opts)
            }
            unknown = [a for a in arguments if a.startswith("--") and a.partition("=")[0] not in options]
            assert unknown == [] or name == "serve", f"{document.name}: {program} {words}"


def test_every_command_is_in_the_readme():
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    missing = [name for name in commands if f"sweeps {name}" not in README]
    assert missing == []


def test_the_table_of_names_equals_the_registries():
    rows = dict(re.findall(r"^\| `sweeps names (\w+)` \| (.*) \|$", README, flags=re.M))
    said = {kind: set(re.findall(r"`(\w+)`", names)) for kind, names in rows.items()}
    assert said == {kind: set(registry) for kind, registry in registries().items() if kind != "measures"} | {
        "measures": set(registries()["measures"])
    }


def test_the_specs_in_the_readme_are_valid(tmp_path: Path):
    specs = [block for block in blocks(README, "yaml") if block.startswith("name:")]
    assert specs
    for number, text in enumerate(specs):
        (tmp_path / f"{number}.yaml").write_text(text)
        load_spec(tmp_path / f"{number}.yaml")


def test_the_template_is_valid_and_complete():
    spec = load_spec(ROOT / "sweeps" / "template.yaml")
    given, resolved = spec.document(), spec.document(resolved=True)
    assert set(given) == set(resolved)
    assert set(given["trial"]) == set(resolved["trial"])


def test_help_answers_without_the_heavy_packages():
    code = (
        "import sys; from sweeps.cli import app; "
        "print(*[m for m in ('torch', 'ray', 'mlflow', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_python_in_the_readme_runs(tmp_path: Path):
    """The blocks that need nothing but the packages: each is run in a fresh namespace."""
    runnable = [block for block in blocks(README, "python") if "quickstart" not in block]
    assert runnable
    for block in runnable:
        exec(compile(block, "README.md", "exec"), {})  # noqa: S102 - our own document
