"""Verbs of the chain: one a stage, made from the table; the index in use; the whole, the demo, models brought along."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from neuroconcepts_ray.cli import models
from neuroconcepts_ray.cli.app import AsJson, Config, DryRun, NewOnly, Set, Space, app
from neuroconcepts_ray.stages import TABLE, Stage

SWEPT = Path("sweep")
"""Where a sweep's curve goes by default."""


def _stage_command(entry: Stage) -> Callable[..., None]:
    def command(config: Config, overrides: Set = None, dry_run: DryRun = False, new_only: NewOnly = False) -> None:
        from neuroconcepts_ray.cli import work

        work.make(config, overrides or [], (entry.verb,), dry_run=dry_run, new_only=new_only)

    command.__doc__ = (
        f"{entry.does}\n\n**Examples**\n\n"
        f"`neuroconcepts {entry.verb} -c pipeline.yaml`\n\n"
        f"`neuroconcepts {entry.verb} -c pipeline.yaml --dry-run`"
    )
    return command


def fit(
    config: Config,
    overrides: Set = None,
    dry_run: DryRun = False,
    new_only: NewOnly = False,
    sweep: Annotated[
        list[str] | None,
        typer.Option(
            "--sweep", help="Values of a field of section sae. Repeatable: all combinations.", metavar="F=A,B"
        ),
    ] = None,
    workers: Annotated[
        int,
        typer.Option(min=1, help="Workers among whom a sweep's SAEs are shared; changes no result. Not sae.workers."),
    ] = 1,
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", help="Folder for a sweep's curve.json, curve.svg and TensorBoard events; older ones go."
        ),
    ] = SWEPT,
) -> None:
    """Fit a sparse autoencoder to the activations; or many, and draw their curve.

    **Examples**

    `neuroconcepts fit -c pipeline.yaml`

    `neuroconcepts fit -c pipeline.yaml --sweep k=8,16,32 --sweep expansion=2,4 --dry-run`

    `neuroconcepts fit -c pipeline.yaml --sweep k=8,16 --sweep seed=0,1 --out sweep`
    """
    if sweep:
        from neuroconcepts_ray.cli import sweep as sweeps

        sweeps.run(config, overrides or [], sweep, out, workers=workers, dry_run=dry_run, new_only=new_only)
        return
    from neuroconcepts_ray.cli import work
    from neuroconcepts_ray.errors import ConfigError

    if workers != 1:
        raise ConfigError(
            "--workers shares the SAEs of a sweep",
            remedy="Give --sweep too, or split one SAE's batches with --set sae.workers=…",
        )
    if out != SWEPT:
        raise ConfigError("--out is for a sweep", remedy="Give --sweep too; one SAE goes into the lake")
    work.make(config, overrides or [], ("fit",), dry_run=dry_run, new_only=new_only)


index_app = typer.Typer(invoke_without_command=True, rich_markup_mode="markdown")

for _entry in TABLE:
    if _entry.verb == "index":
        app.add_typer(index_app, name="index", rich_help_panel="Stages, in order")
    elif _entry.verb == "fit":
        app.command("fit", rich_help_panel="Stages, in order")(fit)
    else:
        app.command(_entry.verb, rich_help_panel="Stages, in order")(_stage_command(_entry))


@index_app.callback()
def index(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="The pipeline's YAML file.", envvar="NEUROCONCEPTS_CONFIG", dir_okay=False),
    ] = None,
    overrides: Set = None,
    dry_run: DryRun = False,
    new_only: NewOnly = False,
) -> None:
    """Index the codes, so that `search` and `explain` can ask; or look after an index that is in use.

    **Examples**

    `neuroconcepts index -c pipeline.yaml`

    `neuroconcepts index stats -c pipeline.yaml`

    `neuroconcepts index remove IMAGE_ID -c pipeline.yaml`
    """
    if context.invoked_subcommand is not None:
        return
    from neuroconcepts_ray.cli import work
    from neuroconcepts_ray.errors import ConfigError

    if config is None:
        raise ConfigError("index needs a pipeline", remedy="Give its YAML file with -c")
    work.make(config, overrides or [], ("index",), dry_run=dry_run, new_only=new_only)


Ids = Annotated[list[str], typer.Argument(metavar="IMAGE...", help="image_ids of the index.")]
Whole = Annotated[
    str, typer.Option("--whole", help="self: these images. study, group: all images of their studies or patients.")
]


@index_app.command("remove")
def index_remove(
    images: Ids,
    config: Config,
    overrides: Set = None,
    whole: Whole = "self",
    space: Space = "latents",
    new_only: NewOnly = False,
) -> None:
    """Take images out of the index; they are no hits any more, also after the archive has grown.

    **Example:** `neuroconcepts index remove IMAGE_ID -c pipeline.yaml --whole group`
    """
    from neuroconcepts_ray.cli import tend

    tend.remove(config, overrides or [], images, whole=whole, space=space, new_only=new_only)


@index_app.command("add")
def index_add(
    images: Ids, config: Config, overrides: Set = None, space: Space = "latents", new_only: NewOnly = False
) -> None:
    """Put images back that were removed. New images of the archive come with `run --new-only`.

    **Example:** `neuroconcepts index add IMAGE_ID -c pipeline.yaml`
    """
    from neuroconcepts_ray.cli import tend

    tend.add(config, overrides or [], images, space=space, new_only=new_only)


@index_app.command("compact")
def index_compact(config: Config, overrides: Set = None, space: Space = "latents", new_only: NewOnly = False) -> None:
    """Write the index as one segment, without what was removed.

    **Example:** `neuroconcepts index compact -c pipeline.yaml`
    """
    from neuroconcepts_ray.cli import tend

    tend.compact(config, overrides or [], space=space, new_only=new_only)


@index_app.command("stats")
def index_stats(
    config: Config,
    overrides: Set = None,
    space: Space = "latents",
    new_only: NewOnly = False,
    as_json: AsJson = False,
) -> None:
    """Say how large the index is, how its postings are spread, and what was removed.

    **Example:** `neuroconcepts index stats -c pipeline.yaml --json`
    """
    from neuroconcepts_ray.cli import tend

    tend.stats(config, overrides or [], space=space, new_only=new_only, as_json=as_json)


@app.command(rich_help_panel="Chain")
def run(config: Config, overrides: Set = None, dry_run: DryRun = False, new_only: NewOnly = False) -> None:
    """Run the whole chain; what is finished stays, what is unfinished continues.

    **Examples**

    `neuroconcepts run -c pipeline.yaml`

    `neuroconcepts run -c pipeline.yaml --set sae.k=16 --dry-run`

    `neuroconcepts run -c pipeline.yaml --new-only`
    """
    from neuroconcepts_ray.cli import work

    work.make(config, overrides or [], tuple(entry.verb for entry in TABLE), dry_run=dry_run, new_only=new_only)


@app.command(rich_help_panel="Chain")
def demo(
    folder: Annotated[Path, typer.Argument(help="Where everything of the demo goes.")] = Path("demo"),
    seed: Annotated[int, typer.Option(help="Seed of the phantom archive.")] = 0,
    patients: Annotated[int | None, typer.Option(help="Patients of the phantom archive; 1200 if absent.")] = None,
) -> None:
    """Run the chain on a synthetic archive with planted findings, and score it against their truth.

    **Example:** `neuroconcepts demo /tmp/demo --seed 7`
    """
    from neuroconcepts_ray.cli import demo as demos

    demos.run(folder, seed=seed, patients=patients)


@app.command(rich_help_panel="Chain")
def phantom(
    folder: Annotated[
        Path, typer.Argument(help="Gets archive/ and truth/; of the layout mimic-cxr-jpg reports/; with twins, twins/.")
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="One of the keys that `neuroconcepts config --phantom` lists: key=value. Repeatable."
        ),
    ] = None,
) -> None:
    """Write a synthetic archive in the layout of MIMIC-CXR-JPG or another (`layout`), its truth elsewhere.

    **Example:** `neuroconcepts phantom /tmp/phantom --set patients=200 --set seed=3 --set layout=ham10000`
    """
    from neuroconcepts_ray.cli import demo as demos

    demos.phantom(folder, overrides or [])


app.command("import-model", rich_help_panel="Chain")(models.import_model)
app.command("import-sae", rich_help_panel="Chain")(models.import_sae)
app.command("export-sae", rich_help_panel="Chain")(models.export_sae)
