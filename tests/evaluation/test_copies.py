"""Numbers and names that should be copied."""

from dragoman.evaluation.copies import copies, names_in, numbers_in


def test_numbers_are_written_in_digits():
    assert numbers_in("In 2021, 3.5 of 1,000 at 12:30.") == ["2021", "3.5", "1,000", "12:30"]


def test_names_do_not_begin_sentences():
    assert names_in("Ada met Bob. He saw Carol: Dan and O'Neil, I think. Émile?") == [
        "Bob",
        "Carol",
        "O'Neil",
    ]


def test_only_what_a_reference_has_is_wanted():
    sources = ["He is Bob, 42.", "She saw Paris and Rome in 1999.", "nothing"]
    references = [["Er ist Bob, 42."], ["x", "Sie sah Paris 1999."], ["nichts"]]
    answers = ["Er ist Bobby, 42.", "Sie sah Rome 1998.", "nichts"]
    numbers, names = copies(sources, answers, references)
    assert (numbers.kind, numbers.wanted, numbers.found, numbers.lost) == ("numbers", 2, 1, ((1, "1999"),))
    assert (names.kind, names.wanted, names.found) == ("names", 2, 0)
    assert names.lost == ((0, "Bob"), (1, "Paris"))
    assert numbers.recall == 0.5


def test_kinds_that_never_come_are_left_out():
    assert copies(["a dog"], ["ein Hund"], [["ein Hund"]]) == ()
