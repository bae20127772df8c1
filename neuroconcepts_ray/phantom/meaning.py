"""What the words of reports speak of: the key by which a neuron's name is judged."""

MEANINGS: dict[str, tuple[str, ...]] = {
    "Atelectasis": (
        "atelectasis", "atelectatic", "plate like", "platelike", "discoid", "subsegmental", "linear", "volume loss",
    ),
    "Cardiomegaly": ("cardiomegaly", "enlarged", "enlargement", "globular"),
    "Consolidation": ("consolidation", "bronchograms", "airspace", "alveolar", "parenchymal"),
    "Edema": ("edema", "congestion", "vascular", "interstitial", "cephalization"),
    "Enlarged Cardiomediastinum": (
        "widened", "widening", "broadening", "prominence", "prominent",
        "fullness",
    ),
    "Fracture": ("fracture", "fractures", "fractured", "displaced", "nondisplaced", "cortical", "step off"),
    "Lung Lesion": (
        "nodule", "nodules", "nodular", "lesion", "mass", "solitary", "well defined", "well circumscribed",
        "spiculated", "stellate", "density", "coin shaped",
    ),
    "Pleural Effusion": ("effusion", "effusions", "costophrenic", "blunting", "layering", "pleural fluid"),
    "Pleural Other": ("thickening", "plaque", "scarring", "scar", "fibrothorax", "pleural cap"),
    "Pneumothorax": ("pneumothorax", "pleural line", "apical", "pleural air", "visceral"),
    "Support Devices": (
        "devices", "device", "catheter", "tube", "tubes", "lines", "indwelling", "monitoring", "endotracheal",
        "tracheal", "enteric", "nasogastric", "central venous", "venous line", "picc", "jugular", "leads",
        "electrocardiographic", "telemetry", "pacemaker", "pacing", "electrodes",
    ),
    "Pneumonia": ("pneumonia", "bronchopneumonia", "infectious", "infection", "pneumonic"),
    "Osteopenia": ("osteopenia", "osteopenic", "demineralization", "demineralized"),
    "No Finding": (
        "lungs clear", "normal chest", "normal radiograph", "unremarkable chest", "unremarkable radiograph",
    ),
}  # fmt: skip
"""Of the whole pool, whatever a world speaks of it: a name that holds all words of an entry denotes its finding."""

_ABSENCES: dict[str, tuple[str, ...]] = {
    "Cardiomegaly": ("heart normal", "normal size"),
    "Enlarged Cardiomediastinum": ("mediastinal normal", "contour normal"),
    "No Finding": (
        "acute cardiopulmonary", "acute process", "cardiopulmonary process", "cardiopulmonary abnormality",
        "acute abnormality", "acute intrathoracic", "intrathoracic process",
    ),
}  # fmt: skip
"""The same for what says, without a word of negation, that it is not there."""


def denotes(name: str) -> dict[str, bool]:
    """What a name's words speak of.

    Returns:
        Finding → True where they say that it is there ("blunting costophrenic angle": Pleural Effusion), False where
        they say that it is not ("heart normal": Cardiomegaly).
    """
    words = set("".join(c if c.isalnum() else " " for c in name.lower()).split())
    said = {f: False for f, entries in _ABSENCES.items() if any(words.issuperset(entry.split()) for entry in entries)}
    there = {f: True for f, entries in MEANINGS.items() if any(words.issuperset(entry.split()) for entry in entries)}
    return said | there
