"""Read an ONNX file without trusting it: sizes, places of its weights, operators, order."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import onnx
from google.protobuf.message import DecodeError

from robreport import ModelError
from robreport_plugins.loaders.regular_file import DAMAGED, beginning
from robreport_plugins.loaders.wording import (
    listed,
    one_line,
    shortened,
    without_places,
    word,
)

LARGEST_FILE = (1 << 31) - 1
"""Protocol buffers hold no more bytes."""
LARGEST_ARRAY = 1 << 28
"""Most elements of one array on the way, for one batch as declared (1 GiB of float32)."""
MOST_NODES = 200_000

_STANDARD = ("", "ai.onnx")
# What onnxruntime brings itself; any other domain needs a library of operators.
_DOMAINS = (*_STANDARD, "ai.onnx.ml", "com.microsoft")
_UNREADABLE: tuple[type[Exception], ...] = (
    DecodeError,
    onnx.checker.ValidationError,
    onnx.shape_inference.InferenceError,
    *DAMAGED,
)
_OTHER_FORMATS = {
    b"PK\x03\x04": "a zip archive (a PyTorch, Keras or skops file?)",
    b"\x89HDF": "an HDF5 file (Keras or MATLAB?)",
    b"\x80": "a pickle",
    b"MATLAB": "a MATLAB file",
    b"\x1f\x8b": "gzip, which needs unpacking first",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxFile:
    """A checked network.

    Attributes
    ----------
    model : ModelProto
        With every weight inside and the functions of the file put in their places.
    words : str
        Format, operator set and producer, as the provenance page says it.
    external : str
        Name of the file that weights came from, or nothing.
    """

    model: Any
    words: str
    external: str


def read_onnx(path: Path, external: Path | None, where: str) -> OnnxFile:
    """Return the network in the file.

    Parameters
    ----------
    path : Path
    external : Path or None
        The declared file of weights that are kept outside.
    where : str
        How sentences begin.

    Raises
    ------
    ModelError
        Missing, truncated, another format, unknown operators, a cycle, sizes that are not
        believable, or weights outside that are not declared.
    """
    head, size = beginning(path, where, ModelError)
    for magic, words in _OTHER_FORMATS.items():
        if head.startswith(magic):
            raise ModelError(f"{where}: is {words} and no ONNX file; name another loader or file.")
    if size > LARGEST_FILE:
        raise ModelError(
            f"{where}: has {size:,} bytes, and an ONNX file has at most {LARGEST_FILE:,}; "
            "save its weights to a file of their own."
        )
    model = onnx.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except _UNREADABLE:
        raise ModelError(
            f"{where}: is no ONNX file, or is truncated or damaged; export or download it again."
        ) from None
    if model.ir_version < 1 or not model.graph.node or not model.opset_import:
        raise ModelError(f"{where}: holds no ONNX network; export or download it again.")
    if not _is_text(model):
        raise ModelError(f"{where}: has names that are no text; export or download it again.")
    if model.ir_version > onnx.IR_VERSION:
        raise ModelError(
            f"{where}: is of version {model.ir_version} of ONNX's file format, and the onnx "
            f"package here reads those up to {onnx.IR_VERSION}; update onnx and onnxruntime, or "
            f"export it for version {onnx.IR_VERSION}."
        )
    _check_operators(model, where)
    used = _take_in(model, path, external, where)
    try:
        onnx.checker.check_model(_with_shapes(model))
    except _UNREADABLE as error:
        raise ModelError(
            f"{where}: breaks the rules of ONNX ({_checker_words(error)}); export it again."
        ) from None
    model = _without_functions(model, where)
    _check_sizes(model, where)
    return OnnxFile(model=model, words=_words(model), external=used)


def _words(model: Any) -> str:
    versions = [
        f"{o.domain or 'ai.onnx'} {o.version}" for o in model.opset_import if o.domain in _DOMAINS
    ]
    producer = " ".join(filter(None, (model.producer_name, model.producer_version)))
    made = f", written by {producer[:60]}" if producer.isprintable() and producer else ""
    return f"ONNX, operator set {listed(versions)}{made}"


def graphs(model: Any) -> Iterator[Any]:
    """Yield the graph, those inside its nodes, and the file's functions; none twice."""
    waiting = [model.graph, *model.functions]
    while waiting:
        graph = waiting.pop()
        yield graph
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    waiting.append(attribute.g)
                waiting.extend(attribute.graphs)


def _is_text(message: Any) -> bool:
    """Whether every text in it is one: what is not UTF-8 comes as bytes."""
    waiting = [message]
    while waiting:
        for field, value in waiting.pop().ListFields():
            several = value if field.is_repeated else (value,)
            if field.type == field.TYPE_STRING:
                if not all(isinstance(text, str) for text in several):
                    return False
            elif field.type == field.TYPE_MESSAGE:
                waiting.extend(several)
    return True


def _check_operators(model: Any, where: str) -> None:
    """Refuse operators that nobody knows, need a library, or may never end."""
    versions = {o.domain: o.version for o in model.opset_import}
    own = {(f.domain, f.name) for f in model.functions}
    count = 0
    for graph in graphs(model):
        for node in graph.node:
            count += 1
            if (node.domain, node.op_type) in own:
                continue
            name = f"{node.op_type!r}" + (f" of {node.domain!r}" if node.domain else "")
            if node.domain not in _DOMAINS:
                raise ModelError(
                    f"{where}: uses the operator {name[:120]}, which needs a library of operators; "
                    "none is loaded, so export it with standard operators."
                )
            domain = "" if node.domain in _STANDARD else node.domain
            version = versions.get(domain, versions.get("ai.onnx", 0) if not domain else 0)
            newest = onnx.defs.onnx_opset_version() if not domain else 0
            if newest and version > newest:
                raise ModelError(
                    f"{where}: is of version {version} of the operator set, and the onnx package "
                    f"here knows {newest}; update onnx and onnxruntime."
                )
            if domain != "com.microsoft" and not onnx.defs.has(node.op_type, domain):
                raise ModelError(
                    f"{where}: uses the unknown operator {name[:120]}; export it with standard "
                    "operators."
                )
            if node.op_type == "Loop":
                raise ModelError(
                    f"{where}: has a Loop, which may never end; export the network unrolled."
                )
    if count > MOST_NODES:
        raise ModelError(f"{where}: has {count:,} nodes, more than {MOST_NODES:,}.")


def _tensors(model: Any) -> Iterator[Any]:
    """Yield every tensor that the file holds."""
    for graph in graphs(model):
        yield from getattr(graph, "initializer", ())
        for sparse in getattr(graph, "sparse_initializer", ()):
            yield from (sparse.values, sparse.indices)
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    yield attribute.t
                yield from attribute.tensors
                for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                    yield from (sparse.values, sparse.indices)


def _take_in(model: Any, path: Path, external: Path | None, where: str) -> str:
    """Read weights from the declared file into the model; refuse any other place."""
    outside = [t for t in _tensors(model) if t.data_location == onnx.TensorProto.EXTERNAL]
    if not outside:
        if external is not None:
            raise ModelError(
                f"{where}: external_data = {external.name!r} is declared, and all its weights are "
                "in the file itself; leave external_data out."
            )
        return ""
    places = {_entry(t, "location") for t in outside}
    for place in sorted(places):
        pure = PurePosixPath(place)
        if not place or "\\" in place or pure.is_absolute() or ".." in pure.parts:
            raise ModelError(
                f"{where}: keeps weights at {place[:120]!r}, which is not inside its folder; "
                "it is refused."
            )
    if len(places) > 1:
        raise ModelError(
            f"{where}: keeps its weights in {len(places)} files ({listed(sorted(places))}); "
            "save it with all of them in one (all_tensors_to_one_file = True)."
        )
    place = places.pop()
    target = path.parent / place
    if external is None:
        raise ModelError(
            f"{where}: keeps its weights in {place!r} beside it; declare "
            "external_data = 'FILE' with that file, so that it is part of what is audited."
        )
    if external.resolve() != target.resolve():
        raise ModelError(
            f"{where}: keeps its weights in {place!r} beside it, and external_data names "
            f"another file, {external.name!r}."
        )
    if not target.resolve().is_relative_to(path.parent.resolve()):
        raise ModelError(f"{where}: {place!r} is a link out of its folder; copy the weights there.")
    _, size = beginning(target, f"{where}: weights {place!r}", ModelError)
    claimed = 0
    with target.open("rb") as stream:
        for tensor in outside:
            offset, length = _number(tensor, "offset", where), _number(tensor, "length", where)
            length = length or max(0, size - offset)
            claimed += length
            # each byte belongs to one tensor, give or take shared ones
            if offset + length > size or claimed > 2 * size:
                raise ModelError(
                    f"{where}: claims more bytes for {tensor.name[:80]!r} than {place!r} has; "
                    "export or download both again."
                )
            stream.seek(offset)
            tensor.raw_data = stream.read(length)
            tensor.data_location = onnx.TensorProto.DEFAULT
            del tensor.external_data[:]
    return place


def _entry(tensor: Any, key: str) -> str:
    return next((str(e.value) for e in tensor.external_data if e.key == key), "")


def _number(tensor: Any, key: str, where: str) -> int:
    text = _entry(tensor, key) or "0"
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise ModelError(
            f"{where}: gives {key} {text[:40]!r} of a weight outside; export it again."
        )
    return int(text)


def _with_shapes(model: Any) -> Any:
    """Return the model as the checker wants it: it insists on shapes that no runtime needs."""
    values = [v for v in (*model.graph.input, *model.graph.output) if _lacks_shape(v)]
    if not values:
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for value in (*copy.graph.input, *copy.graph.output):
        if _lacks_shape(value):
            value.type.tensor_type.shape.SetInParent()
    return copy


def _lacks_shape(value: Any) -> bool:
    kind = value.type
    return bool(kind.HasField("tensor_type") and not kind.tensor_type.HasField("shape"))


def _checker_words(error: BaseException) -> str:
    """Return what the checker says; where in the file stands on lines of its own."""
    text, _, place = " ".join(str(error).split()).partition("==> Context: ")
    said = shortened(without_places(text).strip().rstrip("."), 240)
    named = re.search(r"Name: (\S.*?) OpType", place)
    return said + (f", at {word(named[1])!r}" if named and named[1] not in said else "")


def _without_functions(model: Any, where: str) -> Any:
    """Put the file's own functions in their places, unless they would grow without bound."""
    if not model.functions:
        return model
    bodies = {(f.domain, f.name): f for f in model.functions}
    sizes: dict[tuple[str, str], int] = {}

    def grown(key: tuple[str, str], above: tuple[tuple[str, str], ...]) -> int:
        if key in above or len(above) > 50:
            raise ModelError(f"{where}: its function {key[1][:80]!r} calls itself; it is refused.")
        if key not in sizes:
            calls = [(n.domain, n.op_type) for n in bodies[key].node]
            sizes[key] = sum(grown(c, (*above, key)) if c in bodies else 1 for c in calls)
        return sizes[key]

    total = sum(
        grown((n.domain, n.op_type), ()) if (n.domain, n.op_type) in bodies else 1
        for n in model.graph.node
    )
    if total > MOST_NODES:
        raise ModelError(f"{where}: its functions unfold to {total:,} nodes; it is refused.")
    from onnx.inliner import inline_local_functions

    try:
        return inline_local_functions(model)
    except _UNREADABLE as error:
        raise ModelError(
            f"{where}: its functions cannot be resolved ({one_line(error)}); export it again."
        ) from None


def _check_sizes(model: Any, where: str) -> None:
    """Refuse arrays whose declared or inferred sizes are not believable."""
    for tensor in _tensors(model):
        _check_bytes(tensor, where)
    try:
        inferred = onnx.shape_inference.infer_shapes(model)
    except _UNREADABLE as error:
        raise ModelError(
            f"{where}: its shapes contradict each other ({one_line(error)}); export it again."
        ) from None
    graph = inferred.graph
    for value in (*graph.input, *graph.output, *graph.value_info):
        if not value.type.HasField("tensor_type"):
            continue
        shape = [max(1, d.dim_value) for d in value.type.tensor_type.shape.dim]
        if math.prod(shape) > LARGEST_ARRAY:
            raise ModelError(
                f"{where}: the value {value.name[:80]!r} has the shape {shape}, more than "
                f"{LARGEST_ARRAY:,} numbers; it is refused."
            )


def _check_bytes(tensor: Any, where: str) -> None:
    """Refuse a constant whose shape and bytes disagree."""
    if not tensor.HasField("raw_data"):
        return
    try:
        each = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    except KeyError:
        each = 0
    name = onnx.TensorProto.DataType.Name(tensor.data_type)
    packed = name.startswith(("FLOAT4", "FLOAT6", "INT2", "INT4", "UINT2", "UINT4"))
    claimed = math.prod(tensor.dims) * each
    if min(tensor.dims, default=0) < 0 or (claimed != len(tensor.raw_data) and not packed):
        raise ModelError(
            f"{where}: the weights {tensor.name[:80]!r} claim the shape {list(tensor.dims)}, and "
            f"hold {len(tensor.raw_data):,} bytes; export or download it again."
        )
