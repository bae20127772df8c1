"""The options of verbs about models; what they do is imported when they run, so that ``--help`` stays instant."""

from pathlib import Path
from typing import Annotated

import typer

from neuroconcepts_ray.cli.app import Config, NewOnly, Set


def import_model(
    weights: Annotated[Path, typer.Argument(help="State dict: .pth, .pt or .safetensors.", metavar="WEIGHTS")],
    labels: Annotated[str, typer.Option(help="The outputs in their order: a,b,c.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write.")],
    timm: Annotated[str | None, typer.Option(help="The network: a model of timm.")] = None,
    factory: Annotated[
        str | None, typer.Option(help="Or package.module:function of an installed package, annotated -> nn.Module.")
    ] = None,
    kwargs: Annotated[str, typer.Option(help="Arguments of either, as JSON.", metavar="JSON")] = "{}",
    task: Annotated[str, typer.Option(help="multilabel, multiclass or binary.")] = "multilabel",
    size: Annotated[int, typer.Option(help="Side of the square that the network sees, in pixels.")] = 224,
    channels: Annotated[
        int, typer.Option(help="1: films become grey (and three equal channels, if need be). 3: RGB.")
    ] = 1,
    mean: Annotated[
        str, typer.Option(help="Subtracted from pixels in 0…1: one value, or three.")
    ] = "0.485,0.456,0.406",
    std: Annotated[str, typer.Option(help="What they are divided by: one value, or three.")] = "0.229,0.224,0.225",
    fit: Annotated[str, typer.Option(help="How a rectangle becomes a square: crop, pad or stretch.")] = "crop",
    resize: Annotated[
        int | None,
        typer.Option(help="Short side before the centre is cut out, as torchvision's Resize and CenterCrop."),
    ] = None,
    interpolation: Annotated[str, typer.Option(help="bilinear or bicubic.")] = "bilinear",
    prefix: Annotated[str, typer.Option(help="Taken off the names in the file, such as `model.`.")] = "",
    reference: Annotated[
        Path | None, typer.Option(help="CSV or Parquet: image file, and the original's logit of every label.")
    ] = None,
    images: Annotated[Path | None, typer.Option(help="Folder of those files; default: the table's.")] = None,
    image_column: Annotated[str, typer.Option(help="Name of the column of files.")] = "image",
    reference_tensors: Annotated[
        Path | None, typer.Option(help=".npz or .safetensors: x as the network takes it, and its logits.")
    ] = None,
    tolerance: Annotated[float, typer.Option(help="Largest difference of a logit that is accepted.", min=0)] = 1e-3,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and report, and write nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Take a trained network along: prove that it says here what it said there, and write it as one folder.

    The folder goes into `classifier.weights`. Code out of a file is never run, and nothing is downloaded. It is proved
    on your own reference: a table of images with the original's logits, tensors with its logits, or both.

    **Examples**

    `neuroconcepts import-model chest.pth --factory torchvision.models:densenet121 --kwargs '{"num_classes": 3}'
    --labels Atelectasis,Edema,Effusion --reference logits.csv --images films -o chest`

    `neuroconcepts import-model net.pt --timm convnext_tiny --labels sick --task binary
    --reference-tensors ref.npz -o net`
    """
    from neuroconcepts_ray.cli import import_model as importing

    importing.import_model(
        weights,
        settings={
            "backbone": timm,
            "factory": factory,
            "backbone_kwargs": kwargs,
            "labels": labels,
            "task": task,
            "mean": mean,
            "std": std,
            "pixels": {
                "size": size,
                "channels": channels,
                "fit": fit,
                "resize": resize,
                "interpolation": interpolation,
                "jpeg_margin": 0.0,  # whoever trained it will have decoded in full
            },
        },
        prefix=prefix,
        reference=reference,
        images=images,
        image_column=image_column,
        reference_tensors=reference_tensors,
        tolerance=tolerance,
        output=output,
        dry_run=dry_run,
        as_json=as_json,
    )


Out = Annotated[Path, typer.Option("--out", "-o", help="The folder to write; must not be there yet.")]


def import_sae(
    checkpoint: Annotated[Path, typer.Argument(help="Folder of cfg.json and safetensors.", metavar="DIR")],
    library: Annotated[str, typer.Option("--from", help="Who wrote it: saelens or sparsify.")],
    out: Out,
    tap: Annotated[str, typer.Option(help="The activations that it was fitted on.")] = "pre_logits",
) -> None:
    """Take a sparse autoencoder along that SAELens or sparsify fitted; the folder goes into `sae.weights`.

    Codes and reconstructions are equal to the library's. What cannot be equal is refused, with the field that says so;
    so is a pickle, unopened. `fit` then measures it on your films and checks its dimension against the tap.

    **Examples**

    `neuroconcepts import-sae checkpoints/resnet --from saelens -o sae`

    `neuroconcepts import-sae run/layer4 --from sparsify --tap layer4 --out sae`
    """
    from neuroconcepts_ray.cli import sae_formats

    sae_formats.import_sae(checkpoint, library=library, tap=tap, out=out)


def export_sae(
    config: Config,
    library: Annotated[str, typer.Option("--to", help="Who shall load it: saelens or sparsify.")],
    out: Out,
    overrides: Set = None,
    new_only: NewOnly = False,
) -> None:
    """Write the pipeline's sparse autoencoder as SAELens or sparsify load it, equal in codes and reconstructions.

    **Examples**

    `neuroconcepts export-sae -c pipeline.yaml --to saelens -o sae-for-saelens`

    `neuroconcepts export-sae -c pipeline.yaml --to sparsify --out sae-for-sparsify`
    """
    from neuroconcepts_ray.cli import sae_formats

    sae_formats.export_sae(config, overrides or [], library=library, out=out, new_only=new_only)
