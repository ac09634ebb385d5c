import uuid

import pytest

from django_bgtasks.exceptions import CancelRequested, TimeLimitExceeded
from django_bgtasks.worker.board import Board, Run, board_size

ONE, TWO = uuid.uuid4(), uuid.uuid4()


@pytest.fixture
def board():
    return Board(bytearray(board_size(3)))


def test_it_tells_what_threads_are_at(board):
    assert board.runs() == []
    board.begin(0, ONE)
    board.begin(2, TWO, 7.5)
    assert board.runs() == [
        Run(ONE, float("inf"), TimeLimitExceeded),
        Run(TWO, 7.5, TimeLimitExceeded),
    ]
    board.clear(0)
    board.begin(2, ONE)
    assert [run.job_id for run in board.runs()] == [ONE]


def test_another_reads_the_same_memory(board):
    memory = bytearray(board_size(1))
    Board(memory).begin(0, ONE)
    Board(memory).beat(3.5)
    assert [run.job_id for run in Board(memory).runs()] == [ONE]
    assert Board(memory).pulse == 3.5
    Board(memory).wipe()
    assert Board(memory).runs() == []
    assert Board(memory).pulse == 0


def test_a_cancellation_is_of_one_job(board):
    board.begin(1, ONE, 20)
    board.cancel(1, ONE, 10)
    assert board.runs() == [Run(ONE, 10, CancelRequested)]
    # The thread went on to another one.
    board.begin(1, TWO)
    assert board.runs() == [Run(TWO, float("inf"), TimeLimitExceeded)]


def test_the_sooner_end_counts(board):
    board.begin(0, ONE, 5)
    board.cancel(0, ONE, 10)
    assert board.runs() == [Run(ONE, 5, TimeLimitExceeded)]


def test_whoever_runs_them_is_cancelled_once(board):
    board.begin(0, ONE)
    board.begin(1, TWO)
    board.cancel_all([TWO], 10)
    board.cancel_all([TWO], 12)
    assert [run.deadline for run in board.runs()] == [float("inf"), 10]


def test_no_more_than_its_memory():
    board = Board(bytearray(board_size(1)))
    with pytest.raises(IndexError):
        board.begin(1, ONE)
