"""The tables of docs/results.md and docs/online.md, each made from the trimmed CSV files of one or more questions."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import asynchrony
import pandas as pd
import rules

from prefine.emulator.analysis.statistics import estimate, kendall_tau

POLICIES = ("joint", "joint-ft", "joint-rehearsed", "joint-simple", "finetune-only", "separate", "uniform")
SPLITS = ("hindsight", "joint", "joint-ft", "joint-rehearsed", "joint-simple", "separate")
RECIPES = ("theory", "practice")
QUESTIONS = (
    "study",
    "many",
    "shift",
    "general",
    "tradeoff",
    "devices",
    "batch",
    "rayleigh",
    "fleet",
    "logistic",
    "dirichlet",
    "transformer",
    "letters",
    "sensors",
)
OTHERS = {
    "rayleigh": "Rayleigh fading",
    "fleet": "20 devices",
    "logistic": "logistic regression",
    "dirichlet": "Dirichlet(0.3) over devices",
}
KINDS = {
    "transformer": "digits, transformer",
    "letters": "text, perceptron",
    "sensors": "watch, perceptron",
}
ONLINE = ("default", "ladder", "ofdma", "tdma", "dropout", "moving")
RECIPE, DELAY, ENERGY, SAMPLES = "training.preset", "budget.delay_s", "budget.energy_j", "task.samples"
COLUMNS, COUNT, BATCH = "task.stretch_columns", "devices.count", "devices.max_batch"
HEADINGS = {
    **{RECIPE: "recipe", DELAY: "delay s", ENERGY: "energy J", SAMPLES: "samples", COLUMNS: "columns"},
    **{COUNT: "devices", BATCH: "largest batch", "world": "world", "scenario": "scenario", "kind": "data, model"},
}
RANKED = {"bound": "Φ", "bound_ft": "Φ_FT"}

Rows = Sequence[Sequence[str]]
Table = Callable[[Path], str]


def _markdown(headings: Sequence[str], rows: Rows) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _short(value: float, digits: int = 3) -> str:
    """To ``digits`` decimals, without the zero before the point; what is not known is a dash."""
    return "-" if pd.isna(value) else re.sub(r"^(-?)0\.", r"\1.", f"{round(value, digits) + 0.0:.{digits}f}")


def _plus_minus(mean: float, half_width: float, digits: int = 3) -> str:
    """``mean ± half-width``; without a half-width, or with none but rounding, the mean alone."""
    if pd.isna(half_width) or half_width < 1e-9 * max(1.0, abs(mean)):
        return _short(mean, digits)
    return f"{_short(mean, digits)} ± {_short(half_width, digits)}"


def _signed(mean: float, half_width: float, digits: int) -> str:
    """A difference; what is nought to the last digit has no sign."""
    return ("+" if round(mean, digits) > 0.0 else "") + _plus_minus(mean, half_width, digits)


def _split(row: "pd.Series[float]") -> str:
    """Mean rounds of both stages, those of the server with their samples: ``N x b0 + M``."""
    server = f"{row['pretrain_rounds_mean']:.0f}"
    samples = "" if pd.isna(row["server_batch"]) else f" x {row['server_batch']:.0f}"
    return f"{server}{samples} + {row['finetune_rounds_mean']:.0f}"


def _read(results: Path, question: str, part: str = "comparison") -> pd.DataFrame:
    """What was collected of a question, one recipe below the other."""
    parts = {recipe: results / f"{question}-{recipe}" / f"{part}.csv" for recipe in RECIPES}
    tables = [pd.read_csv(path).assign(**{RECIPE: recipe}) for recipe, path in parts.items() if path.is_file()]
    return pd.concat(tables, ignore_index=True)


def _joined(parts: Sequence[tuple[str, dict[str, object]]], results: Path, part: str = "comparison") -> pd.DataFrame:
    """Questions one below the other, each with what holds in it in the first columns."""
    table = pd.concat([_read(results, question, part).assign(**facts) for question, facts in parts], ignore_index=True)
    first = list(parts[0][1])
    return table[[*first, *table.columns.drop(first)]]


def _study(results: Path, part: str = "comparison") -> pd.DataFrame:
    table = _joined([("study", {SAMPLES: 100}), ("many", {SAMPLES: 1400})], results, part)
    return table.sort_values([RECIPE, SAMPLES, DELAY], ascending=[False, True, True], kind="stable")


def _beside(
    question: str, facts: dict[str, object], known: str, where: dict[str, object]
) -> Callable[[Path], pd.DataFrame]:
    """A question, which has the ``facts``, and the cells of a known one ``where`` it asks the same, in order."""

    def joined(results: Path) -> pd.DataFrame:
        asked, there = _read(results, question).assign(**facts), _read(results, known)
        there = there[there[RECIPE].isin(asked[RECIPE])]
        for key, value in where.items():
            there = there[there[key] == value] if key in there else there.assign(**{key: value})
        keys = [RECIPE, *(key for key in (DELAY, *where) if key in asked)]
        table = pd.concat([asked, there], ignore_index=True).sort_values(keys, kind="stable")
        return table.sort_values(RECIPE, ascending=False, kind="stable")

    return joined


_shifts = _beside("shift", {DELAY: 8.0}, "study", {DELAY: 8.0, COLUMNS: 20})
_fleets = _beside("devices", {DELAY: 16.0}, "many", {DELAY: 16.0, COUNT: 10})
_limits = _beside("batch", {DELAY: 16.0}, "study", {DELAY: 16.0, BATCH: 256})


def _budgets(results: Path) -> pd.DataFrame:
    """The cells of little energy, and those of the study with the same delays."""
    table = _beside("tradeoff", {}, "study", {ENERGY: 80.0})(results)
    return table[table[DELAY].isin(_read(results, "tradeoff")[DELAY])]


def _worlds(results: Path, part: str = "comparison") -> pd.DataFrame:
    """The other worlds one below the other, named in the first column."""
    return _joined([(question, {"world": name}) for question, name in OTHERS.items()], results, part)


def _kinds(results: Path, part: str = "comparison") -> pd.DataFrame:
    """The other data and models one below the other, named in the first column."""
    return _joined([(question, {"kind": name}) for question, name in KINDS.items()], results, part)


def _text(key: object) -> str:
    return f"{key:g}" if isinstance(key, int | float) else str(key)


def _cells(table: pd.DataFrame, keys: Sequence[str]) -> list[tuple[tuple[str, ...], pd.DataFrame]]:
    """Every combination of ``keys`` as texts, with its rows by policy."""
    cells = table.groupby(list(keys), sort=False)
    return [(tuple(map(_text, name)), rows.set_index("policy")) for name, rows in cells]


def _best(cells: Sequence[float], texts: Sequence[str], sign: int) -> list[str]:
    """``texts`` with the one of the highest ``sign`` times its number in bold."""
    known = [sign * value if not pd.isna(value) else float("-inf") for value in cells]
    return [f"**{text}**" if value == max(known) else text for value, text in zip(known, texts, strict=True)]


def _figures(
    table: pd.DataFrame, keys: Sequence[str], figure: str, spread: str, sign: int, policies: Sequence[str] = POLICIES
) -> str:
    """One row per combination of ``keys``, one column per policy; the best is bold."""
    rows = []
    for name, cell in _cells(table, keys):
        mine = cell.reindex(list(policies))
        texts = [_plus_minus(mean, half) for mean, half in zip(mine[figure], mine[spread], strict=True)]
        rows.append([*name, *_best(list(mine[figure]), texts, sign)])
    return _markdown([*(HEADINGS[key] for key in keys), *(f"`{policy}`" for policy in policies)], rows)


def _regret(table: pd.DataFrame, keys: Sequence[str]) -> str:
    return _figures(table, keys, "regret", "regret_ci95", -1)


def _accuracy(table: pd.DataFrame, keys: Sequence[str]) -> str:
    return _figures(table, keys, "test_accuracy_mean", "test_accuracy_ci95", 1)


def _rounds(table: pd.DataFrame, keys: Sequence[str]) -> str:
    """Mean rounds of the policies that choose a share; of hindsight the best member over all seeds and its accuracy."""
    cells = _cells(table, keys)
    shown = [policy for policy in SPLITS if all(policy in cell.index for _, cell in cells)]
    rows = [[*name, *(_chosen(cell, policy) for policy in shown)] for name, cell in cells]
    return _markdown([*(HEADINGS[key] for key in keys), *(_heading(policy) for policy in shown)], rows)


def _heading(policy: str) -> str:
    return "best share: N x b0, accuracy" if policy == "hindsight" else f"`{policy}`"


def _chosen(cell: pd.DataFrame, policy: str) -> str:
    row = cell.loc[policy]
    if policy != "hindsight":
        return _split(row)
    member = str(row["member"]).removeprefix("given-").replace("x", " x ")
    return f"{member}, {_plus_minus(row['test_accuracy_mean'], row['test_accuracy_ci95'])}"


def summary(results: Path) -> str:
    """Mean and worst regret of each policy over the cells of the study, by recipe; of other worlds; of other data."""
    parts = {"study": _study(results), "other worlds": _worlds(results), "other data": _kinds(results)}
    groups = [(f"{name}, {recipe}", part[part[RECIPE] == recipe]) for name, part in parts.items() for recipe in RECIPES]
    headings = [f"{name} ({(part['policy'] == 'hindsight').sum()} cells): mean, worst" for name, part in groups]
    rows = []
    for policy in POLICIES:
        regrets = [part.loc[part["policy"] == policy, "regret"] for _, part in groups]
        rows.append([f"`{policy}`", *(f"{_short(each.mean())}, {_short(each.max())}" for each in regrets)])
    return _markdown(["policy", *headings], rows)


def _ranking(table: pd.DataFrame, family: pd.DataFrame, keys: Sequence[str]) -> str:
    """How Φ and Φ_FT order the family of each cell, and the means over the cells of each recipe."""
    best = table[table["policy"] == "hindsight"].set_index(list(keys))["test_accuracy_mean"]
    cells = [(name, _judged(members, best[name])) for name, members in family.groupby(list(keys), sort=False)]
    rows = [[*(_text(key) for key in name), *(_short(figure) for figure in judged.values())] for name, judged in cells]
    for recipe in RECIPES:
        means = pd.DataFrame([judged for name, judged in cells if recipe in name]).mean()
        facts = [recipe if key == RECIPE else "mean" for key in keys]
        rows.append([*facts, *(_short(figure) for figure in means)])
    headings = [f"{what} {symbol}" for what in ("tau of", "regret of the least") for symbol in RANKED.values()]
    return _markdown([*(HEADINGS[key] for key in keys), *headings], rows)


def _judged(members: pd.DataFrame, best: float) -> dict[str, float]:
    taus = {f"tau {bound}": kendall_tau(members[bound], -members["test_accuracy"]) for bound in RANKED}
    least = {bound: members.loc[members[bound].idxmin(), "test_accuracy"] for bound in RANKED}
    return taus | {f"regret {bound}": best - accuracy for bound, accuracy in least.items()}


def study_ranking(results: Path) -> str:
    """Inside the families of the study."""
    return _ranking(_study(results), _study(results, "family"), [RECIPE, SAMPLES, DELAY])


def worlds_ranking(results: Path) -> str:
    """Inside the families of the other worlds."""
    return _ranking(_worlds(results), _worlds(results, "family"), ["world", RECIPE])


def kinds_ranking(results: Path) -> str:
    """Inside the families of the other data and models."""
    return _ranking(_kinds(results), _kinds(results, "family"), ["kind", RECIPE, DELAY])


def general(results: Path) -> str:
    """Regret of `joint-rehearsed` where it rehearses on the task's samples and where on general ones."""
    keys = [RECIPE, COLUMNS]
    task, other = (dict(_cells(table, keys)) for table in (_shifts(results), _read(results, "general")))
    rows = []
    for name in other:
        best = task[name].loc["hindsight"]
        splits = [cell[name].loc["joint-rehearsed"] for cell in (task, other)]
        regrets = [_short(best["test_accuracy_mean"] - split["test_accuracy_mean"]) for split in splits]
        rows.append([*name, *regrets, *(_split(split) for split in splits)])
    means = ["mean", "", *(_short(pd.Series([float(row[column]) for row in rows]).mean()) for column in (2, 3)), "", ""]
    names = ("task", "general")
    headings = [*(f"regret, {each}" for each in names), *(f"rounds, {each}" for each in names)]
    return _markdown([*(HEADINGS[key] for key in keys), *headings], [*rows, means])


def held(results: Path) -> str:
    """In how many runs, and for the means of how many cells, the bound held, and how loose it was."""
    rows = [
        [
            f"`{row['policy']}`",
            f"{row['runs_held']} of {row['runs']}",
            f"{row['cells_held']} of {row['cells']}",
            _short(row["looseness"], 1),
        ]
        for row in _read(results, "tradeoff", "held").to_dict("records")
    ]
    return _markdown(["policy", "runs", "means of cells", "bound over realised, median of cells"], rows)


def _online(results: Path) -> pd.DataFrame:
    return _joined([(f"online-{world}", {"scenario": f"`{world}`"}) for world in ONLINE], results)


def online_difference(results: Path) -> str:
    """What `joint-online` does that `joint-ft` does not, paired by seed."""
    table = _online(results)
    figures = {"finetune_rounds": ("rounds", 2), "delay_s": ("delay s", 2), "energy_j": ("energy J", 1)}
    figures |= {
        "wasted_energy_j": ("wasted J", 2),
        "test_accuracy": ("accuracy", 3),
        "train_loss": ("training loss", 3),
    }
    rows = []
    for name, cell in _cells(table, ["scenario", RECIPE]):
        row = cell.loc["joint-online"]
        pairs = [(row[f"{figure}_diff"], row[f"{figure}_diff_ci95"], digits) for figure, (_, digits) in figures.items()]
        rows.append([*name, *(_signed(*pair) for pair in pairs)])
    return _markdown(["scenario", "recipe", *(heading for heading, _ in figures.values())], rows)


def online_policies(results: Path) -> str:
    """All policies of the page: rounds, what was spent, what came of it."""
    rows = []
    for name, cell in _cells(_online(results), ["scenario", RECIPE]):
        best = cell["test_accuracy_mean"].max()
        for policy, row in cell.iterrows():
            accuracy = _plus_minus(row["test_accuracy_mean"], row["test_accuracy_ci95"])
            bold = f"**{accuracy}**" if row["test_accuracy_mean"] == best else accuracy
            rounds = f"{row['pretrain_rounds_mean']:.0f} + {row['finetune_rounds_mean']:.1f}"
            spent = [_short(row[f"{figure}_mean"], 2) for figure in ("delay_s", "energy_j", "wasted_energy_j")]
            rows.append([*name, f"`{policy}`", rounds, *spent, bold])
    return _markdown(["scenario", "recipe", "policy", "rounds", "delay s", "energy J", "wasted J", "accuracy"], rows)


def online_overruns(results: Path) -> str:
    """How many runs there were, and by how much any passed a budget."""
    table = _online(results)
    most = [f"{table[f'overrun_{name}_mean'].max():g}" for name in ("delay_s", "energy_j")]
    return _markdown(
        ["runs", "failed", "mean delay over the budget, most", "mean energy over the budget, most"],
        [[str(table["runs"].sum()), str(table["failed"].sum()), *most]],
    )


def _modes(sweep: str, *varied: str) -> Table:
    """The modes of aggregation at equal budgets."""
    headings = ["policy", "mode", "updates", "arrivals", "energy J", "wasted J", "s to .8", "accuracy"]
    return lambda results: _markdown([*varied, *headings, "minus synchronous"], asynchrony.modes(results, sweep))


def async_buffers(results: Path) -> str:
    """What the size of the buffer does."""
    headings = ["mode", "buffer", "updates", "arrivals", "staleness", "energy J", "wasted J", "accuracy"]
    return _markdown(headings, asynchrony.buffers(results))


def selection(results: Path) -> str:
    """Each rule on top of the same plan, and its paired difference to drawing at random."""
    rows = []
    for name, group in rules.rules(results).items():
        figures = [group["finetune_rounds"].mean(), group["energy_j"].mean()]
        worst, all_ = (_plus_minus(*estimate(group[key])) for key in ("client_accuracy_worst", "test_accuracy"))
        gain = "-" if name == rules.AGAINST else _signed(*rules.gain(results, name), 3)
        rows.append([f"`{name}`", *(f"{x:.0f}" for x in figures), worst, all_, gain])
    headings = ["rule", "rounds", "energy J", "accuracy, worst tenth of the devices", "accuracy"]
    return _markdown([*headings, f"minus `{rules.AGAINST}`"], rows)


def _of(read: Callable[[Path], pd.DataFrame], show: Callable[[pd.DataFrame, Sequence[str]], str], *keys: str) -> Table:
    return lambda results: show(read(results), keys)


TABLES: dict[str, Table] = {
    "summary": summary,
    "study-regret": _of(_study, _regret, RECIPE, SAMPLES, DELAY),
    "study-rounds": _of(_study, _rounds, RECIPE, SAMPLES, DELAY),
    "study-ranking": study_ranking,
    "worlds-regret": _of(_worlds, _regret, "world", RECIPE),
    "worlds-rounds": _of(_worlds, _rounds, "world", RECIPE),
    "worlds-ranking": worlds_ranking,
    "kinds-regret": _of(_kinds, _regret, "kind", RECIPE, DELAY),
    "kinds-rounds": _of(_kinds, _rounds, "kind", RECIPE, DELAY),
    "kinds-ranking": kinds_ranking,
    "shift-regret": _of(_shifts, _regret, RECIPE, COLUMNS),
    "shift-rounds": _of(_shifts, _rounds, RECIPE, COLUMNS),
    "general": general,
    "tradeoff-accuracy": _of(_budgets, _accuracy, DELAY, ENERGY),
    "tradeoff-rounds": _of(_budgets, _rounds, DELAY, ENERGY),
    "held": held,
    "devices-accuracy": _of(_fleets, _accuracy, COUNT),
    "devices-rounds": _of(_fleets, _rounds, COUNT),
    "batch-accuracy": _of(_limits, _accuracy, BATCH),
    "batch-rounds": _of(_limits, _rounds, BATCH),
    "online-difference": online_difference,
    "online-policies": online_policies,
    "online-overruns": online_overruns,
    "async-modes": _modes("modes", "recipe", "stolen"),
    "async-dirichlet": _modes("dirichlet"),
    "async-rehearsed": _modes("rehearsed"),
    "async-buffers": async_buffers,
    "selection": selection,
}
"""By the names that stand in the pages."""
