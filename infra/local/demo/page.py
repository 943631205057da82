"""The demo's report as one HTML page that needs nothing else."""

from pathlib import Path

from jinja2 import Environment

from infra.local.demo.summary import Outcome, summary

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Retune demo</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; margin: 3rem auto; max-width: 60rem; padding: 0 1rem; color: #1d2733; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .4rem .8rem; border-bottom: 1px solid #d7dde4; vertical-align: top; }
th { font-weight: 600; width: 32%; }
.good { color: #14713d; } .bad { color: #a32020; }
</style>
</head>
<body>
<h1 class="{{ 'good' if improved else 'bad' }}">{{ 'The service improved itself' if improved else 'The service did not improve' }}</h1>
<table>{% for name, value in rows %}<tr><th>{{ name }}</th><td>{{ value }}</td></tr>{% endfor %}</table>
<h2>History of cycle {{ state.cycle }}</h2>
<table>{% for entry in state.history %}
<tr><th>{{ entry.status }}</th><td>{{ entry.at.strftime('%H:%M:%S') }} UTC, {{ entry.by }}: {{ entry.reason }}</td></tr>{% endfor %}
</table>
<p>Every number was measured in this run. How the verdict was reached: <a href="validation.html">validation.html</a>.</p>
</body>
</html>
"""


def write_page(path: Path, outcome: Outcome) -> None:
    """Write the page; all text in it is escaped."""
    template = Environment(autoescape=True).from_string(_PAGE)
    path.write_text(template.render(rows=summary(outcome), state=outcome.state, improved=outcome.improved), encoding="utf-8")
