"""The report's templates."""

import jinja2

TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("tierline_cli.report", "templates"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
