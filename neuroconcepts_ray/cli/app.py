"""The application and the options that verbs share."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="neuroconcepts",
    help="What does an opaque image classifier look at? Mine, name and search its concepts.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)

Config = Annotated[
    Path,
    typer.Option("--config", "-c", help="The pipeline's YAML file.", envvar="NEUROCONCEPTS_CONFIG", dir_okay=False),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override one field: section.field=value. Repeatable.", metavar="A.B=V"),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and touch nothing.")]
NewOnly = Annotated[
    bool,
    typer.Option(
        "--new-only",
        help="Keep classifier and SAE as they are and pass new images through them; where nothing is made: ask the "
        "state that run --new-only made.",
    ),
]
Top = Annotated[int, typer.Option(help="How many films.", min=1)]
View = Annotated[str | None, typer.Option(help="Only films of this view, such as PA.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Space = Annotated[str, typer.Option("--space", help="The code space to ask.")]
