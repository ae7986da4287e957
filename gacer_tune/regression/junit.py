"""A check as JUnit XML: test reports that CI systems show next to those of the tests.

Suites `decisions`, `outputs` and `times`. Only what makes the check a regression is a failure: a slower tenant within
a run that is no slower as a whole is told in the case's output.
"""

from __future__ import annotations

from xml.etree import ElementTree

from gacer_tune.regression.change import Change
from gacer_tune.regression.check import Check
from gacer_tune.regression.times import Row
from gacer_tune.regression.wording import notes, ratio_text, times_text

_ALL = "all tenants"


def junit(check: Check) -> bytes:
    suites = [_decisions(check), _outputs(check), _times(check)]
    root = ElementTree.Element("testsuites", name="gacer-tune check")
    root.extend(suites)
    for name in ("tests", "failures", "errors"):
        root.set(name, str(sum(int(suite.get(name, "0")) for suite in suites)))
    ElementTree.indent(root)
    text: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def _decisions(check: Check) -> ElementTree.Element:
    cases = []
    for tenant in ("", *check.tenants):
        found = [change for change in check.changes if change.tenant == tenant]
        failing = [change for change in found if change in check.forbidden]
        case = _case("decisions", tenant or _ALL)
        if failing:
            _fail(case, "decisions", "changed decisions", _text(failing))
        elif found:
            ElementTree.SubElement(case, "system-out").text = _clean(_text(found))
        cases.append(case)
    return _suite("decisions", cases)


def _outputs(check: Check) -> ElementTree.Element:
    cases = []
    for row in check.outputs:
        case = _case("outputs", f"{row.tenant}/{row.output}")
        if row in check.wrong:
            message = f"differs by {row.error:.2g} of its largest value"
            _fail(case, "outputs", message, message)
        cases.append(case)
    return _suite("outputs", cases or [_skipped(check, "outputs")])


def _times(check: Check) -> ElementTree.Element:
    cases = []
    for row in check.rows:
        case = _case("times", row.name)
        case.set("time", f"{row.seconds:.9f}")
        if row.regressed:
            _fail(case, "times", f"{(row.ratio - 1):.1%} slower, p = {row.p_slower:.2g}", _measured(row))
        else:
            ElementTree.SubElement(case, "system-out").text = _clean(_measured(row))
        cases.append(case)
    return _suite("times", cases or [_skipped(check, "times")])


def _measured(row: Row) -> str:
    before, after = times_text(row)
    return f"{row.verdict}: {after}, baseline {before}, ratio {ratio_text(row)}, p slower {row.p_slower:.2g}"


def _skipped(check: Check, suite: str) -> ElementTree.Element:
    """A case that says why there is none."""
    case = _case(suite, _ALL)
    ElementTree.SubElement(case, "skipped", message=_clean("; ".join(notes(check))))
    return case


def _case(suite: str, name: str) -> ElementTree.Element:
    return ElementTree.Element("testcase", classname=f"gacer-tune.{suite}", name=_clean(name), time="0")


def _fail(case: ElementTree.Element, kind: str, message: str, text: str) -> None:
    ElementTree.SubElement(case, "failure", type=kind, message=_clean(message)).text = _clean(text)


def _suite(name: str, cases: list[ElementTree.Element]) -> ElementTree.Element:
    count = {
        "tests": len(cases),
        "failures": sum(case.find("failure") is not None for case in cases),
        "errors": 0,
        "skipped": sum(case.find("skipped") is not None for case in cases),
    }
    time_s = sum(float(case.get("time", "0")) for case in cases)
    numbers = {key: str(number) for key, number in count.items()}
    suite = ElementTree.Element("testsuite", {"name": name, "time": f"{time_s:.9f}", **numbers})
    suite.extend(cases)
    return suite


def _text(changes: list[Change]) -> str:
    return "\n".join(change.text for change in changes)


def _clean(text: str) -> str:
    """Without the characters that XML cannot hold."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in text)
