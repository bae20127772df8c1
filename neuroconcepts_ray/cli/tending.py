"""Verbs that look after a lake: what is there, whether it is whole, what may go, and who."""

from pathlib import Path
from typing import Annotated

import typer

from neuroconcepts_ray.cli.app import AsJson, Config, DryRun, NewOnly, Set, Space, app


@app.command(rich_help_panel="Look after")
def status(config: Config, overrides: Set = None, new_only: NewOnly = False, as_json: AsJson = False) -> None:
    """Say from the lake alone what is finished, how far mining is and what holds it up, and what was set aside.

    **Example:** `neuroconcepts status -c pipeline.yaml`
    """
    from neuroconcepts_ray.cli import look

    look.status(config, overrides or [], new_only=new_only, as_json=as_json)


@app.command(rich_help_panel="Look after")
def plan(
    config: Config,
    overrides: Set = None,
    canary: Annotated[
        bool,
        typer.Option(help="Mine 1 % of the shards first (at least one, at most 16), kept for `mine`; or only count."),
    ] = True,
    new_only: NewOnly = False,
    as_json: AsJson = False,
) -> None:
    """Say what mining will take before it starts: shards, bytes, hours of CPU and GPU, wall time, bottleneck.

    **Examples**

    `neuroconcepts plan -c pipeline.yaml`

    `neuroconcepts plan -c pipeline.yaml --no-canary --json`

    `neuroconcepts plan -c pipeline.yaml --set compute.max_hours=8`
    """
    from neuroconcepts_ray.cli import estimate

    estimate.plan(config, overrides or [], new_only=new_only, mine_canary=canary, as_json=as_json)


@app.command(rich_help_panel="Look after")
def verify(
    config: Config,
    overrides: Set = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Everything in the lake, not only what config and refs reach.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Read every record and every byte of the lake, and name what is wrong with what to do; exit 3 if anything is.

    **Examples**

    `neuroconcepts verify -c pipeline.yaml`

    `neuroconcepts verify -c pipeline.yaml --all --json`
    """
    from neuroconcepts_ray.cli import care

    raise typer.Exit(care.verify(config, overrides or [], everything=everything, as_json=as_json))


@app.command(rich_help_panel="Look after")
def gc(
    config: Annotated[
        list[Path],
        typer.Option(
            "--config", "-c", help="A pipeline's YAML file. Repeatable: all that share the lake.", dir_okay=False
        ),
    ],
    overrides: Set = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove it; without this nothing is removed.")] = False,
    unfinished: Annotated[
        bool, typer.Option("--unfinished", help="Also work that was begun and that no config given here plans.")
    ] = False,
    artifacts: Annotated[
        bool, typer.Option("--artifacts", help="Also finished artifacts that no ref and no config given here reaches.")
    ] = False,
    keep_versions: Annotated[
        int | None, typer.Option(help="With --artifacts: refs keep only their newest versions.", min=1)
    ] = None,
    older_than: Annotated[float, typer.Option(help="Hours for which bytes are left alone.", min=0)] = 24.0,
    as_json: AsJson = False,
) -> None:
    """Say which bytes nothing refers to any more, and remove them with --yes; safe beside running commands.

    **Examples**

    `neuroconcepts gc -c pipeline.yaml`

    `neuroconcepts gc -c pipeline.yaml --yes`

    `neuroconcepts gc -c one.yaml -c two.yaml --artifacts --keep-versions 3`
    """
    from neuroconcepts_ray.cli import care

    care.gc(
        config,
        overrides or [],
        unfinished=unfinished,
        artifacts=artifacts,
        versions=keep_versions,
        older_than_h=older_than,
        yes=yes,
        as_json=as_json,
    )


@app.command(rich_help_panel="Look after")
def doctor(
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="The pipeline's YAML file.", envvar="NEUROCONCEPTS_CONFIG", dir_okay=False),
    ] = None,
    overrides: Set = None,
    as_json: AsJson = False,
) -> None:
    """Look at environment and configuration; every line is ok or says what to do. Exit 4 if something will fail.

    **Examples**

    `neuroconcepts doctor`

    `neuroconcepts doctor -c pipeline.yaml --json`
    """
    from neuroconcepts_ray.cli import care

    raise typer.Exit(care.doctor(config, overrides or [], as_json=as_json))


@app.command(rich_help_panel="Look after")
def migrate(config: Config, overrides: Set = None, dry_run: DryRun = False) -> None:
    """Bring a lake of an older format to today's: new manifests beside the old ones, over the same bytes.

    **Example:** `neuroconcepts migrate -c pipeline.yaml --dry-run`
    """
    from neuroconcepts_ray.cli import care

    care.migrate(config, overrides or [], dry_run=dry_run)


@app.command(rich_help_panel="Look after")
def drift(
    config: Config,
    overrides: Set = None,
    space: Space = "latents",
    partitions: Annotated[
        int | None,
        typer.Option(help="How many of the newest partitions count as new; default: all since the fit.", min=1),
    ] = None,
    top: Annotated[int, typer.Option(help="How many neurons are shown.", min=1)] = 10,
    plot: Annotated[Path | None, typer.Option(help="Write an SVG of all densities here.", dir_okay=False)] = None,
    as_json: AsJson = False,
) -> None:
    """Compare films that came since the fit with films of the fit that the classifier has not seen.

    **Examples**

    `neuroconcepts drift -c pipeline.yaml`

    `neuroconcepts drift -c pipeline.yaml --partitions 1 --plot drift.svg`
    """
    from neuroconcepts_ray.cli import drift as drifting

    drifting.run(config, overrides or [], space=space, newest=partitions, top=top, plot=plot, as_json=as_json)


@app.command(rich_help_panel="Look after")
def erase(
    config: Config,
    overrides: Set = None,
    group: Annotated[
        list[str] | None, typer.Option("--group", help="A patient's keyed hash, as tables show it. Repeatable.")
    ] = None,
    patient_file: Annotated[
        Path | None, typer.Option(help="A file of patient ids, one a line: no id stands in a shell's history.")
    ] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Erase patients from everything the product keeps; their films are left out from then on.

    **Examples**

    `neuroconcepts erase -c pipeline.yaml --group HASH --dry-run`

    `neuroconcepts erase -c pipeline.yaml --patient-file patients.txt`
    """
    from neuroconcepts_ray.cli import erase as erasing

    erasing.run(config, overrides or [], group or [], patient_file, dry_run=dry_run, as_json=as_json)


@app.command("config", rich_help_panel="Look after")
def show_config(
    phantom: Annotated[
        bool, typer.Option("--phantom", help="List the keys of `neuroconcepts phantom` instead.")
    ] = False,
) -> None:
    """List every key of a pipeline file with its default and meaning.

    **Example:** `neuroconcepts config`
    """
    from neuroconcepts_ray.cli import look
    from neuroconcepts_ray.phantom.config import PhantomConfig
    from neuroconcepts_ray.pipeline import PipelineConfig

    look.config(PhantomConfig if phantom else PipelineConfig)
