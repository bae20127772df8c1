"""The HTTP interface of a search service: routes under ``/api/v1``, each a thin skin over a plain call."""

import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

from fastapi import Depends, FastAPI, File, Form, Path, Query, Request, Response, UploadFile
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from pydantic_core import to_json
from starlette.exceptions import HTTPException

from neuroconcepts_ray import __version__
from neuroconcepts_ray.config import StrictModel, validate
from neuroconcepts_ray.errors import (
    ConfigError,
    NeuroconceptsError,
    NotFound,
)
from neuroconcepts_ray.retrieval import query as questions
from neuroconcepts_ray.retrieval.query import DEEPEST, TOP, Exclude, find_concept, find_words
from neuroconcepts_ray.retrieval.ranking import Example, Weighting
from neuroconcepts_ray.retrieval.search import SearchService
from neuroconcepts_ray.web import models, problems
from neuroconcepts_ray.web.config import LARGEST_UPLOAD, LOOPBACK, MOST_FOLDED, PREFIX
from neuroconcepts_ray.web.guard import Guard


@dataclass(frozen=True)
class Serving:
    """One state of an index, as one query meets it.

    Attributes:
        service: Answers questions.
        version: Version of the index.
        stats: The index in figures; see :class:`models.Stats`.
    """

    service: SearchService
    version: int
    stats: Callable[[], Mapping[str, Any]]


class Uploaded(Protocol):
    """An uploaded image's code."""

    @property
    def example(self) -> Example:
        """The code, as an example to search by."""

    @property
    def far(self) -> bool:
        """Whether the image is unlike those that the concepts were fitted on."""

    @property
    def distance(self) -> float:
        """Its distance from them."""

    @property
    def threshold(self) -> float:
        """The distance from which on an image is far."""


class Uploader(Protocol):
    """Decodes an image and passes it through classifier and dictionary."""

    def encode(self, data: bytes) -> Uploaded:
        """The code of an image file; InputError where it cannot be decoded."""


ERRORS: dict[int | str, dict[str, Any]] = {
    404: {"model": models.Problem, "description": "No such image or concept; the nearest names are in the remedy"},
    422: {"model": models.Problem, "description": "The question cannot be understood"},
    503: {"model": models.Problem, "description": "A part of the machine does not answer; ask again"},
}

Top = Annotated[int, Query(ge=1, le=DEEPEST, description="Hits on a page.")]
Offset = Annotated[int, Query(ge=0, le=DEEPEST, description="Hits before the page.")]
Value = Annotated[str | None, Query(max_length=200, description="Only images with this value.")]


def create_app(
    current: Callable[[], Serving],
    *,
    uploader: Uploader | None = None,
    hosts: Collection[str] | None = LOOPBACK,
    ready: Callable[[], None] = lambda: None,
) -> FastAPI:
    """The application.

    Args:
        current: What is served now; asked once a request, so that each is answered by one state of the index.
        uploader: Encodes uploaded images; None where this server takes none.
        hosts: Names by which the server may be called; None for any.
        ready: Called when the application starts.
    """

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        ready()
        yield

    # FastAPI's pages of documentation load scripts from elsewhere, so there are none; /openapi.json says it all.
    app = FastAPI(
        title="neuroconcepts",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=f"{PREFIX}/openapi.json",
        responses=ERRORS,
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.add_middleware(Guard, hosts=hosts)
    app.add_exception_handler(NeuroconceptsError, problems.refused)
    app.add_exception_handler(RequestValidationError, problems.invalid)
    app.add_exception_handler(HTTPException, problems.unrouted)

    async def ask_now() -> Serving:
        return current()

    now = Annotated[Serving, Depends(ask_now)]

    @app.post(f"{PREFIX}/search", response_model=models.Answer, openapi_extra=_body(questions.Query))
    def search(serving: now, query: Annotated[questions.Query, Depends(_question)]) -> Response:
        """Images by examples, concepts and words, filtered before they are ranked."""
        return _answered(serving, query)

    @app.get(PREFIX + "/images/{image_id:path}/like", response_model=models.Answer)
    def like(
        serving: now,
        image_id: Annotated[str, Path(max_length=200)],
        top: Top = TOP,
        offset: Offset = 0,
        exclude: Exclude = "group",
        weighting: Weighting = "none",
        view: Value = None,
        role: Value = None,
    ) -> Response:
        """Images like one of the index; by default none of the same patient."""
        where = {name: [value] for name, value in (("view", view), ("role", role)) if value is not None}
        asked = {"like": [image_id], "top": top, "offset": offset, "exclude": exclude, "weighting": weighting}
        return _answered(serving, validate(questions.Query, {**asked, "where": where}))

    @app.get(PREFIX + "/concepts", response_model=models.Concepts)
    def concepts(
        serving: now,
        text: Annotated[str, Query(max_length=200, description="Words of a name; empty for every name.")] = "",
        top: Top = 100,
        offset: Offset = 0,
    ) -> Response:
        """Neurons by the words of their names."""
        names = serving.service.names
        found = find_words(text, names) if text.strip() else tuple(sorted(names))
        page = [_concept(serving, j) for j in found[offset : offset + top]]
        return _json(models.Concepts(total=len(found), concepts=page))

    @app.get(PREFIX + "/concepts/{neuron}", response_model=models.Strongest)
    def concept(serving: now, neuron: Annotated[int, Path(ge=0)], top: Top = TOP, offset: Offset = 0) -> Response:
        """A neuron, its figures, and the images in which it is strongest."""
        find_concept(neuron, serving.service.names, serving.service.index.n)
        query = validate(questions.Query, {"any_of": [neuron], "top": top, "offset": offset})
        answer = models.answer_of(serving.service.search(query), serving.version)
        return _json({"concept": _concept(serving, neuron), "answer": answer})

    @app.post(
        PREFIX + "/search/upload",
        response_model=models.Uploaded,
        responses={413: {"model": models.Problem, "description": f"Larger than {LARGEST_UPLOAD} bytes"}},
    )
    def upload(
        serving: now,
        file: Annotated[UploadFile, File(description="An image: JPEG, PNG, DICOM, …")],
        query: Annotated[str, Form(max_length=1 << 20, description="Further parts of a question, as JSON.")] = "{}",
    ) -> Response:
        """Images like an uploaded one: decoded, passed through the classifier, encoded and searched in one call."""
        if uploader is None:
            raise NotFound("this server takes no uploads", remedy="Search by an image of the index, or by concepts")
        asked = parse(query.encode("utf-8", "replace"))
        uploaded = uploader.encode(file.file.read())
        _bounded(asked)
        found = serving.service.search(asked, [uploaded.example])
        code = dict(zip(uploaded.example.neurons.tolist(), uploaded.example.values.tolist(), strict=True))
        return _json(
            {
                "far": uploaded.far,
                "distance": uploaded.distance,
                "threshold": uploaded.threshold,
                "code": code,
                "answer": models.answer_of(found, serving.version),
            }
        )

    @app.get(PREFIX + "/stats", response_model=models.Stats)
    def stats(serving: now) -> Response:
        """The index in figures."""
        return _json(models.Stats(**{"shards": {}, **serving.stats()}))

    @app.get(PREFIX + "/health", response_model=models.Health)
    def health(serving: now) -> Response:
        """Whether questions can be answered."""
        return _json(models.Health(status="ok", version=serving.version))

    return app


def parse(body: bytes) -> questions.Query:
    """A question from JSON, strictly: no text where a number belongs.

    Raises:
        ConfigError: What is wrong with it, field by field.
    """
    try:
        return questions.Query.model_validate_json(body, strict=True)
    except ValidationError as error:
        raise problems.misunderstood(
            [(item["loc"], item["msg"]) for item in error.errors(include_input=False)]
        ) from None


async def _question(request: Request) -> questions.Query:
    return parse(await request.body())


def _bounded(query: questions.Query) -> None:
    if query.fold is not None and query.depth > MOST_FOLDED:
        raise ConfigError("a folded page lies too deep", value=query.depth, limit=f"rank {MOST_FOLDED}", where="fold")


def _answered(serving: Serving, query: questions.Query) -> Response:
    _bounded(query)
    return _json(models.answer_of(serving.service.search(query), serving.version))


def _concept(serving: Serving, neuron: int) -> models.Concept:
    images = int(serving.service.index.statistics.frequency[neuron])
    return models.concept_of(neuron, images, serving.service.names.get(neuron))


def _body(model: type[StrictModel]) -> dict[str, Any]:
    """A model as a route's body in OpenAPI, for it is parsed from the bytes themselves."""
    schema = model.model_json_schema()
    inner: dict[str, Any] = schema.pop("$defs", {})

    def resolved(node: Any) -> Any:
        if isinstance(node, dict):
            if "$ref" in node:
                return resolved(inner[node["$ref"].rpartition("/")[2]])
            return {key: resolved(value) for key, value in node.items()}
        return [resolved(value) for value in node] if isinstance(node, list) else node

    return {"requestBody": {"required": True, "content": {"application/json": {"schema": resolved(schema)}}}}


def _json(said: StrictModel | dict[str, Any]) -> Response:
    return Response(to_json(said, inf_nan_mode="null"), media_type="application/json")
