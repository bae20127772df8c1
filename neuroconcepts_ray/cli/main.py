"""``neuroconcepts``: one verb a stage, made from the table; errors in one line, each with its exit code."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from neuroconcepts_ray.cli import models
from neuroconcepts_ray.stages import TABLE, Stage

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


index_app = typer.Typer(invoke_without_command=True, rich_markup_mode="markdown")

for _entry in TABLE:
    if _entry.verb == "index":
        app.add_typer(index_app, name="index", rich_help_panel="Stages, in order")
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
    patients: Annotated[int | None, typer.Option(help="Patients of the phantom archive.")] = None,
) -> None:
    """Run the chain on a synthetic archive with planted findings, and score it against their truth.

    **Example:** `neuroconcepts demo /tmp/demo --seed 7`
    """
    from neuroconcepts_ray.cli import demo as demos

    demos.run(folder, seed=seed, patients=patients)


@app.command(rich_help_panel="Chain")
def phantom(
    folder: Annotated[Path, typer.Argument(help="Gets archive/, reports/ and truth/.")],
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="A field of the phantom: field=value. Repeatable.")
    ] = None,
) -> None:
    """Write a synthetic chest archive in the layout of MIMIC-CXR-JPG, its truth elsewhere.

    **Example:** `neuroconcepts phantom /tmp/phantom --set patients=200 --set seed=3`
    """
    from neuroconcepts_ray.cli import demo as demos

    demos.phantom(folder, overrides or [])


@app.command(rich_help_panel="Ask")
def search(
    config: Config,
    overrides: Set = None,
    like: Annotated[list[str] | None, typer.Option(help="Films like this image_id. Repeatable.")] = None,
    unlike: Annotated[list[str] | None, typer.Option(help="And not like this one. Repeatable.")] = None,
    upload: Annotated[Path | None, typer.Option(help="Films like this file.", exists=True, dir_okay=False)] = None,
    neuron: Annotated[int | None, typer.Option(help="Films in which this neuron is strongest.")] = None,
    text: Annotated[str, typer.Option(help="Films in which neurons are strongest whose names have these words.")] = "",
    any_of: Annotated[list[str] | None, typer.Option(help="Rank by this concept. Repeatable.")] = None,
    all_of: Annotated[
        list[str] | None, typer.Option(help="Concept that must fire: NAME or NAME>=ACTIVATION. Repeatable.")
    ] = None,
    none_of: Annotated[list[str] | None, typer.Option(help="Concept that must not fire. Repeatable.")] = None,
    without: Annotated[list[str] | None, typer.Option(help="Leave this concept out of the likeness.")] = None,
    boost: Annotated[list[str] | None, typer.Option(help="CONCEPT=FACTOR: more, less, or its opposite.")] = None,
    weighting: Annotated[str, typer.Option(help="none, idf (rare concepts weigh more) or bm25.")] = "none",
    where: Annotated[
        list[str] | None, typer.Option(help="COLUMN=VALUE or a bound: label:Edema=1, 'age>60'. Repeatable.")
    ] = None,
    view: View = None,
    exclude: Annotated[str, typer.Option(help="Of the films asked about: group, study, self or none.")] = "group",
    fold: Annotated[float | None, typer.Option(help="Fold hits as near-duplicates from this cosine on.")] = None,
    maps: Annotated[
        Path | None, typer.Option(help="Folder for maps of what each hit shares most with the film.", file_okay=False)
    ] = None,
    dense: Annotated[
        bool, typer.Option("--dense", help="Of units: rank likeness by all of them, not by the largest of each film.")
    ] = False,
    space: Space = "latents",
    top: Top = 20,
    offset: Annotated[int, typer.Option(help="Hits before the page.", min=0)] = 0,
    new_only: NewOnly = False,
    as_json: AsJson = False,
) -> None:
    """Find films by likeness, by concepts or by both; never the film, study or patient asked about.

    A concept is a neuron's number or a name; `neuroconcepts explain` shows both.

    **Examples**

    `neuroconcepts search -c pipeline.yaml --like IMAGE_ID --where view=PA`

    `neuroconcepts search -c pipeline.yaml --neuron 17 --space latents`

    `neuroconcepts search -c pipeline.yaml --all-of effusion --none-of "support device" --where label:Edema=0`

    `neuroconcepts search -c pipeline.yaml --like IMAGE_ID --without "support device" --boost effusion=2`

    `neuroconcepts search -c pipeline.yaml --upload film.jpg`
    """
    from neuroconcepts_ray.cli import ask

    ask.search(
        config,
        overrides or [],
        asked={
            "like": like or [],
            "unlike": unlike or [],
            "text": text,
            "any_of": [*(any_of or []), *([neuron] if neuron is not None else [])],
            "all_of": all_of or [],
            "none_of": none_of or [],
            "without": without or [],
            "boost": boost or [],
            "weighting": weighting,
            "where": [*(where or []), *([f"view={view}"] if view else [])],
            "exclude": exclude,
            "fold": fold,
            "top": top,
            "offset": offset,
        },
        upload=upload,
        maps=maps,
        dense=dense,
        space=space,
        new_only=new_only,
        as_json=as_json,
    )


@app.command(rich_help_panel="Ask")
def neighbours(
    config: Config,
    overrides: Set = None,
    role: Annotated[str, typer.Option(help="Whose neighbours: the images of this role.")] = "test",
    top: Top = 20,
    space: Space = "latents",
    new_only: NewOnly = False,
) -> None:
    """Write the films most like each film of a role as one table; runs on Ray, and continues where it was killed.

    **Example:** `neuroconcepts neighbours -c pipeline.yaml --role test`
    """
    from neuroconcepts_ray.cli import tend

    tend.neighbours(config, overrides or [], role=role, top=top, space=space, new_only=new_only)


@app.command(rich_help_panel="Ask")
def explain(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="An image_id of the catalog.")],
    config: Config,
    overrides: Set = None,
    label: Annotated[str | None, typer.Option(help="The label to explain; default: the most probable one.")] = None,
    space: Space = "latents",
    top: Top = 20,
    new_only: NewOnly = False,
    as_json: AsJson = False,
) -> None:
    """Explain one prediction: the logit taken apart exactly, its concepts, its report, and films like it.

    **Example:** `neuroconcepts explain IMAGE_ID -c pipeline.yaml --label "Pleural Effusion"`
    """
    from neuroconcepts_ray.cli import ask

    ask.explain(image, config, overrides or [], label=label, space=space, top=top, new_only=new_only, as_json=as_json)


@app.command(rich_help_panel="Ask")
def serve(
    config: Config,
    overrides: Set = None,
    space: Space = "latents",
    host: Annotated[str, typer.Option(help="Address to listen on; there is no login, so think before opening it.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 8300,
    ray: Annotated[bool, typer.Option("--ray", help="Serve over shards on Ray Serve.")] = False,
    shards: Annotated[int, typer.Option(help="With --ray: shards that the segments are dealt over.", min=1)] = 2,
    replicas: Annotated[int, typer.Option(help="With --ray: replicas of each shard.", min=1)] = 1,
    timeout: Annotated[float, typer.Option(help="With --ray: seconds that a shard has to answer.")] = 2.0,
    poll: Annotated[float, typer.Option(help="Seconds between looks for a newer state of the index.")] = 5.0,
    new_only: NewOnly = False,
) -> None:
    """Answer questions over HTTP; a newly published state of the index is taken up without losing a query.

    **Examples**

    `neuroconcepts serve -c pipeline.yaml`

    `neuroconcepts serve -c pipeline.yaml --ray --shards 2 --replicas 2`
    """
    from neuroconcepts_ray.cli import serving

    serving.serve(
        config,
        overrides or [],
        space=space,
        host=host,
        port=port,
        ray=ray,
        shards=shards,
        replicas=replicas,
        timeout_s=timeout,
        poll_s=poll,
        new_only=new_only,
    )


@app.command(rich_help_panel="Ask")
def evaluate(
    config: Config,
    overrides: Set = None,
    space: Space = "latents",
    queries: Annotated[int, typer.Option(help="Most films that ask, drawn at random.", min=1)] = 1000,
    query_role: Annotated[list[str] | None, typer.Option(help="Role of films that ask: test. Repeatable.")] = None,
    gallery_role: Annotated[
        list[str] | None, typer.Option(help="Role of films that are searched: verify, test. Repeatable.")
    ] = None,
    new_only: NewOnly = False,
    as_json: AsJson = False,
) -> None:
    """Measure retrieval on patients the classifier has not seen, beside chance, metadata and the dense embedding.

    **Examples**

    `neuroconcepts evaluate -c pipeline.yaml --space latents`

    `neuroconcepts evaluate -c pipeline.yaml --queries 200 --json`
    """
    from neuroconcepts_ray.cli import evaluate as evaluation

    evaluation.evaluate(
        config,
        overrides or [],
        space=space,
        queries=queries,
        query_roles=query_role or ["test"],
        gallery_roles=gallery_role or ["verify", "test"],
        new_only=new_only,
        as_json=as_json,
    )


@app.command(rich_help_panel="Look after")
def status(config: Config, overrides: Set = None, new_only: NewOnly = False, as_json: AsJson = False) -> None:
    """Say from the lake alone what is finished, what is under way, and what was set aside.

    **Example:** `neuroconcepts status -c pipeline.yaml`
    """
    from neuroconcepts_ray.cli import look

    look.status(config, overrides or [], new_only=new_only, as_json=as_json)


app.command("import-model", rich_help_panel="Chain")(models.import_model)


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
def show_config() -> None:
    """List every key of a pipeline file with its default and meaning.

    **Example:** `neuroconcepts config`
    """
    from neuroconcepts_ray.cli import look

    look.config()


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"error: {message}\n")
    return code


def call(args: list[str]) -> int:
    """Run one command line and return its exit code: 0 done, 2 usage, 3 input, 4 environment, 1 ours."""
    from neuroconcepts_ray.errors import NeuroconceptsError, fault

    try:
        result: Any = app(args, standalone_mode=False)
    except NeuroconceptsError as error:
        return _fail(error.message, error.exit_code)
    except typer.Exit as stop:
        return stop.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted; the same command continues", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if hasattr(error, "format_message"):  # click's usage errors
            return _fail(f"{error.format_message()}. Try --help", 2)
        if os.environ.get("NEUROCONCEPTS_DEBUG"):
            raise
        if isinstance(error, OSError):
            return _fail(f"the machine failed: {error.strerror or type(error).__name__}", 4)
        return _fail(fault(error).message, 1)
    return result if isinstance(result, int) else 0


def job(verb: str) -> None:
    """Entry of ``jobs/<verb>.py``: the verb with this process's arguments."""
    sys.exit(call([verb, *sys.argv[1:]]))


def main() -> None:
    """Entry of ``neuroconcepts``."""
    sys.exit(call(sys.argv[1:]))
