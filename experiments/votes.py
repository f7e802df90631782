"""Counts blind votes: which method people prefer, with 95 % intervals.

python -m experiments.votes --votes=anna/votes.json,ben/votes.json
"""

from absl import flags

from metastyle.cli.app import run

_VOTES = flags.DEFINE_list("votes", None, "files votes.json, as downloaded from a report's vote.html", required=True)


def main(_: list[str]) -> None:
    from metastyle.evaluate.report import votes

    print(votes.format_preferences(votes.count_preferences(votes.read_votes(_VOTES.value))))


if __name__ == "__main__":
    run(main)
