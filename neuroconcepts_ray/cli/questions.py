"""Verbs that ask: search, neighbours, explanations, the server, and how good it all is."""

from pathlib import Path
from typing import Annotated

import typer

from neuroconcepts_ray.cli.app import AsJson, Config, NewOnly, Set, Space, Top, View, app


@app.command(rich_help_panel="Ask")
def search(
    config: Config,
    overrides: Set = None,
    like: Annotated[list[str] | None, typer.Option(help="Films like this image_id. Repeatable.")] = None,
    unlike: Annotated[list[str] | None, typer.Option(help="And not like this one. Repeatable.")] = None,
    upload: Annotated[Path | None, typer.Option(help="Films like this file.", exists=True, dir_okay=False)] = None,
    neuron: Annotated[
        int | None, typer.Option(help="Films in which the neuron of this number is strongest; by name: --any-of.")
    ] = None,
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
