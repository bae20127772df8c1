"""The closed word lists of naming: cues of negation and doubt, where a scope ends, and words that name nothing.

Cues follow the roles of NegEx (Chapman et al., 2001: pseudo-negation, preceding, following, termination) with the
radiology wording of NegBio and CheXpert. A phrase is written with single spaces, lower case.
"""


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


PSEUDO = (
    "no change", "no changes", "no interval change", "no significant change", "no significant interval change",
    "no other change", "no appreciable change", "no relevant change", "no substantial change",
    "no definite change", "without change", "without significant change", "without interval change",
    "not changed", "not significantly changed", "not appreciably changed", "not substantially changed",
    "no increase", "no interval increase", "no significant increase", "no decrease", "no interval decrease",
    "no significant decrease", "no improvement", "no interval improvement", "no worsening", "not increased",
    "not decreased", "not only", "not necessarily", "gram negative", "no difference",
)  # fmt: skip
"""Look like negations and are none."""

NEGATED_BEFORE = (
    "no", "not", "without", "without any", "no evidence of", "no evidence for", "no definite evidence of",
    "without evidence of", "no sign of", "no signs of", "negative for", "free of", "clear of", "absence of",
    "absent", "denies", "nor", "neither", "never", "rather than", "resolution of", "resolved", "removal of",
    "interval removal of", "lack of", "fails to reveal", "ruled out for", "rules out", "excludes",
)  # fmt: skip
"""Negate what follows."""

NEGATED_AFTER = (
    "is absent", "are absent", "absent", "is not seen", "are not seen", "not seen", "is not present",
    "are not present", "is not identified", "are not identified", "not identified", "is not evident",
    "are not evident", "is not visualized", "are not visualized", "not visualized", "is not demonstrated",
    "are not demonstrated", "not detected", "is not appreciated", "not appreciated", "not noted",
    "is ruled out", "are ruled out", "ruled out", "is excluded", "are excluded", "has resolved",
    "have resolved", "has been removed", "have been removed", "was removed", "were removed", "no longer seen",
    "is no longer seen", "are no longer seen", "no longer visible", "is no longer visible", "no longer present",
    "is no longer present", "no longer evident", "is unlikely", "are unlikely", "unlikely", "is not suspected",
)  # fmt: skip
"""Negate what precedes."""

UNCERTAIN_BEFORE = (
    "possible", "possibly", "probable", "probably", "likely", "most likely", "may", "may be", "may represent",
    "may reflect", "might", "might be", "could", "could be", "could represent", "could reflect", "suspected",
    "suspect", "suspicion of", "suspicious for", "concern for", "concerning for", "worrisome for",
    "question of", "questionable", "question", "potential", "potentially", "presumed", "presumably", "suggest",
    "suggests", "suggesting", "suggestive of", "cannot exclude", "can not exclude", "cannot rule out",
    "not exclude", "does not exclude", "difficult to exclude", "rule out", "evaluate for", "assess for",
    "versus", "vs", "less likely", "consider", "perhaps", "equivocal", "not certain", "whether", "if there is",
    "differential",
)  # fmt: skip
"""Cast doubt on what follows."""

UNCERTAIN_AFTER = (
    "cannot be excluded", "can not be excluded", "cannot be entirely excluded", "cannot be completely excluded",
    "could not be excluded", "not excluded", "is not excluded", "are not excluded", "cannot be ruled out",
    "is possible", "are possible", "is suspected", "are suspected", "is questioned", "is likely", "is probable",
    "may be present", "could be present", "should be considered", "is considered", "is not certain",
    "is uncertain", "is difficult to exclude", "is suggested", "is less likely",
)  # fmt: skip
"""Cast doubt on what precedes."""

TERMINATION = (
    "but", "however", "nevertheless", "yet", "though", "although", "except", "except for", "apart from",
    "aside from", "other than", "besides", "still", "which", "who", "whereas", "while", "because", "since",
    "due to", "secondary to", "there is", "there are", "there has", "there was", "and the", "as well as",
    "instead", "now", "in the setting of", "given",
)  # fmt: skip
"""End a scope, either way."""

VERBS = _set("""
    is are was were has have had be been appears appear remains remain demonstrates shows show seems
""")
"""A part of a sentence with one of these, after a comma, is a statement of its own."""

DEGREES = _set("""
    mild mildly moderate moderately severe severely minimal minimally marked markedly stable persistent
    persisting unchanged improved worsened worsening increasing decreasing increased decreased new slight
    slightly small large tiny trace massive extensive
""")
"""A part of a sentence that starts with one of these, after a comma, affirms anew unless it closes a list by "or"."""

STOP = _set("""
    a an the this that these those it its they their he she his her i we our you your of in on at to from by for
    with within into onto over under above below between through during about as than and or nor if so such also
    both each any some all other others another more most less much many few several one two three is are was
    were be been being am has have had having do does did can could will would shall should may might must there
    here where when while which who whose what how not no only very quite rather too again further then once per
    via due seen noted note identified visualized demonstrated present evident appreciated shown visible
    evidence appear appears appearing appearance remain remains suggest suggests suggesting consistent
    compatible representing represents represent reflecting reflect reflects including include includes along
    however although though but yet still except given status up out off keeping
""")
"""Neither begins nor ends a term; may stand within one ("tip of the tube")."""

BARRED = _set("""
    unchanged change changed changes compared comparison comparisons interval interim previous previously prior
    priors since recent recently new newly now current currently today yesterday earlier later old again
    resolved resolving resolution improved improving improvement worse worsened worsening increased increase
    increasing decreased decrease decreasing persistent persisting stable stability continued continues follow
    followup follow-up study studies exam exams examination examinations image images imaging imaged film films
    radiograph radiographs radiographic radiographically radiography x-ray x-rays xray cxr ct mri scan view
    views ap pa frontal lateral portable semi-upright upright supine semierect projection technique report
    reports final preliminary impression findings finding indication history clinical wet read reading dictated
    reviewed discussed telephone telephoned phone communicated notified conveyed recommend recommended
    recommendation recommendations please correlate correlation correlated evaluate evaluation assess assessment
    limited limitation dr doctor md patient patient's patients year-old years year male female man woman mr mrs
    ms am pm time date hour hours day days week weeks month months definite obvious significant significantly
    appreciable convincing
""")
"""Wording about comparison, technique, persons and paper: it is nothing that a film shows, so it names nothing."""

MODIFIERS = _set("""
    left right bilateral bilaterally unilateral both side sided left-sided right-sided upper mid middle lower
    basal basilar central peripheral medial anterior posterior superior inferior diffuse focal multifocal patchy small
    moderate large mild mildly moderately severe severely slight slightly minimal minimally marked markedly tiny trace
    massive extensive extent degree size sized position positions positioned standard place placed location level zone
    zones area areas region regions aspect portion amount type acute chronic normal abnormal limits otherwise overall
    visible clearly
""")
"""Where and how much, not what: a term of these alone names nothing."""

EMPTY = STOP | MODIFIERS
"""Words that say nothing by themselves."""
