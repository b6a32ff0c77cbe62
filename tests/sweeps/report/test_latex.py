from __future__ import annotations

import re

import pytest

from sweeps.report.blocks import Column, Paragraph, Section, Table
from sweeps.report.document import sections_of
from sweeps.report.latex import escape, paragraphs, tables
from tests.sweeps.report.conftest import tables_of
from tests.sweeps.report.generator import Made

SPECIAL = r"\input{/etc/passwd} $x_1^2$ 5 % of #1 & {a} ~ <b> \x00 − ± β"


def test_nothing_that_a_sweep_holds_becomes_a_command() -> None:
    text = escape(SPECIAL)
    commands = set(re.findall(r"\\[a-z]+", text))
    assert commands <= {
        r"\textbackslash", r"\textasciicircum", r"\textasciitilde", r"\textless", r"\textgreater",
        r"\pm", r"\beta",
    }  # fmt: skip
    bare = re.sub(r"\\[#$%&_{}]|\$[^$]*\$|\\text[a-z]+\{\}", "", text)
    assert not set(bare) & set("\\#$%&_{}^~")


def test_braces_and_dollars_balance_whatever_the_text() -> None:
    text = escape(SPECIAL * 3)
    plain = re.sub(r"\\[{}$]", "", text)
    assert plain.count("{") == plain.count("}")
    assert plain.count("$") % 2 == 0


def test_a_table_has_a_column_for_every_cell_and_a_label_of_its_own() -> None:
    table = Table("Fails & reasons", [Column("arm"), Column("n", True)], [["[1]", "5"], ["b", "6"]])
    latex = tables([Section("failures", "Failures", [table, table])])
    assert r"\begin{tabular}{lr}" in latex
    assert r"{[1]} & {5} \\" in latex
    assert r"\caption{Fails \& reasons}" in latex
    assert re.findall(r"\\label\{(.*?)\}", latex) == ["tab:failures", "tab:failures-2"]


@pytest.mark.slow
def test_the_report_of_a_sweep_has_its_tables_and_methods(small: Made) -> None:
    sections = sections_of(tables_of(small))
    latex = tables(sections)
    assert re.findall(r"\\label\{tab:(.*?)\}", latex) == [
        "trials", "twins", "twins-2", "twins-3", "sources", "sources-2", "failures", "plan",
    ]  # fmt: skip
    for body in re.findall(r"\\begin\{tabular\}\{([lr]+)\}(.*?)\\end", latex, flags=re.DOTALL):
        rows = [line for line in body[1].splitlines() if line.endswith(r"\\")]
        assert all(line.count(" & ") == len(body[0]) - 1 for line in rows)


def test_paragraphs_keep_their_openings() -> None:
    section = Section("methods", "Methods", [Paragraph("A 5 % level.", strong="Tests."), Paragraph("More.")])
    assert paragraphs(section) == "\\textbf{Tests.} A 5 \\% level.\n\nMore.\n"
