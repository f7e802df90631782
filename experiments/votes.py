"""Counts blind votes: which method people prefer, with 95 % intervals.

python -m experiments.votes --votes=anna/votes.json,ben/votes.json
"""

from metastyle.cli.app import run
from metastyle.cli.lists import define_names
from metastyle.system import files

_VOTES = define_names("votes", "files votes.json, as downloaded from a report's vote.html", required=True)


def main(_: list[str]) -> None:
    from metastyle.evaluate.report import votes

    found = votes.read_votes(files.expand(_VOTES.value, {".json"}, "votes"))
    print(votes.format_preferences(votes.count_preferences(found)))


if __name__ == "__main__":
    run(main)
