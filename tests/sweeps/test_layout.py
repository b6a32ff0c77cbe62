from sweeps import layout
from sweeps.planned import PlannedReplicate
from sweeps.seeds import Seeds


def replicates(*seeds):
    return [PlannedReplicate(f"r{s.initialisation}{s.data_order}{s.split}", s) for s in seeds]


def test_replicates_of_one_data_order_and_split_form_a_stack(tmp_path):
    wanted = replicates(Seeds(0), Seeds(1), Seeds(0, 1), Seeds(1, 1), Seeds(0, 0, 2))
    stacks = layout.settle(tmp_path, wanted, threads=2, device="cpu")
    assert sorted(stack.members for stack in stacks) == [("r000", "r100"), ("r002",), ("r010", "r110")]


def test_a_known_stack_trains_whole_again_as_it_was(tmp_path):
    first = layout.settle(tmp_path, replicates(Seeds(0), Seeds(1)), threads=2, device="cpu")
    again = layout.settle(tmp_path, replicates(Seeds(1)), threads=8, device="cpu")
    assert again == first
    assert again[0].threads == 2


def test_added_seeds_form_a_stack_of_their_own(tmp_path):
    layout.settle(tmp_path, replicates(Seeds(0), Seeds(1)), threads=1, device="cpu")
    added = layout.settle(tmp_path, replicates(Seeds(2), Seeds(3)), threads=1, device="cpu")
    assert [stack.members for stack in added] == [("r200", "r300")]
    assert [stack.members for stack in layout.read(tmp_path)] == [("r000", "r100"), ("r200", "r300")]


def test_what_is_written_is_read_back(tmp_path):
    stacks = layout.choose(replicates(Seeds(0), Seeds(5, 2, 1)), threads=3, device="cuda")
    layout.write(tmp_path, stacks)
    assert layout.read(tmp_path) == stacks


def test_a_stack_that_would_be_too_large_is_split_evenly(tmp_path):
    wanted = replicates(*(Seeds(n) for n in range(10)), *(Seeds(n, 1) for n in range(2)))
    stacks = layout.settle(tmp_path, wanted, threads=1, device="cpu", most=4)
    assert [len(stack.members) for stack in stacks] == [3, 4, 3, 2]
    assert {name for stack in stacks for name in stack.members} == {r.replicate_id for r in wanted}
    assert layout.settle(tmp_path, wanted, threads=1, device="cpu", most=10) == stacks, "it is stored and reused"


def test_how_a_stack_is_computed_is_decided_once(tmp_path):
    wanted = replicates(Seeds(0), Seeds(1))
    first = layout.settle(tmp_path, wanted, threads=1, device="cpu", decide=lambda stack: len(stack.members) == 2)
    assert [stack.together for stack in first] == [True]
    assert layout.settle(tmp_path, wanted, threads=1, device="cpu", decide=lambda stack: False) == first
